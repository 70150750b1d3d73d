/**
 * What two copies of a shared log must agree on, as values that can be compared. The simulation
 * uses it outside the test runner.
 */
import { createHash } from "node:crypto";
import type Database from "better-sqlite3";
import { TOTALS } from "../../src/log/gathering.js";
import { SHARED_TABLES } from "../../src/log/shared-tables.js";

/** The rows of all tables that copies agree on, sorted. */
export function contentsOf(db: Database.Database): Record<string, readonly string[]> {
  const queries = Object.keys(SHARED_TABLES).map((table) => [table, `SELECT * FROM main.${table}`]);
  const made = [
    ["keys", "SELECT * FROM keys"],
    ["dates", "SELECT * FROM dates"],
    ["totals", TOTALS],
    ["hashes", "SELECT * FROM main.hashes UNION SELECT * FROM temp.gathered_hashes"],
  ];
  const rows = (sql: string) =>
    db
      .prepare<[], Record<string, unknown>>(sql)
      .all()
      .map((row) => JSON.stringify(row, (_, value) => shown(value)))
      .sort();
  return Object.fromEntries(
    [...queries, ...made].map(([name = "", sql = ""]) => [name, rows(sql)]),
  );
}

/** Blobs in hex, large ones by their hash. */
function shown(value: unknown): unknown {
  const isBuffer =
    typeof value === "object" && (value as { type?: string } | null)?.type === "Buffer";
  if (!isBuffer) return value;
  const bytes = Buffer.from((value as { data: number[] }).data);
  return bytes.length <= 64
    ? bytes.toString("hex")
    : createHash("sha256").update(bytes).digest("hex");
}
