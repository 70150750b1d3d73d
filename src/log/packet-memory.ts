/**
 * Which packets everybody was told of, by their names (`openpgp/news.ts`): what comes again in a
 * whole merged key is no news. A name is remembered in days, from the last day on which it was
 * seen, as long as hashes are; to the day, so that what is seen every minute is written once a day.
 * A name that is seen again is written anew, behind all others, so that the oldest are the first
 * rows and no index by day is needed. A clock that goes back delays the end of a few.
 */
import type Database from "better-sqlite3";
import type { PacketName } from "../update.js";
import type { Connection } from "./connection.js";

export const DAY_MS = 24 * 60 * 60_000;

/** The day of a time in ms since 1970. */
export function dayOf(at: number): number {
  return Math.floor(at / DAY_MS);
}

export class PacketMemory {
  readonly #connection: Connection;
  readonly #day: Database.Statement<[PacketName], number>;
  readonly #remember: Database.Statement<[PacketName, number]>;

  constructor(connection: Connection) {
    const { db } = connection;
    this.#connection = connection;
    this.#day = db.prepare<[PacketName], number>("SELECT day FROM packets WHERE name = ?").pluck();
    this.#remember = db.prepare("INSERT OR REPLACE INTO packets (name, day) VALUES (?, ?)");
  }

  /** The last day on which the packet was seen, undefined when it is not remembered. */
  lastSeen(name: PacketName): number | undefined {
    return this.#connection.read(() => this.#day.get(name));
  }

  /** Remembers the packets from `at` (ms since 1970) on. */
  remember(names: readonly PacketName[], at: number): void {
    const day = dayOf(at);
    this.#connection.write(() => {
      for (const name of names) {
        if ((this.#day.get(name) ?? -1) < day) this.#remember.run(name, day);
      }
    });
  }
}
