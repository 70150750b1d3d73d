/**
 * Whether the files of an open log are still at their paths. A process keeps writing into a file
 * that was deleted, moved away, replaced by a backup or covered by a mount, and what it writes is
 * never found again. So the inodes are compared: a few microseconds, at every commit. The file that
 * is copied over in place (cp) keeps its inode; it is noticed when it gets shorter. Limit: a copy
 * that is as long as the log is noticed only by the damage.
 *
 * It closes and opens no file of the log: that would drop SQLite's locks on it.
 */
import { rmSync, statSync } from "node:fs";
import Database from "better-sqlite3";
import { Trouble } from "../errors.js";

/** Device and inode, or nothing where there is no file. */
type Identity = string | undefined;

function identityOf(path: string): Identity {
  try {
    const found = statSync(path, { bigint: true, throwIfNoEntry: false });
    return found && `${found.dev}:${found.ino}`;
  } catch {
    // Its directory cannot be read any more, which is as good as gone.
    return undefined;
  }
}

export class LogFiles {
  readonly #path: string;
  readonly #file: Identity;
  #lock: Identity;
  /** The WAL and its index are made by the first statement; undefined until then. */
  #wal: Identity;
  #shm: Identity;
  /** Bytes of the file at the last look. */
  #size = 0;

  /** The log at `path` was just opened for writing. */
  constructor(path: string) {
    this.#path = path;
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

  /** The file is in its place, and one of those beside it is not. */
  lostWalOnly(): boolean {
    return identityOf(this.#path) === this.#file && this.#strays().length > 0;
  }

  /** Whether another log has a WAL where ours was. */
  isWalOfAnother(): boolean {
    const there = identityOf(`${this.#path}-wal`);
    return there !== undefined && this.#wal !== undefined && there !== this.#wal;
  }

  /**
   * What is not where it was, and what to do; undefined when all is in place. `pageBytes` are what
   * SQLite takes for the length of the log, asked for when the file is shorter than it was.
   */
  trouble(pageBytes: () => number): Trouble | undefined {
    const path = this.#path;
    const there = identityOf(path);
    if (there !== this.#file) {
      const what = there === undefined ? "was deleted" : "was replaced";
      const remedy =
        `Restore the original file, and the gateway continues; or stop it, move ${path}-wal ` +
        `and ${path}-shm away, restore a backup to ${path}, and start it.`;
      return this.#trouble(path, `${what}; the gateway still has the original open`, remedy);
    }
    if (this.#isCut(pageBytes)) {
      const remedy =
        `Stop the gateway, move ${path}-wal and ${path}-shm away, put a backup at ${path}, and ` +
        "start it.";
      return this.#trouble(path, "was overwritten or cut short under the gateway", remedy);
    }
    const [stray] = this.#strays();
    if (stray === undefined) return undefined;
    const remedy = "Restart the gateway; all acknowledged updates were saved to the file.";
    const what = "was deleted or replaced while the gateway had it open";
    return this.#trouble(stray, what, remedy);
  }

  /** Whether somebody else made the file shorter; a rebuild leaves it as long as its pages. */
  #isCut(pageBytes: () => number): boolean {
    const size = statSync(this.#path, { throwIfNoEntry: false })?.size ?? 0;
    if (size < this.#size) {
      try {
        if (size < pageBytes()) return true;
      } catch {
        // SQLite does not recognise it any more.
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

  #trouble(file: string, what: string, remedy: string): Trouble {
    return new Trouble("unusable", `${file}: ${what}; nothing is accepted`, remedy);
  }
}

/**
 * Throws `Trouble` 'busy' when any process has the log at `path` open. Asked where the lock file
 * was missing and had just to be made: it may have been deleted under a gateway, whose lock on it
 * is out of sight. A command that only reads the log is in the way as well; it ends by itself.
 */
export function assertNobodyElse(path: string): void {
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) === 0) return;
  const db = new Database(path, { timeout: 0 });
  try {
    db.pragma("locking_mode = EXCLUSIVE");
    db.prepare("SELECT count(*) FROM sqlite_schema").get();
  } catch (error) {
    const isBusy = error instanceof Database.SqliteError && error.code.startsWith("SQLITE_BUSY");
    // Whatever else is wrong with the file its opening says.
    if (!isBusy) return;
    rmSync(`${path}-lock`, { force: true });
    const remedy = `Find it with "fuser ${path}", stop it or wait until it ends, and start again.`;
    const message = `${path}: another process has this log open, and ${path}-lock was missing`;
    throw new Trouble("busy", message, remedy, { cause: error });
  } finally {
    db.close();
  }
}
