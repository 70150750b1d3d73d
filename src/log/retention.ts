/**
 * Expiry of the log by age. Bodies expire first (thesis: after at least 72 h).
 * Announcements and hashes are kept much longer; otherwise a peer with a slower clock would send an
 * expired update back as new. The newest entry and its body never expire, so that a KX greeting
 * has a number after a month without updates. Bodies that a site still needs are held longer, up to
 * a total size.
 *
 * Expiry works in batches: by the date of a stretch (`dates.ts`), within it by number. The time is
 * an argument: the caller must not pass a time that it does not trust, and uses `provenBefore` to
 * find out which dates the log confirms. Limit: the file does not shrink.
 *
 * Each copy of a shared log expires its rows by itself, so that expiry is not in the journal of
 * changes. One of the gateways also removes them from the database.
 */
import type Database from "better-sqlite3";
import type { Connection } from "./connection.js";
import { type Dates, LAST_OF_STRETCH } from "./dates.js";
import type { Gathering } from "./gathering.js";
import type { HashIndex } from "./hash-index.js";
import { DAY_MS, dayOf, type PacketMemory } from "./packet-memory.js";
import type { Pending } from "./pending.js";
import { STRETCH_MS } from "./schema.js";

export interface RetentionLimits {
  /** Age at which a body expires, in milliseconds. */
  readonly retainMs: number;
  /** Age at which all other rows expire: announcements, hashes, skeletons, tombstones, notes. */
  readonly rememberMs: number;
  /** Bodies that are held beyond their age; by default none. */
  readonly hold?: Hold | undefined;
}

/** Bodies to hold: those that the lanes of `sites` still need, up to a total of `bytes`. */
export interface Hold {
  readonly sites: readonly string[];
  readonly bytes: number;
}

export interface Expired {
  readonly bodies: number;
  readonly entries: number;
  /** Number of these bodies that a site still needed. */
  readonly dropped: number;
  /** Whether a batch was full, so that more rows may have expired. */
  readonly more: boolean;
}

/** Position in a scan of the bodies beyond their age, from the youngest to the oldest. */
interface Walk {
  /** Date and number of the stretch. */
  readonly at: number;
  readonly first: number;
  readonly seq: number;
  readonly heldBytes: number;
}

const FROM_THE_TOP: Walk = {
  at: Number.MAX_SAFE_INTEGER,
  first: Number.MAX_SAFE_INTEGER,
  seq: Number.MAX_SAFE_INTEGER,
  heldBytes: 0,
};

/**
 * The part of a gap between two dates that counts as proven time. A longer gap may be a wrong clock
 * as well as a time without updates. Dates that differ by less are treated as equal.
 */
const UNPROVEN_MS = 24 * 60 * 60_000;

/**
 * How much later than the gateway that holds the lease `expiry` the others let rows expire. So
 * whoever takes the lease over still has what the former holder left in the database.
 */
const LATE_MS = 60 * 60_000;

/** Earlier than every date. */
const NEVER = Number.MIN_SAFE_INTEGER;

/** Names that are looked at in a batch, for each row of the batch; a millisecond for 100 rows. */
const NAMES_PER_ROW = 50;

interface BodyRow {
  readonly seq: number;
  readonly size: number;
}

interface HeldRow extends BodyRow {
  readonly at: number;
  readonly first: number;
}

interface Due {
  /** Date of the youngest row that is due. */
  readonly before: number;
  /** A body with a later date was restored while the clock was wrong. */
  readonly ahead: number;
  /** Number of the first entry that is known to be younger. */
  readonly young: number;
  readonly batch: number;
}

export interface RetentionComponents {
  readonly connection: Connection;
  readonly dates: Dates;
  readonly gathering: Gathering;
  readonly hashes: Pick<HashIndex, "drop">;
  readonly packets: Pick<PacketMemory, "expire">;
  readonly pending: Pick<Pending, "from">;
}

