/**
 * Stores when each update was sent to each neighbour, for `kxgw trace`. No delivery depends on it:
 * the lanes' cursors determine what is still to be sent. The sent journal writes the rows in
 * batches, and they are deleted with their entries. This file does not depend on how deliveries
 * work.
 */
import type Database from "better-sqlite3";
import type { Seq } from "../update.js";
import type { Connection } from "./connection.js";

/** An update that a neighbour accepted. */
export interface Sending {
  readonly seq: Seq;
  /** The neighbour's name in the configuration, or `[local]`. */
  readonly neighbour: string;
  /** "kx" if the neighbour fetched the update, "lane" if it was delivered. */
  readonly way: "kx" | "lane";
  /** Milliseconds since 1970; 0 if the time is not known. */
  readonly at: number;
  /**
   * How it is proven: "relayed", "taken", "spooled", "collected" or "exited" as in `Proof` of
   * `delivery/relay.ts`, "fetched" or "announced" over KX. Empty if an earlier release did not
   * record it.
   */
  readonly how: string;
  /** The reply of the neighbour, at most `REPLY_LENGTH` characters. */
  readonly reply: string;
}

/** Longer than a keyserver's reply about one key, and than a relay's replies to a dozen mails. */
const REPLY_LENGTH = 1000;

const COLUMNS = "seq, neighbour, way, at, how, reply";

export class Sendings {
  readonly #connection: Connection;
  readonly #insert: Database.Statement<[number, string, string, number, string, string]>;
  readonly #announced: Database.Statement<[number, string]>;
  readonly #of: Database.Statement<[number], Sending>;
  readonly #overKx: Database.Statement<[number, string], Seq>;
  readonly #latest: Database.Statement<[number, number], Sending>;

  constructor(connection: Connection) {
    const { db } = connection;
    this.#connection = connection;
    this.#insert = db.prepare(`
      INSERT INTO sendings (seq, neighbour, way, at, how, reply) VALUES (?, ?, ?, ?, ?, ?)
      ON CONFLICT (seq, neighbour, way) DO UPDATE SET
        at = excluded.at, how = excluded.how, reply = excluded.reply`);
    this.#announced = db.prepare(`
      INSERT OR IGNORE INTO sendings (seq, neighbour, way, at, how)
      VALUES (?, ?, 'kx', 0, 'announced')`);
    this.#of = db.prepare(`SELECT ${COLUMNS} FROM sendings WHERE seq = ?`);
    this.#overKx = db.prepare<[number, string], Seq>(
      "SELECT seq FROM sendings WHERE seq >= ? AND neighbour = ? AND way = 'kx'",
    );
    this.#overKx.pluck();
    this.#latest = db.prepare(
      `SELECT ${COLUMNS} FROM sendings WHERE seq >= ? AND how <> 'announced'
       ORDER BY seq DESC LIMIT ?`,
    );
  }

  /**
   * Stores the rows in one transaction. A later row for the same update, neighbour and way replaces
   * an earlier one.
   */
  note(all: readonly Sending[]): void {
    this.#connection.write(() => {
      for (const { seq, neighbour, way, at, how, reply } of all) {
        this.#insert.run(seq, neighbour, way, at, how, reply.slice(0, REPLY_LENGTH));
      }
    });
  }

  /** Records that a neighbour announced an update over KX. Must be called in a transaction. */
  announced(seq: Seq, neighbour: string): void {
    this.#announced.run(seq, neighbour);
  }

  /** Returns the deliveries of an update, in no particular order. */
  of(seq: Seq): Sending[] {
    return this.#connection.read(() => this.#of.all(seq));
  }

  /** Returns the updates from number `from` on that a peer fetched or announced. */
  overKx(from: number, peer: string): Seq[] {
    return this.#connection.read(() => this.#overKx.all(from, peer));
  }

  /** Returns deliveries of updates from number `from` on, newest updates first, at most `limit`. */
  latest(from: number, limit: number): Sending[] {
    return this.#connection.read(() => this.#latest.all(from, limit));
  }
}
