/**
 * What the gateway remembers beside the log itself: the skeleton of each key, so that an update can
 * be completed for servers that need more than it holds, and the hashes that policy refused, so
 * that they are not asked for again.
 *
 * A skeleton is kept in days, from the last day on which an update of its key came, as long as
 * hashes are; what changes nothing is written once a day.
 */
import type Database from "better-sqlite3";
import { grown } from "../openpgp/skeleton.js";
import type { Fingerprint, UpdateHash } from "../update.js";
import type { Connection } from "./connection.js";
import { dayOf } from "./packet-memory.js";

export class Skeletons {
  readonly #connection: Connection;
  readonly #get: Database.Statement<[Buffer], { packets: Buffer; day: number }>;
  readonly #put: Database.Statement<[Buffer, Uint8Array, number]>;

  constructor(connection: Connection) {
    const { db } = connection;
    this.#connection = connection;
    this.#get = db.prepare("SELECT packets, day FROM skeletons WHERE fingerprint = ?");
    this.#put = db.prepare(`
      INSERT INTO skeletons (fingerprint, packets, day) VALUES (?, ?, ?)
      ON CONFLICT (fingerprint) DO UPDATE SET packets = excluded.packets, day = excluded.day`);
  }

  get(fingerprint: Fingerprint): Uint8Array | undefined {
    const row = this.#connection.read(() => this.#get.get(Buffer.from(fingerprint, "hex")));
    return row && Uint8Array.from(row.packets);
  }

  /**
   * Learns what an update that came at `at` (ms) says of its key, and counts the key as heard of;
   * `selfSigned` is that of `Update`. Returns whether something was written.
   */
  remember(fingerprint: Fingerprint, selfSigned: Uint8Array | undefined, at: number): boolean {
    const key = Buffer.from(fingerprint, "hex");
    return this.#connection.write(() => {
      const row = this.#get.get(key);
      const packets = selfSigned === undefined ? row?.packets : grown(row?.packets, selfSigned, at);
      if (packets === undefined || packets.length === 0) return false;
      const day = Math.max(row?.day ?? 0, dayOf(at));
      if (row?.day === day && row.packets.equals(packets)) return false;
      this.#put.run(key, packets, day);
      return true;
    });
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
