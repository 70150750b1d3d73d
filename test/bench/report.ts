/**
 * The figures of the benches, for a terminal and in docs/performance.md: each bench has a part of
 * its own between two marks there, with the command and the machine that made it. Nothing else of
 * the page is touched.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { projectRoot } from "../torture/material.js";
import { type Figure, median, type Outcome, short } from "./bench.js";

export interface Result extends Outcome {
  readonly name: string;
  readonly question: string;
  readonly command: string;
  /** What it was run with: `machine()`, and how busy the machine was. */
  readonly machine: string;
}

const PAGE = "docs/performance.md";

export function asText({ figures, goals }: Result): string {
  const width = Math.max(...figures.map(({ name }) => name.length), 0);
  const lines = figures.map((figure) => {
    return `  ${figure.name.padEnd(width)}  ${spread(figure)} ${figure.unit}`;
  });
  const said = goals.map(({ text, reached, met }) => {
    return `  ${met ? "met   " : "MISSED"} ${text}: ${reached}`;
  });
  return [...lines, ...said].join("\n");
}

/** Puts the results into the page and returns its name. */
export function writeResults(results: readonly Result[]): string {
  const file = join(projectRoot(), PAGE);
  let page = readFileSync(file, "utf8");
  for (const result of results) {
    const [begin, end] = ["begin", "end"].map((which) => `<!-- bench: ${result.name} ${which} -->`);
    const from = page.indexOf(begin ?? "");
    const to = page.indexOf(end ?? "");
    if (from < 0 || to < from) throw new Error(`${PAGE} has no place for ${result.name}`);
    page = `${page.slice(0, from)}${begin}\n${markdown(result)}\n${page.slice(to)}`;
  }
  writeFileSync(file, page);
  return PAGE;
}

function markdown({ question, command, machine, input, figures, goals }: Result): string {
  return [
    `${question} ${input}. \`${command}\`, ${machine}.`,
    "",
    "| figure | median | least to most | unit |",
    "|---|---|---|---|",
    ...figures.map((figure) => {
      const { name, unit, values } = figure;
      const range = `${short(Math.min(...values))} to ${short(Math.max(...values))}`;
      return `| ${name} | ${short(median(values))} | ${range} | ${unit} |`;
    }),
    ...(goals.length === 0 ? [] : ["", "| goal | reached | |", "|---|---|---|"]),
    ...goals.map(({ text, reached, met }) => {
      return `| ${text} | ${reached} | ${met ? "met" : "**missed**"} |`;
    }),
  ].join("\n");
}

function spread({ values }: Figure): string {
  const middle = short(median(values));
  if (values.length < 2) return middle;
  return `${middle} (${short(Math.min(...values))} to ${short(Math.max(...values))})`;
}

/** The machine, the versions and the commit that figures were taken with. */
export function machine(): string {
  const db = new Database(":memory:");
  const sqlite = db.prepare("SELECT sqlite_version()").pluck().get();
  db.close();
  const [first] = cpus();
  const commit = execFileSync("git", ["describe", "--always", "--dirty"], { cwd: projectRoot() });
  const parts = [
    `${cpus().length} x ${first?.model ?? "CPU"}`,
    `${Math.round(totalmem() / 2 ** 30)} GiB`,
    `Linux ${release()}`,
    `Node ${process.versions.node}`,
    `SQLite ${sqlite}`,
    `commit ${commit.toString().trim()}`,
  ];
  return parts.join(", ");
}
