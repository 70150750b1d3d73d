/**
 * The dates of the entries, by number. An entry begins a new stretch if its date is in another ten
 * minutes than the date of the entry before it, and only the first entry of a stretch has a row
 * here. Its date is exact; the other dates of the stretch are in the same ten minutes. So entries
 * are found by their dates without an index that each append has to write.
 *
 * A date may be wrong, since it is what the clock said.
 */
import type Database from "better-sqlite3";
import type { Connection } from "./connection.js";
import { STRETCH_MS } from "./schema.js";

/** SQL for the number of the last entry of a stretch: of the row `dates` of a query. */
export const LAST_OF_STRETCH = `coalesce(
  (SELECT min(later.seq) FROM dates AS later WHERE later.seq > dates.seq) - 1,
  ${Number.MAX_SAFE_INTEGER})`;

export class Dates {
  readonly #connection: Connection;
  readonly #note: Database.Statement<[{ seq: number; at: number }]>;
  readonly #between: Database.Statement<[number, number], number>;
  readonly #before: Database.Statement<[number], number>;
  readonly #firstBetween: Database.Statement<[number, number], number>;
  readonly #next: Database.Statement<[number], number>;
  readonly #remove: Database.Statement<[number]>;
  readonly #begin: Database.Statement<[{ seq: number }]>;
  readonly #drop: Database.Statement<[number, number]>;

  constructor(connection: Connection) {
    const { db } = connection;
    this.#connection = connection;
    this.#note = db.prepare(`
      INSERT INTO dates (seq, at) SELECT @seq, @at
      WHERE (SELECT at / ${STRETCH_MS} FROM dates ORDER BY seq DESC LIMIT 1)
        IS NOT CAST(@at AS INTEGER) / ${STRETCH_MS}`);
    this.#between = db.prepare<[number, number], number>(
      "SELECT at FROM dates WHERE at > ? AND at < ? ORDER BY at LIMIT 1",
    );
    this.#between.pluck();
    this.#before = db.prepare<[number], number>(
      "SELECT at FROM dates WHERE at < ? ORDER BY at DESC LIMIT 1",
    );
    this.#before.pluck();
    this.#firstBetween = db.prepare<[number, number], number>(
      "SELECT seq FROM dates WHERE at > ? AND at <= ? ORDER BY at LIMIT 1",
    );
    this.#firstBetween.pluck();
    this.#next = db.prepare<[number], number>(
      "SELECT seq FROM updates WHERE seq > ? ORDER BY seq LIMIT 1",
    );
    this.#next.pluck();
    this.#remove = db.prepare("DELETE FROM dates WHERE seq = ?");
    this.#begin = db.prepare(`
      INSERT INTO dates (seq, at) SELECT seq, received_at FROM updates
      WHERE seq = @seq AND received_at / ${STRETCH_MS} IS NOT (
        SELECT at / ${STRETCH_MS} FROM dates WHERE seq < @seq ORDER BY seq DESC LIMIT 1)`);
    this.#drop = db.prepare(`
      DELETE FROM dates WHERE at > ? AND at < ? AND NOT EXISTS (
        SELECT 1 FROM updates WHERE updates.seq BETWEEN dates.seq AND ${LAST_OF_STRETCH})`);
  }

  /** Notes the date of a new entry. Must be called in the transaction that appends it. */
  note(seq: number, at: number): void {
    this.#note.run({ seq, at });
  }

  /** The earliest date after `low` and before `high`. */
  between(low: number, high: number): number | undefined {
    return this.#connection.read(() => this.#between.get(low, high));
  }

  /** The latest date before `at`. */
  before(at: number): number | undefined {
    return this.#connection.read(() => this.#before.get(at));
  }

  /** The number of the entry with the earliest date after `low` and not after `high`. */
  firstBetween(low: number, high: number): number | undefined {
    return this.#connection.read(() => this.#firstBetween.get(low, high));
  }

  /** Notes the date of an entry again, since it was changed. Must be called in a transaction. */
  changed(seq: number): void {
    for (const one of [seq, this.#next.get(seq)]) {
      if (one === undefined) continue;
      this.#remove.run(one);
      this.#begin.run({ seq: one });
    }
  }

  /**
   * Deletes the rows after the date `low` and before `high` whose entries are gone. Must be called
   * in a transaction.
   */
  drop(low: number, high: number): void {
    this.#drop.run(low, high);
  }
}
