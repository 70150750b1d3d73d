/**
 * Since when something may be waiting to be fetched from a KX peer: one row a peer that is fetched
 * from at some hours only. Whatever lies above its receive cursor was announced then or later, so a
 * gateway that begins anew knows how much time is left before a body expires.
 *
 * It does not know what waits.
 */
import type Database from "better-sqlite3";
import type { Connection } from "./connection.js";

export class FetchWaits {
  readonly #connection: Connection;
  readonly #get: Database.Statement<[string], number>;
  readonly #set: Database.Statement<[string, number]>;
  readonly #forget: Database.Statement<[string]>;

  constructor(connection: Connection) {
    const { db } = connection;
    this.#connection = connection;
    const get = db.prepare<[string], number>("SELECT since FROM fetch_waits WHERE peer = ?");
    this.#get = get.pluck();
    this.#set = db.prepare(`
      INSERT INTO fetch_waits (peer, since) VALUES (?, ?)
      ON CONFLICT (peer) DO UPDATE SET since = excluded.since`);
    this.#forget = db.prepare("DELETE FROM fetch_waits WHERE peer = ?");
  }

  /** Milliseconds since 1970; undefined when nobody knows. */
  since(peer: string): number | undefined {
    return this.#connection.read(() => this.#get.get(peer));
  }

  setSince(peer: string, since: number): void {
    this.#connection.write(() => this.#set.run(peer, Math.floor(since)));
  }

  forget(peer: string): void {
    this.#connection.write(() => this.#forget.run(peer));
  }
}
