/**
 * What the log forgets, and how much it holds. Bodies go first (thesis: at least 72 h),
 * announcements and hashes much later, for an update that is forgotten as soon as it expires comes
 * back from the first peer with a slower clock. The newest entry and its body always stay, so a
 * greeting has a number to show even after a silent month; and bodies that a site has not got yet
 * stay longer, up to a size.
 *
 * Works in chunks and never over the whole table; the totals are kept beside the rows, in the same
 * transactions, because counting 1.5 million of them takes a second. It does not know the clock:
 * whoever calls must not hand in a time that it distrusts. Limit: freed pages are used again, but
 * the file does not shrink.
 */
import type Database from "better-sqlite3";
import type { Connection } from "./connection.js";
import { dayOf } from "./packet-memory.js";

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

interface BodyRow {
  readonly seq: number;
  readonly receivedAt: number;
  readonly size: number;
}

export class Retention {
  readonly #connection: Connection;
  readonly #totals: Database.Statement<[], Totals>;
  readonly #count: Database.Statement<[number, number, number]>;
  readonly #bodies: Database.Statement<[number, number], number>;
  readonly #aged: Database.Statement<[number, number, number], BodyRow>;
  readonly #body: Database.Statement<[number]>;
  readonly #needed: Database.Statement<[string, string], number | null>;
  readonly #bodiesOfEntries: Database.Statement<[number, number], BodyRow>;
  readonly #entries: Database.Statement<[number, number]>;
  readonly #skeletons: Database.Statement<[number, number]>;
  readonly #packets: Database.Statement<[number, number]>;
  readonly #undelivered: Database.Statement<[number, number]>;
  readonly #returned: Database.Statement<[number, number]>;
  readonly #refusals: Database.Statement<[number, number]>;
  readonly #tombstones: Database.Statement<[number, number]>;
  readonly #blocks: Database.Statement<[number, number]>;
  /** A few neighbours an entry. */
  readonly #sendings: Database.Statement<[number]>;
  #walk = FROM_THE_TOP;

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
    this.#aged = db.prepare(`
      SELECT bodies.seq AS seq, bodies.received_at AS receivedAt, updates.size AS size
      FROM bodies JOIN updates USING (seq)
      WHERE (bodies.received_at, bodies.seq) < (?, ?)
        AND bodies.seq <> (SELECT max(seq) FROM updates)
      ORDER BY bodies.received_at DESC, bodies.seq DESC LIMIT ?`);
    this.#body = db.prepare("DELETE FROM bodies WHERE seq = ?");
    this.#needed = db.prepare(`
      SELECT min(seq) FROM (
        SELECT min(cursor) + 1 AS seq FROM lanes WHERE site IN (SELECT value FROM json_each(?))
        UNION ALL
        SELECT min(first) FROM returned
        WHERE site IN (SELECT value FROM json_each(?)) AND (fresh = 1 OR waiting = 1))`);
    this.#needed.pluck();
    const oldEntries = `
      SELECT seq FROM updates
      WHERE received_at <= ? AND seq <> (SELECT max(seq) FROM updates)
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
    this.#undelivered = db.prepare(`
      DELETE FROM undelivered WHERE rowid IN (
        SELECT rowid FROM undelivered WHERE at <= ? ORDER BY at LIMIT ?)`);
    this.#returned = db.prepare(`
      DELETE FROM returned WHERE rowid IN (
        SELECT rowid FROM returned WHERE at <= ? ORDER BY at LIMIT ?)`);
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
      const needed = limits.hold && this.#lowestNeeded(limits.hold);
      const aged =
        limits.hold === undefined || needed === undefined
          ? this.#dropOldest(dropBefore, batch)
          : this.#dropButHeld(dropBefore, needed, limits.hold.bytes, batch);
      const late = this.#bodiesOfEntries.all(forgetBefore, batch);
      const entries = this.#entries.run(forgetBefore, batch).changes;
      const bodies = aged.bodies + late.length;
      const bytes = aged.bytes + late.reduce((sum, { size }) => sum + size, 0);
      if (bodies > 0 || entries > 0) this.count(-entries, -bodies, -bytes);
      const others = [
        this.#skeletons.run(dayOf(forgetBefore), batch).changes,
        this.#packets.run(dayOf(forgetBefore), batch).changes,
        this.#undelivered.run(forgetBefore, batch).changes,
        this.#returned.run(forgetBefore, batch).changes,
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

  /** The first entry that one of the sites may still be sent; undefined when there are no lanes. */
  #lowestNeeded({ sites }: Hold): number | undefined {
    const names = JSON.stringify(sites);
    return this.#needed.get(names, names) ?? undefined;
  }

  #dropOldest(before: number, batch: number) {
    const sizes = this.#bodies.all(before, batch);
    const bytes = sizes.reduce((sum, size) => sum + size, 0);
    return { bodies: sizes.length, bytes, dropped: 0, more: sizes.length >= batch };
  }

  /**
   * The next `batch` bodies of a walk that is begun anew when it has come to its end: what is held
   * is passed over, and what is beyond `limit` is the oldest.
   */
  #dropButHeld(before: number, needed: number, limit: number, batch: number) {
    const top = { ...FROM_THE_TOP, receivedAt: before };
    let { receivedAt, seq, heldBytes } = this.#walk.receivedAt > before ? top : this.#walk;
    const rows = this.#aged.all(receivedAt, seq, batch);
    let [bodies, bytes, dropped] = [0, 0, 0];
    for (const row of rows) {
      ({ receivedAt, seq } = row);
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
