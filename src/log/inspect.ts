/**
 * Checks a log file: SQLite's integrity check, rows without a parent row, the stored totals, the
 * sizes of the bodies, that the entries are found by their keys, hashes and dates, and that no
 * update is stored twice. It reads in one transaction beside a running gateway and changes nothing.
 * It takes about a second per gigabyte from memory, longer from a disk.
 *
 * Limit: it does not compare the bodies with their hashes.
 */
import Database from "better-sqlite3";
import { Connection } from "./connection.js";
import { TOTALS, type Totals } from "./gathering.js";
import { SETTLED } from "./hash-index.js";
import { SCHEMA_VERSION, STRETCH_MS } from "./schema.js";

export interface Inspection extends Totals {
  /** The problems, one sentence each; empty for a sound log. */
  readonly problems: readonly string[];
  /** Number of the newest entry, 0 for an empty log. */
  readonly newest: number;
}

/** Messages of the integrity check that are returned; one damaged page causes hundreds. */
const MOST_PROBLEMS = 20;

/** The stored totals of a log before version 9. */
const FORMER_TOTALS = "SELECT entries, bodies, body_bytes AS bodyBytes FROM totals";

/**
 * Inspects the log at `path`, or the copy of a shared one. Throws `Trouble` if it cannot be opened
 * or is not a log.
 */
export function inspectLog(path: string, isCopy = false): Inspection {
  const connection = Connection.open(path, { readonly: true, isCopy });
  try {
    return connection.read(() => inspection(connection.db));
  } finally {
    connection.close();
  }
}

function inspection(db: Database.Database): Inspection {
  const number = (sql: string) => Number(db.prepare(sql).pluck().get() ?? 0);
  // One snapshot: an append between two queries would look like a wrong total.
  db.exec("BEGIN");
  try {
    const problems = integrityProblems(db);
    // The counts of a damaged file are not reliable.
    if (problems.length > 0) return { problems, newest: 0, entries: 0, bodies: 0, bodyBytes: 0 };
    const strays = (db.pragma("foreign_key_check") as unknown[]).length;
    if (strays > 0) problems.push(`${strays} bodies belong to no entry`);
    const odd = number(
      "SELECT count(*) FROM bodies JOIN updates USING (seq) WHERE length(body) <> size",
    );
    if (odd > 0) problems.push(`${odd} bodies differ in length from their entries`);
    const counted = {
      entries: number("SELECT count(*) FROM updates"),
      bodies: number("SELECT count(*) FROM bodies"),
      bodyBytes: number("SELECT coalesce(sum(length(body)), 0) FROM bodies"),
    };
    const isLean = db.pragma("user_version", { simple: true }) === SCHEMA_VERSION;
    const booked = db.prepare(isLean ? TOTALS : FORMER_TOTALS).get();
    if (JSON.stringify(booked) !== JSON.stringify(counted)) {
      problems.push(
        `the totals are ${JSON.stringify(booked)} instead of ${JSON.stringify(counted)}`,
      );
    }
    if (isLean) problems.push(...leanProblems(number));
    return { ...counted, problems, newest: number("SELECT max(seq) FROM updates") };
  } finally {
    db.exec("ROLLBACK");
  }
}

/**
 * What has to hold of the tables of version 9: see `gathering.ts`, `hash-index.ts`, `dates.ts` and
 * `schema.ts`.
 */
function leanProblems(number: (sql: string) => number): string[] {
  const problems: string[] = [];
  const complain = (count: number, what: string) => {
    if (count > 0) problems.push(`${count} ${what}`);
  };
  // A forgotten entry has no fingerprint.
  const settled = `
    SELECT fingerprint, seq FROM updates
    WHERE seq <= (SELECT upto FROM totals) AND fingerprint <> zeroblob(length(fingerprint))`;
  const missing = number(`SELECT count(*) FROM (${settled} EXCEPT SELECT * FROM keys)`);
  complain(missing, "entries are not found by their fingerprints");
  const wrong = number(`SELECT count(*) FROM (SELECT * FROM keys EXCEPT ${settled})`);
  complain(wrong, "rows of keys belong to no entry");
  const named = "SELECT hash, seq FROM updates";
  const unnamed = number(
    `SELECT count(*) FROM (${named} WHERE seq <= ${SETTLED} EXCEPT SELECT * FROM hashes)`,
  );
  complain(unnamed, "entries are not found by their hashes");
  const astray = number(`SELECT count(*) FROM (SELECT * FROM hashes EXCEPT ${named})`);
  complain(astray, "rows of hashes belong to no entry");
  const twice = number(`
    WITH named AS (SELECT * FROM hashes UNION ${named} WHERE seq > ${SETTLED}),
      shared AS MATERIALIZED (SELECT hash FROM named GROUP BY hash HAVING count(*) > 1)
    SELECT count(*) FROM (
      SELECT 1 FROM updates WHERE seq IN (SELECT seq FROM named WHERE hash IN shared)
      GROUP BY hash, digest HAVING count(*) > 1)`);
  complain(twice, "updates are stored twice");
  const misdated = number(`
    SELECT count(*) FROM updates WHERE NOT EXISTS (
      SELECT 1 FROM dates
      WHERE seq = (SELECT max(seq) FROM dates AS own WHERE own.seq <= updates.seq)
        AND at / ${STRETCH_MS} = received_at / ${STRETCH_MS})`);
  complain(misdated, "entries are not found by their dates");
  return problems;
}

function integrityProblems(db: Database.Database): string[] {
  try {
    const rows = db.pragma(`integrity_check(${MOST_PROBLEMS})`) as object[];
    const lines = rows.map((row) => String(Object.values(row)[0]).replaceAll("\n", " "));
    return lines.filter((line) => line !== "ok");
  } catch (error) {
    // The check itself fails on some damage.
    const isDamage =
      error instanceof Database.SqliteError && error.code.startsWith("SQLITE_CORRUPT");
    if (!isDamage) throw error;
    return [error.message];
  }
}
