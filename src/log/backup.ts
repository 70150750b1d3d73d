/**
 * Copies a log while its gateway runs. The copy is a snapshot in a single file without a WAL, and
 * is inspected before it gets its final name. A copy made with cp is not a snapshot, and lacks the
 * newest updates, which are in the WAL.
 *
 * A file is overwritten only with `replace`, and the log itself never. Limits: the WAL of the log
 * cannot be emptied during the copy and grows; the copy is as large as the log.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
} from "node:fs";
import { dirname } from "node:path";
import Database from "better-sqlite3";
import { Trouble } from "../errors.js";
import { Connection, isServed, makePrivate } from "./connection.js";
import { type Inspection, inspectLog } from "./inspect.js";
import { asTrouble, logKind } from "./trouble.js";

/** Pages per step, 4 MiB: progress is shown and signals are handled between two steps. */
const STEP_PAGES = 1000;

export interface BackupOptions {
  /** Whether a file of that name may be replaced. */
  readonly replace: boolean;
  /** Whether the log is a copy of a shared one. */
  readonly isCopy?: boolean;
  /** Called after each step with the completed share, 0 to 1. */
  readonly onProgress: (share: number) => void;
}

/**
 * Copies the log at `path` to the file `target` and resolves with the inspection of the copy.
 * Throws `Trouble` when the log cannot be read, or the copy cannot be written or is damaged; then
 * `target` is unchanged.
 */
export async function backUpLog(
  path: string,
  target: string,
  options: BackupOptions,
): Promise<Inspection> {
  assertFree(path, target, options.replace);
  const partial = `${target}.partial`;
  const { isCopy = false } = options;
  const connection = Connection.open(path, { readonly: true, isCopy });
  try {
    rmSync(partial, { force: true });
    makePrivate(partial);
    await copy(connection.db, partial, options.onProgress);
    asOneFile(partial, isServed(path));
    const found = inspectLog(partial);
    if (found.problems.length > 0) {
      throw new Trouble(
        "corrupt",
        `${path}: the copy is damaged: ${found.problems[0]}`,
        isCopy
          ? logKind(isCopy).repair(path)
          : 'List the damage with "kxgw db check", and use an older backup.',
      );
    }
    settle(partial, target, options.replace);
    return found;
  } catch (error) {
    throw asTrouble(troubleOfFile(error, target), target);
  } finally {
    connection.close();
    for (const end of ["", "-wal", "-shm", "-journal"]) rmSync(partial + end, { force: true });
  }
}

function assertFree(path: string, target: string, replace: boolean): void {
  const same =
    existsSync(target) && existsSync(path) && realpathSync(target) === realpathSync(path);
  if (same) {
    throw new Trouble("unusable", `${target}: is the log itself`, "Give the copy another name.");
  }
  if (existsSync(`${target}-wal`) || existsSync(`${target}-lock`)) {
    const remedy =
      "Give the copy another name; SQLite would read it with the WAL of the other file.";
    throw new Trouble("unusable", `${target}: this is the name of the log of a gateway`, remedy);
  }
  if (!replace && existsSync(target)) throw taken(target);
}

function taken(target: string): Trouble {
  const remedy = "Give the copy another name, or use --force to overwrite the file.";
  return new Trouble("unusable", `${target}: exists already`, remedy);
}

/** All steps are in one read transaction; otherwise each append would restart the copy. */
async function copy(
  db: Database.Database,
  partial: string,
  onProgress: (share: number) => void,
): Promise<void> {
  db.exec("BEGIN");
  try {
    db.prepare("SELECT count(*) FROM sqlite_schema").get();
    await db.backup(partial, {
      progress({ totalPages, remainingPages }) {
        onProgress(totalPages === 0 ? 0 : 1 - remainingPages / totalPages);
        return STEP_PAGES;
      },
    });
  } finally {
    db.exec("ROLLBACK");
  }
}

/** Turns WAL mode off, so that the copy is one file. A gateway that opens it turns it on again. */
function asOneFile(partial: string, isServed: boolean): void {
  const db = new Database(partial);
  try {
    db.pragma("synchronous = FULL");
    db.pragma("journal_mode = DELETE");
    // A log that is served goes on: where the copy takes its place, numbers that peers know stand
    // for other updates. One that nobody serves is moved.
    if (!isServed) return;
    // A log of an earlier version gets its name when it is brought up to date.
    const isNamed = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'log_name'").get();
    if (isNamed !== undefined) db.exec("UPDATE log_name SET name = randomblob(16)");
  } finally {
    db.close();
  }
}

/** Gives the finished copy its final name and makes both durable. */
function settle(partial: string, target: string, replace: boolean): void {
  sync(partial);
  if (replace) renameSync(partial, target);
  // A link fails if a file of this name has appeared meanwhile; a rename would replace it.
  else linkSync(partial, target);
  sync(dirname(target));
}

function sync(path: string): void {
  const descriptor = openSync(path, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** A `Trouble` for an error of the file system; any other error is returned unchanged. */
function troubleOfFile(error: unknown, target: string): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  if (typeof code !== "string" || error instanceof Database.SqliteError) {
    const nowhere = error instanceof TypeError && /directory/.test(error.message);
    if (!nowhere) return error;
  }
  if (code === "EEXIST") return taken(target);
  const remedy = `Check that the directory of ${target} exists, has free space and can be written.`;
  return new Trouble("unusable", `${target}: cannot be written: ${message}`, remedy);
}