/** The newest entry never expires. */
const NOT_NEWEST = "<> (SELECT max(seq) FROM updates)";
/** Stretches before the first body are not looked at: entries outlive their bodies. */
const HAS_BODIES = `dates.seq >= coalesce((
  SELECT max(earlier.seq) FROM dates AS earlier WHERE earlier.seq <= (SELECT min(seq) FROM bodies)
), 0)`;

export class Retention {
  readonly #connection: Connection;
  readonly #dates: Dates;
  readonly #gathering: Gathering;
  readonly #hashes: RetentionComponents["hashes"];
  readonly #packets: RetentionComponents["packets"];
  readonly #pending: RetentionComponents["pending"];
  readonly #dueBodies: Database.Statement<[Due], BodyRow>;
  readonly #aged: Database.Statement<[Omit<Walk, "heldBytes"> & Omit<Due, "young">], HeldRow>;
  readonly #dropBody: Database.Statement<[number], number>;
  readonly #dueEntries: Database.Statement<[Due], number>;
  readonly #dropEntry: readonly Database.Statement<[number]>[];
  readonly #skeletons: Database.Statement<[number, number]>;
  readonly #exceptions: readonly Database.Statement<[number]>[];
  readonly #refusals: Database.Statement<[number, number]>;
  readonly #variants: Database.Statement<[number, number]>;
  readonly #tombstones: Database.Statement<[number, number]>;
  readonly #blocks: Database.Statement<[number, number]>;
  readonly #newestDate: Database.Statement<[], number>;
  readonly #datedAhead: Database.Statement<[{ ahead: number; batch: number }], number>;
  readonly #redateEntry: readonly Database.Statement<
    [{ seq: number; now: number; ahead: number }]
  >[];
  readonly #redate: readonly Database.Statement<[{ now: number; ahead: number; batch: number }]>[];
  /** There are a few of these rows per entry. */
  readonly #sendings: Database.Statement<[number]>;
  #walk = FROM_THE_TOP;

