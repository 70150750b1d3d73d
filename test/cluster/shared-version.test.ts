/**
 * What gateways of one site have to agree on, for each version of the shared tables: the tables in
 * PostgreSQL, the rows in them, and how a lease becomes a lock. It is written down in
 * fixtures/shared/, one file for each version. Whoever changes it without another `SHARED_VERSION`
 * would let two releases run together that misread each other.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { expect, test } from "vitest";
import { CHANNEL, CREATE, LOCK, SHARED_VERSION } from "../../src/cluster/tables.js";
import {
  CHANGED_ENTRIES,
  CHANGING_COLUMNS,
  encodedRow,
  keyColumns,
  SHARED_TABLES,
} from "../../src/log/shared-tables.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { scratch } from "../support/scratch.js";

const FIXTURES = new URL("../fixtures/shared/", import.meta.url);

/** A column with its type and what it may hold, as SQLite describes it. */
interface Described {
  readonly name: string;
  readonly type: string;
  readonly notnull: number;
  readonly dflt_value: string | null;
}

/** The tables of PostgreSQL, and the rows: those of the shared tables of a new log. */
function agreement(): string {
  const path = join(scratch(), "updates.db");
  UpdateLog.open(path).close();
  const db = new Database(path, { readonly: true });
  const rows = Object.entries(SHARED_TABLES).map(([table, body]) => {
    const columns = db.pragma(`table_info(${table})`) as Described[];
    const lines = columns.map(({ name, type, notnull, dflt_value }) => {
      const rest = [notnull ? "NOT NULL" : "", dflt_value === null ? "" : `DEFAULT ${dflt_value}`];
      return `  ${[name, type, ...rest].filter((word) => word !== "").join(" ")}`;
    });
    const key = keyColumns(db, table).map(({ name }) => name);
    const head = `rows of ${table}, key ${key.join(", ")}${body ? `, body ${body}` : ""}`;
    return [head, ...lines].join("\n");
  });
  db.close();
  return [
    CREATE.split("\n")
      .map((line) => line.replace(/^ {2}/, ""))
      .join("\n")
      .trim(),
    ...rows,
    `rows of ${CHANGED_ENTRIES}: ${CHANGING_COLUMNS.join(", ")}`,
    `a value: ${encodedRow({ n: 1, text: 'a"', blob: Buffer.from([1, 255]), none: null })}`,
    `lock of a lease: ${LOCK}`,
    `channel: ${CHANNEL}`,
    "",
  ].join("\n\n");
}

test("tables and rows are those that were agreed on for this version", () => {
  const file = `${SHARED_VERSION}.txt`;
  expect(readdirSync(FIXTURES)).toContain(file);
  const hint =
    "Gateways of two releases would misread each other's rows. Raise SHARED_VERSION, migrate the " +
    `tables, and write down the new version beside test/fixtures/shared/${file}.`;
  expect(agreement(), hint).toBe(readFileSync(new URL(file, FIXTURES), "utf8"));
});

test("every version up to this one is written down", () => {
  const versions = Array.from({ length: SHARED_VERSION }, (_, index) => `${index + 1}.txt`);
  expect(readdirSync(FIXTURES).sort()).toEqual(versions.sort());
});
