/**
 * Stores the updates that a site did not accept when its lane reached them, one row for each site
 * and update. "waiting" rows are retried at `nextAt`. "refused" rows were refused permanently.
 * "withheld" rows were not sent, because the key is blocked or the operator skipped them. A row is
 * kept as long as its entry, so that the update can be offered again when its key arrives again,
 * when a block ends, or when the operator asks for it.
 *
 * A fourth state, "resent", marks an update that bounced, was sent again and may bounce once more.
 * It only counts attempts and is not listed. If a key arrives in another form, that form is stored
 * with the row that it reopened until the site has answered. It is sent before the update itself,
 * never instead of it. `delivery/lane.ts` decides the schedules.
 */
import type Database from "better-sqlite3";
import type { Fingerprint, Seq } from "../update.js";
import type { Connection } from "./connection.js";

export type ExceptionState = "waiting" | "refused" | "withheld";

/**
 * The reason. "failed": a temporary failure. "bounced": returned after it was accepted. "refused":
 * by the site. "returned": refused permanently in a bounce. "overflow": too many updates are
 * waiting. "expired": expired before it was sent, and fetched again. "blocked": by policy.
 * "skipped": by the operator.
 */
export type ExceptionReason =
  | "failed"
  | "bounced"
  | "refused"
  | "returned"
  | "overflow"
  | "expired"
  | "blocked"
  | "skipped";

export interface Exception {
  readonly site: string;
  readonly seq: Seq;
  readonly fingerprint: Fingerprint;
  readonly state: ExceptionState;
  readonly reason: ExceptionReason;
  /** The site's reply: its code, 0 if there was none, and its text. */
  readonly code: number;
  readonly text: string;
  /** Number of failures so far. */
  readonly tries: number;
  /** When the row entered its state, milliseconds since 1970. */
  readonly at: number;
  /** When a waiting row is retried, milliseconds since 1970. */
  readonly nextAt: number;
}

/** Reasons of updates that the site refused, also while they wait to be sent again. */
const WERE_REFUSED: readonly ExceptionReason[] = ["refused", "returned"];

/** Number of rows of a site in each state. */
export type ExceptionCounts = Readonly<Record<ExceptionState, number>>;

/** Number of rows of a site with the same state and reason. */
export interface ReasonCount {
  readonly state: ExceptionState;
  readonly reason: ExceptionReason;
  readonly count: number;
  readonly recent: number;
}

export const EXCEPTION_LIMITS = {
  /**
   * Waiting rows of a site. Failures beyond the limit are refused, since each row costs an attempt
   * an hour.
   */
  waiting: 10_000,
  /** All rows of a site. The oldest not waiting are dropped. 100,000 rows take some 20 MB. */
  rows: 100_000,
  /** Bytes of stored other forms of keys: of a site, and of one key. */
  offers: 16 * 1024 ** 2,
  offer: 4 * 1024 ** 2,
  /** Minimum interval between offers of a key to a site. An offer that is too early is delayed. */
  everyMs: 60 * 60_000,
  /** Number of updates of a completed key that are sent again at once, and in each hour after. */
  completed: 100,
  /** Maximum number of hours for which offers to a site are scheduled ahead. */
  ahead: 24,
} as const;

/** Number of changes between two checks of a site's limits. */
const CHECK_EVERY = 64;

/** The new values of a row. `tries` defaults to 0. */
export type NewException = Omit<Exception, "tries" | "nextAt"> &
  Partial<Pick<Exception, "tries" | "nextAt">>;

type Row = Omit<Exception, "fingerprint"> & { readonly keyName: Fingerprint };

const COLUMNS = `
  site, seq, hex(fingerprint) AS keyName, state, reason, code, text, tries, at,
  next_at AS nextAt`;
const NO_COUNTS: ExceptionCounts = { waiting: 0, refused: 0, withheld: 0 };

