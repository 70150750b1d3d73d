/**
 * Stores the counters of events, so that they survive a restart: one row for each event, neighbour,
 * reason and way, and one for each clock hour in which it counted. `status/counter-journal.ts`
 * writes them in batches; no update waits for it. The events are a closed set and the neighbours
 * are those of the configuration, which limits the number of rows. Hours are deleted after a month.
 */
import type Database from "better-sqlite3";
import type { Connection } from "./connection.js";

/** One counter. `neighbour`, `reason` and `via` are empty where the event has none. */
export interface CounterRow {
  readonly event: string;
  readonly neighbour: string;
  readonly reason: string;
  readonly via: string;
  readonly count: number;
  readonly bytes: number;
  /** When it counted first and last, milliseconds since 1970; 0 if that is not known. */
  readonly since: number;
  readonly lastAt: number;
}

/** What a counter counted in one clock hour; `hour` in hours since 1970. */
export interface CounterHour {
  readonly hour: number;
  readonly count: number;
  readonly bytes: number;
}

/** A counter with its hours, or with those of them that changed. */
export interface CounterState {
  readonly row: CounterRow;
  readonly hours: readonly CounterHour[];
}

type Values = [string, string, string, string, number, number, number, number];

export class CounterRows {
  readonly #connection: Connection;
  readonly #save: Database.Statement<Values, number>;
  readonly #saveHour: Database.Statement<[number, number, number, number]>;
  readonly #expire: Database.Statement<[number]>;
  readonly #all: Database.Statement<[number], CounterRow & { readonly id: number }>;
  readonly #hours: Database.Statement<[number, number], CounterHour & { readonly counter: number }>;

  constructor(connection: Connection) {
    const { db } = connection;
    this.#connection = connection;
    this.#save = db.prepare<Values, number>(`
      INSERT INTO counters (event, neighbour, reason, via, count, bytes, since, last_at)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT (event, neighbour, reason, via) DO UPDATE SET
        count = excluded.count, bytes = excluded.bytes, since = excluded.since,
        last_at = excluded.last_at
      RETURNING id`);
    this.#save.pluck();
    this.#saveHour = db.prepare(`
      INSERT INTO counter_hours (counter, hour, count, bytes) VALUES (?, ?, ?, ?)
      ON CONFLICT (counter, hour) DO UPDATE SET count = excluded.count, bytes = excluded.bytes`);
    this.#expire = db.prepare("DELETE FROM counter_hours WHERE hour < ?");
    this.#all = db.prepare(`
      SELECT id, event, neighbour, reason, via, count, bytes, since, last_at AS lastAt
      FROM counters ORDER BY last_at DESC LIMIT ?`);
    this.#hours = db.prepare(`
      SELECT counter, hour, count, bytes FROM counter_hours WHERE hour >= ? LIMIT ?`);
  }

  /** Stores counters and the hours that are given, and deletes hours before `oldest`. */
  save(all: readonly CounterState[], oldest?: number): void {
    this.#connection.write(() => {
      for (const { row, hours } of all) {
        const { event, neighbour, reason, via, count, bytes, since, lastAt } = row;
        const id = this.#save.get(event, neighbour, reason, via, count, bytes, since, lastAt);
        if (id === undefined) throw new Error("a counter that was just stored is missing");
        for (const one of hours) this.#saveHour.run(id, one.hour, one.count, one.bytes);
      }
      if (oldest !== undefined) this.#expire.run(oldest);
    });
  }

  /** The counters that counted last, at most `limit`, with their hours from `oldest` on. */
  all(limit: number, oldest: number): CounterState[] {
    return this.#connection.read(() => {
      const hours = new Map<number, CounterHour[]>();
      for (const { counter, ...hour } of this.#hours.all(oldest, limit * 1000)) {
        const known = hours.get(counter);
        if (known === undefined) hours.set(counter, [hour]);
        else known.push(hour);
      }
      return this.#all.all(limit).map(({ id, ...row }) => ({ row, hours: hours.get(id) ?? [] }));
    });
  }
}