  constructor(components: RetentionComponents) {
    const { connection, dates, gathering, hashes, packets, pending } = components;
    const { db } = connection;
    this.#connection = connection;
    this.#dates = dates;
    this.#gathering = gathering;
    this.#hashes = hashes;
    this.#packets = packets;
    this.#pending = pending;
    // The joins are in the order of the stretches, and read no more than a batch.
    const ofStretch = (table: string, last = LAST_OF_STRETCH) =>
      `dates CROSS JOIN ${table} ON ${table}.seq BETWEEN dates.seq AND ${last}`;
    const isDue = (table: string, isOld = `${table}.received_at <= @before`) =>
      `dates.at < @before + ${STRETCH_MS} AND ${isOld} AND ${table}.seq ${NOT_NEWEST}`;
    const isOldBody = "(bodies.received_at <= @before OR bodies.received_at > @ahead)";
    // The walk goes on within its stretch without reading it from the top again.
    const lastOfWalk = `min(${LAST_OF_STRETCH},
      iif(dates.at = @at AND dates.seq = @first, @seq - 1, ${Number.MAX_SAFE_INTEGER}))`;
    this.#dueBodies = db.prepare(`
      SELECT bodies.seq AS seq, length(body) AS size FROM ${ofStretch("bodies")}
      WHERE ${isDue("bodies", isOldBody)} AND bodies.seq < @young AND ${HAS_BODIES}
      ORDER BY dates.at, dates.seq, bodies.seq LIMIT @batch`);
    this.#aged = db.prepare(`
      SELECT bodies.seq AS seq, length(body) AS size, dates.at AS at, dates.seq AS first
      FROM ${ofStretch("bodies", lastOfWalk)}
      WHERE ${isDue("bodies", isOldBody)} AND ${HAS_BODIES} AND dates.at <= @at
        AND (dates.at, dates.seq) <= (@at, @first)
      ORDER BY dates.at DESC, dates.seq DESC, bodies.seq DESC LIMIT @batch`);
    this.#dropBody = db.prepare<[number], number>(
      "DELETE FROM bodies WHERE seq = ? RETURNING length(body)",
    );
    this.#dropBody.pluck();
    this.#dueEntries = db.prepare<[Due], number>(`
      SELECT updates.seq FROM ${ofStretch("updates")}
      WHERE ${isDue("updates")} AND updates.seq < @young
        AND updates.seq NOT IN (SELECT seq FROM forgotten)
      ORDER BY dates.at, dates.seq, updates.seq LIMIT @batch`);
    this.#dueEntries.pluck();
    this.#dropEntry = [
      `DELETE FROM keys WHERE (fingerprint, seq) IN (
         SELECT fingerprint, seq FROM updates WHERE seq = ?)`,
      "DELETE FROM updates WHERE seq = ?",
    ].map((sql) => db.prepare<[number]>(sql));
    this.#skeletons = db.prepare(`
      DELETE FROM skeletons WHERE rowid IN (
        SELECT rowid FROM skeletons WHERE day < ? ORDER BY day LIMIT ?)`);
    this.#exceptions = ["exceptions", "bounces", "offers"].map((table) =>
      db.prepare<[number]>(`
        DELETE FROM ${table} WHERE rowid IN (
          SELECT rowid FROM ${table} WHERE seq < (SELECT min(seq) FROM updates)
          ORDER BY seq LIMIT ?)`),
    );
    this.#refusals = db.prepare(`
      DELETE FROM refusals WHERE rowid IN (
        SELECT rowid FROM refusals WHERE until <= ? ORDER BY until LIMIT ?)`);
    this.#variants = db.prepare(`
      DELETE FROM variants WHERE rowid IN (
        SELECT rowid FROM variants WHERE at <= ? ORDER BY at LIMIT ?)`);
    this.#tombstones = db.prepare(`
      DELETE FROM forgotten WHERE seq IN (
        SELECT seq FROM forgotten WHERE at <= ? ORDER BY at LIMIT ?)`);
    this.#sendings = db.prepare(`
      DELETE FROM sendings WHERE (seq, neighbour, way) IN (
        SELECT seq, neighbour, way FROM sendings
        WHERE seq < (SELECT min(seq) FROM updates) ORDER BY seq LIMIT ?)`);
    this.#blocks = db.prepare(`
      DELETE FROM blocks WHERE rowid IN (SELECT rowid FROM blocks WHERE until <= ? LIMIT ?)`);
    this.#newestDate = db.prepare<[], number>(
      "SELECT received_at FROM updates ORDER BY seq DESC LIMIT 1",
    );
    this.#newestDate.pluck();
    this.#datedAhead = db.prepare<[{ ahead: number; batch: number }], number>(`
      SELECT updates.seq FROM ${ofStretch("updates")}
      WHERE dates.at > @ahead - ${STRETCH_MS} AND updates.received_at > @ahead LIMIT @batch`);
    this.#datedAhead.pluck();
    this.#redateEntry = ["updates", "bodies"].map((table) =>
      db.prepare(`
        UPDATE ${table} SET received_at = @now WHERE seq = @seq AND received_at > @ahead`),
    );
    const datedAhead = [
      ["exceptions", "at"],
      ["exceptions", "last_at"],
      ["exceptions", "offered_at"],
      ["bounces", "at"],
      ["forgotten", "at"],
      ["variants", "at"],
    ] as const;
    this.#redate = [
      ...datedAhead.map(([table, at]) => {
        const ahead = `SELECT rowid FROM ${table} WHERE ${at} > @ahead LIMIT @batch`;
        return `UPDATE ${table} SET ${at} = @now WHERE rowid IN (${ahead})`;
      }),
      // These dates are at most two days ahead of the time at which they were written.
      ...(["refusals.until", "repairs.next_at", "exceptions.next_at"] as const).map((column) => {
        const [table, at] = column.split(".");
        const ahead = `SELECT rowid FROM ${table} WHERE ${at} > @ahead + ${2 * UNPROVEN_MS}`;
        return `UPDATE ${table} SET ${at} = @now WHERE rowid IN (${ahead} LIMIT @batch)`;
      }),
      `UPDATE skeletons SET day = CAST(@now / ${DAY_MS} AS INTEGER) WHERE rowid IN (
        SELECT rowid FROM skeletons WHERE day > CAST(@ahead / ${DAY_MS} AS INTEGER) LIMIT @batch)`,
    ].map((sql) => db.prepare(sql));
  }

  /**
   * Deletes at most `batch` rows of each kind that have reached their age at `now`, in one
   * transaction. A body never outlives its entry, whatever the limits are. If the date of an entry
   * is more than a day before that of an earlier entry that is kept, the date is wrong, and the
   * entry is kept too.
   */
  expire(now: number, limits: RetentionLimits, batch: number): Expired {
    const lateMs = this.#connection.expiresLate ? LATE_MS : 0;
    const forgetBefore = now - limits.rememberMs - lateMs;
    const dropBefore = now - Math.min(limits.retainMs, limits.rememberMs) - lateMs;
    const work = () => {
      const needed = limits.hold && this.#pending.from(limits.hold.sites);
      const aged =
        limits.hold === undefined || needed === undefined
          ? this.#dropOldest(dropBefore, now, batch)
          : this.#dropButHeld(dropBefore, now, needed, limits.hold.bytes, batch);
      const late = this.#dropEntries(forgetBefore, now, batch);
      const { entries } = late;
      const bodies = aged.bodies + late.bodies.length;
      const others = [
        this.#skeletons.run(dayOf(forgetBefore), batch).changes,
        ...(entries > 0 ? this.#exceptions.map((one) => one.run(batch).changes) : []),
        this.#refusals.run(now - lateMs, batch).changes,
        this.#variants.run(forgetBefore, batch).changes,
        this.#tombstones.run(forgetBefore, batch).changes,
        this.#blocks.run(forgetBefore, batch).changes,
        this.#sendings.run(10 * batch).changes / 10,
      ];
      const names = NAMES_PER_ROW * batch;
      const moreNames = this.#packets.expire(dayOf(forgetBefore), dayOf(now) + 1, names);
      const isFull = [entries, ...others].some((changes) => changes >= batch);
      const more = aged.more || moreNames || isFull;
      const lost = needed === undefined ? [] : late.bodies.filter((seq) => seq >= needed);
      return { bodies, entries, dropped: aged.dropped + lost.length, more };
    };
    return this.#connection.write(work, { as: "expiry" });
  }

  /**
   * The latest date before which all entries are proven to be at least `ageMs` old. In the last
   * `steadyMs` before `now` the date agreed with the monotonic clock, and ages are exact. Before
   * that, the gaps between entries count, each with at most one day. So a clock that was wrong by
   * years makes the log one day older, not years. Needs about sixty look-ups.
   */
  provenBefore(ageMs: number, now: number, steadyMs: number): number {
    if (ageMs <= steadyMs) return now - ageMs;
    return this.#connection.read(() => {
      let [date, age] = [now - steadyMs, steadyMs];
      for (;;) {
        const within = this.#dates.between(date - UNPROVEN_MS, date);
        if (within !== undefined) {
          if (age + date - within >= ageMs) return date - (ageMs - age);
          age += date - within;
          date = within;
          continue;
        }
        const before = this.#dates.before(date);
        if (before === undefined) return NEVER;
        if (age + UNPROVEN_MS >= ageMs) return before;
        age += UNPROVEN_MS;
        date = before;
      }
    });
  }

  /** The date of the newest entry; undefined for an empty log. */
  newestDate(): number | undefined {
    return this.#connection.read(() => this.#newestDate.get());
  }

  /**
   * Sets dates that are more than a day in the future to `now`, in at most `batch` rows of each
   * kind; otherwise a clock that was a year ahead would keep these rows for a year. Returns whether
   * there may be more such rows.
   */
  redate(now: number, batch: number): boolean {
    const ahead = now + UNPROVEN_MS;
    return this.#connection.write(() => {
      const entries = this.#datedAhead.all({ ahead, batch });
      for (const seq of entries) {
        for (const statement of this.#redateEntry) statement.run({ seq, now, ahead });
        this.#dates.changed(seq);
      }
      if (entries.length < batch) this.#dates.drop(ahead, Number.MAX_SAFE_INTEGER);
      const others = this.#redate.map((one) => one.run({ now, ahead, batch }).changes);
      return [entries.length, ...others].some((changed) => changed >= batch);
    });
  }

  /**
   * The number of the first entry that has not expired at the date `before`; a number beyond all
   * entries if there is none. Dates may be wrong, but the order of entries is not: no entry after
   * this one is older, whatever its date is.
   */
  #firstYoung(before: number, now: number): number {
    const young = this.#dates.firstBetween(before + UNPROVEN_MS, now + UNPROVEN_MS);
    return young ?? Number.MAX_SAFE_INTEGER;
  }

  #dropBodies(rows: readonly BodyRow[]): void {
    if (rows.length === 0) return;
    this.#gathering.settle();
    for (const { seq } of rows) this.#dropBody.run(seq);
    this.#gathering.count(0, -rows.length, -rows.reduce((sum, { size }) => sum + size, 0));
  }

  /** Deletes entries with their bodies; returns the numbers of the bodies. */
  #dropEntries(before: number, now: number, batch: number) {
    const young = this.#firstYoung(before, now);
    const seqs = this.#dueEntries.all({ before, ahead: now + UNPROVEN_MS, young, batch });
    if (seqs.length === 0) return { entries: 0, bodies: [] };
    this.#gathering.settle();
    const bodies: number[] = [];
    let bytes = 0;
    for (const seq of seqs) {
      const size = this.#dropBody.get(seq);
      if (size !== undefined) bodies.push(seq);
      bytes += size ?? 0;
      this.#hashes.drop(seq);
      for (const statement of this.#dropEntry) statement.run(seq);
    }
    this.#gathering.count(-seqs.length, -bodies.length, -bytes);
    this.#dates.drop(NEVER, before + STRETCH_MS);
    return { entries: seqs.length, bodies };
  }

  #dropOldest(before: number, now: number, batch: number) {
    const young = this.#firstYoung(before, now);
    const rows = this.#dueBodies.all({ before, ahead: now + UNPROVEN_MS, young, batch });
    this.#dropBodies(rows);
    return { bodies: rows.length, dropped: 0, more: rows.length >= batch };
  }

  /**
   * Handles the next `batch` bodies of the scan, which starts again when it reaches the end. Held
   * bodies are skipped. When they exceed `limit` bytes the oldest ones are deleted.
   */
  #dropButHeld(before: number, now: number, needed: number, limit: number, batch: number) {
    const young = this.#firstYoung(before, now);
    const walk = this.#walk;
    let { at, first, seq, heldBytes } = walk;
    const rows = this.#aged.all({ at, first, seq, before, ahead: now + UNPROVEN_MS, batch });
    const due: BodyRow[] = [];
    let dropped = 0;
    for (const row of rows) {
      ({ at, first, seq } = row);
      if (seq >= young) continue;
      if (seq >= needed) {
        heldBytes += row.size;
        if (heldBytes <= limit) continue;
        dropped += 1;
      }
      due.push(row);
    }
    this.#dropBodies(due);
    const more = rows.length >= batch;
    this.#connection.onRollback(() => {
      this.#walk = walk;
    });
    this.#walk = more ? { at, first, seq, heldBytes } : FROM_THE_TOP;
    return { bodies: due.length, dropped, more };
  }
}