export class Exceptions {
  readonly #connection: Connection;
  readonly #wake: () => void;
  /** Number of changes of rows by site, and the sites with too many waiting rows. */
  readonly #sets = new Map<string, number>();
  readonly #full = new Set<string>();
  readonly #get: Database.Statement<[string, number], Row>;
  readonly #of: Database.Statement<[number], Row>;
  readonly #ofKey: Database.Statement<[Buffer], Row & { readonly offeredAt: number }>;
  readonly #any: Database.Statement<[], number>;
  readonly #list: Database.Statement<[string, string, number], Row>;
  readonly #put: Database.Statement<
    [string, number, Buffer, string, string, number, string, number, number, number]
  >;
  readonly #next: Database.Statement<[string], Row>;
  readonly #counts: Database.Statement<[string], { state: string; count: number }>;
  readonly #bySite: Database.Statement<[], { site: string; state: string; count: number }>;
  readonly #reasons: Database.Statement<[number, string], ReasonCount>;
  readonly #waiting: Database.Statement<[string], Seq>;
  readonly #settle: Database.Statement<[string, number]>;
  readonly #settleKey: Database.Statement<[Buffer, string], Row>;
  readonly #resent: Database.Statement<[string, number]>;
  readonly #reopen: Database.Statement<[number, string, number]>;
  readonly #reopenAll: Database.Statement<[number, string]>;
  readonly #retryAll: Database.Statement<[number, string]>;
  readonly #reopenBlocked: Database.Statement<[number, Buffer]>;
  readonly #blockedKeys: Database.Statement<[string, number], string>;
  readonly #hasten: Database.Statement<[number, string, number]>;
  readonly #reopenRun: Database.Statement<[number, string, number]>;
  readonly #total: Database.Statement<[string], number>;
  readonly #oldest: Database.Statement<[string, number], number>;
  readonly #offered: Database.Statement<[number, number, string, number]>;
  readonly #offer: Database.Statement<[string, number, Uint8Array]>;
  readonly #offerBytes: Database.Statement<[string], number>;
  readonly #offerOf: Database.Statement<[string, number], Buffer>;
  readonly #dropOffer: Database.Statement<[string, number]>;
  readonly #back: Database.Statement<[string, number], Back>;
  readonly #latestBack: Database.Statement<[string, number, string, number], number>;
  readonly #cameBack: Database.Statement<CameBackParameters>;

