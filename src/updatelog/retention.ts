/**
 * What the log forgets, and how much it holds. Bodies go first (thesis: at least 72 h),
 * announcements and hashes much later, for an update that is forgotten as soon as it expires comes
 * back from the first peer with a slower clock. The newest entry and its body always stay, so a
 * greeting has a number to show even after a silent month.
 *
 * Works in chunks and never over the whole table; the totals are kept beside the rows, in the same
 * transactions, because counting 1.5 million of them takes a second. It does not know the clock:
 * whoever calls must not hand in a time that it distrusts. Limit: freed pages are used again, but
 * the file does not shrink.
 */
import type Database from "better-sqlite3";
import type { Connection } from "./connection.js";

export interface RetentionLimits {
  /** Age at which a body goes, in milliseconds. */
  readonly retainMs: number;
  /** Age at which an announcement, a hash, an identity or an undelivered row goes. */
  readonly rememberMs: number;
}

export interface Expired {
  readonly bodies: number;
  readonly entries: number;
  /** Whether a full chunk was found, so that there may be more to do at once. */
  readonly more: boolean;
}

export interface Totals {
  readonly entries: number;
  readonly bodies: number;
  readonly bodyBytes: number;
}

export class Retention {
  readonly #connection: Connection;
  readonly #totals: Database.Statement<[], Totals>;
  readonly #count: Database.Statement<[number, number, number]>;
  readonly #bodies: Database.Statement<[number, number], number>;
  readonly #entries: Database.Statement<[number, number]>;
  readonly #identities: Database.Statement<[number, number]>;
  readonly #undelivered: Database.Statement<[number, number]>;
  readonly #refusals: Database.Statement<[number, number]>;

  constructor(connection: Connection) {
    const { db } = connection;
    this.#connection = connection;
    this.#totals = db.prepare("SELECT entries, bodies, body_bytes AS bodyBytes FROM totals");
    this.#count = db.prepare(
      "UPDATE totals SET entries = entries + ?, bodies = bodies + ?, body_bytes = body_bytes + ?",
    );
    this.#bodies = db.prepare(`
      DELETE FROM bodies WHERE seq IN (
        SELECT seq FROM bodies
        WHERE received_at <= ? AND seq <> (SELECT max(seq) FROM updates)
        ORDER BY received_at, seq LIMIT ?)
      RETURNING length(body)`);
    this.#bodies.pluck();
    this.#entries = db.prepare(`
      DELETE FROM updates WHERE seq IN (
        SELECT seq FROM updates
        WHERE received_at <= ? AND seq <> (SELECT max(seq) FROM updates)
        ORDER BY received_at, seq LIMIT ?)`);
    this.#identities = db.prepare(`
      DELETE FROM identities WHERE rowid IN (
        SELECT rowid FROM identities WHERE remembered_at <= ? ORDER BY remembered_at LIMIT ?)`);
    this.#undelivered = db.prepare(`
      DELETE FROM undelivered WHERE rowid IN (
        SELECT rowid FROM undelivered WHERE at <= ? ORDER BY at LIMIT ?)`);
    this.#refusals = db.prepare(`
      DELETE FROM refusals WHERE rowid IN (
        SELECT rowid FROM refusals WHERE until <= ? ORDER BY until LIMIT ?)`);
  }

  /** Books rows that came or, negative, went. Belongs into the transaction that moved them. */
  count(entries: number, bodies: number, bodyBytes: number): void {
    this.#count.run(entries, bodies, bodyBytes);
  }

  totals(): Totals {
    const row = this.#connection.read(() => this.#totals.get());
    if (row === undefined) throw new Error("the totals of the log are missing");
    return row;
  }

  /**
   * Removes at most `batch` rows of each kind that have reached their age at `now`, in one
   * transaction. A body never outlives its entry, whatever the limits say.
   */
  expire(now: number, limits: RetentionLimits, batch: number): Expired {
    const forgetBefore = now - limits.rememberMs;
    const dropBefore = now - Math.min(limits.retainMs, limits.rememberMs);
    return this.#connection.write(() => {
      const sizes = this.#bodies.all(dropBefore, batch);
      // The oldest `batch` entries have no body left now: theirs were among the oldest bodies.
      const entries = this.#entries.run(forgetBefore, batch).changes;
      if (sizes.length > 0 || entries > 0) {
        this.count(-entries, -sizes.length, -sizes.reduce((sum, size) => sum + size, 0));
      }
      const others = [
        this.#identities.run(forgetBefore, batch).changes,
        this.#undelivered.run(forgetBefore, batch).changes,
        this.#refusals.run(now, batch).changes,
      ];
      const more = [sizes.length, entries, ...others].some((changes) => changes >= batch);
      return { bodies: sizes.length, entries, more };
    });
  }
}
