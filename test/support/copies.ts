/** Copies of a shared log: how tests open and load them, and what two of them must agree on. */
import { createHash } from "node:crypto";
import type Database from "better-sqlite3";
import { expect, vi } from "vitest";
import { Connection } from "../../src/log/connection.js";
import { TOTALS } from "../../src/log/gathering.js";
import type { SharedStore } from "../../src/log/shared-port.js";
import { SHARED_TABLES } from "../../src/log/shared-tables.js";
import { UpdateLog } from "../../src/log/update-log.js";

/** A copy with what a test may see of it. */
export interface Copy {
  readonly log: UpdateLog;
  readonly db: Database.Database;
}

/** Opens a copy. Nothing of it is loaded yet. */
export function openCopy(
  shared: SharedStore,
  path = ":memory:",
  options: Parameters<typeof UpdateLog.open>[1] = {},
): Copy {
  const spy = vi.spyOn(Connection, "open");
  try {
    const log = UpdateLog.open(path, { ...options, shared });
    const [opened] = spy.mock.results;
    if (opened?.type !== "return") throw new Error("the log has no connection");
    return { log, db: opened.value.db };
  } finally {
    spy.mockRestore();
  }
}

/** Opens a copy and loads all of it, `bytes` at a time. */
export function loadedCopy(shared: SharedStore, path = ":memory:", bytes?: number): Copy {
  const copy = openCopy(shared, path);
  load(copy.log, bytes);
  return copy;
}

export function load(log: UpdateLog, bytes?: number): void {
  while (!log.catchUp(bytes));
}

/** Both have the same rows in all tables but those of one gateway. What is gathered is written. */
export function expectEqual(one: Copy, other: Copy): void {
  for (const { log } of [one, other, one]) {
    load(log);
    log.settle();
  }
  expect(contentsOf(other.db)).toEqual(contentsOf(one.db));
}

/** The rows of all tables that copies agree on, sorted, with blobs in hex. */
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
