/**
 * Detects that the files of an open log are no longer at their paths. A process can write to a
 * file that was deleted, moved, replaced by a backup or hidden by a mount, and these writes are
 * lost. Therefore the inodes are compared at every commit, which takes a few microseconds. A file
 * that cp overwrites keeps its inode; this is detected if the file gets shorter. Limit: a copy that
 * is not shorter than the log is detected only as damage.
 *
 * The files are not opened or closed here, since closing one would drop SQLite's locks on it.
 */
import { rmSync, statSync } from "node:fs";
import Database from "better-sqlite3";
import { Trouble } from "../errors.js";
import { reload } from "./trouble.js";

/** Device and inode; undefined if there is no file. */
type Identity = string | undefined;

function identityOf(path: string): Identity {
  try {
    const found = statSync(path, { bigint: true, throwIfNoEntry: false });
    return found && `${found.dev}:${found.ino}`;
  } catch {
    // The directory cannot be read, so the file cannot be found either.
    return undefined;
  }
}

export class LogFiles {
  readonly #path: string;
  readonly #isCopy: boolean;
  readonly #file: Identity;
  #lock: Identity;
  /** The first statement creates the WAL and its index; undefined until then. */
  #wal: Identity;
  #shm: Identity;
  /** Size of the file at the last check, in bytes. */
  #size = 0;

  /** For a log at `path` that was just opened for writing, or a copy of a shared one. */
  constructor(path: string, isCopy: boolean) {
    this.#path = path;
    this.#isCopy = isCopy;
    this.#file = identityOf(path);
    this.#lock = identityOf(`${path}-lock`);
    this.#wal = identityOf(`${path}-wal`);
    this.#shm = identityOf(`${path}-shm`);
  }

  hasLock(): boolean {
    return identityOf(`${this.#path}-lock`) === this.#lock;
  }

  lockTaken(): void {
    this.#lock = identityOf(`${this.#path}-lock`);
  }

  /** Whether the log file is in place, but its WAL or its index is not. */
  lostWalOnly(): boolean {
    return identityOf(this.#path) === this.#file && this.#strays().length > 0;
  }

  /** Whether the WAL at our path belongs to another log. */
  isWalOfAnother(): boolean {
    const there = identityOf(`${this.#path}-wal`);
    return there !== undefined && this.#wal !== undefined && there !== this.#wal;
  }

  /**
   * The file that is not in place, with a remedy; undefined if all are. `pageBytes` returns the
   * size of the log according to SQLite; it is called when the file has become shorter.
   */
  trouble(pageBytes: () => number): Trouble | undefined {
    const path = this.#path;
    const there = identityOf(path);
    if (there !== this.#file) {
      return notInPlace(path, there === undefined ? "was deleted" : "was replaced", this.#isCopy);
    }
    if (this.#isCut(pageBytes)) {
      const remedy = this.#isCopy
        ? reload(path)
        : `Stop the gateway, move ${path}-wal and ${path}-shm away, put a backup at ${path}, ` +
          "and start it.";
      return unusable(path, "was overwritten or cut short under the gateway", remedy);
    }
    const [stray] = this.#strays();
    if (stray === undefined) return undefined;
    const remedy = "Restart the gateway; all acknowledged updates were saved to the file.";
    const what = "was deleted or replaced while the gateway had it open";
    return unusable(stray, what, remedy);
  }

  /** Whether another process made the file shorter; after a rebuild it holds all its pages. */
  #isCut(pageBytes: () => number): boolean {
    const size = statSync(this.#path, { throwIfNoEntry: false })?.size ?? 0;
    if (size < this.#size) {
      try {
        if (size < pageBytes()) return true;
      } catch {
        // SQLite cannot read the file any more.
        return true;
      }
    }
    this.#size = size;
    return false;
  }

  #strays(): string[] {
    const [wal, shm] = [`${this.#path}-wal`, `${this.#path}-shm`];
    this.#wal ??= identityOf(wal);
    this.#shm ??= identityOf(shm);
    return [
      ...(identityOf(wal) === this.#wal ? [] : [wal]),
      ...(identityOf(shm) === this.#shm ? [] : [shm]),
    ];
  }
}

/** What is said of the file of a running gateway that is not at `path` any more. */
export function notInPlace(path: string, what: string, isCopy: boolean): Trouble {
  const remedy = isCopy
    ? reload(path)
    : `Restore the original file, and the gateway continues; or stop it, move ${path}-wal ` +
      `and ${path}-shm away, restore a backup to ${path}, and start it.`;
  return unusable(path, `${what}; the gateway still has the original open`, remedy);
}

function unusable(file: string, what: string, remedy: string): Trouble {
  return new Trouble("unusable", `${file}: ${what}; nothing is accepted`, remedy);
}

/**
 * Throws `Trouble` 'busy' if any process has the log at `path` open. Called when the lock file was
 * missing: it may have been deleted while a gateway held its lock, which nobody else can see then.
 * A command that only reads the log also counts; it ends by itself.
 */
export function assertNobodyElse(path: string): void {
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) === 0) return;
  const db = new Database(path, { timeout: 0 });
  try {
    db.pragma("locking_mode = EXCLUSIVE");
    db.prepare("SELECT count(*) FROM sqlite_schema").get();
  } catch (error) {
    const isBusy = error instanceof Database.SqliteError && error.code.startsWith("SQLITE_BUSY");
    // Any other error is reported when the log is opened.
    if (!isBusy) return;
    rmSync(`${path}-lock`, { force: true });
    const remedy = `Find it with "fuser ${path}", stop it or wait until it ends, and start again.`;
    const message = `${path}: another process has this log open, and ${path}-lock was missing`;
    throw new Trouble("busy", message, remedy, { cause: error });
  } finally {
    db.close();
  }
}
