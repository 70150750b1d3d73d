/**
 * A copy of a log, made while its gateway runs: the state of one moment, as one file without a WAL
 * beside it, inspected before it gets its name. Copying the files by hand would do for neither: the
 * newest updates are in the WAL.
 *
 * It never writes over a file unless it is told to, and never over the log itself. Limits: while it
 * runs the WAL of the log cannot be emptied and grows; the copy is as large as the log.
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
import { Connection, makePrivate } from "./connection.js";
import { type Inspection, inspectLog } from "./inspect.js";
import { asTrouble } from "./trouble.js";

/** Pages a step: 4 MiB, so that progress shows and a signal is heard. */
const STEP_PAGES = 1000;

export interface BackupOptions {
  /** Whether a file of that name may be replaced. */
  readonly replace: boolean;
  /** Called after each step with the share that is done, 0 to 1. */
  readonly onProgress: (share: number) => void;
}

/**
 * Copies the log at `path` to the file `target` and resolves with what the copy holds. Throws
 * `Trouble` when the log cannot be read, the copy cannot be written or is not sound; then `target`
 * is as it was.
 */
export async function backUpLog(
  path: string,
  target: string,
  options: BackupOptions,
): Promise<Inspection> {
  assertFree(path, target, options.replace);
  const partial = `${target}.partial`;
  const connection = Connection.open(path, { readonly: true });
  try {
    rmSync(partial, { force: true });
    makePrivate(partial);
    await copy(connection.db, partial, options.onProgress);
    asOneFile(partial);
    const found = inspectLog(partial);
    if (found.problems.length > 0) {
      throw new Trouble(
        "corrupt",
        `${path}: the copy is damaged: ${found.problems[0]}`,
        'List the damage with "kxgw db check", and use an older backup.',
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

/** One read transaction around all steps, else each append would make the copy begin anew. */
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

/** Without WAL mode the copy needs no file beside it; a gateway that uses it turns it on again. */
function asOneFile(partial: string): void {
  const db = new Database(partial);
  try {
    db.pragma("synchronous = FULL");
    db.pragma("journal_mode = DELETE");
  } finally {
    db.close();
  }
}

/** Gives the finished copy its name, on disk for good. */
function settle(partial: string, target: string, replace: boolean): void {
  sync(partial);
  if (replace) renameSync(partial, target);
  // A link fails where a file has appeared meanwhile; a rename would replace it.
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

/** An error of the file system in the operator's words; anything else as it came. */
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
