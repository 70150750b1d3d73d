/**
 * Maps SQLite errors to `Trouble` with a remedy for the operator. Only this file maps SQLite's
 * result codes (https://sqlite.org/rescode.html). Errors that only a bug can cause, such as a
 * violated constraint, a wrong binding or a misuse of the library, are returned unchanged and end
 * the process.
 */
import Database from "better-sqlite3";
import { Trouble, type TroubleKind } from "../errors.js";

interface Rule {
  /** Primary result code; the extended codes (SQLITE_IOERR_WRITE) begin with it. */
  readonly code: string;
  readonly kind: TroubleKind;
  readonly what: string;
  readonly remedy: (path: string, isCopy: boolean) => string;
}

const RULES: readonly Rule[] = [
  {
    code: "SQLITE_FULL",
    kind: "disk-full",
    what: "no space left for the update log",
    remedy: (path) =>
      `Free space on the file system of ${path}. The gateway then continues by itself.`,
  },
  {
    code: "SQLITE_READONLY",
    kind: "read-only",
    what: "the update log cannot be written",
    remedy: (path) =>
      `Make ${path}, ${path}-wal, ${path}-shm and their directory writable for the gateway's ` +
      "user, and check that the file system is not mounted read-only.",
  },
  {
    code: "SQLITE_BUSY",
    kind: "busy",
    what: "another process holds the update log",
    remedy: (path) => `Find the process with "fuser ${path}". Stop it, or wait until it ends.`,
  },
  {
    code: "SQLITE_LOCKED",
    kind: "busy",
    what: "the update log is locked",
    remedy: (path) => `Find the process with "fuser ${path}". Stop it, or wait until it ends.`,
  },
  {
    code: "SQLITE_CORRUPT",
    kind: "corrupt",
    what: "the update log is damaged",
    remedy: repair,
  },
  {
    code: "SQLITE_NOTADB",
    kind: "corrupt",
    what: "the update log is no longer a database",
    remedy: repair,
  },
  {
    code: "SQLITE_CANTOPEN",
    kind: "unusable",
    what: "the update log cannot be opened",
    remedy: (path) =>
      `Check that ${path} is a file in an existing directory, and that it, ${path}-wal and ` +
      `${path}-shm belong to the gateway's user.`,
  },
  {
    code: "SQLITE_IOERR",
    kind: "unusable",
    what: "the disk of the update log has errors",
    remedy: (path) =>
      `Look for disk errors in the kernel log (dmesg) and check the disk of ${path}.`,
  },
];

const OTHER: Rule = {
  code: "",
  kind: "unusable",
  what: "the update log cannot be used",
  remedy: (path) => `Stop the gateway and run "sqlite3 ${path} 'pragma integrity_check'".`,
};

/** Codes that only a bug in the gateway can cause. */
const BUGS = ["SQLITE_CONSTRAINT", "SQLITE_MISUSE", "SQLITE_MISMATCH", "SQLITE_RANGE"];

/**
 * The `Trouble` for an SQLite error on the file `path`, with the error as its cause. Anything that
 * is not an SQLite error, is a `Trouble` already, or is a bug, is returned unchanged, so that
 * the caller can always `throw asTrouble(error, path)`. `isCopy`: the file is a copy of a shared
 * log, and is loaded again where another log is repaired.
 */
export function asTrouble(error: unknown, path: string, isCopy = false): unknown {
  if (!(error instanceof Database.SqliteError)) return error;
  const { code } = error;
  if (BUGS.some((bug) => code.startsWith(bug))) return error;
  const rule = RULES.find((candidate) => code.startsWith(candidate.code)) ?? OTHER;
  const message = `${path}: ${rule.what} (${code}: ${error.message})`;
  return new Trouble(rule.kind, message, rule.remedy(path, isCopy), { cause: error });
}

/** What to do about a damaged file. */
export function repair(path: string, isCopy: boolean): string {
  if (isCopy) return `Check the disk (dmesg). ${reload(path)}`;
  return (
    `Stop the gateway, copy ${path} and ${path}-wal elsewhere, check the disk, and list the ` +
    'damage with "kxgw db check". Then restore a backup of "kxgw db backup", or rebuild the log ' +
    `with "sqlite3 ${path} .recover".`
  );
}

/** What to do about a copy of a shared log that cannot be used. All of it is in the database. */
export function reload(path: string): string {
  return (
    `Stop the gateway, delete ${path}, ${path}-wal and ${path}-shm, and start it: it loads a new ` +
    "copy from the database."
  );
}
