/**
 * Questions that only a person asks of the log: which entries a key has, which a mail brought.
 * Apart from the log's own statements, because no door needs them.
 *
 * Limit: there is no index of Message-IDs, since nothing but this asks for them; that question
 * reads the whole log, a second for 1.5 million entries, and belongs into a process of its own.
 */
import type Database from "better-sqlite3";
import type { Fingerprint, Seq } from "../update.js";
import type { Connection } from "./connection.js";

export class Lookup {
  readonly #connection: Connection;
  readonly #byFingerprint: Database.Statement<[Buffer, number], number>;
  readonly #byMessageId: Database.Statement<[string, number], number>;
  readonly #messageId: Database.Statement<[number], string | null>;

  constructor(connection: Connection) {
    const { db } = connection;
    this.#connection = connection;
    this.#byFingerprint = db.prepare<[Buffer, number], number>(
      "SELECT seq FROM updates WHERE fingerprint = ? ORDER BY seq DESC LIMIT ?",
    );
    this.#byFingerprint.pluck();
    this.#byMessageId = db.prepare<[string, number], number>(
      "SELECT seq FROM updates WHERE message_id = ? ORDER BY seq DESC LIMIT ?",
    );
    this.#byMessageId.pluck();
    this.#messageId = db.prepare<[number], string | null>(
      "SELECT message_id FROM updates WHERE seq = ?",
    );
    this.#messageId.pluck();
  }

  /** Numbers of the entries of a key, the newest first, at most `limit`. */
  byFingerprint(fingerprint: Fingerprint, limit: number): Seq[] {
    const key = Buffer.from(fingerprint, "hex");
    return this.#connection.read(() => this.#byFingerprint.all(key, limit)) as Seq[];
  }

  /** Numbers of the entries that the mail of that Message-ID brought; reads the whole log. */
  byMessageId(messageId: string, limit: number): Seq[] {
    return this.#connection.read(() => this.#byMessageId.all(messageId, limit)) as Seq[];
  }

  /** Message-ID of the mail that brought an entry. */
  messageId(seq: Seq): string | undefined {
    return this.#connection.read(() => this.#messageId.get(seq)) ?? undefined;
  }
}
