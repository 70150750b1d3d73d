/**
 * The update log, which holds all persistent data of the gateway but the key index. Entries are
 * numbered from 1 without gaps, and no number is used twice. Each accepted update is appended once;
 * each door reads from its own cursor. "Stored" means committed and fsynced: an answer to a sender
 * follows `append` and never precedes it (RFC 5321 section 6.1; thesis, appendix A).
 *
 * All calls are synchronous, so that their steps do not interleave. The log has no protocol, policy
 * or clock. Known limits: KX/1.0 identifies an update by its MD5 only, so of two updates with the
 * same MD5 the second can be received only by mail or with the feature "sha256" of KX/1.1; a trail
 * holds at most `TRAIL_LIMIT` addresses, and a site beyond them may get an update that it has.
 */
import type Database from "better-sqlite3";
import { Refusal, Trouble } from "../errors.js";
import { coveredBy, isCovered } from "../openpgp/cover.js";
import { readKeys } from "../openpgp/key.js";
import { packetNames } from "../openpgp/news.js";
import {
  type AnnouncedName,
  type Fingerprint,
  type LogName,
  type Named,
  nameOf,
  namesIn,
  type Origin,
  type Seq,
  type Transport,
  type Update,
  type UpdateDigest,
  type UpdateHash,
} from "../update.js";
import { Apply } from "./apply.js";
import { Bounces } from "./bounces.js";
import { Connection, type Durability, type Opening } from "./connection.js";
import { CounterRows } from "./counter-rows.js";
import { type CursorMove, FetchWaits, ReceiveCursors } from "./cursors.js";
import { Dates } from "./dates.js";
import { type CameAgain, Exceptions } from "./exceptions.js";
import { GatheredTrails } from "./gathered-trails.js";
import { Gathering, NEWEST, type Totals } from "./gathering.js";
import { HashIndex } from "./hash-index.js";
import { Lanes } from "./lanes.js";
import { Lookup } from "./lookup.js";
import { ObservedTotals } from "./observed.js";
import { type Days, dayOf, PacketMemory } from "./packet-memory.js";
import { Pending } from "./pending.js";
import { ReconStore } from "./recon.js";
import { Refusals, Skeletons } from "./remembered.js";
import { Removals } from "./removals.js";
import { Repairs } from "./repairs.js";
import { Retention } from "./retention.js";
import { Sendings } from "./sendings.js";
import { type CopyStatus, SharedCopy } from "./shared-copy.js";
import type { SharedStore } from "./shared-port.js";
import { Trails } from "./trail.js";
import { Variants } from "./variants.js";

/** An update to append. */
export interface Arrival {
  readonly update: Update;
  readonly origin: Origin;
  /** Addresses of its X-KeyServer-Sent fields. */
  readonly trail: readonly string[];
  /** Milliseconds since 1970. */
  readonly receivedAt: number;
  /** Message-ID of the mail that it came with. */
  readonly messageId?: string | undefined;
  /** What came, where policy dropped packets of it. */
  readonly cutFrom?: CutFrom | undefined;
  /** Appended although all its packets are known: a site lacks them. */
  readonly evenKnown?: boolean | undefined;
}

/** The names of an update before policy dropped packets of it, and the reason for the first. */
export interface CutFrom extends Named {
  readonly reason: string;
}

/**
 * The outcome of an arrival. `collision`: the log already has another update with the same MD5 and
 * a different SHA-256; both are kept. The number of a duplicate is that of the existing entry. An
 * update without an unknown packet is a duplicate without a number; `covers` are entries that some
 * site still needs and that it has all packets of.
 */
export type Appended =
  | { readonly outcome: "appended"; readonly seq: Seq; readonly collision: boolean }
  | {
      readonly outcome: "duplicate";
      readonly seq: Seq | undefined;
      readonly covers?: readonly Seq[];
    };

/** What KX announces of an update, and its origin; its body may have expired. */
export interface Entry {
  readonly seq: Seq;
  readonly hash: UpdateHash;
  readonly digest: UpdateDigest;
  readonly fingerprint: Fingerprint;
  /** Bytes of the body. */
  readonly size: number;
  readonly origin: Origin;
  /** Milliseconds since 1970. */
  readonly receivedAt: number;
}

