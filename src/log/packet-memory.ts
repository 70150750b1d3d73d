/**
 * The packets that were already sent to all neighbours, by their names (`openpgp/news.ts`). When
 * they come again in a whole key they are left out. A name is kept as long as a hash, counted from
 * the last day on which it was seen; a packet that is seen every minute is written once a day.
 *
 * Names are random, so each would cost a page of the file. They are gathered in a table in memory,
 * which each look-up reads, and written in their order when there are `NAMES_GATHERED`. After a
 * kill `update-log.ts` makes the names of the newest entries from their bodies again; that known
 * packets were seen once more is lost. Limit: after a clock was set back some are kept longer.
 */
import type Database from "better-sqlite3";
import type { PacketName } from "../update.js";
import type { Connection } from "./connection.js";

export const DAY_MS = 24 * 60 * 60_000;

/** Names that are written at once. */
export const NAMES_GATHERED = 1024;

/** The day of a time in ms since 1970. */
export function dayOf(at: number): number {
  return Math.floor(at / DAY_MS);
}

/** The last day on which each of some packets was seen. */
export type Days = readonly (number | undefined)[];

interface Named {
  readonly name: Buffer;
  readonly day: number;
}

export class PacketMemory {
  readonly #connection: Connection;
  readonly #day: Database.Statement<[PacketName], number | null>;
  readonly #gather: Database.Statement<[PacketName, number]>;
  readonly #write: Database.Statement<[]>;
  readonly #empty: Database.Statement<[]>;
  readonly #wrong: Database.Statement<[Buffer, number, number, number], Named>;
  readonly #end: Database.Statement<[Buffer, number], Buffer>;
  readonly #drop: Database.Statement<[Buffer]>;
  readonly #redate: Database.Statement<[number, Buffer]>;
  /** Number of gathered names. */
  #gathered = 0;
  /** Position in the walk over all names, and the day for which the last walk has ended. */
  #walk: Buffer = Buffer.alloc(0);
  #walkedFor = Number.NEGATIVE_INFINITY;

  constructor(connection: Connection) {
    const { db } = connection;
    this.#connection = connection;
    db.exec(`
      CREATE TEMP TABLE IF NOT EXISTS gathered_packets (
        name BLOB PRIMARY KEY, day INTEGER NOT NULL) STRICT, WITHOUT ROWID`);
    const day = db.prepare<[PacketName], number | null>(`
      SELECT coalesce((SELECT day FROM temp.gathered_packets WHERE name = asked),
                      (SELECT day FROM main.packets WHERE name = asked))
      FROM (SELECT ? AS asked)`);
    this.#day = day.pluck();
    this.#gather = db.prepare("INSERT OR REPLACE INTO temp.gathered_packets VALUES (?, ?)");
    this.#write = db.prepare(
      "INSERT OR REPLACE INTO main.packets SELECT name, day FROM temp.gathered_packets",
    );
    this.#empty = db.prepare("DELETE FROM temp.gathered_packets");
    // SQLite looks at the days: to fetch each name would take ten times as long.
    this.#wrong = db.prepare(`
      SELECT name, day FROM (
        SELECT name, day FROM main.packets WHERE name > ? ORDER BY name LIMIT ?)
      WHERE day < ? OR day > ?`);
    const end = "SELECT name FROM main.packets WHERE name > ? ORDER BY name LIMIT 1 OFFSET ?";
    this.#end = db.prepare<[Buffer, number], Buffer>(end).pluck();
    this.#drop = db.prepare("DELETE FROM main.packets WHERE name = ?");
    this.#redate = db.prepare("UPDATE main.packets SET day = ? WHERE name = ?");
  }

  /** The last day on which the packet was seen; undefined if its name is not kept. */
  lastSeen(name: PacketName): number | undefined {
    return this.#connection.read(() => this.#lastSeen(name));
  }

  #lastSeen(name: PacketName): number | undefined {
    return this.#day.get(name) ?? undefined;
  }

  /** Whether all of them are known: an update of such packets has no news. */
  knowsAll(names: readonly PacketName[], days: Days = this.daysOf(names)): boolean {
    return names.length > 0 && days.every((day) => day !== undefined);
  }

  /** The last day on which each of the packets was seen; undefined for one that is not known. */
  daysOf(names: readonly PacketName[]): Days {
    return this.#connection.read(() => names.map((name) => this.#lastSeen(name)));
  }

  /**
   * Notes that the packets were seen at `at` (ms since 1970). `days` is what `daysOf` has just said
   * of them.
   */
  remember(names: readonly PacketName[], at: number, days: Days = this.daysOf(names)): void {
    const day = dayOf(at);
    const fresh = names.filter((_, index) => (days[index] ?? -1) < day);
    if (fresh.length === 0) return;
    this.#connection.write(() => {
      for (const name of fresh) this.#gather.run(name, day);
      this.#setGathered(this.#gathered + fresh.length);
      if (this.#gathered >= NAMES_GATHERED) this.settle();
    });
  }

  /** Writes the gathered names. */
  settle(): void {
    if (this.#gathered === 0) return;
    this.#connection.write(() => {
      this.#write.run();
      this.#empty.run();
      this.#setGathered(0);
    });
  }

  #setGathered(count: number): void {
    const before = this.#gathered;
    this.#connection.onRollback(() => {
      this.#gathered = before;
    });
    this.#gathered = count;
  }

  /**
   * Deletes the names last seen before the day `due`, and sets days after `tomorrow` to the day
   * before it: a wrong clock wrote them. The walk over all names is in the order of the names, once
   * for each `due`, at most `limit` names in a call. Returns whether there are more. Must be called
   * in a transaction.
   */
  expire(due: number, tomorrow: number, limit: number): boolean {
    if (this.#walkedFor === due) return false;
    if (this.#walk.length === 0) this.settle();
    const end = this.#end.get(this.#walk, limit - 1);
    for (const { name, day } of this.#wrong.all(this.#walk, limit, due, tomorrow)) {
      if (day < due) this.#drop.run(name);
      else this.#redate.run(tomorrow - 1, name);
    }
    const more = end !== undefined;
    const [walk, walkedFor] = [this.#walk, this.#walkedFor];
    this.#connection.onRollback(() => {
      this.#walk = walk;
      this.#walkedFor = walkedFor;
    });
    this.#walk = end ?? Buffer.alloc(0);
    if (!more) this.#walkedFor = due;
    return more;
  }
}
