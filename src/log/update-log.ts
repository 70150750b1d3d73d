/**
 * The update log: the gateway's only memory. An ordered record of updates, numbered from 1 without
 * gaps and never twice, to which everything that was accepted is appended once, and from which
 * each door reads on from its own cursor. "Stored" means committed and fsynced: an answer to a
 * sender may follow, never precede, `append` (RFC 5321 section 6.1; thesis, appendix A).
 *
 * Synchronous on purpose: a call returns when SQLite is done, so no two steps of it interleave. It
 * knows no protocol, no policy and no clock. Known limits: KX names an update by its MD5 alone, so
 * of two updates with one MD5 the second can come in by mail only; a trail holds at most
 * `TRAIL_LIMIT` addresses, and a site beyond them may get an update that it has.
 */
import type Database from "better-sqlite3";
import type { Trouble } from "../errors.js";
import type { Fingerprint, Origin, Seq, Transport, Update, UpdateHash } from "../update.js";
import { Bounces } from "./bounces.js";
import { Connection, type Durability } from "./connection.js";
import { type ReceiveCursor, ReceiveCursors } from "./cursors.js";
import { FetchWaits } from "./fetch-waits.js";
import { Lanes } from "./lanes.js";
import { Lookup } from "./lookup.js";
import { PacketMemory } from "./packet-memory.js";
import { Pending } from "./pending.js";
import { ReconStore } from "./recon.js";
import { Refusals, Skeletons } from "./remembered.js";
import { Removals } from "./removals.js";
import { Repairs } from "./repairs.js";
import { Retention, type Totals } from "./retention.js";
import { Sendings } from "./sendings.js";
import { Trails, union } from "./trail.js";

/** An update as a door hands it in. */
export interface Arrival {
  readonly update: Update;
  readonly origin: Origin;
  /** X-KeyServer-Sent addresses that it came with. */
  readonly trail: readonly string[];
  /** Milliseconds since 1970. */
  readonly receivedAt: number;
  /** Message-ID of the mail that brought it. */
  readonly messageId?: string | undefined;
}

/**
 * What became of an arrival. `collision`: another update with the same MD5 and another SHA-256 was
 * held already; both are kept. A duplicate has the number of the entry that was there.
 */
export type Appended =
  | { readonly outcome: "appended"; readonly seq: Seq; readonly collision: boolean }
  | { readonly outcome: "duplicate"; readonly seq: Seq };

/** What is announced of an update, and where it came from; its body may have expired. */
export interface Entry {
  readonly seq: Seq;
  readonly hash: UpdateHash;
  readonly fingerprint: Fingerprint;
  /** Bytes of the body. */
  readonly size: number;
  readonly origin: Origin;
  /** Milliseconds since 1970. */
  readonly receivedAt: number;
}

/** How much the log holds; `fileBytes` is what it takes on disk with its WAL. */
export interface Counts extends Totals {
  readonly fileBytes: number;
}

interface EntryRow {
  readonly seq: number;
  readonly name: UpdateHash;
  readonly keyName: Fingerprint;
  readonly size: number;
  readonly neighbour: string | null;
  readonly transport: Transport;
  readonly receivedAt: number;
}

type UpdateParameters = [
  hash: Buffer,
  digest: Buffer,
  fingerprint: Buffer,
  size: number,
  neighbour: string | null,
  transport: Transport,
  receivedAt: number,
  messageId: string | null,
  trail: string,
];

/** Hex is made by SQLite: 50,000 small buffers cost five times as much. */
const ENTRY = `
  SELECT seq, lower(hex(hash)) AS name, hex(fingerprint) AS keyName, size, neighbour, transport,
    received_at AS receivedAt
  FROM updates`;

export class UpdateLog {
  /** What only people ask. */
  readonly lookup: Lookup;
  /** What sites' mail systems sent back. */
  readonly bounces: Bounces;
  /** What the operator has had removed. */
  readonly removals: Removals;
  /** Which packets are in the updates of the log, or were. */
  readonly packets: PacketMemory;
  /** What was lost and is to be fetched again. */
  readonly repairs: Repairs;
  /** Who is known to have what. */
  readonly trails: Trails;
  /** When it went to whom. */
  readonly sendings: Sendings;
  /** Since when something may wait at a peer. */
  readonly fetchWaits: FetchWaits;
  /** What is known of servers that are followed by recon. */
  readonly recon: ReconStore;
  /** How far the logs of our KX peers have been read. */
  readonly cursors: ReceiveCursors;
  /** How far each site has been served, and what it refused for good. */
  readonly lanes: Lanes;
  /** What each site still needs. */
  readonly pending: Pending;
  /** What completes an update of a key: see `openpgp/skeleton.ts`. */
  readonly skeletons: Skeletons;
  /** Names that policy refused over KX. */
  readonly refusals: Refusals;
  /** What leaves the log by age; call it with dates that can be trusted. */
  readonly retention: Retention;
  readonly #connection: Connection;
  readonly #listeners = new Set<() => void>();

