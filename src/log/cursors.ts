/**
 * How far we have read the logs of our KX peers: one row a peer, the wire number up to which
 * everything is resolved and the hash that stood there (thesis, appendix A). The hash tells a
 * peer's number that we know from the same number after a wrap or a reset.
 *
 * It does not know whether a cursor moves forward; that rule is the session's.
 */
import type Database from "better-sqlite3";
import type { UpdateHash } from "../update.js";
import type { Connection } from "./connection.js";

export interface ReceiveCursor {
  /** The peer's 31-bit number on the wire. */
  readonly number: number;
  /** Hash of the update that the peer has under that number. */
  readonly hash: UpdateHash;
}

/** A cursor to be stored, or to be forgotten. */
export interface CursorMove {
  readonly peer: string;
  readonly at: ReceiveCursor | undefined;
}

export class ReceiveCursors {
  readonly #connection: Connection;
  readonly #get: Database.Statement<[string], { number: number; hash: Buffer }>;
  readonly #set: Database.Statement<[string, number, Buffer]>;
  readonly #forget: Database.Statement<[string]>;

  constructor(connection: Connection) {
    const { db } = connection;
    this.#connection = connection;
    this.#get = db.prepare("SELECT number, hash FROM receive_cursors WHERE peer = ?");
    this.#set = db.prepare(`
      INSERT INTO receive_cursors (peer, number, hash) VALUES (?, ?, ?)
      ON CONFLICT (peer) DO UPDATE SET number = excluded.number, hash = excluded.hash`);
    this.#forget = db.prepare("DELETE FROM receive_cursors WHERE peer = ?");
  }

  get(peer: string): ReceiveCursor | undefined {
    const row = this.#connection.read(() => this.#get.get(peer));
    return row && { number: row.number, hash: row.hash.toString("hex") as UpdateHash };
  }

  set(peer: string, at: ReceiveCursor): void {
    this.#connection.write(() => this.#set.run(peer, at.number, Buffer.from(at.hash, "hex")));
  }

  forget(peer: string): void {
    this.#connection.write(() => this.#forget.run(peer));
  }
}
