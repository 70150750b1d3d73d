/**
 * The key index: for each key of the site's keyserver its fingerprint and the digest of its packets
 * (`digestOfNames`), in a SQLite file beside the log, LOG-index. `kx/reconcile.ts` compares it with
 * that of a peer. `kxgw index build` makes it from dumps; a running gateway keeps it up to
 * date (`repair/index-keeper.ts`). A new build gives all of it but what is remembered of peers.
 *
 * Keys are in 65,536 buckets by their first 16 bits, sorted, about 40 octets a key (50 on disk).
 * The sums of the buckets are also in memory (2.4 MB): the state of a range of up to four digits is
 * added up from them, that of a longer one from the keys of its bucket (100 of six million). A
 * build writes another file and renames it; a process that has the index open sees that by its
 * inode (`isInPlace`).
 */
import { renameSync, rmSync, statSync } from "node:fs";
import Database from "better-sqlite3";
import { Trouble } from "../errors.js";
import {
  add,
  elementOf,
  type KeyState,
  type RangeState,
  SUM_WORDS,
  stateOf,
  subtract,
} from "../kx/range-sum.js";
import type { Fingerprint, Seq } from "../update.js";
import { makePrivate } from "./connection.js";
import { asTrouble, type FileKind } from "./trouble.js";

const DIGEST_OCTETS = 16;
const BUCKET_DIGITS = 4;
const BUCKETS = 16 ** BUCKET_DIGITS;
const SUM_OCTETS = 4 * SUM_WORDS;
/** "kxgi", and the version of the tables. */
const APPLICATION_ID = 0x6b786769;
const VERSION = 1;
/** Differences that are remembered of one peer; more than a run can find in a week. */
export const MOST_REMEMBERED = 50_000;
const BUSY_TIMEOUT_MS = 5000;

const TABLES = `
  CREATE TABLE buckets (id INTEGER PRIMARY KEY, keys BLOB NOT NULL) STRICT;
  CREATE TABLE sums (id INTEGER PRIMARY KEY, count INTEGER NOT NULL, sum BLOB NOT NULL) STRICT;
  CREATE TABLE built (at INTEGER NOT NULL, seq INTEGER NOT NULL, name BLOB NOT NULL) STRICT;
  CREATE TABLE asked (peer TEXT NOT NULL, fingerprint BLOB NOT NULL, digest BLOB NOT NULL,
                      at INTEGER NOT NULL, PRIMARY KEY (peer, fingerprint)) STRICT, WITHOUT ROWID;
  CREATE TABLE runs (peer TEXT PRIMARY KEY, run TEXT NOT NULL) STRICT, WITHOUT ROWID;
`;

const INDEX: FileKind = {
  name: "the key index",
  beside: ["-journal"],
  repair: buildAgain,
  other: buildAgain,
};

/** A key as it is stored. */
export interface IndexedKey {
  readonly fingerprint: Buffer;
  readonly digest: Buffer;
}

interface ReadKey extends IndexedKey {
  readonly name: Fingerprint;
  readonly element: Uint32Array;
}

/** A change: the new digest of a key, or undefined if the keyserver no longer has it. */
export interface IndexChange {
  readonly fingerprint: Buffer;
  readonly digest: Buffer | undefined;
}

/** How far the index agrees with the log: all updates up to `seq` of the log `name` are in it. */
export interface IndexPosition {
  readonly seq: Seq | 0;
  /** Name of the log, as `UpdateLog.name`. */
  readonly name: string;
}

export interface IndexStatus extends IndexPosition {
  readonly keys: number;
  /** When it was built, ms since 1970. */
  readonly builtAt: number;
  readonly fileBytes: number;
}

/** The path of the index of the log at `logPath`. */
export function indexPath(logPath: string): string {
  return `${logPath}-index`;
}

export class KeyIndex {
  readonly path: string;
  readonly #db: Database.Database;
  readonly #inode: string | undefined;
  readonly #counts = new Uint32Array(BUCKETS);
  readonly #sums = new Uint32Array(BUCKETS * SUM_WORDS);
  readonly #bucket: Database.Statement<[number], Buffer>;
  /** The bucket that was read last: a range is asked for with the ranges below it. */
  #last: { readonly id: number; readonly keys: readonly ReadKey[] } | undefined;
  readonly #putBucket: Database.Statement<[number, Buffer]>;
  readonly #putSum: Database.Statement<[number, number, Buffer]>;
  readonly #built: Database.Statement<[], { at: number; seq: number; name: Buffer }>;
  readonly #setPosition: Database.Statement<[number, Buffer]>;
  readonly #askedDigest: Database.Statement<[string, Buffer], Buffer>;
  readonly #ask: Database.Statement<[string, Buffer, Buffer, number]>;
  readonly #unask: Database.Statement<[Buffer]>;
  readonly #countAsked: Database.Statement<[string], number>;
  readonly #dropOldest: Database.Statement<[string, string, number]>;
  readonly #run: Database.Statement<[string], string>;
  readonly #putRun: Database.Statement<[string, string]>;

