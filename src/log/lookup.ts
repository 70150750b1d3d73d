/**
 * Queries of the page and of commands such as `kxgw trace`: the entries of a key or of a mail.
 *
 * Limit: there is no index of Message-IDs, since only this query uses them. It reads the whole log,
 * one second for 1.5 million entries, and must run in a process of its own.
 */
import type Database from "better-sqlite3";
import type { Fingerprint, Seq } from "../update.js";
import type { Connection } from "./connection.js";

export class Lookup {
  readonly #connection: Connection;
  readonly #byFingerprint: Database.Statement<[{ key: Buffer; limit: number }], number>;
  readonly #byMessageId: Database.Statement<[string, number], number>;
  readonly #byMessageIdIn: Database.Statement<[number, number, string, number], number>;
  readonly #byKeyId: Database.Statement<[number, number, Buffer, Buffer, number], number>;
  readonly #messageId: Database.Statement<[number], string | null>;

  constructor(connection: Connection) {
    const { db } = connection;
    this.#connection = connection;
    this.#byFingerprint = db.prepare<[{ key: Buffer; limit: number }], number>(
      // Those of the tail are not in `keys` yet (`gathering.ts`).
      `SELECT seq FROM (
         SELECT seq FROM updates WHERE seq > (SELECT upto FROM totals) AND fingerprint = @key
         UNION ALL SELECT seq FROM keys WHERE fingerprint = @key)
       ORDER BY seq DESC LIMIT @limit`,
    );
    this.#byFingerprint.pluck();
    this.#byMessageId = db.prepare<[string, number], number>(
      "SELECT seq FROM updates WHERE message_id = ? ORDER BY seq DESC LIMIT ?",
    );
    this.#byMessageId.pluck();
    this.#byMessageIdIn = db.prepare<[number, number, string, number], number>(
      `SELECT seq FROM updates WHERE seq BETWEEN ? AND ? AND message_id = ?
       ORDER BY seq DESC LIMIT ?`,
    );
    this.#byMessageIdIn.pluck();
    // Of a fingerprint of 20 octets the key id is the end (version 4), of 32 the beginning.
    this.#byKeyId = db.prepare<[number, number, Buffer, Buffer, number], number>(
      `SELECT seq FROM updates WHERE seq BETWEEN ? AND ?
         AND ((length(fingerprint) = 20 AND substr(fingerprint, -8) = ?)
           OR (length(fingerprint) = 32 AND substr(fingerprint, 1, 8) = ?))
       ORDER BY seq DESC LIMIT ?`,
    );
    this.#byKeyId.pluck();
    this.#messageId = db.prepare<[number], string | null>(
      "SELECT message_id FROM updates WHERE seq = ?",
    );
    this.#messageId.pluck();
  }

  /** Numbers of the entries of a key, the newest first, at most `limit`. */
  byFingerprint(fingerprint: Fingerprint, limit: number): Seq[] {
    const key = Buffer.from(fingerprint, "hex");
    return this.#connection.read(() => this.#byFingerprint.all({ key, limit })) as Seq[];
  }

  /** Numbers of the entries that came with the mail of this Message-ID; reads the whole log. */
  byMessageId(messageId: string, limit: number): Seq[] {
    return this.#connection.read(() => this.#byMessageId.all(messageId, limit)) as Seq[];
  }

  /** The same among the numbers `low` to `high`, of which it reads every entry. */
  byMessageIdIn(messageId: string, low: number, high: number, limit: number): Seq[] {
    return this.#connection.read(() =>
      this.#byMessageIdIn.all(low, high, messageId, limit),
    ) as Seq[];
  }

  /** Entries of keys with this id, 16 digits, among the numbers `low` to `high`; reads them all. */
  byKeyId(keyId: string, low: number, high: number, limit: number): Seq[] {
    const id = Buffer.from(keyId, "hex");
    return this.#connection.read(() => this.#byKeyId.all(low, high, id, id, limit)) as Seq[];
  }

  /** Message-ID of the mail that an entry came with. */
  messageId(seq: Seq): string | undefined {
    return this.#connection.read(() => this.#messageId.get(seq)) ?? undefined;
  }
}
