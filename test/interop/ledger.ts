/**
 * Who sent what to whom: each case writes down what it saw in the logs of the programs, and the
 * suite prints all of it at the end. Rows go through a file, because tests run in processes of
 * their own.
 */
import { appendFileSync, existsSync, readFileSync } from "node:fs";

export interface Row {
  readonly case: string;
  readonly from: string;
  readonly to: string;
  readonly road: string;
  /** What went there, counted. */
  readonly what: string;
}

const COLUMNS = ["case", "from", "to", "road", "what"] as const;

/** Writes rows of one case down. */
export function note(name: string, rows: readonly Omit<Row, "case">[]): void {
  const file = process.env.INTEROP_LEDGER;
  if (file === undefined) return;
  appendFileSync(file, rows.map((row) => `${JSON.stringify({ case: name, ...row })}\n`).join(""));
}

/** All rows of `file` as a table. */
export function table(file: string): string {
  if (!existsSync(file)) return "nobody sent anything\n";
  const lines = readFileSync(file, "utf8").trim().split("\n");
  const rows = [
    Object.fromEntries(COLUMNS.map((name) => [name, name])) as unknown as Row,
    ...lines.map((line) => JSON.parse(line) as Row),
  ];
  const widths = COLUMNS.map((name) => Math.max(...rows.map((row) => row[name].length)));
  return rows
    .map((row) => COLUMNS.map((name, i) => row[name].padEnd(widths[i] ?? 0)).join("  "))
    .map((line) => `${line.trimEnd()}\n`)
    .join("");
}
