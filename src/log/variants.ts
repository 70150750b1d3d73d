/**
 * Hashes of updates that were not appended as they came: updates without an unknown packet, and
 * updates of which policy dropped packets, so that the rest has a hash of its own. They are not
 * entries and are never announced. They are remembered as long as hashes, so that KX does not fetch
 * them again. Each has the entries whose packets it contains: a peer with the variant has those.
 *
 * Limit: `VARIANT_LIMITS.rows` hashes, since a stranger can make any number of variants of a key.
 * The oldest are dropped; a dropped variant is fetched once more and is again without news.
 */
import type Database from "better-sqlite3";
import type { Seq, UpdateHash } from "../update.js";
import type { Connection } from "./connection.js";

export const VARIANT_LIMITS = {
  /** A month of 200 a minute is not reached by honest peers; 200,000 rows take some 15 MB. */
  rows: 200_000,
  /** Dropped at once when there are more. */
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
   * Remembers a hash with the entries of which it has all packets. `reason` is that of the first
   * packet that policy dropped, or empty when nothing was dropped.
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

  /** The entries that a variant is known to contain; undefined for a hash that is not one. */
  entriesOf(hash: UpdateHash): Seq[] | undefined {
    const text = this.#connection.read(() => this.#get.get(keyOf(hash)));
    return text === undefined ? undefined : (JSON.parse(text) as Seq[]);
  }

  /** Forgets those of which packets were dropped for this reason: they may be fetched again. */
  forget(reason: string): void {
    this.#connection.write(() => this.#forget.run(reason));
  }

  #countNow(): number {
    return this.#connection.read(() => this.#count.get()) ?? 0;
  }
}

function keyOf(hash: UpdateHash): Buffer {
  return Buffer.from(hash, "hex");
}
