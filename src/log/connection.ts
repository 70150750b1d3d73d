/**
 * One open update log file: taking it, proving that it can be trusted, and the two ways through
 * which every statement runs, `read` and `write`. Both turn SQLite's errors into `Trouble`, and
 * `write` leaves no transaction open and no partial row, whatever fails.
 *
 * It does not know what the tables mean. One writer at a time: it holds an exclusive lock on the
 * side file PATH-lock for life, which the operating system lets go when the process dies in any
 * way. A file that is deleted or replaced under it is noticed before and after each commit
 * (`place.ts`). Limit: a hard link to the file would be another name with another lock; a symbolic
 * link is followed.
 */
import { accessSync, constants, existsSync, realpathSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import Database from "better-sqlite3";
import { Trouble } from "../errors.js";
import { assertNobodyElse, LogFiles } from "./place.js";
import {
  assertDurable,
  assertSqliteVersion,
  bringUpToDate,
  configureWriter,
  createTables,
  identify,
  isOutdated,
  keepTemporaryInMemory,
  notYetUpToDate,
  unknownTables,
} from "./schema.js";
import { asTrouble } from "./trouble.js";

const MEMORY = ":memory:";

/** How long a statement waits for another process: only a reader's recovery can be in the way. */
const BUSY_TIMEOUT_MS = 5000;

/** Largest log of which a copy is made in memory: what a running gateway rebuilds, and no more. */
const VACUUM_BYTES = 64 * 1024 ** 2;

/** How a log is opened. */
export interface Opening {
  readonly readonly?: boolean;
  /**
   * Prepares every statement that the caller will need; throws what SQLite throws. Where tables
   * have to be made or changed, this is part of the same transaction: a file that does not fit is
   * left as it was. Without it an outdated log can be opened to read.
   */
  readonly prepare?: (connection: Connection) => void;
}

/** What stands behind the word "stored", for `doctor` and tests. */
export interface Durability {
  readonly sqliteVersion: string;
  /** 'wal', or 'memory' for an in-memory log. */
  readonly journalMode: string;
  /** 2 is FULL. */
  readonly synchronous: number;
}

export class Connection {
  readonly db: Database.Database;
  /** The file as SQLite sees it, symbolic links resolved, or ':memory:'. */
  readonly path: string;
  #lock: Database.Database | undefined;
  /** Where the files of a writer are; undefined for a reader, and in memory. */
  #place: LogFiles | undefined;
  readonly #begin: Database.Statement<[]>;
  readonly #commit: Database.Statement<[]>;
  readonly #rollback: Database.Statement<[]>;
  #writing = false;
  #damage: Trouble | undefined;
  #onDamage: ((damage: Trouble) => void) | undefined;

  private constructor(db: Database.Database, path: string, lock: Database.Database | undefined) {
    this.db = db;
    this.path = path;
    this.#lock = lock;
    this.#begin = db.prepare("BEGIN IMMEDIATE");
    this.#commit = db.prepare("COMMIT");
    this.#rollback = db.prepare("ROLLBACK");
  }

  /**
   * Opens `path` as its one writer, creating the log where there is none, or beside a writer with
   * `readonly`. Throws `Trouble`: 'busy' when another gateway serves the file, 'not-ours',
   * 'corrupt', 'read-only' or 'unusable'; then nothing is held.
   */
  static open(path: string, options: Opening = {}): Connection {
    const readonly = options.readonly ?? false;
    const real = path === MEMORY ? MEMORY : resolved(path);
    let lock: Database.Database | undefined;
    let db: Database.Database | undefined;
    try {
      if (real !== MEMORY && !readonly) {
        assertWritable(real);
        const hadLock = existsSync(`${real}-lock`);
        lock = takeLock(real);
        if (!hadLock) assertNobodyElse(real);
        makePrivate(real);
      }
      db = new Database(real, { readonly, timeout: BUSY_TIMEOUT_MS });
      keepTemporaryInMemory(db);
      const found = identify(db, real);
      assertSqliteVersion(sqliteVersion(db));
      if (!readonly) {
        configureWriter(db);
        assertDurable(db, real);
      }
      const connection = new Connection(db, real, lock);
      connection.#understand(found, options);
      if (lock !== undefined) connection.#place = new LogFiles(real);
      return connection;
    } catch (error) {
      db?.close();
      lock?.close();
      throw asTrouble(error, real);
    }
  }

  /** Makes or changes the tables where that is needed, and has all statements prepared. */
  #understand(found: "empty" | number, { readonly = false, prepare }: Opening): void {
    if (found === "empty") {
      if (readonly) {
        const remedy = "Start the gateway once; it creates its log.";
        throw new Trouble("not-ours", `${this.path}: is empty`, remedy);
      }
      this.write(() => {
        createTables(this.db);
        prepare?.(this);
      });
    } else if (!isOutdated(this.db, found)) {
      this.#prepare(found, prepare);
    } else if (!readonly) {
      this.write(() => {
        bringUpToDate(this.db, found);
        this.#prepare(found, prepare);
      });
    } else if (prepare !== undefined) {
      throw notYetUpToDate(this.path);
    }
  }

  #prepare(version: number, prepare: Opening["prepare"]): void {
    try {
      prepare?.(this);
    } catch (error) {
      const isUnknown = error instanceof Database.SqliteError && error.code === "SQLITE_ERROR";
      throw isUnknown ? unknownTables(this.path, version, error) : error;
    }
  }

  /** The first damage that was met; from then on nothing is written any more. */
  get damage(): Trouble | undefined {
    return this.#damage;
  }

  /** Calls `listener`, which must not throw, once, when damage is met. */
  onDamage(listener: (damage: Trouble) => void): void {
    this.#onDamage = listener;
  }

  /** Runs statements that only read. Throws `Trouble`. */
  read<T>(work: () => T): T {
    try {
      this.#settle();
      return work();
    } catch (error) {
      throw this.#troubleOf(error);
    }
  }

  /**
   * Runs `work` in one immediate transaction, or as part of the one that is open, and returns once
   * it is on disk. Throws `Trouble`, or what `work` throws; then nothing of it remains. A damaged
   * file is not written to: each further page could be lost with it, or make the damage larger.
   */
  write<T>(work: () => T): T {
    if (this.#writing) return work();
    if (this.#damage !== undefined) throw this.#damage;
    this.assertInPlace();
    try {
      this.#settle();
      this.#begin.run();
      this.#writing = true;
      const result = work();
      this.#commit.run();
      // What went into a file that is not at its path any more would not be found again.
      this.assertInPlace();
      return result;
    } catch (error) {
      throw this.#troubleOf(error);
    } finally {
      this.#writing = false;
      this.#abandon();
    }
  }

  /**
   * Throws `Trouble` when what is at the path of the log is not what is open here: deleted,
   * replaced, cut short, or out of sight behind a mount. A lock file that is gone is made again.
   */
  assertInPlace(): void {
    const place = this.#place;
    if (place === undefined) return;
    const trouble = place.trouble(() => this.#pageBytes());
    if (trouble !== undefined) {
      // What is in a WAL that was deleted is lost with this process, unless it goes into the file.
      if (place.lostWalOnly() && !this.db.inTransaction) this.checkpoint();
      throw trouble;
    }
    // Last: where the log is not in its place, the lock there is another log's, or cannot be made.
    if (place.hasLock()) return;
    const lock = takeLock(this.path);
    this.#lock?.close();
    this.#lock = lock;
    place.lockTaken();
  }

  /** Bytes of all pages, those in the WAL as well. */
  #pageBytes(): number {
    const pages = Number(this.db.pragma("page_count", { simple: true }));
    return pages * Number(this.db.pragma("page_size", { simple: true }));
  }

  /** `asTrouble`, with a memory for damage. */
  #troubleOf(error: unknown): unknown {
    const trouble = asTrouble(error, this.path);
    if (trouble instanceof Trouble && trouble.kind === "corrupt" && this.#damage === undefined) {
      this.#damage = trouble;
      this.#onDamage?.(trouble);
    }
    return trouble;
  }

  /** Ends a transaction that failed. SQLite has done so itself after some errors, not after all. */
  #abandon(): void {
    try {
      this.#settle();
    } catch {
      // The error that led here is already on its way; the next call tries again before its work.
    }
  }

  /** Never work on top of a transaction that was not ended: it would be lost, or seen too early. */
  #settle(): void {
    if (this.db.inTransaction && !this.#writing) this.#rollback.run();
  }

  /**
   * Moves the WAL into the file and cuts it to nothing, without waiting for readers. Returns
   * whether that was possible; false is harmless, the WAL shrinks another time. Throws `Trouble`.
   */
  checkpoint(): boolean {
    return this.read(() => {
      this.db.pragma("busy_timeout = 0");
      try {
        const [row] = this.db.pragma("wal_checkpoint(TRUNCATE)") as { busy: number }[];
        return row?.busy === 0;
      } finally {
        this.db.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`);
      }
    });
  }

  /**
   * Writes the file anew, without what is unused in it; nobody else gets a turn meanwhile, some ten
   * milliseconds a megabyte. The copy is made in memory, that of a log above `VACUUM_BYTES` in a
   * file in SQLite's directory for temporary files (SQLITE_TMPDIR). Throws `Trouble`, also when
   * there is no room for it.
   */
  rebuild(): void {
    this.read(() => {
      if (this.fileBytes() > VACUUM_BYTES) this.db.pragma("temp_store = FILE");
      try {
        this.db.exec("VACUUM");
      } finally {
        keepTemporaryInMemory(this.db);
      }
    });
  }

  /** The durable settings as SQLite reports them now. */
  durability(): Durability {
    return this.read(() => ({
      sqliteVersion: sqliteVersion(this.db),
      journalMode: String(this.db.pragma("journal_mode", { simple: true })),
      synchronous: Number(this.db.pragma("synchronous", { simple: true })),
    }));
  }

  /** Bytes that the log takes on disk with its WAL; for an in-memory log the bytes of its pages. */
  fileBytes(): number {
    if (this.path !== MEMORY) {
      // Only stat: opening and closing the file here would drop SQLite's own locks on it.
      return sizeOf(this.path) + sizeOf(`${this.path}-wal`);
    }
    return this.#pageBytes();
  }

  /** Checkpoints, closes and lets the lock go. A second call does nothing. */
  close(): void {
    if (!this.db.open) return;
    try {
      if (!this.db.readonly && !this.db.memory) this.checkpoint();
    } catch (error) {
      // Nothing is lost: the WAL stays beside the file and the next start replays it.
      if (!(error instanceof Trouble)) throw error;
    } finally {
      // SQLite deletes the WAL by its name, which may be another log's by now.
      if (this.#place?.isWalOfAnother() !== true) this.db.close();
      this.#lock?.close();
    }
  }
}

/** The path with symbolic links followed, so that two names of one file share one lock. */
function resolved(path: string): string {
  const directory = dirname(path);
  if (!existsSync(directory)) {
    throw new Trouble(
      "unusable",
      `${path}: the directory ${directory} does not exist`,
      `Create ${directory} and make the gateway's user its owner.`,
    );
  }
  return existsSync(path) ? realpathSync(path) : join(realpathSync(directory), basename(path));
}

/** SQLite opens what it may not write as read-only without a word; and a lock needs writing. */
function assertWritable(path: string): void {
  for (const target of [dirname(path), path, `${path}-wal`, `${path}-shm`, `${path}-lock`]) {
    if (!existsSync(target)) continue;
    try {
      accessSync(target, constants.W_OK);
    } catch (error) {
      const remedy =
        `Make ${target} writable for the gateway's user, and check that it is not mounted ` +
        "read-only.";
      throw new Trouble("read-only", `${target}: cannot be written`, remedy, { cause: error });
    }
  }
}

/**
 * Makes the file that SQLite is about to make, for our own user alone: it holds a secret, and its
 * WAL gets the same mode. One that is there keeps its mode. What stands in the way SQLite says.
 */
export function makePrivate(path: string): void {
  try {
    writeFileSync(path, "", { flag: "wx", mode: 0o600 });
  } catch {
    // It is there, or SQLite cannot make it either.
  }
}

/** Takes the lock of the log at `path`, or throws `Trouble` 'busy'. */
function takeLock(path: string): Database.Database {
  const file = `${path}-lock`;
  let lock: Database.Database | undefined;
  try {
    lock = new Database(file, { timeout: 0 });
    lock.exec("BEGIN EXCLUSIVE");
    return lock;
  } catch (error) {
    lock?.close();
    const trouble = asTrouble(error, file);
    if (!(trouble instanceof Trouble)) {
      const remedy = `Check that ${dirname(file)} exists and is writable.`;
      throw new Trouble("unusable", `${file}: ${trouble}`, remedy, { cause: error });
    }
    if (trouble.kind !== "busy") throw trouble;
    const remedy = `Stop the other gateway ("fuser ${file}" finds it), or set another log.path.`;
    throw new Trouble("busy", `${path}: another kxgw serves this log`, remedy, { cause: error });
  }
}

function sqliteVersion(db: Database.Database): string {
  return String(db.prepare("SELECT sqlite_version()").pluck().get());
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
