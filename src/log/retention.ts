/**
 * Expiry of the log by age, and its totals. Bodies expire first (thesis: after at least 72 h).
 * Announcements and hashes are kept much longer; otherwise a peer with a slower clock would send an
 * expired update back as new. The newest entry and its body never expire, so that a KX greeting
 * has a number after a month without updates. Bodies that a site still needs are held longer, up to
 * a total size.
 *
 * Expiry works in batches. The totals are stored, because counting 1.5 million rows takes a second.
 * The time is an argument: the caller must not pass a time that it does not trust, and uses
 * `provenBefore` to find out which dates the log confirms. Limit: the file does not shrink.
 */
import type Database from "better-sqlite3";
import type { Connection } from "./connection.js";
import { DAY_MS, dayOf } from "./packet-memory.js";
import type { Pending } from "./pending.js";

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

export interface Totals {
  readonly entries: number;
  readonly bodies: number;
  readonly bodyBytes: number;
}

/** Position in a scan of the bodies beyond their age, from the youngest to the oldest. */
interface Walk {
  readonly receivedAt: number;
  readonly seq: number;
  readonly heldBytes: number;
}

const FROM_THE_TOP: Walk = {
  receivedAt: Number.MAX_SAFE_INTEGER,
  seq: Number.MAX_SAFE_INTEGER,
  heldBytes: 0,
};

/**
 * The part of a gap between two dates that counts as proven time. A longer gap may be a wrong clock
 * as well as a time without updates. Dates that differ by less are treated as equal.
 */
export const UNPROVEN_MS = 24 * 60 * 60_000;

/** Earlier than every date. */
const NEVER = Number.MIN_SAFE_INTEGER;

interface BodyRow {
  readonly seq: number;
  readonly receivedAt: number;
  readonly size: number;
}

export class Retention {
  readonly #connection: Connection;
  readonly #pending: Pick<Pending, "from">;
  readonly #totals: Database.Statement<[], Totals>;
  readonly #count: Database.Statement<[number, number, number]>;
  readonly #bodies: Database.Statement<[number, number, number], number>;
  readonly #aged: Database.Statement<[number, number, number], BodyRow>;
  readonly #body: Database.Statement<[number]>;
  readonly #bodiesOfEntries: Database.Statement<[number, number, number], BodyRow>;
  readonly #entries: Database.Statement<[number, number, number]>;
  readonly #skeletons: Database.Statement<[number, number]>;
  readonly #packets: Database.Statement<[number, number]>;
  readonly #exceptions: readonly Database.Statement<[number]>[];
  readonly #refusals: Database.Statement<[number, number]>;
  readonly #variants: Database.Statement<[number, number]>;
  readonly #tombstones: Database.Statement<[number, number]>;
  readonly #blocks: Database.Statement<[number, number]>;
  readonly #newestDate: Database.Statement<[], number>;
  readonly #firstWithin: Database.Statement<[number, number], number>;
  readonly #lastBefore: Database.Statement<[number], number>;
  readonly #young: Database.Statement<[number, number], number>;
  readonly #redate: readonly Database.Statement<[{ now: number; ahead: number; batch: number }]>[];
  readonly #oldestPackets: Database.Statement<[number], { name: Buffer; day: number }>;
  readonly #packetAgain: Database.Statement<[Buffer, number]>;
  /** There are a few of these rows per entry. */
  readonly #sendings: Database.Statement<[number]>;
  #walk = FROM_THE_TOP;

