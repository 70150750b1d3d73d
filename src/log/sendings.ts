/**
 * When an update went to whom: what `kxgw trace` shows, and nothing that a delivery depends on; the
 * lanes' cursors say what is still to be done. Written in batches by who counts the reports, and
 * forgotten with the entries. It does not know what a delivery is.
 */
import type Database from "better-sqlite3";
import type { Seq } from "../update.js";
import type { Connection } from "./connection.js";

/** An update that a neighbour took. */
export interface Sending {
  readonly seq: Seq;
  /** Its name in the config, or `[local]`. */
  readonly neighbour: string;
  /** "kx" when it fetched the update, "lane" when it was brought to it. */
  readonly way: "kx" | "lane";
  /** Milliseconds since 1970; 0 where the time is not known. */
  readonly at: number;
  /**
   * How that is known: "relayed", "taken", "spooled", "collected" or "exited" as `Proof` of
   * `delivery/relay.ts` says, "fetched" or "announced" over KX; empty where an
   * earlier release did not note it.
   */
  readonly how: string;
  /** What the other side said, at most `REPLY_LENGTH` characters. */
  readonly reply: string;
}

/** More than a relay says with its queue id, or a keyserver of one key. */
export const REPLY_LENGTH = 300;

const COLUMNS = "seq, neighbour, way, at, how, reply";

export class Sendings {
  readonly #connection: Connection;
  readonly #insert: Database.Statement<[number, string, string, number, string, string]>;
  readonly #announced: Database.Statement<[number, string]>;
  readonly #of: Database.Statement<[number], Sending>;
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
    this.#latest = db.prepare(
      `SELECT ${COLUMNS} FROM sendings WHERE seq >= ? AND how <> 'announced'
       ORDER BY seq DESC LIMIT ?`,
    );
  }

  /** Keeps them, in one transaction; of two for one neighbour and way the later one stays. */
  note(all: readonly Sending[]): void {
    this.#connection.write(() => {
      for (const { seq, neighbour, way, at, how, reply } of all) {
        this.#insert.run(seq, neighbour, way, at, how, reply.slice(0, REPLY_LENGTH));
      }
    });
  }

  /** A neighbour says over KX that it has an update. Belongs into a transaction. */
  announced(seq: Seq, neighbour: string): void {
    this.#announced.run(seq, neighbour);
  }

  /** To whom an update went, in no order. */
  of(seq: Seq): Sending[] {
    return this.#connection.read(() => this.#of.all(seq));
  }

  /** The deliveries of updates from number `from` on, the newest updates first, at most `limit`. */
  latest(from: number, limit: number): Sending[] {
    return this.#connection.read(() => this.#latest.all(from, limit));
  }
}