/** Size of the log; `fileBytes` is its size on disk with the WAL. */
export interface Counts extends Totals {
  readonly fileBytes: number;
}

interface EntryRow {
  readonly seq: number;
  readonly name: UpdateHash;
  readonly digest: UpdateDigest;
  readonly keyName: Fingerprint;
  readonly size: number;
  readonly neighbour: string | null;
  readonly transport: Transport;
  readonly receivedAt: number;
}

type UpdateParameters = [
  seq: number,
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

/** What the entries of one call of `append` share, so that each value is read once per call. */
interface Run {
  /** The last number that was used; undefined until an entry is stored. */
  last: number | undefined;
  /** The date of the last entry that was stored. */
  notedAt: number | undefined;
}

/** Entries of a key that are compared with an update of it that has no news. */
const COVERED = 100;

/** SQLite makes the hex digits: 50,000 small buffers take five times as long. */
const ENTRY = `
  SELECT seq, lower(hex(hash)) AS name, lower(hex(digest)) AS digest,
    hex(fingerprint) AS keyName, size, neighbour, transport,
    received_at AS receivedAt
  FROM updates`;

export class UpdateLog {
  /** Queries of the page and of commands. */
  readonly lookup: Lookup;
  /** Bounces of our mails. */
  readonly bounces: Bounces;
  /** Blocks, and forgotten updates. */
  readonly removals: Removals;
  /** Names of the packets of all updates. */
  readonly packets: PacketMemory;
  /** Lost updates that are to be fetched again. */
  readonly repairs: Repairs;
  /** The addresses of sites that have an update. */
  readonly trails: Trails;
  /** The times of deliveries. */
  readonly sendings: Sendings;
  /** What would have been sent in observe mode. */
  readonly observed: ObservedTotals;
  readonly counterRows: CounterRows;
  /** Since when an update may wait at a peer. */
  readonly fetchWaits: FetchWaits;
  /** What is known of the servers that are followed by recon. */
  readonly recon: ReconStore;
  /** How far the logs of the KX peers have been read. */
  readonly cursors: ReceiveCursors;
  /** Updates that sites did not take, with the reasons. */
  readonly exceptions: Exceptions;
  /** The state of the lane of each site. */
  readonly lanes: Lanes;
  /** The updates that each site still needs. */
  readonly pending: Pending;
  /** Packets that complete an update of a key: see `openpgp/skeleton.ts`. */
  readonly skeletons: Skeletons;
  /** Hashes of updates that policy refused over KX. */
  readonly refusals: Refusals;
  /** Hashes of updates without news, and of those that policy cut. */
  readonly variants: Variants;
  /** Expiry by age; call it only with a trusted time. */
  readonly retention: Retention;
  readonly #connection: Connection;
  readonly #readName: Database.Statement<[], LogName>;
  #name: LogName;
  #copy: SharedCopy | undefined;
  readonly #dates: Dates;
  readonly #gathering: Gathering;
  readonly #hashes: HashIndex;
  readonly #listeners = new Set<() => void>();

  readonly #insertUpdate: Database.Statement<UpdateParameters>;
  readonly #insertBody: Database.Statement<[number, number, Uint8Array]>;
  readonly #lastUsed: Database.Statement<[], number>;
  readonly #newest: Database.Statement<[], number>;
  /** What `newest` read, and the state of the connection then: it is asked at each message. */
  #newestKnown: Seq | 0 = 0;
  #newestState: number | undefined;
  readonly #bySeq: Database.Statement<[number], EntryRow>;
  readonly #byHash: Database.Statement<[{ hash: Buffer }], EntryRow>;
  readonly #allByHash: Database.Statement<[{ hash: Buffer }], EntryRow>;
  readonly #range: Database.Statement<[number, number, number], EntryRow>;
  readonly #body: Database.Statement<[number], Buffer>;

  /** A log over an open connection. Only tests of faults call it; others use `UpdateLog.open`. */
  constructor(connection: Connection) {
    const { db } = connection;
    this.#connection = connection;
    this.#readName = db.prepare<[], LogName>("SELECT lower(hex(name)) FROM log_name").pluck();
    this.#name = connection.read(() => this.#readName.get()) as LogName;
    this.cursors = new ReceiveCursors(connection);
    this.lanes = new Lanes(connection);
    this.refusals = new Refusals(connection);
    this.variants = new Variants(connection);
    const wake = () => this.#wake();
    this.exceptions = new Exceptions(connection, wake);
    this.skeletons = new Skeletons(connection, (fingerprint, at) => {
      this.exceptions.completed(fingerprint, at);
    });
    const grown = new GatheredTrails(connection);
    this.pending = new Pending(connection, this.lanes, this.exceptions, grown);
    this.packets = new PacketMemory(connection);
    this.#dates = new Dates(connection);
    this.#gathering = new Gathering(connection, this.packets);
    this.#hashes = new HashIndex(connection);
    const { packets, pending } = this;
    const [dates, gathering, hashes] = [this.#dates, this.#gathering, this.#hashes];
    this.retention = new Retention({ connection, dates, gathering, hashes, packets, pending });
    this.lookup = new Lookup(connection);
    this.bounces = new Bounces(connection, wake);
    this.repairs = new Repairs({ connection, gathering, wake });
    const { bounces, exceptions, variants } = this;
    this.removals = new Removals({ connection, bounces, exceptions, gathering, variants, wake });
    this.sendings = new Sendings(connection);
    const { lanes, sendings } = this;
    this.trails = new Trails(connection, { grown, pending, lanes, exceptions, sendings });
    this.observed = new ObservedTotals(connection);
    this.counterRows = new CounterRows(connection);
    this.fetchWaits = new FetchWaits(connection);
    this.recon = new ReconStore(connection);
    this.#insertUpdate = db.prepare(`
      INSERT INTO updates (seq, hash, digest, fingerprint, size, neighbour, transport, received_at,
                           message_id, trail)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
    this.#lastUsed = db.prepare<[], number>(`SELECT max(last, ${NEWEST}) FROM totals`).pluck();
    this.#insertBody = db.prepare("INSERT INTO bodies (seq, received_at, body) VALUES (?, ?, ?)");
    const newest = db.prepare<[], number>("SELECT seq FROM updates ORDER BY seq DESC LIMIT 1");
    this.#newest = newest.pluck();
    this.#bySeq = db.prepare(`${ENTRY} WHERE seq = ?`);
    const byHash = `${ENTRY} WHERE seq IN (${this.#hashes.seqs})`;
    this.#byHash = db.prepare(`${byHash} ORDER BY seq DESC LIMIT 1`);
    this.#allByHash = db.prepare(byHash);
    this.#range = db.prepare(`${ENTRY} WHERE seq BETWEEN ? AND ? ORDER BY seq LIMIT ?`);
    this.#body = db.prepare<[number], Buffer>("SELECT body FROM bodies WHERE seq = ?").pluck();
    if (connection.isWritable) this.#recoverNames();
  }

  /** Has this log be a copy of the one in the database from now on. */
  #share(store: SharedStore): void {
    const connection = this.#connection;
    const { packets, trails } = this;
    const [dates, gathering, hashes] = [this.#dates, this.#gathering, this.#hashes];
    const apply = new Apply({ connection, dates, gathering, hashes, packets, trails });
    this.#copy = new SharedCopy({
      ...{ connection, store, apply },
      onApplied: (rows) => this.#refresh(rows),
      wake: () => this.#wake(),
    });
    connection.accompany(this.#copy);
  }

  /** Reads again what is remembered of these tables: other gateways have changed so many rows. */
  #refresh(rows: ReadonlyMap<string, number>): void {
    if (rows.has("log_name")) this.#name = this.#readName.get() as LogName;
    if (rows.has("secret")) this.bounces.refresh();
    if (rows.has("blocks") || rows.has("forgotten")) this.removals.refresh();
    if (rows.has("repairs")) this.repairs.refresh();
    this.variants.others(rows.get("variants") ?? 0);
  }

  /** Tells peers which log the numbers are of. */
  get name(): LogName {
    return this.#name;
  }

  /** How far this copy of a shared log is; undefined for a log of its own. */
  get copy(): CopyStatus | undefined {
    return this.#copy?.status;
  }

  /**
   * Fetches and applies what other gateways have committed, about `bytes` of it, and wakes the
   * doors. Returns whether the copy is at the newest position, which a log of its own always is.
   * Throws `Trouble`: 'away' if the database does not answer, 'not-ours' if it is that of another
   * site or an older state of it.
   */
  catchUp(bytes?: number): boolean {
    return this.#copy?.step(bytes) ?? true;
  }

  /**
   * The packet names of the entries in the tail were gathered by a process that was killed. They
   * are made from the bodies again, in some tens of milliseconds, or half a second of large ones.
   */
  #recoverNames(): void {
    for (const { seq, receivedAt } of this.#gathering.tail()) {
      for (const key of readKeys(this.body(seq) ?? new Uint8Array())) {
        if (key instanceof Refusal) continue;
        this.packets.remember(packetNames(key), receivedAt);
      }
    }
  }

  /**
   * Opens the log in the file `path` and creates the file if it is missing; `:memory:` is a log for
   * tests. With `readonly` the log is read beside a running gateway. `onMigration` is told before
   * and after a log of an earlier version is migrated. Throws `Trouble`: 'busy' if another gateway
   * serves the file, 'not-ours', 'corrupt', 'read-only' or 'unusable'.
   *
   * With `shared` the file is a copy of the log in that database. `catchUp` loads it; nothing can
   * be written before `copy.isComplete`.
   */
  static open(path: string, options: Omit<Opening, "prepare"> = {}): UpdateLog {
    let log: UpdateLog | undefined;
    const connection = Connection.open(path, {
      ...options,
      prepare: (connection) => {
        log = new UpdateLog(connection);
      },
    });
    if (log === undefined) throw new Error("a log was opened without its statements");
    try {
      if (options.shared !== undefined) log.#share(options.shared);
      return log;
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  /**
   * Stores `arrivals` in order, and with them receive cursors of peers, in one transaction. If it
   * throws a `Trouble`, nothing was stored. A duplicate adds its trail to the existing entry, and
   * its packets count as seen; so does an update without an unknown packet, with the entries whose
   * packets it contains.
   * Returns one outcome per arrival, after they are on disk and the doors were woken.
   */
  append(arrivals: readonly Arrival[], ...moves: readonly CursorMove[]): Appended[] {
    const outcomes = this.#connection.write(() => {
      const run: Run = { last: undefined, notedAt: undefined };
      const stored = arrivals.map((arrival) => this.#store(arrival, run));
      for (const { peer, at } of moves) {
        if (at === undefined) this.cursors.forget(peer);
        else this.cursors.set(peer, at);
      }
      return stored;
    });
    if (outcomes.some(({ outcome }) => outcome === "appended")) this.#wake();
    return outcomes;
  }

  #store(arrival: Arrival, run: Run): Appended {
    const { update, cutFrom, receivedAt } = arrival;
    const outcome = this.#storeUpdate(arrival, run);
    const { seq } = outcome;
    const isCut = cutFrom !== undefined && cutFrom.hash !== update.hash;
    if (seq !== undefined && !isCut) return outcome;
    const seqs = outcome.outcome === "duplicate" ? (outcome.covers ?? listed(seq)) : listed(seq);
    const digest = update.digest as UpdateDigest;
    const name = nameOf({ hash: update.hash, digest });
    if (seq === undefined) this.variants.add(name, seqs, "", receivedAt);
    if (isCut) this.variants.add(nameOf(cutFrom), seqs, cutFrom.reason, receivedAt);
    return outcome;
  }

  #storeUpdate(arrival: Arrival, run: Run): Appended {
    const { update, origin, receivedAt } = arrival;
    const hash = Buffer.from(update.hash, "hex");
    const digest = Buffer.from(update.digest, "hex");
    const namesakes = this.#hashes.namesakes(hash);
    const same = namesakes.find((row) => digest.equals(row.digest));
    if (same !== undefined) {
      const { seq } = same;
      this.trails.extend(seq, arrival.trail, origin.neighbour);
      if (update.isHeld !== true && !this.removals.isForgotten(seq)) {
        this.#learn(update, receivedAt);
      }
      return { outcome: "duplicate", seq };
    }
    const days = this.packets.daysOf(update.packets);
    if (arrival.evenKnown !== true && this.packets.knowsAll(update.packets, days)) {
      return this.#known(arrival, days);
    }
    run.last ??= this.#lastUsed.get() ?? 0;
    const seq = (run.last + 1) as Seq;
    this.#insertUpdate.run(
      seq,
      hash,
      digest,
      Buffer.from(update.fingerprint, "hex"),
      update.body.length,
      origin.neighbour ?? null,
      origin.transport,
      receivedAt,
      arrival.messageId ?? null,
      JSON.stringify(this.trails.counting(arrival.trail, origin.neighbour)),
    );
    run.last = seq;
    this.#copy?.named(seq, update.packets);
    this.#insertBody.run(seq, receivedAt, update.body);
    this.#hashes.add(hash, seq);
    // An entry at the date of the one before it begins no stretch.
    if (run.notedAt !== receivedAt) this.#dates.note(seq, receivedAt);
    run.notedAt = receivedAt;
    this.#learn(update, receivedAt);
    this.packets.remember(update.packets, receivedAt, days);
    this.#gathering.appended(seq, update.body.length);
    return { outcome: "appended", seq, collision: namesakes.length > 0 };
  }

  /**
   * All packets are known: nothing is appended, but the sender is noted as having them. The
   * skeleton of a forgotten key is not stored again until an update of it is appended.
   */
  #known({ update, origin, trail, receivedAt }: Arrival, days: Days): Appended {
    const { fingerprint, body, packets } = update;
    this.packets.remember(packets, receivedAt, days);
    if (this.removals.forgottenOf(fingerprint, 1).length === 0) this.#learn(update, receivedAt);
    const sites = this.lanes.addressed().map(({ site }) => site);
    const first = this.pending.from(sites);
    const entries =
      first === undefined
        ? []
        : this.lookup.byFingerprint(fingerprint, COVERED).filter((seq) => seq >= first);
    if (entries.length === 0) return { outcome: "duplicate", seq: undefined, covers: [] };
    const isCoveredHere = coveredBy(body);
    const covers = entries.filter((seq) => isCoveredHere(this.body(seq)));
    for (const seq of covers) this.trails.extend(seq, trail, origin.neighbour);
    return { outcome: "duplicate", seq: undefined, covers };
  }

  #wake(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  /**
   * Calls `listener`, which must not throw, after each commit that added an entry, a bounce or a
   * repair, or removed something. Returns the function that unsubscribes.
   */
  onAppend(listener: () => void): () => void {
    const own = () => listener();
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  /** Runs `work`, whose many look-ups then cost less: see `Connection.together`. */
  together<T>(work: () => T): T {
    return this.#connection.together(work);
  }

  /** Number of the newest entry, which never expires; 0 for an empty log. */
  newest(): Seq | 0 {
    const { state } = this.#connection;
    if (state !== undefined && state === this.#newestState) return this.#newestKnown;
    const newest = (this.#connection.read(() => this.#newest.get()) ?? 0) as Seq | 0;
    this.#newestState = state;
    this.#newestKnown = newest;
    return newest;
  }

  entry(seq: Seq): Entry | undefined {
    const row = this.#connection.read(() => this.#bySeq.get(seq));
    return row && toEntry(row);
  }

  /** The entry with this hash; of two with the same MD5 the newer one. */
  entryByHash(hash: UpdateHash): Entry | undefined {
    const row = this.#connection.read(() => this.#byHash.get({ hash: Buffer.from(hash, "hex") }));
    return row && toEntry(row);
  }

  /** Whether there is an entry with this hash, with or without its body. */
  has(hash: UpdateHash): boolean {
    return this.#hashes.newest(hash) !== undefined;
  }

  /**
   * Whether there is an entry of this very update that was received on the day of `at` (ms since
   * 1970) and is not forgotten. What its packets tell is then noted for that day.
   */
  isCurrent({ hash, digest }: Pick<Update, "hash" | "digest">, at: number): boolean {
    const [name, octets] = [Buffer.from(hash, "hex"), Buffer.from(digest, "hex")];
    return this.#hashes.namesakes(name).some((one) => {
      const isToday = dayOf(one.receivedAt) === dayOf(at);
      return isToday && octets.equals(one.digest) && !this.removals.isForgotten(one.seq);
    });
  }

  /** Entries from `low` to `high`, both included, ascending, at most `limit`. */
  range(low: Seq, high: Seq, limit: number): Entry[] {
    return this.#connection.read(() => this.#range.all(low, high, limit)).map(toEntry);
  }

  /** The packets of the update; undefined once they have expired. */
  body(seq: Seq): Uint8Array | undefined {
    const bytes = this.#connection.read(() => this.#body.get(seq));
    return bytes && new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /**
   * Keys came again of which nothing, or not all, is news, by any road and in any form: each is
   * offered to the sites that have a refused or withheld exception of the key. A failure of the log
   * loses the offer and nothing else.
   */
  cameAgain(keys: readonly CameAgain[], now: number): void {
    if (keys.length === 0 || this.exceptions.isEmpty) return;
    for (const key of keys) {
      this.exceptions.cameAgain(key, now, (body, seq) => isCovered(this.body(seq), body));
    }
  }

  /** An update was announced again, by a neighbour that has it. */
  announcedAgain(name: AnnouncedName, from: string, now: number): void {
    if (this.exceptions.isEmpty) return;
    for (const entry of this.heldAs(name) ?? []) {
      const { fingerprint, seq } = entry;
      this.cameAgain([{ fingerprint, seq, body: undefined, from }], now);
    }
  }

  /**
   * The entry that was announced by this name, or those whose packets an update of that name is
   * known to have. Undefined if the update is not known, empty if it is and its entries are no
   * longer remembered.
   */
  heldAs(name: AnnouncedName): Entry[] | undefined {
    const { hash, digest } = namesIn(name);
    const own = digest === undefined ? this.entryByHash(hash) : this.#entryNamed(hash, digest);
    if (own !== undefined) return [own];
    return this.variants.entriesOf(name)?.flatMap((seq) => this.entry(seq) ?? []);
  }

  #entryNamed(hash: UpdateHash, digest: UpdateDigest): Entry | undefined {
    const key = { hash: Buffer.from(hash, "hex") };
    const namesakes = this.#connection.read(() => this.#allByHash.all(key));
    const own = namesakes.find((row) => row.digest === digest);
    return own && toEntry(own);
  }

  #learn({ fingerprint, selfSigned }: Update, at: number): void {
    this.skeletons.remember(fingerprint, selfSigned, at);
  }

  /** Size of the log; takes microseconds at any size. */
  counts(): Counts {
    return { ...this.#gathering.totals(), fileBytes: this.#connection.fileBytes() };
  }

  /** The settings that make "stored" durable, as SQLite reports them. */
  durability(): Durability {
    return this.#connection.durability();
  }

  /** Throws `Trouble` if the files of the log are no longer at their paths. */
  assertInPlace(): void {
    this.#connection.assertInPlace();
  }

  /** The first damage that was found; from then on every write throws it. */
  get damage(): Trouble | undefined {
    return this.#connection.damage;
  }

  /** Calls `listener`, which must not throw, when damage is found; at most once. */
  onDamage(listener: (damage: Trouble) => void): void {
    this.#connection.onDamage(listener);
  }

  /** Writes what is gathered in memory. Throws `Trouble`. */
  settle(): void {
    this.#connection.write(() => {
      this.trails.settle();
      this.packets.settle();
      this.#gathering.settle();
    });
  }

  /** Moves the WAL into the file and empties it; false if a reader prevented it. */
  checkpoint(): boolean {
    this.settle();
    return this.#connection.checkpoint();
  }

  /** Writes what is gathered, checkpoints and closes. A second call does nothing. */
  close(): void {
    try {
      if (this.#connection.isWritable) this.settle();
    } catch (error) {
      // What was acknowledged is on disk; what was gathered is as after a kill.
      if (!(error instanceof Trouble)) throw error;
    }
    this.#connection.close();
  }
}

function listed<T>(item: T | undefined): T[] {
  return item === undefined ? [] : [item];
}

function toEntry(row: EntryRow): Entry {
  return {
    seq: row.seq as Seq,
    hash: row.name,
    digest: row.digest,
    fingerprint: row.keyName,
    size: row.size,
    origin: { neighbour: row.neighbour ?? undefined, transport: row.transport },
    receivedAt: row.receivedAt,
  };
}
