/**
 * Stores the hashes of updates that were not appended as received: updates without an unknown
 * packet, and updates from which policy removed packets, so that the rest has another hash. They
 * are not entries and are never announced. They are kept as long as hashes, so that KX does not
 * fetch them again. Each is stored with the entries whose packets it contains: a peer with the
 * variant has those entries.
 *
 * A variant has a row for each of its names, because a peer of KX/1.0 announces the MD5 alone, and
 * with the SHA-256 one with the same MD5 can be told from it. Of a SHA-256 half is stored: to find
 * another update with that half is as hard as with all of an unbroken hash of 16 octets.
 *
 * Limit: `VARIANT_LIMITS.rows` hashes, since anyone can make any number of variants of a key. The
 * oldest are dropped. A dropped variant is fetched once more and again adds no news.
 */
import type Database from "better-sqlite3";
import type { AnnouncedName, Seq } from "../update.js";
import type { Connection } from "./connection.js";

const NAME_BYTES = 16;

const VARIANT_LIMITS = {
  /** Two for each. Honest peers do not reach 100 an hour for a month. 200,000 take some 15 MB. */
  rows: 200_000,
  /** Number of rows dropped at once when the limit is exceeded. */
  surplus: 2000,
} as const;

export class Variants {
  readonly #connection: Connection;
  readonly #add: Database.Statement<[Buffer, string, string, number]>;
  readonly #get: Database.Statement<[Buffer], string>;
  readonly #reason: Database.Statement<[Buffer], string>;
  readonly #count: Database.Statement<[], number>;
  readonly #trim: Database.Statement<[number]>;
  readonly #forget: Database.Statement<[string]>;
  #rows: number;

  constructor(connection: Connection) {
    const { db } = connection;
    this.#connection = connection;
    this.#add = db.prepare(`
      INSERT INTO variants (hash, seqs, reason, at) VALUES (?, ?, ?, ?)
      ON CONFLICT (hash) DO UPDATE SET seqs = excluded.seqs
        WHERE excluded.seqs <> '[]' AND excluded.seqs <> variants.seqs`);
    this.#get = db.prepare<[Buffer], string>("SELECT seqs FROM variants WHERE hash = ?").pluck();
    this.#reason = db.prepare<[Buffer], string>("SELECT reason FROM variants WHERE hash = ?");
    this.#reason.pluck();
    this.#count = db.prepare<[], number>("SELECT count(*) FROM variants").pluck();
    this.#trim = db.prepare(`
      DELETE FROM variants WHERE rowid IN (SELECT rowid FROM variants ORDER BY at LIMIT ?)`);
    this.#forget = db.prepare("DELETE FROM variants WHERE reason = ?");
    this.#rows = this.#countNow();
  }

  /**
   * Stores a variant with the entries whose packets it contains completely. `reason` is that of the
   * first packet that policy removed, or empty if none was removed.
   */
  add(variant: AnnouncedName, seqs: readonly Seq[], reason: string, at: number): void {
    this.#connection.write(() => {
      for (const name of shortNames(variant)) {
        this.#rows += this.#add.run(name, JSON.stringify(seqs), reason, at).changes;
      }
      if (this.#rows <= VARIANT_LIMITS.rows) return;
      this.#rows = this.#countNow();
      const surplus = this.#rows - VARIANT_LIMITS.rows;
      if (surplus <= 0) return;
      this.#rows -= this.#trim.run(surplus + VARIANT_LIMITS.surplus).changes;
    });
  }

  /**
   * Returns the entries that a variant is known to contain. Undefined for a name that is not
   * the one of a variant: where it has the SHA-256, that decides.
   */
  entriesOf(name: AnnouncedName): Seq[] | undefined {
    const text = this.#connection.read(() => this.#get.get(shortName(name)));
    return text === undefined ? undefined : (JSON.parse(text) as Seq[]);
  }

  /** Whether policy removed packets of the variant. */
  isCut(name: AnnouncedName): boolean {
    return (this.#connection.read(() => this.#reason.get(shortName(name))) ?? "") !== "";
  }

  /**
   * Deletes the variants from which packets were removed for this reason, so that they may be
   * fetched again.
   */
  forget(reason: string): void {
    this.#connection.write(() => this.#forget.run(reason));
  }

  /** Other gateways have stored at most so many rows; beyond the limit they are counted. */
  others(rows: number): void {
    this.#rows += rows;
  }

  #countNow(): number {
    return this.#connection.read(() => this.#count.get()) ?? 0;
  }
}

/** The names in 16 octets each: the MD5, and the first half of the SHA-256 if it is known. */
export function shortNames(name: AnnouncedName): Buffer[] {
  const octets = Buffer.from(name, "hex");
  const both = [0, NAME_BYTES].map((at) => octets.subarray(at, at + NAME_BYTES));
  return both.filter(({ length }) => length > 0);
}

/** The name that decides where several updates may have the MD5. */
export function shortName(name: AnnouncedName): Buffer {
  return shortNames(name).at(-1) as Buffer;
}
