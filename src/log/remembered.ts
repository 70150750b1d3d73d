/**
 * Two memories beside the entries. A skeleton per key completes an update for servers that need
 * more packets than it contains. The hashes of updates that policy refused are not fetched again.
 *
 * A skeleton is kept as long as a hash, counted from the day of the last update of its key. An
 * update that does not change the skeleton is noted once a day.
 */
import type Database from "better-sqlite3";
import { grown } from "../openpgp/skeleton.js";
import type { AnnouncedName, Fingerprint } from "../update.js";
import type { Connection } from "./connection.js";
import { dayOf } from "./packet-memory.js";
import { shortName, shortNames } from "./variants.js";

export class Skeletons {
  readonly #connection: Connection;
  readonly #onGrown: (fingerprint: Fingerprint, at: number) => void;
  readonly #get: Database.Statement<[Buffer], { packets: Buffer; day: number }>;
  readonly #put: Database.Statement<[Buffer, Uint8Array, number]>;

  /** `onGrown` is called when more of a key is known, in the transaction that stores it. */
  constructor(
    connection: Connection,
    onGrown: (fingerprint: Fingerprint, at: number) => void = () => {},
  ) {
    const { db } = connection;
    this.#connection = connection;
    this.#onGrown = onGrown;
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
   * Adds the self-signed packets of an update (`Update.selfSigned`) that was received at `at` (ms
   * since 1970) to the skeleton, and notes the day. Returns whether anything was written.
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
      if (row?.packets.equals(packets) !== true) this.#onGrown(fingerprint, at);
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

  add(refused: AnnouncedName, reason: string, until: number): void {
    this.#connection.write(() => {
      for (const name of shortNames(refused)) this.#add.run(name, reason, until);
    });
  }

  holds(name: AnnouncedName, now: number): boolean {
    const key = shortName(name);
    return this.#connection.read(() => this.#holds.get(key, now)) !== undefined;
  }
}