  readonly #insertUpdate: Database.Statement<UpdateParameters>;
  readonly #insertBody: Database.Statement<[number, number, Uint8Array]>;
  readonly #namesakes: Database.Statement<[Buffer], { seq: number; digest: Buffer }>;
  readonly #newest: Database.Statement<[], number>;
  readonly #bySeq: Database.Statement<[number], EntryRow>;
  readonly #byHash: Database.Statement<[Buffer], EntryRow>;
  readonly #has: Database.Statement<[Buffer], number>;
  readonly #range: Database.Statement<[number, number, number], EntryRow>;
  readonly #body: Database.Statement<[number], Buffer>;

  /** A log over an open connection; everybody but a test of faults calls `UpdateLog.open`. */
  constructor(connection: Connection) {
    const { db } = connection;
    this.#connection = connection;
    this.cursors = new ReceiveCursors(connection);
    this.lanes = new Lanes(connection);
    this.skeletons = new Skeletons(connection);
    this.refusals = new Refusals(connection);
    this.pending = new Pending(connection, this.lanes);
    this.retention = new Retention(connection, this.pending);
    this.lookup = new Lookup(connection);
    this.packets = new PacketMemory(connection);
    const wake = () => this.#wake();
    this.bounces = new Bounces(connection, wake);
    this.repairs = new Repairs(connection, this.retention, wake);
    this.removals = new Removals(connection, this.bounces, this.retention, wake);
    this.trails = new Trails(connection, this.pending);
    this.sendings = new Sendings(connection);
    this.fetchWaits = new FetchWaits(connection);
    this.recon = new ReconStore(connection);
    this.#insertUpdate = db.prepare(`
      INSERT INTO updates (hash, digest, fingerprint, size, neighbour, transport, received_at,
                           message_id, trail)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`);
    this.#insertBody = db.prepare("INSERT INTO bodies (seq, received_at, body) VALUES (?, ?, ?)");
    this.#namesakes = db.prepare("SELECT seq, digest FROM updates WHERE hash = ?");
    const newest = db.prepare<[], number>("SELECT seq FROM updates ORDER BY seq DESC LIMIT 1");
    this.#newest = newest.pluck();
    this.#bySeq = db.prepare(`${ENTRY} WHERE seq = ?`);
    this.#byHash = db.prepare(`${ENTRY} WHERE hash = ? ORDER BY seq DESC LIMIT 1`);
    const has = db.prepare<[Buffer], number>("SELECT 1 FROM updates WHERE hash = ? LIMIT 1");
    this.#has = has.pluck();
    this.#range = db.prepare(`${ENTRY} WHERE seq BETWEEN ? AND ? ORDER BY seq LIMIT ?`);
    this.#body = db.prepare<[number], Buffer>("SELECT body FROM bodies WHERE seq = ?").pluck();
  }

  /**
   * Opens the log in file `path`, creating it where there is none; `:memory:` is a log for tests.
   * `readonly` reads beside a running gateway. Throws `Trouble`: 'busy' when another gateway
   * serves the file, 'not-ours', 'corrupt', 'read-only' or 'unusable'.
   */
  static open(path: string, options: { readonly readonly?: boolean } = {}): UpdateLog {
    let log: UpdateLog | undefined;
    Connection.open(path, {
      ...options,
      prepare: (connection) => {
        log = new UpdateLog(connection);
      },
    });
    if (log === undefined) throw new Error("a log was opened without its statements");
    return log;
  }

  /**
   * Stores `arrivals` in order, and with them a peer's receive cursor, in one transaction: all or,
   * with a `Trouble`, nothing. A duplicate adds its trail to the entry that is there and nothing
   * else. Returns one outcome an arrival, when they are on disk and the doors are woken.
   */
  append(
    arrivals: readonly Arrival[],
    cursor?: { readonly peer: string; readonly at: ReceiveCursor },
  ): Appended[] {
    const outcomes = this.#connection.write(() => {
      const stored = arrivals.map((arrival) => this.#store(arrival));
      this.#book(arrivals, stored);
      if (cursor !== undefined) this.cursors.set(cursor.peer, cursor.at);
      return stored;
    });
    if (outcomes.some(({ outcome }) => outcome === "appended")) this.#wake();
    return outcomes;
  }

  #store(arrival: Arrival): Appended {
    const { update, origin, receivedAt } = arrival;
    const hash = Buffer.from(update.hash, "hex");
    const digest = Buffer.from(update.digest, "hex");
    const namesakes = this.#namesakes.all(hash);
    const same = namesakes.find((row) => digest.equals(row.digest));
    if (same !== undefined) {
      const seq = same.seq as Seq;
      this.trails.extend(seq, arrival.trail);
      if (!this.removals.isForgotten(seq)) this.#learn(update, receivedAt);
      return { outcome: "duplicate", seq };
    }
    const { lastInsertRowid } = this.#insertUpdate.run(
      hash,
      digest,
      Buffer.from(update.fingerprint, "hex"),
      update.body.length,
      origin.neighbour ?? null,
      origin.transport,
      receivedAt,
      arrival.messageId ?? null,
      JSON.stringify(union([], arrival.trail)),
    );
    const seq = Number(lastInsertRowid) as Seq;
    this.#insertBody.run(seq, receivedAt, update.body);
    this.#learn(update, receivedAt);
    this.packets.remember(update.packets, receivedAt);
    return { outcome: "appended", seq, collision: namesakes.length > 0 };
  }

  #book(arrivals: readonly Arrival[], outcomes: readonly Appended[]): void {
    const added = arrivals.filter((_, index) => outcomes[index]?.outcome === "appended");
    if (added.length === 0) return;
    const bytes = added.reduce((sum, { update }) => sum + update.body.length, 0);
    this.retention.count(added.length, added.length, bytes);
  }

  #wake(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  /**
   * Calls `listener`, which must not throw, after each commit that added an entry, noted a bounce
   * or a repair, or removed something: a signal without data. Returns the way to unsubscribe.
   */
  onAppend(listener: () => void): () => void {
    const own = () => listener();
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  /** Number of the newest entry, which is always remembered; 0 when nothing was ever appended. */
  newest(): Seq | 0 {
    return (this.#connection.read(() => this.#newest.get()) ?? 0) as Seq | 0;
  }

  entry(seq: Seq): Entry | undefined {
    const row = this.#connection.read(() => this.#bySeq.get(seq));
    return row && toEntry(row);
  }

  /** The entry of that name; of two with one MD5 the newer. */
  entryByHash(hash: UpdateHash): Entry | undefined {
    const key = Buffer.from(hash, "hex");
    const row = this.#connection.read(() => this.#byHash.get(key));
    return row && toEntry(row);
  }

  /** Whether an update of that name is remembered, with or without its body. */
  has(hash: UpdateHash): boolean {
    return this.#connection.read(() => this.#has.get(Buffer.from(hash, "hex"))) !== undefined;
  }

  /** Entries from `low` to `high`, both included, ascending, at most `limit`. */
  range(low: Seq, high: Seq, limit: number): Entry[] {
    return this.#connection.read(() => this.#range.all(low, high, limit)).map(toEntry);
  }

  /** The update's packets, or undefined once they have expired. */
  body(seq: Seq): Uint8Array | undefined {
    const bytes = this.#connection.read(() => this.#body.get(seq));
    return bytes && new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /**
   * Learns from keys of which nothing is news what completes later updates of them, unless they
   * were forgotten: nothing of those comes back before there is news.
   */
  learn(updates: readonly Update[], at: number): void {
    const wanted = updates.filter(
      ({ fingerprint }) => this.removals.forgottenOf(fingerprint, 1).length === 0,
    );
    if (wanted.length === 0) return;
    this.#connection.write(() => {
      for (const update of wanted) this.#learn(update, at);
    });
  }

  #learn({ fingerprint, selfSigned }: Update, at: number): void {
    this.skeletons.remember(fingerprint, selfSigned, at);
  }

  /** How much the log holds; takes microseconds at any size. */
  counts(): Counts {
    return { ...this.retention.totals(), fileBytes: this.#connection.fileBytes() };
  }

  /** What stands behind the word "stored", as SQLite reports it. */
  durability(): Durability {
    return this.#connection.durability();
  }

  /** Throws `Trouble` when the files of the log are not at their paths any more. */
  assertInPlace(): void {
    this.#connection.assertInPlace();
  }

  /** What is damaged, once it was met: from then on every write is refused with it. */
  get damage(): Trouble | undefined {
    return this.#connection.damage;
  }

  /** Calls `listener`, which must not throw, when damage is met; at most once. */
  onDamage(listener: (damage: Trouble) => void): void {
    this.#connection.onDamage(listener);
  }

  /** Moves the WAL into the file and empties it; false when a reader was in the way. */
  checkpoint(): boolean {
    return this.#connection.checkpoint();
  }

  /** Checkpoints and closes. A second call does nothing. */
  close(): void {
    this.#connection.close();
  }
}

function toEntry(row: EntryRow): Entry {
  return {
    seq: row.seq as Seq,
    hash: row.name,
    fingerprint: row.keyName,
    size: row.size,
    origin: { neighbour: row.neighbour ?? undefined, transport: row.transport },
    receivedAt: row.receivedAt,
  };
}
