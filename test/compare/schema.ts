/**
 * `sqlite_schema` of logs that a gateway of the checkout opened: a fresh one, and those of earlier
 * versions, which it migrated. With it the pragmas that are stored in the file.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import Database from "better-sqlite3";
import { GatewayProcess } from "../../src/demo/process.js";
import { projectRoot } from "../torture/material.js";

/** "KXGW", by which a log is known for one. */
const APPLICATION_ID = 0x4b584757;
const FIXTURES = join(projectRoot(), "test/fixtures");
const PRAGMAS = ["application_id", "user_version", "page_size", "auto_vacuum", "journal_mode"];

export async function schemas(checkout: string, directory: string): Promise<string[]> {
  const lines: string[] = [];
  for (const fixture of ["fresh", ...earlierLogs()]) {
    const name = basename(fixture, ".sql");
    const place = join(directory, name);
    mkdirSync(place);
    const file = join(place, "kxgw.toml");
    writeFileSync(file, '[site]\naddress = "a@b.example"\n[log]\npath = "updates.db"\n');
    const path = join(place, "updates.db");
    if (fixture !== "fresh") restore(fixture, path);
    const gateway = await GatewayProcess.start(file, join(checkout, "dist/main.js"));
    await gateway.end();
    lines.push(...schemaOf(path).map((line) => `${name}: ${line}`));
  }
  return lines;
}

/** Logs of earlier versions, as SQL. */
function earlierLogs(): string[] {
  const names = readdirSync(FIXTURES, { recursive: true, encoding: "utf8" });
  return names.filter((name) => name.endsWith(".sql")).sort();
}

function restore(fixture: string, path: string): void {
  const db = new Database(path);
  db.pragma("journal_mode = WAL");
  // A fixture that names its application and version overrides these.
  db.pragma(`application_id = ${APPLICATION_ID}`);
  db.pragma("user_version = 2");
  db.exec(readFileSync(join(FIXTURES, fixture), "utf8"));
  db.close();
}

function schemaOf(path: string): string[] {
  const db = new Database(path, { readonly: true });
  try {
    const rows = db
      .prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name")
      .all() as { type: string; name: string; tbl_name: string; sql: string | null }[];
    return [
      ...PRAGMAS.map((name) => `${name} = ${db.pragma(name, { simple: true })}`),
      ...rows.map((row) => `${row.type} ${row.name} on ${row.tbl_name}: ${oneLine(row.sql)}`),
    ];
  } finally {
    db.close();
  }
}

function oneLine(sql: string | null): string {
  return (sql ?? "made by SQLite").replaceAll(/\s+/g, " ");
}
