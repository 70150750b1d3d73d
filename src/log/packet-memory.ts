/**
 * The packets that were already sent to all neighbours, by their names (`openpgp/news.ts`). When
 * they come again in a whole merged key they are left out. A name is kept as long as a hash,
 * counted from the last day on which it was seen. The resolution is a day, so that a packet that is
 * seen every minute is written once a day. A name that is seen again is inserted as the last row;
 * so the oldest names are the first rows, and no index by day is needed. Limit: after the clock was
 * set back some names are kept longer.
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

  /** The last day on which the packet was seen; undefined if its name is not kept. */
  lastSeen(name: PacketName): number | undefined {
    return this.#connection.read(() => this.#day.get(name));
  }

  /** Whether all of them are known: an update of such packets has no news. */
  knowsAll(names: readonly PacketName[]): boolean {
    if (names.length === 0) return false;
    return this.#connection.read(() => names.every((name) => this.#day.get(name) !== undefined));
  }

  /** Notes that the packets were seen at `at` (ms since 1970). */
  remember(names: readonly PacketName[], at: number): void {
    const day = dayOf(at);
    this.#connection.write(() => {
      for (const name of names) {
        if ((this.#day.get(name) ?? -1) < day) this.#remember.run(name, day);
      }
    });
  }
}
