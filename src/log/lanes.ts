/**
 * How far each mail site has been served: one lane a site, its position in the log and the state
 * of its retries, and beside it the list of what a site refused for good. A lane is saved after
 * each part of a delivery, so that a crash repeats one mail at most.
 *
 * It does not know what a delivery is or when to retry; it stores what delivery passes to it.
 */
import type Database from "better-sqlite3";
import type { Seq } from "../update.js";
import type { Connection } from "./connection.js";

export interface LaneRow {
  /** Everything up to this entry is delivered or given up; 0 before the first. */
  readonly cursor: Seq | 0;
  /** How many mails of the next update are already delivered. */
  readonly part: number;
  /** Failed attempts at the next mail. */
  readonly attempt: number;
  /** When to try again, milliseconds since 1970; 0 when nothing is put off. */
  readonly nextAt: number;
  /** What went wrong last, in words; empty when nothing ever did. */
  readonly lastError: string;
  /** Milliseconds since 1970, 0 for never. */
  readonly lastErrorAt: number;
  /** Milliseconds since 1970, 0 for never. */
  readonly lastSuccessAt: number;
}

/** An update that a site refused for good and that was skipped for it. */
export interface Undelivered {
  readonly site: string;
  readonly seq: Seq;
  /** SMTP reply code. */
  readonly code: number;
  /** The site's words. */
  readonly text: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

type LaneParameters = [string, number, number, number, number, string, number, number];

export class Lanes {
  readonly #connection: Connection;
  readonly #get: Database.Statement<[string], LaneRow>;
  readonly #save: Database.Statement<LaneParameters>;
  readonly #create: Database.Statement<[string]>;
  readonly #record: Database.Statement<[string, number, number, string, number]>;
  readonly #list: Database.Statement<[number], Undelivered>;

  constructor(connection: Connection) {
    const { db } = connection;
    this.#connection = connection;
    this.#get = db.prepare(`
      SELECT cursor, part, attempt, next_at AS nextAt, last_error AS lastError,
             last_error_at AS lastErrorAt, last_success_at AS lastSuccessAt
      FROM lanes WHERE site = ?`);
    this.#save = db.prepare(`
      INSERT INTO lanes (site, cursor, part, attempt, next_at, last_error, last_error_at,
                         last_success_at)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT (site) DO UPDATE SET
        cursor = excluded.cursor, part = excluded.part, attempt = excluded.attempt,
        next_at = excluded.next_at, last_error = excluded.last_error,
        last_error_at = excluded.last_error_at, last_success_at = excluded.last_success_at`);
    this.#create = db.prepare(`
      INSERT OR IGNORE INTO lanes
      SELECT ?, coalesce(max(seq), 0), 0, 0, 0, '', 0, 0 FROM updates`);
    this.#record = db.prepare(`
      INSERT INTO undelivered (site, seq, code, text, at) VALUES (?, ?, ?, ?, ?)
      ON CONFLICT (site, seq) DO UPDATE SET
        code = excluded.code, text = excluded.text, at = excluded.at`);
    this.#list = db.prepare(
      "SELECT site, seq, code, text, at FROM undelivered ORDER BY at DESC, seq DESC LIMIT ?",
    );
  }

  get(site: string): LaneRow | undefined {
    return this.#connection.read(() => this.#get.get(site));
  }

  /** The stored lane, or a new one at the newest entry: a new site gets what comes from now on. */
  open(site: string): LaneRow {
    const stored = this.get(site);
    if (stored !== undefined) return stored;
    const created = this.#connection.write(() => {
      this.#create.run(site);
      return this.#get.get(site);
    });
    if (created === undefined) throw new Error("a lane that was just created is missing");
    return created;
  }

  save(site: string, lane: LaneRow): void {
    const { cursor, part, attempt, nextAt, lastError, lastErrorAt, lastSuccessAt } = lane;
    this.#connection.write(() =>
      this.#save.run(site, cursor, part, attempt, nextAt, lastError, lastErrorAt, lastSuccessAt),
    );
  }

  recordUndelivered(row: Undelivered): void {
    this.#connection.write(() => this.#record.run(row.site, row.seq, row.code, row.text, row.at));
  }

  /** At most `limit` rows, the latest first. */
  undelivered(limit: number): Undelivered[] {
    return this.#connection.read(() => this.#list.all(limit));
  }
}
