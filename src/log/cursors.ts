/**
 * How far the logs of the KX peers have been read, and since when an update may wait there. Both
 * tables have one row per peer and outlive the process. The receive cursor is the wire number up to
 * which every announcement is resolved, with the hash that the peer announced under that number
 * (thesis, appendix A). The hash distinguishes this number from the same number after a wrap or a
 * reset, and so does the name of the log, which a peer of KX/1.1 tells. The session, not this
 * store, ensures that a cursor only moves forward.
 */
import type Database from "better-sqlite3";
import type { LogName, UpdateHash } from "../update.js";
import type { Connection } from "./connection.js";

export interface ReceiveCursor {
  /** The peer's 31-bit number on the wire. */
  readonly number: number;
  /** Hash of the update that the peer has under that number. */
  readonly hash: UpdateHash;
  /** The name of the peer's log, if the peer told it. */
  readonly log?: LogName | undefined;
}

/** A cursor to be stored, or to be forgotten. */
export interface CursorMove {
  readonly peer: string;
  readonly at: ReceiveCursor | undefined;
}

export class ReceiveCursors {
  readonly #connection: Connection;
  readonly #get: Database.Statement<[string], { number: number; hash: Buffer; log: Buffer | null }>;
  readonly #set: Database.Statement<[string, number, Buffer, Buffer | null]>;
  readonly #forget: Database.Statement<[string]>;
  readonly #forgetAll: Database.Statement<[]>;

  constructor(connection: Connection) {
    const { db } = connection;
    this.#connection = connection;
    this.#get = db.prepare("SELECT number, hash, log FROM receive_cursors WHERE peer = ?");
    this.#set = db.prepare(`
      INSERT INTO receive_cursors (peer, number, hash, log) VALUES (?, ?, ?, ?)
      ON CONFLICT (peer) DO UPDATE SET
        number = excluded.number, hash = excluded.hash, log = excluded.log`);
    this.#forget = db.prepare("DELETE FROM receive_cursors WHERE peer = ?");
    this.#forgetAll = db.prepare("DELETE FROM receive_cursors");
  }

  get(peer: string): ReceiveCursor | undefined {
    const row = this.#connection.read(() => this.#get.get(peer));
    if (row === undefined) return undefined;
    const { number, hash, log } = row;
    const at = { number, hash: hash.toString("hex") as UpdateHash };
    return log === null ? at : { ...at, log: log.toString("hex") as LogName };
  }

  set(peer: string, at: ReceiveCursor): void {
    const log = at.log === undefined ? null : Buffer.from(at.log, "hex");
    this.#connection.write(() => this.#set.run(peer, at.number, Buffer.from(at.hash, "hex"), log));
  }

  forget(peer: string): void {
    this.#connection.write(() => this.#forget.run(peer));
  }

  /** All peers are listed from their oldest announcement when they connect. */
  forgetAll(): void {
    this.#connection.write(() => this.#forgetAll.run());
  }
}

/**
 * Since when an update may wait at a peer that is fetched from at some hours only. Everything above
 * the receive cursor of the peer was announced at that time or later. After a restart the gateway
 * knows from it how much time is left before the peer expires the body.
 */
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

  /** Milliseconds since 1970; undefined when it is unknown. */
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
