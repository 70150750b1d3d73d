/**
 * What the gateway remembers beside the log itself: a user id for each key, so that an update
 * without one can be completed for old mail servers, and the hashes that policy refused, so that
 * they are not asked for again.
 *
 * It does not know policy or OpenPGP. Limit: an identity is what its sender says it is; a forged
 * one with a signature time in the future stays until nothing is heard of the key for a month.
 */
import type Database from "better-sqlite3";
import type { Fingerprint, Identity, UpdateHash } from "../update.js";
import type { Connection } from "./connection.js";

export class Identities {
  readonly #connection: Connection;
  readonly #get: Database.Statement<[Buffer], { packets: Buffer; signedAt: number }>;
  readonly #remember: Database.Statement<[Buffer, Uint8Array, number, number]>;

  constructor(connection: Connection) {
    const { db } = connection;
    this.#connection = connection;
    this.#get = db.prepare(
      "SELECT packets, signed_at AS signedAt FROM identities WHERE fingerprint = ?",
    );
    this.#remember = db.prepare(`
      INSERT INTO identities (fingerprint, packets, signed_at, remembered_at) VALUES (?, ?, ?, ?)
      ON CONFLICT (fingerprint) DO UPDATE SET
        packets = iif(excluded.signed_at > signed_at, excluded.packets, packets),
        signed_at = max(signed_at, excluded.signed_at),
        remembered_at = max(remembered_at, excluded.remembered_at)`);
  }

  get(fingerprint: Fingerprint): Identity | undefined {
    const row = this.#connection.read(() => this.#get.get(Buffer.from(fingerprint, "hex")));
    return row && { packets: Uint8Array.from(row.packets), signedAt: row.signedAt };
  }

  /** Keeps the identity with the newest signature, and from `at` (ms) on counts as heard of. */
  remember(fingerprint: Fingerprint, identity: Identity, at: number): void {
    const key = Buffer.from(fingerprint, "hex");
    this.#connection.write(() => this.#remember.run(key, identity.packets, identity.signedAt, at));
  }
}

export class Refusals {
  readonly #connection: Connection;
  readonly #add: Database.Statement<[Buffer, string, number]>;
  readonly #holds: Database.Statement<[Buffer, number], number>;

  constructor(connection: Connection) {
    const { db } = connection;
    this.#connection = connection;
    this.#add = db.prepare(`
      INSERT INTO refusals (hash, reason, until) VALUES (?, ?, ?)
      ON CONFLICT (hash) DO UPDATE SET reason = excluded.reason, until = excluded.until`);
    this.#holds = db.prepare("SELECT 1 FROM refusals WHERE hash = ? AND until > ?");
    this.#holds.pluck();
  }

  add(hash: UpdateHash, reason: string, until: number): void {
    this.#connection.write(() => this.#add.run(Buffer.from(hash, "hex"), reason, until));
  }

  holds(hash: UpdateHash, now: number): boolean {
    const key = Buffer.from(hash, "hex");
    return this.#connection.read(() => this.#holds.get(key, now)) !== undefined;
  }
}
