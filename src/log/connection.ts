/**
 * One open log file: the lock, the checks at opening, and `read` and `write`, through which every
 * statement runs. Both turn SQLite's errors into `Trouble`. `write` leaves no open transaction and
 * no partial row, whatever fails. The meaning of the tables is in the stores.
 *
 * There is one writer: it holds an exclusive lock on the file PATH-lock, which the operating system
 * releases when the process ends in any way. Before and after each commit it checks that the file
 * was not deleted or replaced (`place.ts`). Symbolic links are followed. Limit: a hard link to the
 * file has a lock of its own.
 */
import { accessSync, constants, existsSync, realpathSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import Database from "better-sqlite3";
import { Trouble } from "../errors.js";
import { assertKind, type CopyRow, readCopy } from "./copy-table.js";
import { assertNobodyElse, LogFiles, notInPlace } from "./place.js";
import {
  assertDurable,
  assertSqliteVersion,
  bringUpToDate,
  configureCopy,
  configureWriter,
  createTables,
  identify,
  keepTemporaryInMemory,
  notYetUpToDate,
  partsFrom,
  SCHEMA_VERSION,
  unknownTables,
} from "./schema.js";
import type { SharedStore } from "./shared-port.js";
import { asTrouble, logKind } from "./trouble.js";

const MEMORY = ":memory:";

/** How long a statement waits for another process; only the recovery by a reader can block it. */
const BUSY_TIMEOUT_MS = 5000;

/** Largest log that is copied in memory for a rebuild; a running gateway rebuilds no larger one. */
const VACUUM_BYTES = 64 * 1024 ** 2;

/**
 * Runs of a transaction in a copy of a shared log. Another one is needed when another gateway has
 * committed meanwhile. The gateways commit in no fixed order: with three of them busy on two
 * processors one was overtaken 20 times in a row, and a mail got 451. A run takes a few
 * milliseconds, so 200 runs take about a second.
 */
const MOST_RUNS = 200;

/** A log of an earlier version that is brought up to date. */
export interface Migration {
  readonly path: string;
  /** Log versions. */
  readonly from: number;
  readonly to: number;
  /** Bytes of the log on disk with its WAL. */
  readonly bytes: number;
  /** How many of the `parts` are done; all of them are one transaction. */
  readonly done: number;
  readonly parts: number;
  /** Whether it is committed. */
  readonly isDone: boolean;
}

/** How a log is opened. */
export interface Opening {
  readonly readonly?: boolean;
  /** The file is a copy of the log in this database. */
  readonly shared?: SharedStore | undefined;
  /** It is a copy, and is only read: damage of it has another remedy. */
  readonly isCopy?: boolean;
  /** Opened to be moved into a database or out of one, whatever it is. */
  readonly isMoving?: boolean;
  /**
   * Told before a migration, after each of its parts and after the commit; must not throw. The
   * migration blocks the process. If it is interrupted, the log is as before.
   */
  readonly onMigration?: ((migration: Migration) => void) | undefined;
  /**
   * Prepares all statements of the caller; throws the errors of SQLite. If tables are created or
   * changed, it runs in the same transaction, so that an unknown file is left unchanged. Without it
   * an outdated log can be opened for reading.
   */
  readonly prepare?: (connection: Connection) => void;
}

/** The settings that make "stored" durable, for `doctor` and tests. */
export interface Durability {
  readonly sqliteVersion: string;
  /** 'wal', or 'memory' for an in-memory log. */
  readonly journalMode: string;
  /** 2 is FULL. */
  readonly synchronous: number;
}

/** How a transaction is written. */
export interface Writing {
  /**
   * "change", the default. "expiry": it deletes rows that each copy of a shared log deletes by
   * itself. "copy": it makes changes that the database has already.
   */
  readonly as?: "change" | "expiry" | "copy";
  /** Its work cannot run again; the transaction fails where it would have to. */
  readonly once?: boolean;
}

/** What takes part in the transactions of a copy of a shared log: see `shared-copy.ts`. */
export interface Companion {
  /** Whether another gateway removes expired rows from the database. */
  readonly expiresLate: boolean;
  /** Before the work of a transaction. */
  begin(): void;
  /** After it. Whether the transaction may be committed; if not, its work has to run again. */
  offer(as: Writing["as"]): boolean;
  /** Applies what others have committed, before the work runs again. */
  catchUp(): void;
  committed(): void;
  rolledBack(): void;
  /** When the call that began with `begin` is about to return or to throw. */
  ended(): void;
}

export class Connection {
  readonly db: Database.Database;
  /** The path of the file with symbolic links resolved, or ':memory:'. */
  readonly path: string;
  /** Whether the file was opened as a copy of a shared log. */
  readonly #isCopy: boolean;
  #lock: Database.Database | undefined;
  /** The files of a writer; undefined for a reader and in memory. */
  #place: LogFiles | undefined;
  readonly #begin: Database.Statement<[]>;
  readonly #beginRead: Database.Statement<[]>;
  readonly #commit: Database.Statement<[]>;
  readonly #rollback: Database.Statement<[]>;
  #writing = false;
  /** Transactions that have ended. */
  #ended = 0;
  /** Whether a read transaction of `together` is open. */
  #isTogether = false;
  /** The first failure of a part of the open transaction. */
  #failure: Trouble | undefined;
  /** What a rollback does to values in memory, in the order of the changes. */
  readonly #undo: (() => void)[] = [];
  #damage: Trouble | undefined;
  #onDamage: ((damage: Trouble) => void) | undefined;
  #companion: Companion | undefined;
  /** Transactions in progress: that of a caller, and those that apply changes of others for it. */
  #depth = 0;

  private constructor(
    db: Database.Database,
    path: string,
    lock: Database.Database | undefined,
    isCopy: boolean,
  ) {
    this.db = db;
    this.path = path;
    this.#lock = lock;
    this.#isCopy = isCopy;
    this.#begin = db.prepare("BEGIN IMMEDIATE");
    this.#beginRead = db.prepare("BEGIN");
    this.#commit = db.prepare("COMMIT");
    this.#rollback = db.prepare("ROLLBACK");
  }

  /**
   * Opens `path` as its only writer and creates the file if it is missing, or opens it beside a
   * writer with `readonly`. Throws `Trouble`: 'busy' if another gateway has it, 'not-ours',
   * 'corrupt', 'read-only' or 'unusable'; then no lock is held.
   */
  static open(path: string, options: Opening = {}): Connection {
    const readonly = options.readonly ?? false;
    const isCopy = options.isCopy === true || options.shared !== undefined;
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
      if (readonly) assertExists(real, isCopy);
      db = new Database(real, { readonly, timeout: BUSY_TIMEOUT_MS });
      keepTemporaryInMemory(db);
      const found = identify(db, real);
      assertSqliteVersion(sqliteVersion(db));
      if (!readonly) {
        configureWriter(db);
        assertDurable(db, real);
      }
      const connection = new Connection(db, real, lock, isCopy);
      connection.#understand(found, options);
      if (!readonly && options.isMoving !== true) {
        assertKind(db, real, options.shared !== undefined);
        if (options.shared !== undefined) configureCopy(db);
      }
      if (lock !== undefined) connection.#place = new LogFiles(real, isCopy);
      return connection;
    } catch (error) {
      db?.close();
      lock?.close();
      throw asTrouble(error, real, logKind(isCopy));
    }
  }

  /** Creates or changes the tables if necessary, and prepares all statements. */
  #understand(found: "empty" | number, opening: Opening): void {
    const { readonly = false, prepare, onMigration } = opening;
    if (found === "empty") {
      if (readonly) {
        const remedy = "Start the gateway once; it creates its log.";
        throw new Trouble("not-ours", `${this.path}: is empty`, remedy);
      }
      this.write(() => {
        createTables(this.db);
        prepare?.(this);
      });
    } else if (found === SCHEMA_VERSION) {
      this.#prepare(found, prepare);
    } else if (!readonly) {
      const { path } = this;
      const parts = partsFrom(found).length;
      const migration = { path, from: found, to: SCHEMA_VERSION, bytes: this.fileBytes(), parts };
      const told = (done: number) => onMigration?.({ ...migration, done, isDone: false });
      told(0);
      this.write(() => {
        bringUpToDate(this.db, found, told);
        this.#prepare(found, prepare);
      });
      onMigration?.({ ...migration, done: parts, isDone: true });
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

  /** The first damage that was found; from then on nothing is written. */
  get damage(): Trouble | undefined {
    return this.#damage;
  }

  /** Calls `listener`, which must not throw, when damage is found; at most once. */
  onDamage(listener: (damage: Trouble) => void): void {
    this.#onDamage = listener;
  }

  /** Runs `work`, whose statements only read. Throws `Trouble`. */
  read<T>(work: () => T): T {
    try {
      this.#settle();
      return work();
    } catch (error) {
      throw this.#troubleOf(error);
    }
  }

  /**
   * Runs `work`, which reads many times, in one read transaction: each statement alone would lock
   * and unlock the file. A write in between ends it, and what is read after that is as without it.
   * `work` runs in any case, and its errors are thrown on.
   */
  together<T>(work: () => T): T {
    if (this.#writing || this.#isTogether) return work();
    try {
      this.#settle();
      this.#beginRead.run();
      this.#isTogether = true;
    } catch {
      // Each read of `work` reports the trouble itself.
    }
    try {
      return work();
    } finally {
      this.#isTogether = false;
      this.#abandon();
    }
  }

  /** Whether another gateway of the site removes expired rows from the shared database. */
  get expiresLate(): boolean {
    return this.#companion?.expiresLate ?? false;
  }

  /** Has a companion take part in all later transactions. */
  accompany(companion: Companion): void {
    this.#companion = companion;
  }

  /**
   * Runs `work` in an immediate transaction, or as part of the open one, and returns when it is on
   * disk: for a copy of a shared log, on that of the database. Throws `Trouble`, or the error of
   * `work`; then nothing was changed. A damaged file is not written: further pages could be lost,
   * or increase the damage.
   *
   * In a copy of a shared log `work` may run several times, each time but the last rolled back. So
   * it has no effect but on the log, and reads what it changes itself.
   */
  write<T>(work: () => T, { as = "change", once = false }: Writing = {}): T {
    if (this.#writing) return this.#writeInside(work);
    this.#depth += 1;
    try {
      for (let run = 1; ; run += 1) {
        const done = this.#attempt(work, as);
        if (done !== undefined) return done.result;
        if (once || run >= MOST_RUNS) throw this.#overtaken();
        this.#companion?.catchUp();
      }
    } finally {
      this.#depth -= 1;
      if (this.#depth === 0) this.#companion?.ended();
    }
  }

  /** One run of a transaction; undefined if it was rolled back and has to run again. */
  #attempt<T>(work: () => T, as: Writing["as"]): { readonly result: T } | undefined {
    if (this.#damage !== undefined) throw this.#damage;
    if (this.#isTogether) {
      this.#isTogether = false;
      this.#abandon();
    }
    this.assertInPlace();
    const companion = this.#companion;
    let isCommitted = false;
    try {
      this.#settle();
      this.#begin.run();
      this.#writing = true;
      companion?.begin();
      const result = work();
      if (this.#failure !== undefined) throw this.#failure;
      if (companion?.offer(as) === false) return undefined;
      this.#commit.run();
      isCommitted = true;
      this.#undo.length = 0;
      companion?.committed();
      // A commit to a file that is no longer at its path would be lost.
      this.assertInPlace();
      return { result };
    } catch (error) {
      throw this.#troubleOf(error);
    } finally {
      this.#writing = false;
      this.#ended += 1;
      this.#failure = undefined;
      this.#abandon();
      for (const undo of this.#undo.splice(0).reverse()) undo();
      if (!isCommitted) companion?.rolledBack();
    }
  }

  #overtaken(): Trouble {
    const message = `${this.path}: other gateways of this site change the same rows`;
    return new Trouble("busy", message, "The gateway tries again by itself.");
  }

  /** Whether the log is open, and open for writing. */
  get isWritable(): boolean {
    return this.db.open && !this.db.readonly;
  }

  /**
   * Changes with each transaction: what was read is still true while this is the same. Undefined
   * within a transaction, and in a reader, which does not see the transactions of others.
   */
  get state(): number | undefined {
    return this.#writing || this.db.readonly ? undefined : this.#ended;
  }

  /** Has `undo` called if the open transaction is not committed. */
  onRollback(undo: () => void): void {
    if (this.#writing) this.#undo.push(undo);
  }

  /**
   * A part of the open transaction. If it fails, some of its changes may be made and SQLite may
   * have rolled back, so the transaction is not committed even if the error is caught.
   */
  #writeInside<T>(work: () => T): T {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      return work();
    } catch (error) {
      const trouble = this.#troubleOf(error);
      if (trouble instanceof Trouble) this.#failure = trouble;
      throw trouble;
    }
  }

  /**
   * Throws `Trouble` if the open file is no longer at its path: deleted, replaced, truncated or
   * hidden by a mount. A missing lock file is created again.
   */
  assertInPlace(): void {
    const place = this.#place;
    if (place === undefined) return;
    const trouble = place.trouble(() => this.#pageBytes());
    if (trouble !== undefined) {
      // The content of a deleted WAL is lost with this process unless it is moved into the file.
      if (place.lostWalOnly() && !this.db.inTransaction) this.checkpoint();
      throw trouble;
    }
    // Last: if the log is not in place, the lock file there belongs to another log.
    if (place.hasLock()) return;
    const lock = takeLock(this.path);
    this.#lock?.close();
    this.#lock = lock;
    place.lockTaken();
  }

  /** Bytes of all pages, including those in the WAL. */
  #pageBytes(): number {
    const pages = Number(this.db.pragma("page_count", { simple: true }));
    return pages * Number(this.db.pragma("page_size", { simple: true }));
  }

  /** `asTrouble`; also notes the first damage. */
  #troubleOf(error: unknown): unknown {
    const trouble = asTrouble(error, this.path, logKind(this.#isCopy));
    if (trouble instanceof Trouble && trouble.kind === "corrupt" && this.#damage === undefined) {
      this.#damage = trouble;
      this.#onDamage?.(trouble);
    }
    return trouble;
  }

  /** Ends a failed transaction. SQLite does so itself after some errors, but not after all. */
  #abandon(): void {
    try {
      this.#settle();
    } catch {
      // The first error is thrown already; the next call tries again before its work.
    }
  }

  /** Rolls back a transaction that was left open, so that no work becomes part of it. */
  #settle(): void {
    if (this.db.inTransaction && !this.#writing && !this.#isTogether) this.#rollback.run();
  }

  /**
   * Moves the WAL into the file and truncates it, without waiting for readers. Returns whether that
   * was possible; false is harmless, since a later checkpoint does it. Throws `Trouble`.
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
   * Rebuilds the file without its unused parts (VACUUM). This blocks the event loop for about ten
   * milliseconds per megabyte. The copy is in memory, or for a log above `VACUUM_BYTES` in SQLite's
   * directory for temporary files (SQLITE_TMPDIR). Throws `Trouble`, also if there is no space.
   */
  rebuild(): void {
    this.read(() => {
      if (this.path === MEMORY || this.fileBytes() <= VACUUM_BYTES) {
        this.db.exec("VACUUM");
        return;
      }
      // A change of temp_store deletes the temporary tables of its connection, and with them what
      // is gathered.
      const other = new Database(this.path, { timeout: BUSY_TIMEOUT_MS });
      try {
        other.pragma("temp_store = FILE");
        other.pragma("synchronous = FULL");
        other.exec("VACUUM");
      } finally {
        other.close();
      }
    });
  }

  /** The settings for durability, as SQLite reports them now. */
  durability(): Durability {
    return this.read(() => ({
      sqliteVersion: sqliteVersion(this.db),
      journalMode: String(this.db.pragma("journal_mode", { simple: true })),
      synchronous: Number(this.db.pragma("synchronous", { simple: true })),
    }));
  }

  /** Bytes of the log on disk with its WAL; for a log in memory the bytes of its pages. */
  fileBytes(): number {
    if (this.path !== MEMORY) {
      // Only stat: to open and close the file here would drop the locks of SQLite on it.
      return sizeOf(this.path) + sizeOf(`${this.path}-wal`);
    }
    return this.#pageBytes();
  }

  /** Checkpoints, closes the file and releases the lock. A second call does nothing. */
  close(): void {
    if (!this.db.open) return;
    try {
      if (!this.db.readonly && !this.db.memory) this.checkpoint();
    } catch (error) {
      // Nothing is lost: the WAL stays beside the file, and the next start recovers it.
      if (!(error instanceof Trouble)) throw error;
    } finally {
      // SQLite deletes the WAL by its name, and another log may have this name now.
      if (this.#place?.isWalOfAnother() !== true) this.db.close();
      this.#lock?.close();
    }
  }
}

/**
 * Returns how far the copy at `path` is; undefined if there is none yet. Throws `Trouble` if the
 * file cannot be, or become, the copy of a shared log. It is for a gateway that would create the
 * tables in the database next. Nothing is changed.
 */
export function assertCopy(path: string): CopyRow | undefined {
  const real = resolved(path);
  if (!existsSync(real)) return undefined;
  let db: Database.Database | undefined;
  try {
    db = new Database(real, { readonly: true, timeout: BUSY_TIMEOUT_MS });
    if (identify(db, real) === "empty") return undefined;
    assertKind(db, real, true);
    return readCopy(db);
  } catch (error) {
    throw asTrouble(error, real, logKind(true));
  } finally {
    db?.close();
  }
}

/** The path with symbolic links resolved, so that two names of a file have one lock. */
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

/** SQLite only reports that it cannot open a file, whether it is missing or not readable. */
function assertExists(path: string, isCopy: boolean): void {
  if (statSync(path, { throwIfNoEntry: false }) !== undefined) return;
  // A gateway has it open: it was there when that started.
  if (isServed(path)) throw notInPlace(path, "was deleted", isCopy);
  const start = isCopy ? "loads a copy from the database" : "creates its log";
  const remedy = `Start the gateway once; it ${start}. Or correct log.path.`;
  throw new Trouble("unusable", `${path}: does not exist`, remedy);
}

/** SQLite opens a file without write permission read-only and reports nothing. */
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
 * Creates the file before SQLite does, with mode 0600: it contains a secret, and its WAL gets the
 * same mode. An existing file keeps its mode. SQLite reports an error if the file cannot be made.
 */
export function makePrivate(path: string): void {
  try {
    writeFileSync(path, "", { flag: "wx", mode: 0o600 });
  } catch {
    // The file exists, or SQLite cannot create it either.
  }
}

/** Whether a process has the log open as its writer; also true if that cannot be found out. */
export function isServed(path: string): boolean {
  const file = `${resolved(path)}-lock`;
  if (!existsSync(file)) return false;
  let lock: Database.Database | undefined;
  try {
    lock = new Database(file, { readonly: true, timeout: 0 });
    lock.prepare("SELECT count(*) FROM sqlite_schema").get();
    return false;
  } catch {
    return true;
  } finally {
    lock?.close();
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
