/**
 * What the log forgets, and how much it holds. Bodies go first (thesis: at least 72 h),
 * announcements and hashes much later, for an update that is forgotten as soon as it expires comes
 * back from the first peer with a slower clock. The newest entry and its body always stay, so a
 * greeting has a number to show even after a silent month; and bodies that a site has not got yet
 * stay longer, up to a size.
 *
 * Works in chunks; the totals are kept beside the rows, because counting 1.5 million of them takes
 * a second. It does not know the clock: who calls must not hand in a time that it distrusts, and
 * asks `provenBefore` which dates the log bears out. Limit: the file does not shrink.
 */
import type Database from "better-sqlite3";
import type { Connection } from "./connection.js";
import { DAY_MS, dayOf } from "./packet-memory.js";
import type { Pending } from "./pending.js";

export interface RetentionLimits {
  /** Age at which a body goes, in milliseconds. */
  readonly retainMs: number;
  /** Age at which an announcement, a hash, a skeleton, a packet, a tombstone or a note goes. */
  readonly rememberMs: number;
  /** Bodies past their age that stay nevertheless; by default none. */
  readonly hold?: Hold | undefined;
}

/** Which bodies stay: those that the lanes of `sites` have not passed, of that many bytes. */
export interface Hold {
  readonly sites: readonly string[];
  readonly bytes: number;
}

export interface Expired {
  readonly bodies: number;
  readonly entries: number;
  /** Of the bodies, how many a site would still have needed. */
  readonly dropped: number;
  /** Whether a full chunk was found, so that there may be more to do at once. */
  readonly more: boolean;
}

export interface Totals {
  readonly entries: number;
  readonly bodies: number;
  readonly bodyBytes: number;
}

/** How far a walk over the bodies past their age has come, from the youngest to the oldest. */
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
 * How much a gap between two dates counts as evidence: a longer one may be a clock that was wrong
 * as well as a time in which nothing came. Dates that differ by less are not told apart.
 */
export const UNPROVEN_MS = 24 * 60 * 60_000;

/** Before every date; nothing has it. */
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
  readonly #tombstones: Database.Statement<[number, number]>;
  readonly #blocks: Database.Statement<[number, number]>;
  readonly #newestDate: Database.Statement<[], number>;
  readonly #firstWithin: Database.Statement<[number, number], number>;
  readonly #lastBefore: Database.Statement<[number], number>;
  readonly #young: Database.Statement<[number, number], number>;
  readonly #redate: readonly Database.Statement<[{ now: number; ahead: number; batch: number }]>[];
  readonly #oldestPackets: Database.Statement<[number], { name: Buffer; day: number }>;
  readonly #packetAgain: Database.Statement<[Buffer, number]>;
  /** A few neighbours an entry. */
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
    ] as const;
    this.#redate = [
      ...datedAhead.map(([table, at]) => {
        const ahead = `SELECT rowid FROM ${table} WHERE ${at} > @ahead LIMIT @batch`;
        return `UPDATE ${table} SET ${at} = @now WHERE rowid IN (${ahead})`;
      }),
      // These are put off by two days at most.
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
   * transaction. A body never outlives its entry, whatever the limits say. An entry whose date is
   * more than a day older than that of an earlier one that stays has a wrong date, and stays.
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
   * The latest date up to which everything in the log is `ageMs` old, as far as there is evidence
   * for it. The date has been in step with the monotonic clock for `steadyMs` up to `now`: in that
   * time, ages are exact. Before, it is the log that counts: the time between two entries, and of a
   * longer gap one day, so that a clock that was wrong by years makes the log a day older and not
   * years. Takes some sixty look-ups.
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

  /** The date of the newest entry; undefined when there is none. */
  newestDate(): number | undefined {
    return this.#connection.read(() => this.#newestDate.get());
  }

  /**
   * Dates what lies more than a day in the future, at most `batch` rows of each kind, by `now`: a
   * clock that was a year ahead must not keep it for a year. Returns whether there is more to do.
   */
  redate(now: number, batch: number): boolean {
    const ahead = now + UNPROVEN_MS;
    return this.#connection.write(() => {
      const changes = this.#redate.map((one) => one.run({ now, ahead, batch }).changes);
      return changes.some((changed) => changed >= batch);
    });
  }

  /**
   * The oldest packets, in the order in which they were seen last: what has reached its age goes.
   * One of a day to come was seen by a wrong clock: as seen today it goes behind all others, where
   * it does not stand before them.
   */
  #dropPackets(before: number, now: number, batch: number): number {
    const today = dayOf(now);
    let moved = 0;
    for (const { name, day } of this.#oldestPackets.all(batch)) {
      if (day <= today + 1) continue;
      this.#packetAgain.run(name, today);
      moved += 1;
    }
    return Math.max(moved, this.#packets.run(dayOf(before), batch).changes);
  }

  /**
   * The number of the oldest entry that is too young to go at a date; beyond all when there is
   * none. Dates may be wrong, since clocks are, and the order of entries is not: what stands behind
   * this entry is not older than it, whatever its date says.
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
   * The next `batch` bodies of a walk that is begun anew when it has come to its end: what is held
   * is passed over, and what is beyond `limit` is the oldest.
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
