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
   * `delivery/relay.ts`, or as in `ShownHow`. Empty if an earlier release did not record it.
   */
  readonly how: string;
  /** The reply of the neighbour, at most `REPLY_LENGTH` characters. */
  readonly reply: string;
}

/**
 * How a peer has shown over KX that it has an update: it announced it, it fetched it, or a receipt
 * of KX/1.1 covers it.
 */
export type ShownHow = "announced" | "fetched" | "settled";

/** Longer than a keyserver's reply about one key, and than a relay's replies to a dozen mails. */
const REPLY_LENGTH = 1000;

const COLUMNS = "seq, neighbour, way, at, how, reply";

export class Sendings {
  readonly #connection: Connection;
  readonly #insert: Database.Statement<[number, string, string, number, string, string]>;
  readonly #shown: Database.Statement<[number, string, ShownHow]>;
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
    this.#shown = db.prepare(`
      INSERT OR IGNORE INTO sendings (seq, neighbour, way, at, how) VALUES (?, ?, 'kx', 0, ?)`);
    this.#of = db.prepare(`SELECT ${COLUMNS} FROM sendings WHERE seq = ?`);
    this.#overKx = db.prepare<[number, string], Seq>(
      "SELECT seq FROM sendings WHERE seq >= ? AND neighbour = ? AND way = 'kx'",
    );
    this.#overKx.pluck();
    this.#latest = db.prepare(
      `SELECT ${COLUMNS} FROM sendings WHERE seq >= ? AND how NOT IN ('announced', 'settled')
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

  /**
   * Records that a neighbour has shown over KX that it has an update. Must be called in a
   * transaction.
   */
  shown(seq: Seq, neighbour: string, how: ShownHow): void {
    this.#shown.run(seq, neighbour, how);
  }

  /** Returns the deliveries of an update, in no particular order. */
  of(seq: Seq): Sending[] {
    return this.#connection.read(() => this.#of.all(seq));
  }

  /** Returns the updates from number `from` on that a peer has shown to have over KX. */
  overKx(from: number, peer: string): Seq[] {
    return this.#connection.read(() => this.#overKx.all(from, peer));
  }

  /** Returns deliveries of updates from number `from` on, newest updates first, at most `limit`. */
  latest(from: number, limit: number): Sending[] {
    return this.#connection.read(() => this.#latest.all(from, limit));
  }
}
