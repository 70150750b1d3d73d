/**
 * The table of figures, on the terminal and in docs/reliability.md between two marks. Nothing else
 * of that page is touched, and a line of a check that did not run this time stays as it was.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "./material.js";

const BEGIN = "<!-- torture: figures begin -->";
const END = "<!-- torture: figures end -->";
const HEAD = "| check | rows | result | figures | control | seconds | command |";
const RULE = "|---|---|---|---|---|---|---|";

/** What one check came to. */
export interface Line {
  readonly name: string;
  readonly rows: readonly number[];
  readonly figures: string;
  readonly control: string;
  readonly passed: boolean;
  readonly command: string;
  readonly seconds: number;
}

/** For a terminal. */
export function table(lines: readonly Line[]): string {
  const width = Math.max(...lines.map(({ name }) => name.length));
  return lines
    .map(({ name, passed, seconds, figures, control }) => {
      const result = passed ? "ok    " : "BROKEN";
      const more = control === "" ? "" : `\n${" ".repeat(width + 2)}control: ${control}`;
      return `${name.padEnd(width)}  ${result} ${seconds} s  ${figures}${more}`;
    })
    .join("\n");
}

/** Puts the lines into the page and returns its name. */
export function writeFigures(lines: readonly Line[]): string {
  const file = join(projectRoot(), "docs/reliability.md");
  const page = readFileSync(file, "utf8");
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`${file} has no place for the figures`);
  const rows = new Map<string, string>();
  for (const row of page.slice(begin, end).split("\n")) {
    const name = /^\| (\S+) \| [\d, ]/.exec(row)?.[1];
    if (name !== undefined) rows.set(name, row);
  }
  for (const line of lines) rows.set(line.name, markdown(line));
  const body = [BEGIN, HEAD, RULE, ...rows.values()].join("\n");
  writeFileSync(file, `${page.slice(0, begin)}${body}\n${page.slice(end)}`);
  return "docs/reliability.md";
}

function markdown({ name, rows, passed, figures, control, seconds, command }: Line): string {
  const cells = [name, rows.join(", "), passed ? "ok" : "**broken**", figures, control];
  const all = [...cells, String(seconds), `\`${command}\``];
  return `| ${all.map((cell) => cell.replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |`;
}
