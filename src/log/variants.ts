/**
 * Stores the hashes of updates that were not appended as received: updates without an unknown
 * packet, and updates from which policy removed packets, so that the rest has another hash. They
 * are not entries and are never announced. They are kept as long as hashes, so that KX does not
 * fetch them again. Each is stored with the entries whose packets it contains: a peer with the
 * variant has those entries.
 *
 * Limit: `VARIANT_LIMITS.rows` hashes, since anyone can make any number of variants of a key. The
 * oldest are dropped. A dropped variant is fetched once more and again adds no news.
 */
import type Database from "better-sqlite3";
import type { Seq, UpdateHash } from "../update.js";
import type { Connection } from "./connection.js";

const VARIANT_LIMITS = {
  /** Honest peers do not reach 200 a minute for a month. 200,000 rows take some 15 MB. */
  rows: 200_000,
  /** Number of rows dropped at once when the limit is exceeded. */
  surplus: 2000,
} as const;

export class Variants {
  readonly #connection: Connection;
  readonly #add: Database.Statement<[Buffer, string, string, number]>;
  readonly #get: Database.Statement<[Buffer], string>;
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
    this.#count = db.prepare<[], number>("SELECT count(*) FROM variants").pluck();
    this.#trim = db.prepare(`
      DELETE FROM variants WHERE rowid IN (SELECT rowid FROM variants ORDER BY at LIMIT ?)`);
    this.#forget = db.prepare("DELETE FROM variants WHERE reason = ?");
    this.#rows = this.#countNow();
  }

  /**
   * Stores a hash with the entries whose packets it contains completely. `reason` is that of the
   * first packet that policy removed, or empty if none was removed.
   */
  add(hash: UpdateHash, seqs: readonly Seq[], reason: string, at: number): void {
    this.#connection.write(() => {
      this.#rows += this.#add.run(keyOf(hash), JSON.stringify(seqs), reason, at).changes;
      if (this.#rows <= VARIANT_LIMITS.rows) return;
      this.#rows = this.#countNow();
      const surplus = this.#rows - VARIANT_LIMITS.rows;
      if (surplus <= 0) return;
      this.#rows -= this.#trim.run(surplus + VARIANT_LIMITS.surplus).changes;
    });
  }

  /**
   * Returns the entries that a variant is known to contain. Undefined for a hash that is not a
   * variant.
   */
  entriesOf(hash: UpdateHash): Seq[] | undefined {
    const text = this.#connection.read(() => this.#get.get(keyOf(hash)));
    return text === undefined ? undefined : (JSON.parse(text) as Seq[]);
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

function keyOf(hash: UpdateHash): Buffer {
  return Buffer.from(hash, "hex");
}