  constructor(connection: Connection, pending: Pick<Pending, "from">) {
    const { db } = connection;
    this.#connection = connection;
    this.#pending = pending;
    this.#totals = db.prepare("SELECT entries, bodies, body_bytes AS bodyBytes FROM totals");
    this.#count = db.prepare(
      "UPDATE totals SET entries = entries + ?, bodies = bodies + ?, body_bytes = body_bytes + ?",
    );
    this.#bodies = db.prepare(`
      DELETE FROM bodies WHERE seq IN (
        SELECT seq FROM bodies
        WHERE received_at <= ? AND seq < ? AND seq <> (SELECT max(seq) FROM updates)
        ORDER BY received_at, seq LIMIT ?)
      RETURNING length(body)`);
    this.#bodies.pluck();
    this.#aged = db.prepare(`
      SELECT bodies.seq AS seq, bodies.received_at AS receivedAt, updates.size AS size
      FROM bodies JOIN updates USING (seq)
      WHERE (bodies.received_at, bodies.seq) < (?, ?)
        AND bodies.seq <> (SELECT max(seq) FROM updates)
      ORDER BY bodies.received_at DESC, bodies.seq DESC LIMIT ?`);
    this.#body = db.prepare("DELETE FROM bodies WHERE seq = ?");
    const oldEntries = `
      SELECT seq FROM updates
      WHERE received_at <= ? AND seq < ? AND seq <> (SELECT max(seq) FROM updates)
        AND seq NOT IN (SELECT seq FROM forgotten)
      ORDER BY received_at, seq LIMIT ?`;
    this.#bodiesOfEntries = db.prepare(`
      DELETE FROM bodies WHERE seq IN (${oldEntries})
      RETURNING seq, received_at AS receivedAt, length(body) AS size`);
    this.#entries = db.prepare(`DELETE FROM updates WHERE seq IN (${oldEntries})`);
    this.#skeletons = db.prepare(`
      DELETE FROM skeletons WHERE rowid IN (
        SELECT rowid FROM skeletons WHERE day < ? ORDER BY day LIMIT ?)`);
    this.#packets = db.prepare(`
      DELETE FROM packets WHERE day < ? AND id IN (SELECT id FROM packets ORDER BY id LIMIT ?)`);
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
    this.#firstWithin = db.prepare<[number, number], number>(`
      SELECT received_at FROM updates WHERE received_at > ? AND received_at < ?
      ORDER BY received_at LIMIT 1`);
    this.#firstWithin.pluck();
    this.#lastBefore = db.prepare<[number], number>(`
      SELECT received_at FROM updates WHERE received_at < ? ORDER BY received_at DESC LIMIT 1`);
    this.#lastBefore.pluck();
    this.#young = db.prepare<[number, number], number>(`
      SELECT seq FROM updates WHERE received_at > ? AND received_at <= ?
      ORDER BY received_at LIMIT 1`);
    this.#young.pluck();
    const datedAhead = [
      ["updates", "received_at"],
      ["bodies", "received_at"],
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
    this.#oldestPackets = db.prepare("SELECT name, day FROM packets ORDER BY id LIMIT ?");
    this.#packetAgain = db.prepare("INSERT OR REPLACE INTO packets (name, day) VALUES (?, ?)");
  }

  /** Adds to the totals, or subtracts; called in the transaction that changes the rows. */
  count(entries: number, bodies: number, bodyBytes: number): void {
    this.#count.run(entries, bodies, bodyBytes);
  }

  totals(): Totals {
    const row = this.#connection.read(() => this.#totals.get());
    if (row === undefined) throw new Error("the totals of the log are missing");
    return row;
  }

  /**
   * Deletes at most `batch` rows of each kind that have reached their age at `now`, in one
   * transaction. A body never outlives its entry, whatever the limits are. If the date of an entry
   * is more than a day before that of an earlier entry that is kept, the date is wrong, and the
   * entry is kept too.
   */
  expire(now: number, limits: RetentionLimits, batch: number): Expired {
    const forgetBefore = now - limits.rememberMs;
    const dropBefore = now - Math.min(limits.retainMs, limits.rememberMs);
    return this.#connection.write(() => {
      const needed = limits.hold && this.#pending.from(limits.hold.sites);
      const aged =
        limits.hold === undefined || needed === undefined
          ? this.#dropOldest(dropBefore, this.#firstYoung(dropBefore, now), batch)
          : this.#dropButHeld(dropBefore, now, needed, limits.hold.bytes, batch);
      const young = this.#firstYoung(forgetBefore, now);
      const late = this.#bodiesOfEntries.all(forgetBefore, young, batch);
      const entries = this.#entries.run(forgetBefore, young, batch).changes;
      const bodies = aged.bodies + late.length;
      const bytes = aged.bytes + late.reduce((sum, { size }) => sum + size, 0);
      if (bodies > 0 || entries > 0) this.count(-entries, -bodies, -bytes);
      const others = [
        this.#skeletons.run(dayOf(forgetBefore), batch).changes,
        this.#dropPackets(forgetBefore, now, batch),
        ...(entries > 0 ? this.#exceptions.map((one) => one.run(batch).changes) : []),
        this.#refusals.run(now, batch).changes,
        this.#variants.run(forgetBefore, batch).changes,
        this.#tombstones.run(forgetBefore, batch).changes,
        this.#blocks.run(forgetBefore, batch).changes,
        this.#sendings.run(10 * batch).changes / 10,
      ];
      const more = aged.more || [entries, ...others].some((changes) => changes >= batch);
      const lost = needed === undefined ? [] : late.filter(({ seq }) => seq >= needed);
      return { bodies, entries, dropped: aged.dropped + lost.length, more };
    });
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
        const within = this.#firstWithin.get(date - UNPROVEN_MS, date);
        if (within !== undefined) {
          if (age + date - within >= ageMs) return date - (ageMs - age);
          age += date - within;
          date = within;
          continue;
        }
        const before = this.#lastBefore.get(date);
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
      const changes = this.#redate.map((one) => one.run({ now, ahead, batch }).changes);
      return changes.some((changed) => changed >= batch);
    });
  }

  /**
   * Deletes the packets that have reached their age; the rows are in the order in which they were
   * last seen. A packet with a future day was seen by a wrong clock. It is inserted again as the
   * last row with the day of today, so that it does not keep the packets behind it.
   */
  #dropPackets(before: number, now: number, batch: number): number {
    const today = dayOf(now);
    const isDue = ({ day }: { readonly day: number }) => day < dayOf(before) || day > today + 1;
    // Most calls end here: the rows are in the order of their days, but for those of wrong clocks.
    if (!this.#oldestPackets.all(1).some(isDue)) return 0;
    let moved = 0;
    for (const { name, day } of this.#oldestPackets.all(batch)) {
      if (day <= today + 1) continue;
      this.#packetAgain.run(name, today);
      moved += 1;
    }
    return Math.max(moved, this.#packets.run(dayOf(before), batch).changes);
  }

  /**
   * The number of the first entry that has not expired at the date `before`; a number beyond all
   * entries if there is none. Dates may be wrong, but the order of entries is not: no entry after
   * this one is older, whatever its date is.
   */
  #firstYoung(before: number, now: number): number {
    const young = this.#young.get(before + UNPROVEN_MS, now + UNPROVEN_MS);
    return young ?? Number.MAX_SAFE_INTEGER;
  }

  #dropOldest(before: number, young: number, batch: number) {
    const sizes = this.#bodies.all(before, young, batch);
    const bytes = sizes.reduce((sum, size) => sum + size, 0);
    return { bodies: sizes.length, bytes, dropped: 0, more: sizes.length >= batch };
  }

  /**
   * Handles the next `batch` bodies of the scan, which starts again when it reaches the end. Held
   * bodies are skipped. When they exceed `limit` bytes the oldest ones are deleted.
   */
  #dropButHeld(before: number, now: number, needed: number, limit: number, batch: number) {
    const young = this.#firstYoung(before, now);
    const top = { ...FROM_THE_TOP, receivedAt: before };
    let { receivedAt, seq, heldBytes } = this.#walk.receivedAt > before ? top : this.#walk;
    const rows = this.#aged.all(receivedAt, seq, batch);
    let [bodies, bytes, dropped] = [0, 0, 0];
    for (const row of rows) {
      ({ receivedAt, seq } = row);
      if (seq >= young) continue;
      if (seq >= needed) {
        heldBytes += row.size;
        if (heldBytes <= limit) continue;
        dropped += 1;
      }
      this.#body.run(seq);
      bodies += 1;
      bytes += row.size;
    }
    const more = rows.length >= batch;
    this.#walk = more ? { receivedAt, seq, heldBytes } : FROM_THE_TOP;
    return { bodies, bytes, dropped, more };
  }
}