  /** `wake` is called when an update is to be sent again. */
  constructor(connection: Connection, wake: () => void) {
    const { db } = connection;
    this.#connection = connection;
    this.#wake = wake;
    const shown = "state <> 'resent'";
    this.#get = db.prepare(
      `SELECT ${COLUMNS} FROM exceptions WHERE site = ? AND seq = ? AND ${shown}`,
    );
    this.#of = db.prepare(
      `SELECT ${COLUMNS} FROM exceptions WHERE seq = ? AND ${shown} ORDER BY site`,
    );
    this.#ofKey = db.prepare(
      `SELECT ${COLUMNS}, offered_at AS offeredAt FROM exceptions
       WHERE fingerprint = ? AND ${shown} ORDER BY site, seq DESC`,
    );
    this.#any = db.prepare<[], number>("SELECT 1 FROM exceptions LIMIT 1").pluck();
    this.#list = db.prepare(
      `SELECT ${COLUMNS} FROM exceptions WHERE site = ? AND state = ? ORDER BY seq LIMIT ?`,
    );
    this.#put = db.prepare(`
      INSERT INTO exceptions (site, seq, fingerprint, state, reason, code, text, tries, at, next_at)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT (site, seq) DO UPDATE SET
        state = excluded.state, reason = excluded.reason, code = excluded.code,
        text = excluded.text, tries = excluded.tries, at = excluded.at,
        next_at = excluded.next_at`);
    this.#next = db.prepare(
      `SELECT ${COLUMNS} FROM exceptions WHERE site = ? AND state = 'waiting'
       ORDER BY next_at, seq LIMIT 1`,
    );
    this.#counts = db.prepare(
      "SELECT state, count(*) AS count FROM exceptions WHERE site = ? GROUP BY state",
    );
    this.#bySite = db.prepare(
      `SELECT site, state, count(*) AS count FROM exceptions WHERE ${shown} GROUP BY site, state`,
    );
    this.#reasons = db.prepare(
      `SELECT state, reason, count(*) AS count, sum(at >= ?) AS recent FROM exceptions
       WHERE site = ? AND ${shown} GROUP BY state, reason ORDER BY state, reason`,
    );
    this.#waiting = db.prepare<[string], Seq>(
      "SELECT seq FROM exceptions WHERE site = ? AND state = 'waiting' ORDER BY seq",
    );
    this.#waiting.pluck();
    this.#settle = db.prepare("DELETE FROM exceptions WHERE site = ? AND seq = ?");
    this.#settleKey = db.prepare(
      `SELECT ${COLUMNS} FROM exceptions WHERE fingerprint = ? AND site = ? AND ${shown}`,
    );
    this.#resent = db.prepare("UPDATE exceptions SET state = 'resent' WHERE site = ? AND seq = ?");
    const reopened = "state = 'waiting', tries = 0, next_at = ?";
    this.#reopen = db.prepare(
      `UPDATE exceptions SET ${reopened} WHERE site = ? AND seq = ? AND ${shown}`,
    );
    this.#reopenAll = db.prepare(`UPDATE exceptions SET ${reopened} WHERE site = ? AND ${shown}`);
    this.#retryAll = db.prepare(
      "UPDATE exceptions SET next_at = ? WHERE site = ? AND state = 'waiting'",
    );
    this.#reopenBlocked = db.prepare(
      `UPDATE exceptions SET ${reopened}
       WHERE fingerprint = ? AND state = 'withheld' AND reason = 'blocked'`,
    );
    this.#blockedKeys = db.prepare<[string, number], string>(
      `SELECT DISTINCT hex(fingerprint) FROM exceptions
       WHERE site = ? AND state = 'withheld' AND reason = 'blocked' LIMIT ?`,
    );
    this.#blockedKeys.pluck();
    this.#hasten = db.prepare(
      `UPDATE exceptions SET next_at = ?
       WHERE site = ? AND state = 'waiting' AND reason = 'failed' AND at >= ?`,
    );
    this.#reopenRun = db.prepare(
      `UPDATE exceptions SET state = 'waiting', tries = 0, reopened = 1, next_at = ?
       WHERE site = ? AND state = 'refused' AND at >= ? AND reopened = 0`,
    );
    this.#total = db.prepare<[string], number>("SELECT count(*) FROM exceptions WHERE site = ?");
    this.#total.pluck();
    this.#oldest = db.prepare<[string, number], number>(
      `DELETE FROM exceptions WHERE rowid IN (
         SELECT rowid FROM exceptions WHERE site = ? AND state <> 'waiting' ORDER BY at LIMIT ?)
       RETURNING seq`,
    );
    this.#oldest.pluck();
    this.#offered = db.prepare(`
      UPDATE exceptions SET state = 'waiting', tries = 0, next_at = ?, offered_at = ?
      WHERE site = ? AND seq = ?`);
    this.#offer = db.prepare("INSERT OR REPLACE INTO offers (site, seq, body) VALUES (?, ?, ?)");
    this.#offerBytes = db.prepare<[string], number>(
      "SELECT coalesce(sum(length(body)), 0) FROM offers WHERE site = ?",
    );
    this.#offerBytes.pluck();
    this.#offerOf = db.prepare<[string, number], Buffer>(
      "SELECT body FROM offers WHERE site = ? AND seq = ?",
    );
    this.#offerOf.pluck();
    this.#dropOffer = db.prepare("DELETE FROM offers WHERE site = ? AND seq = ?");
    this.#back = db.prepare(`
      SELECT tries, last_at AS lastAt, cursor, state = 'waiting' AS waiting
      FROM exceptions WHERE site = ? AND seq = ?
        AND (state = 'resent' OR reason = 'bounced')`);
    this.#latestBack = db.prepare<[string, number, string, number], number>(`
      SELECT max(at) FROM (
        SELECT last_at AS at FROM exceptions WHERE site = ? AND seq <> ?
        UNION ALL SELECT at FROM bounces WHERE site = ? AND seq <> ?)`);
    this.#latestBack.pluck();
    this.#cameBack = db.prepare(`
      INSERT INTO exceptions (site, seq, fingerprint, state, reason, code, text, tries, at, next_at,
                              last_at, cursor)
      SELECT ?, seq, fingerprint, 'waiting', 'bounced', ?, ?, 1, ?, 0, ?, ?
      FROM updates WHERE seq = ?
      ON CONFLICT (site, seq) DO UPDATE SET
        state = 'waiting', reason = 'bounced', code = excluded.code, text = excluded.text,
        tries = iif(exceptions.state = 'resent' OR exceptions.reason = 'bounced',
                    exceptions.tries + 1, 1),
        at = excluded.at, next_at = 0, last_at = excluded.last_at, cursor = excluded.cursor`);
  }

  get(site: string, seq: Seq): Exception | undefined {
    const row = this.#connection.read(() => this.#get.get(site, seq));
    return row && toException(row);
  }

  /** Returns the exceptions of an entry at all sites. */
  of(seq: Seq): Exception[] {
    return this.#connection.read(() => this.#of.all(seq)).map(toException);
  }

  /** Returns the rows of a site in a state, the oldest entries first, at most `limit`. */
  list(site: string, state: ExceptionState, limit: number): Exception[] {
    return this.#connection.read(() => this.#list.all(site, state, limit)).map(toException);
  }

  /** Returns the numbers of the updates to be sent to the site again, in log order. */
  waiting(site: string): Seq[] {
    return this.#connection.read(() => this.#waiting.all(site));
  }

  /** Returns the waiting row that is due first. */
  next(site: string): Exception | undefined {
    const row = this.#connection.read(() => this.#next.get(site));
    return row && toException(row);
  }

  counts(site: string): ExceptionCounts {
    const counts = { ...NO_COUNTS };
    for (const { state, count } of this.#connection.read(() => this.#counts.all(site))) {
      if (state in counts) counts[state as ExceptionState] = count;
    }
    return counts;
  }

  /** Counts by site, including sites that are not in the configuration. */
  countsBySite(): Map<string, ExceptionCounts> {
    const all = new Map<string, ExceptionCounts>();
    for (const { site, state, count } of this.#connection.read(() => this.#bySite.all())) {
      all.set(site, { ...(all.get(site) ?? NO_COUNTS), [state]: count });
    }
    return all;
  }

  /** Counts the rows of a site by state and reason. `recent` counts those since `since`. */
  reasons(site: string, since: number): ReasonCount[] {
    return this.#connection.read(() => this.#reasons.all(since, site));
  }

  /**
   * Sets the row of a site and update. Returns the number of rows that were dropped to make room. A
   * waiting row beyond the limit becomes a refused one. The rows are counted only at every
   * `CHECK_EVERY`-th call, since a count reads all of them.
   */
  set(row: NewException): number {
    const { site, seq, fingerprint, state, reason, code, text, at } = row;
    const { tries = 0, nextAt = 0 } = row;
    return this.#connection.write(() => {
      const dropped = this.#checkRoom(site);
      const isNew = this.get(site, seq)?.state !== "waiting";
      const isFull = state === "waiting" && isNew && this.#full.has(site);
      const kept = isFull ? (["refused", "overflow"] as const) : ([state, reason] as const);
      const key = Buffer.from(fingerprint, "hex");
      this.#put.run(...[site, seq, key], ...kept, ...[code, text, tries, at, nextAt]);
      return dropped;
    });
  }

  #checkRoom(site: string): number {
    const sets = this.#sets.get(site) ?? 0;
    this.#sets.set(site, sets + 1);
    this.#connection.onRollback(() => this.#sets.set(site, sets));
    if (sets % CHECK_EVERY > 0) return 0;
    if (this.counts(site).waiting >= EXCEPTION_LIMITS.waiting) this.#full.add(site);
    else this.#full.delete(site);
    const surplus = (this.#total.get(site) ?? 0) - EXCEPTION_LIMITS.rows;
    if (surplus <= 0) return 0;
    const dropped = this.#oldest.all(site, surplus);
    for (const seq of dropped) this.#dropOffer.run(site, seq);
    return dropped.length;
  }

  /** Removes the exception: the site has the update, or the update is not sent any more. */
  settle(site: string, seq: Seq): void {
    this.#connection.write(() => {
      this.#settle.run(site, seq);
      this.#dropOffer.run(site, seq);
    });
  }

  /**
   * Returns the site's exceptions of a key, for comparison with the packets that the site accepted.
   */
  ofKey(site: string, fingerprint: Fingerprint): Exception[] {
    const key = Buffer.from(fingerprint, "hex");
    return this.#connection.read(() => this.#settleKey.all(key, site)).map(toException);
  }

  // Reopening. Each function returns the number of rows that are now to be sent again, or earlier
  // than before.

  /** Reopens one update of a site, or all of them. */
  reopen(site: string, seq: Seq | "all", now: number): number {
    const count = this.#connection.write(
      () =>
        (seq === "all" ? this.#reopenAll.run(now, site) : this.#reopen.run(now, site, seq)).changes,
    );
    if (count > 0) this.#wake();
    return count;
  }

  /** Makes the waiting rows of a site due now. */
  retry(site: string, now: number): number {
    return this.#connection.write(() => this.#retryAll.run(now, site).changes);
  }

  /** Reopens the updates that were withheld at any site because the key was blocked. */
  unblocked(fingerprint: Fingerprint, now: number): number {
    const key = Buffer.from(fingerprint, "hex");
    const count = this.#connection.write(() => this.#reopenBlocked.run(now, key).changes);
    if (count > 0) this.#wake();
    return count;
  }

  /** Returns keys with updates withheld at a site because of a block, at most `limit` keys. */
  blockedKeys(site: string, limit: number): Fingerprint[] {
    return this.#connection.read(() => this.#blockedKeys.all(site, limit)) as Fingerprint[];
  }

  /**
   * The site accepts updates again. The updates that failed since `since` are retried now. With
   * `refused`, the updates that it refused since then are retried as well, once.
   */
  recovered(site: string, since: number, now: number, refused: boolean): number {
    return this.#connection.write(() => {
      this.#hasten.run(now, site, since);
      return refused ? this.#reopenRun.run(now, site, since).changes : 0;
    });
  }

  /**
   * More of a key is known than before (`openpgp/skeleton.ts`), so its updates are sent in another
   * form. An update refused for lack of a user id or a self-signature may now be accepted.
   */
  completed(fingerprint: Fingerprint, now: number): number {
    if (this.isEmpty) return 0;
    const { everyMs, completed, waiting } = EXCEPTION_LIMITS;
    const key = Buffer.from(fingerprint, "hex");
    const count = this.#connection.write(() => {
      const rows = this.#ofKey.all(key);
      let count = 0;
      for (const site of new Set(rows.map((row) => row.site))) {
        const own = rows.filter((row) => row.site === site).toReversed();
        const last = Math.max(...own.map(({ offeredAt }) => offeredAt));
        const start = offerTime(last, now) ?? last;
        const room = Math.max(0, waiting - this.counts(site).waiting);
        const refused = own.filter(({ state }) => state === "refused").slice(0, room);
        for (const [index, { seq }] of refused.entries()) {
          const at = start + Math.floor(index / completed) * everyMs;
          this.#offered.run(at, at, site, seq);
        }
        count += refused.length;
      }
      return count;
    });
    if (count > 0) this.#wake();
    return count;
  }

  // Keys that arrive again.

  /** Whether there are no rows at all. */
  get isEmpty(): boolean {
    return this.#connection.read(() => this.#any.get()) === undefined;
  }

  /** Whether any site has an exception of the key. */
  hasKey(fingerprint: Fingerprint): boolean {
    if (this.isEmpty) return false;
    const key = Buffer.from(fingerprint, "hex");
    return this.#connection.read(() => this.#ofKey.get(key)) !== undefined;
  }

  /**
   * Handles a key that arrived again, by any transport and in any form. `body` is the received
   * form, or undefined if it is the update `seq` of the log. Each site with a refused or withheld
   * exception of the key is offered it, except `from`, which has it. The offer is due now, or an
   * hour after the previous one. Returns the sites that are offered something.
   */
  cameAgain(
    { fingerprint, seq, body, from }: CameAgain,
    now: number,
    covers: (body: Uint8Array, seq: Seq) => boolean,
  ): string[] {
    const key = Buffer.from(fingerprint, "hex");
    if (this.#connection.read(() => this.#ofKey.get(key)) === undefined) return [];
    const offered = this.#connection.write(() => {
      const rows = this.#ofKey.all(key);
      const offered: string[] = [];
      for (const site of new Set(rows.map((row) => row.site))) {
        const own = rows.filter((row) => row.site === site);
        if (site === from) {
          const had = own.filter((row) => row.seq === seq || (body && covers(body, row.seq)));
          for (const row of had) this.settle(site, row.seq);
        } else if (this.#offerTo(site, own, { seq, body }, now)) offered.push(site);
      }
      return offered;
    });
    if (offered.length > 0) this.#wake();
    return offered;
  }

  #offerTo(
    site: string,
    rows: readonly (Row & { readonly offeredAt: number })[],
    { seq, body }: Pick<CameAgain, "seq" | "body">,
    now: number,
  ): boolean {
    const isOpen = ({ state, reason }: Row) => state !== "waiting" && reason !== "blocked";
    const same = rows.find((row) => row.seq === seq);
    const row = same ?? rows.find(isOpen) ?? rows.find((one) => this.#waitsAsItWas(one));
    if (row === undefined) return false;
    if (!isOpen(row)) return row !== same && this.#keepOffer(site, row.seq, body);
    const last = Math.max(...rows.map(({ offeredAt }) => offeredAt), same?.at ?? 0);
    const at = offerTime(last, now);
    if (at === undefined || (body !== undefined && !this.#keepOffer(site, row.seq, body))) {
      return false;
    }
    this.#offered.run(at, at, site, row.seq);
    return true;
  }

  /** Whether the row was refused and has been reopened in its own form. */
  #waitsAsItWas({ site, seq, state, reason }: Row): boolean {
    const wasRefused = WERE_REFUSED.includes(reason);
    return state === "waiting" && wasRefused && this.#offerOf.get(site, seq) === undefined;
  }

  /** Stores the received form with a row. Returns false if it is too large. */
  #keepOffer(site: string, seq: Seq, body: Uint8Array | undefined): boolean {
    const { offer, offers } = EXCEPTION_LIMITS;
    if (body === undefined || body.length > offer) return false;
    if ((this.#offerBytes.get(site) ?? 0) + body.length > offers) return false;
    this.#offer.run(site, seq, body);
    return true;
  }

  /** Returns the other form of the key of a waiting update, which is sent before the update. */
  offerOf(site: string, seq: Seq): Uint8Array | undefined {
    const body = this.#connection.read(() => this.#offerOf.get(site, seq));
    return body && new Uint8Array(body);
  }

  dropOffer(site: string, seq: Seq): void {
    this.#connection.write(() => this.#dropOffer.run(site, seq));
  }

  // Updates that bounced after they were accepted.

  /** Returns how often an update has bounced before, and whether it waits to be sent again. */
  back(site: string, seq: Seq): (Omit<Back, "waiting"> & { waiting: boolean }) | undefined {
    const row = this.#connection.read(() => this.#back.get(site, seq));
    return row && { ...row, waiting: row.waiting === 1 };
  }

  /** When an update other than `seq` last bounced, milliseconds since 1970; 0 if never. */
  latestBeside(site: string, seq: Seq): number {
    return this.#connection.read(() => this.#latestBack.get(site, seq, site, seq)) ?? 0;
  }

  /**
   * Records that an update bounced and is to be sent again, alone. The lane's cursor is at
   * `cursor`.
   */
  cameBack(
    site: string,
    seq: Seq,
    { code, text, at }: { readonly code: number; readonly text: string; readonly at: number },
    cursor: number,
  ): void {
    this.#connection.write(() => this.#cameBack.run(site, code, text, at, at, cursor, seq));
  }

  /** Records that the update was sent again and may bounce again. */
  resent(site: string, seq: Seq): void {
    this.#connection.write(() => {
      this.#resent.run(site, seq);
      this.#dropOffer.run(site, seq);
    });
  }
}

/** A key that arrived again. */
export interface CameAgain {
  readonly fingerprint: Fingerprint;
  /** Its entry, if it is an update of the log. */
  readonly seq: Seq | undefined;
  /** Its packets, unless they are those of the entry. */
  readonly body: Uint8Array | undefined;
  /** The neighbour that sent it. */
  readonly from: string | undefined;
}

interface Back {
  readonly tries: number;
  /** When it last bounced, milliseconds since 1970; 0 if never. */
  readonly lastAt: number;
  /** The lane's cursor at that time. */
  readonly cursor: number;
  readonly waiting: 0 | 1;
}

type CameBackParameters = [
  site: string,
  code: number,
  text: string,
  at: number,
  lastAt: number,
  cursor: number,
  seq: number,
];

/**
 * Returns when a site may be offered a form of a key, if the previous offer was at `last`. Both
 * times are in milliseconds since 1970. Returns undefined if too many offers are scheduled already.
 * A date further ahead than the limit comes from a clock that was wrong.
 */
function offerTime(last: number, now: number): number | undefined {
  const { everyMs, ahead } = EXCEPTION_LIMITS;
  if (last > now + (ahead + 1) * everyMs) return now;
  return last > now + ahead * everyMs ? undefined : Math.max(now, last + everyMs);
}

function toException({ keyName, ...row }: Row & { readonly offeredAt?: number }): Exception {
  const { site, seq, state, reason, code, text, tries, at, nextAt } = row;
  return { site, seq, fingerprint: keyName, state, reason, code, text, tries, at, nextAt };
}
