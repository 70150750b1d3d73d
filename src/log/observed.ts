/**
 * Counts what would have been sent in observe mode: the updates, mails and bytes for each
 * neighbour, and the start of the count. Counts survive a restart. A count starts again when the
 * gateway returns to observe mode after it has sent. The sent journal writes the counts in batches,
 * so that a kill loses the last seconds. There is one row for each neighbour and way, so the
 * configuration limits their number.
 */
import type Database from "better-sqlite3";
import type { Connection } from "./connection.js";

export interface Observed {
  /** The neighbour's name in the configuration, or `[local]`. */
  readonly neighbour: string;
  /**
   * "lane" for mail and the local keyserver, "kx" for updates that a peer would have been offered.
   */
  readonly way: "lane" | "kx";
  readonly updates: number;
  /** 0 over KX. */
  readonly mails: number;
  readonly bytes: number;
  /** Numbers of the first and the last update. */
  readonly first: number;
  readonly last: number;
  /** Times of the first and the last update, milliseconds since 1970. */
  readonly since: number;
  readonly at: number;
}

type Values = [string, string, number, number, number, number, number, number, number];

export class ObservedTotals {
  readonly #connection: Connection;
  readonly #add: Database.Statement<Values>;
  readonly #end: Database.Statement<[]>;
  readonly #all: Database.Statement<[], Observed>;

  constructor(connection: Connection) {
    const { db } = connection;
    this.#connection = connection;
    const sum = (column: string) => `iif(ended, 0, ${column}) + excluded.${column}`;
    const keep = (column: string) => `iif(ended, excluded.${column}, ${column})`;
    this.#add = db.prepare(`
      INSERT INTO observed (neighbour, way, updates, mails, bytes, first, last, since, at)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT (neighbour, way) DO UPDATE SET
        updates = ${sum("updates")}, mails = ${sum("mails")}, bytes = ${sum("bytes")},
        first = ${keep("first")}, since = ${keep("since")},
        last = excluded.last, at = excluded.at, ended = 0`);
    this.#end = db.prepare("UPDATE observed SET ended = 1 WHERE ended = 0");
    this.#all = db.prepare(`
      SELECT neighbour, way, updates, mails, bytes, first, last, since, at FROM observed
      ORDER BY neighbour, way`);
  }

  /** Adds to the counts, in one transaction. */
  add(all: readonly Observed[]): void {
    this.#connection.write(() => {
      for (const { neighbour, way, updates, mails, bytes, first, last, since, at } of all) {
        this.#add.run(neighbour, way, updates, mails, bytes, first, last, since, at);
      }
    });
  }

  /** Ends the counts because the gateway sends now. Later observations are counted from zero. */
  end(): void {
    if (this.all().length > 0) this.#connection.write(() => this.#end.run());
  }

  all(): Observed[] {
    return this.#connection.read(() => this.#all.all());
  }
}
