/**
 * What duplicates have added to the trails of entries and is not written yet. It is in a table in
 * memory, so that a duplicate costs no fsync and a transaction that fails takes its additions
 * back. `trail.ts` and `pending.ts` read it with the stored trails. No address is in both.
 * `intake/group-commit.ts` has it written within a second.
 *
 * The update of a duplicate is on disk, or is in the same transaction: `append` finds it only in
 * the log. A kill loses what is gathered, and a site that has an update may be sent it once more.
 * Another process sees an addition when it is written.
 */
import type Database from "better-sqlite3";
import type { Seq } from "../update.js";
import type { Connection } from "./connection.js";

/** An entry whose trail has grown. */
export interface Grown {
  readonly seq: Seq;
  /** The neighbour that the entry came from. */
  readonly neighbour: string | null;
  /** The added addresses, as JSON. */
  readonly added: string;
}

export class GatheredTrails {
  readonly #connection: Connection;
  readonly #of: Database.Statement<[number], string>;
  readonly #within: Database.Statement<[{ low: number; high: number }], Grown>;
  readonly #put: Database.Statement<[number, string]>;
  readonly #seqs: Database.Statement<[], Seq>;
  readonly #drop: Database.Statement<[number]>;
  readonly #empty: Database.Statement<[]>;
  #count = 0;

  constructor(connection: Connection) {
    const { db } = connection;
    this.#connection = connection;
    db.exec(`
      CREATE TEMP TABLE IF NOT EXISTS gathered_trails (
        seq INTEGER PRIMARY KEY, added TEXT NOT NULL) STRICT`);
    this.#of = db.prepare<[number], string>("SELECT added FROM temp.gathered_trails WHERE seq = ?");
    this.#of.pluck();
    this.#within = db.prepare(`
      SELECT seq, neighbour, added FROM temp.gathered_trails JOIN updates USING (seq)
      WHERE seq > @low AND seq <= @high`);
    this.#put = db.prepare("INSERT OR REPLACE INTO temp.gathered_trails VALUES (?, ?)");
    this.#seqs = db.prepare<[], Seq>("SELECT seq FROM temp.gathered_trails ORDER BY seq").pluck();
    this.#drop = db.prepare("DELETE FROM temp.gathered_trails WHERE seq = ?");
    this.#empty = db.prepare("DELETE FROM temp.gathered_trails");
  }

  /** Number of entries. */
  get count(): number {
    return this.#count;
  }

  /** The addresses that were added to the trail of an entry, as JSON. */
  of(seq: Seq): string | undefined {
    return this.#count === 0 ? undefined : this.#connection.read(() => this.#of.get(seq));
  }

  /** The entries in (low, high]. */
  within(low: number, high: number): Grown[] {
    return this.#count === 0 ? [] : this.#connection.read(() => this.#within.all({ low, high }));
  }

  /**
   * Sets what was added to the trail of an entry, at least one address. Must be called in a
   * transaction.
   */
  put(seq: Seq, added: readonly string[]): void {
    const isNew = this.of(seq) === undefined;
    this.#put.run(seq, JSON.stringify(added));
    if (isNew) this.#setCount(this.#count + 1);
  }

  /** Forgets an entry that was put. Must be called in a transaction. */
  drop(seq: Seq): void {
    this.#drop.run(seq);
    this.#setCount(this.#count - 1);
  }

  /** Calls `write` for each entry, then forgets all. Must be called in a transaction. */
  settle(write: (seq: Seq) => void): void {
    for (const seq of this.#seqs.all()) write(seq);
    this.#empty.run();
    this.#setCount(0);
  }

  #setCount(count: number): void {
    const before = this.#count;
    this.#connection.onRollback(() => {
      this.#count = before;
    });
    this.#count = count;
  }
}
