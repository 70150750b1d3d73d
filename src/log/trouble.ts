/**
 * Maps SQLite errors to `Trouble` with a remedy for the operator. Only this file maps SQLite's
 * result codes (https://sqlite.org/rescode.html). Errors that only a bug can cause, such as a
 * violated constraint, a wrong binding or a misuse of the library, are returned unchanged and end
 * the process.
 */
import Database from "better-sqlite3";
import { Trouble, type TroubleKind } from "../errors.js";
import { listed } from "../text.js";

interface Rule {
  /** Primary result code; the extended codes (SQLITE_IOERR_WRITE) begin with it. */
  readonly code: string;
  readonly kind: TroubleKind;
  readonly what: (name: string) => string;
  readonly remedy: (path: string, kind: FileKind) => string;
}

/** A kind of SQLite file, and what is said of it. */
export interface FileKind {
  readonly name: string;
  /** The ends of the names of the files that SQLite has beside it. */
  readonly beside: readonly string[];
  /** What is done when it is damaged, and after an error that has no rule. */
  readonly repair: (path: string) => string;
  readonly other: (path: string) => string;
}

const LOG: FileKind = {
  name: "the update log",
  beside: ["-wal", "-shm"],
  repair: (path) =>
    `Stop the gateway, copy ${path} and ${path}-wal elsewhere, check the disk, and list the ` +
    'damage with "kxgw db check". Then restore a backup of "kxgw db backup", or rebuild the log ' +
    `with "sqlite3 ${path} .recover".`,
  other: (path) => `Stop the gateway and run "sqlite3 ${path} 'pragma integrity_check'".`,
};

const COPY: FileKind = { ...LOG, repair: (path) => `Check the disk (dmesg). ${reload(path)}` };

/** Of a log. A copy of a shared log is loaded again where another log is repaired. */
export function logKind(isCopy: boolean): FileKind {
  return isCopy ? COPY : LOG;
}

const RULES: readonly Rule[] = [
  {
    code: "SQLITE_FULL",
    kind: "disk-full",
    what: (name) => `no space left for ${name}`,
    remedy: (path) =>
      `Free space on the file system of ${path}. The gateway then continues by itself.`,
  },
  {
    code: "SQLITE_READONLY",
    kind: "read-only",
    what: (name) => `${name} cannot be written`,
    remedy: (path, { beside }) =>
      `Make ${[path, ...beside.map((end) => path + end)].join(", ")} and their directory ` +
      "writable for the gateway's user, and check that the file system is not mounted read-only.",
  },
  {
    code: "SQLITE_BUSY",
    kind: "busy",
    what: (name) => `another process holds ${name}`,
    remedy: (path) => `Find the process with "fuser ${path}". Stop it, or wait until it ends.`,
  },
  {
    code: "SQLITE_LOCKED",
    kind: "busy",
    what: (name) => `${name} is locked`,
    remedy: (path) => `Find the process with "fuser ${path}". Stop it, or wait until it ends.`,
  },
  {
    code: "SQLITE_CORRUPT",
    kind: "corrupt",
    what: (name) => `${name} is damaged`,
    remedy: (path, { repair }) => repair(path),
  },
  {
    code: "SQLITE_NOTADB",
    kind: "corrupt",
    what: (name) => `${name} is no longer a database`,
    remedy: (path, { repair }) => repair(path),
  },
  {
    code: "SQLITE_CANTOPEN",
    kind: "unusable",
    what: (name) => `${name} cannot be opened`,
    remedy: (path, { beside }) =>
      `Check that ${path} is a file in an existing directory, and that ` +
      `${listed(["it", ...beside.map((end) => path + end)])} belong to the gateway's user.`,
  },
  {
    code: "SQLITE_IOERR",
    kind: "unusable",
    what: (name) => `the disk of ${name} has errors`,
    remedy: (path) =>
      `Look for disk errors in the kernel log (dmesg) and check the disk of ${path}.`,
  },
];

const OTHER: Rule = {
  code: "",
  kind: "unusable",
  what: (name) => `${name} cannot be used`,
  remedy: (path, { other }) => other(path),
};

/** Codes that only a bug in the gateway can cause. */
const BUGS = ["SQLITE_CONSTRAINT", "SQLITE_MISUSE", "SQLITE_MISMATCH", "SQLITE_RANGE"];

/**
 * The `Trouble` for an SQLite error on the file `path`, with the error as its cause. Anything that
 * is not an SQLite error, is a `Trouble` already, or is a bug, is returned unchanged, so that
 * the caller can always `throw asTrouble(error, path)`. `file` is the kind of the file.
 */
export function asTrouble(error: unknown, path: string, file = LOG): unknown {
  if (!(error instanceof Database.SqliteError)) return error;
  const { code } = error;
  if (BUGS.some((bug) => code.startsWith(bug))) return error;
  const rule = RULES.find((candidate) => code.startsWith(candidate.code)) ?? OTHER;
  const message = `${path}: ${rule.what(file.name)} (${code}: ${error.message})`;
  return new Trouble(rule.kind, message, rule.remedy(path, file), { cause: error });
}

/** What to do about a copy of a shared log that cannot be used. All of it is in the database. */
export function reload(path: string): string {
  return (
    `Stop the gateway, delete ${path}, ${path}-wal and ${path}-shm, and start it: it loads a new ` +
    "copy from the database."
  );
}
