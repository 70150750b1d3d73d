/**
 * Whether a log file is what it should be: SQLite's own integrity check, rows that refer to
 * nothing, the totals against a count, bodies against their sizes. Reads beside a running gateway,
 * in one transaction, and changes nothing; takes about a second a gigabyte from memory, longer from
 * a disk.
 *
 * It does not know OpenPGP: that a body still has its hash is not looked at.
 */
import Database from "better-sqlite3";
import { Connection } from "./connection.js";
import type { Totals } from "./retention.js";

export interface Inspection extends Totals {
  /** What is wrong, a sentence each; empty for a sound log. */
  readonly problems: readonly string[];
  /** Number of the newest entry, 0 for an empty log. */
  readonly newest: number;
}

/** Complaints of SQLite that are handed on; one damaged page causes hundreds. */
const MOST_PROBLEMS = 20;

/** Inspects the log at `path`. Throws `Trouble` when it is too damaged to be opened, or no log. */
export function inspectLog(path: string): Inspection {
  const connection = Connection.open(path, { readonly: true });
  try {
    return connection.read(() => inspection(connection.db));
  } finally {
    connection.close();
  }
}

function inspection(db: Database.Database): Inspection {
  const number = (sql: string) => Number(db.prepare(sql).pluck().get() ?? 0);
  // One snapshot, else an append in the middle would look like a wrong total.
  db.exec("BEGIN");
  try {
    const problems = integrityProblems(db);
    // On a damaged file the rest would count what is not there.
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
    const booked = db.prepare("SELECT entries, bodies, body_bytes AS bodyBytes FROM totals").get();
    if (JSON.stringify(booked) !== JSON.stringify(counted)) {
      problems.push(
        `the totals are ${JSON.stringify(booked)} instead of ${JSON.stringify(counted)}`,
      );
    }
    return { ...counted, problems, newest: number("SELECT max(seq) FROM updates") };
  } finally {
    db.exec("ROLLBACK");
  }
}

function integrityProblems(db: Database.Database): string[] {
  try {
    const rows = db.pragma(`integrity_check(${MOST_PROBLEMS})`) as object[];
    const lines = rows.map((row) => String(Object.values(row)[0]).replaceAll("\n", " "));
    return lines.filter((line) => line !== "ok");
  } catch (error) {
    // Some damage keeps even the check from reading on.
    const isDamage =
      error instanceof Database.SqliteError && error.code.startsWith("SQLITE_CORRUPT");
    if (!isDamage) throw error;
    return [error.message];
  }
}