  private constructor(path: string, db: Database.Database) {
    this.path = path;
    this.#db = db;
    this.#inode = inodeOf(path);
    this.#bucket = db.prepare<[number], Buffer>("SELECT keys FROM buckets WHERE id = ?").pluck();
    this.#putBucket = db.prepare("INSERT OR REPLACE INTO buckets (id, keys) VALUES (?, ?)");
    this.#putSum = db.prepare("INSERT OR REPLACE INTO sums (id, count, sum) VALUES (?, ?, ?)");
    this.#built = db.prepare("SELECT at, seq, name FROM built");
    this.#setPosition = db.prepare("UPDATE built SET seq = ?, name = ?");
    this.#askedDigest = db
      .prepare<[string, Buffer], Buffer>(
        "SELECT digest FROM asked WHERE peer = ? AND fingerprint = ?",
      )
      .pluck();
    this.#ask = db.prepare("INSERT OR REPLACE INTO asked VALUES (?, ?, ?, ?)");
    this.#unask = db.prepare("DELETE FROM asked WHERE fingerprint = ?");
    this.#countAsked = db
      .prepare<[string], number>("SELECT count(*) FROM asked WHERE peer = ?")
      .pluck();
    this.#dropOldest = db.prepare(`
      DELETE FROM asked WHERE peer = ? AND fingerprint IN (
        SELECT fingerprint FROM asked WHERE peer = ? ORDER BY at LIMIT ?)`);
    this.#run = db.prepare<[string], string>("SELECT run FROM runs WHERE peer = ?").pluck();
    this.#putRun = db.prepare("INSERT OR REPLACE INTO runs VALUES (?, ?)");
    const sums = db.prepare<[], { id: number; count: number; sum: Buffer }>(
      "SELECT id, count, sum FROM sums",
    );
    for (const { id, count, sum } of sums.iterate()) {
      this.#counts[id] = count;
      this.#sums.set(readSum(sum), id * SUM_WORDS);
    }
  }

  /** Opens an index; undefined if there is none. Throws `Trouble`. */
  static open(path: string, readonly = false): KeyIndex | undefined {
    if (statSync(path, { throwIfNoEntry: false }) === undefined) return undefined;
    let db: Database.Database | undefined;
    try {
      db = new Database(path, { readonly, timeout: BUSY_TIMEOUT_MS });
      assertOurs(db, path);
      return new KeyIndex(path, db);
    } catch (error) {
      db?.close();
      throw asTrouble(error, path, INDEX);
    }
  }

  /**
   * Makes an empty index in a new file; `at` in ms since 1970. No other process can use the file
   * before it is closed. Throws `Trouble` 'busy' when one makes an index there.
   */
  static create(path: string, at: number, { seq, name }: IndexPosition): KeyIndex {
    try {
      assertNotMade(path);
      for (const end of ["", "-journal"]) rmSync(path + end, { force: true });
      makePrivate(path);
      const db = new Database(path, { timeout: BUSY_TIMEOUT_MS });
      // From the first write on the file is locked until it is closed.
      db.pragma("locking_mode = EXCLUSIVE");
      // A build that is killed is begun again; `replace` writes everything to the disk.
      db.pragma("synchronous = OFF");
      db.pragma(`application_id = ${APPLICATION_ID}`);
      db.pragma(`user_version = ${VERSION}`);
      db.exec(TABLES);
      db.prepare("INSERT INTO built VALUES (?, ?, ?)").run(at, seq, Buffer.from(name, "hex"));
      return new KeyIndex(path, db);
    } catch (error) {
      throw asTrouble(error, path, INDEX);
    }
  }

  /** Whether the file at its path is still the one that is open. */
  get isInPlace(): boolean {
    return inodeOf(this.path) === this.#inode;
  }

  /**
   * Closes it and puts it in the place of the index at `path`, from which it takes what was
   * remembered of peers. Throws `Trouble`.
   */
  replace(path: string): void {
    this.#guard(() => {
      const former = inodeOf(path) === undefined ? undefined : new Database(path);
      try {
        this.#db.pragma("synchronous = FULL");
        if (former !== undefined) this.#takeRemembered(former);
        // Everything is written to the disk, also what is of earlier transactions.
        this.#db.exec("UPDATE built SET at = at");
        this.#db.close();
        renameSync(this.path, path);
      } finally {
        former?.close();
      }
    });
  }

  /** A damaged index is replaced without it: then keys are fetched once more. */
  #takeRemembered(former: Database.Database): void {
    try {
      // A gateway that has the former index open must not be within a transaction: its journal
      // would be taken for one of the new file.
      former.exec("BEGIN EXCLUSIVE");
      this.#db.transaction(() => {
        for (const table of ["asked", "runs"]) {
          for (const row of former.prepare(`SELECT * FROM ${table}`).raw().iterate()) {
            const values = row as unknown[];
            const marks = values.map(() => "?").join(", ");
            this.#db.prepare(`INSERT INTO ${table} VALUES (${marks})`).run(...values);
          }
        }
      })();
    } catch (error) {
      const trouble = asTrouble(error, former.name, INDEX);
      if (!(trouble instanceof Trouble) || trouble.kind !== "corrupt") throw trouble;
    }
  }

  status(): IndexStatus {
    return this.#guard(() => {
      const { at = 0, seq = 0, name } = this.#built.get() ?? {};
      const position = { seq: seq as Seq | 0, name: name?.toString("hex") ?? "" };
      const keys = this.state("").count;
      return { keys, builtAt: at, fileBytes: sizeOf(this.path), ...position };
    });
  }

  /** The state of the keys whose fingerprints begin with `prefix`, upper-case hex digits. */
  state(prefix: string): RangeState {
    return this.#guard(() => {
      const sum = new Uint32Array(SUM_WORDS);
      let count = 0;
      if (prefix.length <= BUCKET_DIGITS) {
        const { low, high } = bucketsOf(prefix);
        for (let id = low; id <= high; id++) {
          const here = this.#counts[id] ?? 0;
          if (here === 0) continue;
          count += here;
          add(sum, 0, this.#sums, id * SUM_WORDS);
        }
      } else {
        for (const { name, element } of this.#read(bucketsOf(prefix).low)) {
          if (!name.startsWith(prefix)) continue;
          count += 1;
          add(sum, 0, element);
        }
      }
      return stateOf(count, sum);
    });
  }

  /** The keys of a range, ascending. */
  *keys(prefix: string): Generator<KeyState> {
    const { low, high } = bucketsOf(prefix);
    for (let id = low; id <= high; id++) {
      if (this.#counts[id] === 0) continue;
      for (const { name, digest } of this.#guard(() => this.#read(id))) {
        if (name.startsWith(prefix)) yield { fingerprint: name, digest: digest.toString("hex") };
      }
    }
  }

  digestOf(fingerprint: Fingerprint): string | undefined {
    const keys = this.#guard(() => this.#read(bucketsOf(fingerprint).low));
    return keys.find(({ name }) => name === fingerprint)?.digest.toString("hex");
  }

  #read(id: number): readonly ReadKey[] {
    if (this.#last?.id === id) return this.#last.keys;
    const keys = readKeys(this.#bucket.get(id)).map((key) => ({
      ...key,
      name: key.fingerprint.toString("hex").toUpperCase() as Fingerprint,
      element: elementOf(key.fingerprint, key.digest),
    }));
    this.#last = { id, keys };
    return keys;
  }

  /** Stores changes, and the position up to which the log is in the index. */
  apply(changes: readonly IndexChange[], position?: IndexPosition): void {
    const byBucket = new Map<number, IndexChange[]>();
    for (const change of changes) {
      const id = bucketOf(change.fingerprint);
      const bucket = byBucket.get(id);
      if (bucket === undefined) byBucket.set(id, [change]);
      else bucket.push(change);
    }
    this.#last = undefined;
    this.#guard(() => {
      this.#db.transaction(() => {
        for (const [id, some] of byBucket) this.#applyTo(id, some);
        if (position === undefined) return;
        this.#setPosition.run(position.seq, Buffer.from(position.name, "hex"));
      })();
    });
  }

  #applyTo(id: number, changes: readonly IndexChange[]): void {
    const keys = new Map<string, IndexedKey>();
    for (const key of readKeys(this.#bucket.get(id))) {
      keys.set(key.fingerprint.toString("latin1"), key);
    }
    const sum = this.#sums.slice(id * SUM_WORDS, (id + 1) * SUM_WORDS);
    for (const { fingerprint, digest } of changes) {
      const name = fingerprint.toString("latin1");
      const before = keys.get(name);
      if (before !== undefined) subtract(sum, 0, elementOf(fingerprint, before.digest));
      if (digest === undefined) keys.delete(name);
      else {
        add(sum, 0, elementOf(fingerprint, digest));
        keys.set(name, { fingerprint, digest });
      }
    }
    const sorted = [...keys.values()].sort((a, b) => Buffer.compare(a.fingerprint, b.fingerprint));
    this.#putBucket.run(id, writeKeys(sorted));
    this.#putSum.run(id, sorted.length, writeSum(sum));
    this.#sums.set(sum, id * SUM_WORDS);
    this.#counts[id] = sorted.length;
  }

  /** Whether a key was fetched from the peer when it had this digest there. */
  wasAsked(peer: string, { fingerprint, digest }: KeyState): boolean {
    const asked = this.#guard(() => this.#askedDigest.get(peer, Buffer.from(fingerprint, "hex")));
    return asked?.toString("hex") === digest;
  }

  /** Remembers that keys are fetched from the peer, with the digests that they have there. */
  asked(peer: string, keys: readonly KeyState[], now: number): void {
    if (keys.length === 0) return;
    this.#guard(() => {
      this.#db.transaction(() => {
        for (const { fingerprint, digest } of keys) {
          this.#ask.run(peer, Buffer.from(fingerprint, "hex"), Buffer.from(digest, "hex"), now);
        }
        const count = this.#countAsked.get(peer) ?? 0;
        if (count > MOST_REMEMBERED) this.#dropOldest.run(peer, peer, count - MOST_REMEMBERED);
      })();
    });
  }

  /** The key could not be fetched: it is fetched again by the next run. */
  unasked(fingerprint: Fingerprint): void {
    this.#guard(() => this.#unask.run(Buffer.from(fingerprint, "hex")));
  }

  /** The last run with a peer, as the text that `setRun` stored. */
  run(peer: string): string | undefined {
    return this.#guard(() => this.#run.get(peer));
  }

  setRun(peer: string, run: string): void {
    this.#guard(() => this.#putRun.run(peer, run));
  }

  /** Closes it and deletes its file. */
  discard(): void {
    this.#db.close();
    rmSync(this.path, { force: true });
  }

  close(): void {
    this.#db.close();
  }

  #guard<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw asTrouble(error, this.path, INDEX);
    }
  }
}

function buildAgain(path: string): string {
  return `Check the disk of ${path}, and make the index again with "kxgw index build".`;
}

/** Two builds at once would delete the file of each other. One that was killed has no lock. */
function assertNotMade(path: string): void {
  if (inodeOf(path) === undefined) return;
  let db: Database.Database | undefined;
  try {
    db = new Database(path, { timeout: 0 });
    db.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    const trouble = asTrouble(error, path);
    // Any other fault of the file ends with it: it is deleted.
    if (!(trouble instanceof Trouble) || trouble.kind !== "busy") return;
    const remedy = `Wait until it ends, or find the process with "fuser ${path}" and stop it.`;
    throw new Trouble("busy", `${path}: another process builds the key index`, remedy);
  } finally {
    db?.close();
  }
}

function assertOurs(db: Database.Database, path: string): void {
  const id = db.pragma("application_id", { simple: true });
  const version = db.pragma("user_version", { simple: true });
  if (id === APPLICATION_ID && version === VERSION) return;
  const remedy = 'Move the file away, and make a new index with "kxgw index build".';
  throw new Trouble("not-ours", `${path}: is not a key index of this version`, remedy);
}

function inodeOf(path: string): string | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found && `${found.dev}:${found.ino}`;
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** The first and last bucket of a prefix. */
function bucketsOf(prefix: string): { low: number; high: number } {
  const digits = prefix.slice(0, BUCKET_DIGITS);
  return {
    low: Number.parseInt(digits.padEnd(BUCKET_DIGITS, "0"), 16),
    high: Number.parseInt(digits.padEnd(BUCKET_DIGITS, "F"), 16),
  };
}

function bucketOf(fingerprint: Buffer): number {
  return fingerprint.readUInt16BE(0);
}

/** The keys of a bucket: for each an octet with the length of its fingerprint, that, its digest. */
function readKeys(octets: Buffer | undefined): IndexedKey[] {
  const keys: IndexedKey[] = [];
  let at = 0;
  while (octets !== undefined && at < octets.length) {
    const end = at + 1 + octets.readUInt8(at);
    keys.push({
      fingerprint: octets.subarray(at + 1, end),
      digest: octets.subarray(end, end + DIGEST_OCTETS),
    });
    at = end + DIGEST_OCTETS;
  }
  return keys;
}

function writeKeys(keys: readonly IndexedKey[]): Buffer {
  return Buffer.concat(
    keys.flatMap(({ fingerprint, digest }) => [
      Buffer.from([fingerprint.length]),
      fingerprint,
      digest,
    ]),
  );
}

function readSum(octets: Buffer): Uint32Array {
  const words = new Uint32Array(SUM_WORDS);
  for (let i = 0; i < SUM_WORDS; i++) words[i] = octets.readUInt32LE(4 * i);
  return words;
}

function writeSum(words: Uint32Array): Buffer {
  const octets = Buffer.alloc(SUM_OCTETS);
  for (let i = 0; i < SUM_WORDS; i++) octets.writeUInt32LE(words[i] ?? 0, 4 * i);
  return octets;
}
