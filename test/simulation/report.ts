/**
 * The figures of a batch and the table of the mutants in docs/simulation.md, between their marks.
 * Nothing else of that page is touched.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "../torture/material.js";
import { type EventCounters, MARKERS } from "./batch.js";

const PAGE = "docs/simulation.md";
/** Columns of a paragraph in the page. */
const COLUMNS = 140;

/** What became of a planted bug. */
export interface Hunt {
  readonly name: string;
  readonly bug: string;
  readonly worlds: number;
  /** Undefined when it survived. */
  readonly invariant: string | undefined;
}

/** Puts the figures of a batch into the page and returns its name. */
export function writeBatch(counters: EventCounters, command: string, workers: number): string {
  const { worlds, from, simulatedMs, events, updates, tookMs, failures, counts } = counters;
  const seconds = tookMs / 1000;
  const failed = failures.map(({ seed, invariant }) => `${seed} (${invariant})`).join(", ");
  const rows: readonly (readonly [string, string])[] = [
    ["worlds", `${worlds}, seeds ${from} to ${from + worlds - 1}`],
    ["failing", failures.length === 0 ? "0" : `**${failures.length}**: ${failed}`],
    ["simulated", `${Math.round(simulatedMs / 3_600_000)} hours, ${events} events`],
    ["updates acknowledged or passed on", String(updates)],
    ["took", `${seconds.toFixed(0)} s, ${(worlds / seconds).toFixed(1)} worlds a second`],
    ["on", `${workers} workers`],
    ["command", `\`${command}\``],
  ];
  const happened = MARKERS.map((marker) => `${marker} ${counts.get(marker) ?? 0}`).join(", ");
  const table = rows.map(([name, value]) => `| ${name} | ${value} |`).join("\n");
  const paragraph = wrapped(`How often what happened: ${happened}.`);
  return replace("batch", `| | |\n|---|---|\n${table}\n\n${paragraph}`);
}

/** The text in lines of at most `COLUMNS`, broken at blanks. */
function wrapped(text: string): string {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= COLUMNS) {
      lines[lines.length - 1] = `${last} ${word}`;
    } else lines.push(word);
  }
  return lines.join("\n");
}

/** Puts the table of the mutants into the page and returns its name. */
export function writeMutants(hunts: readonly Hunt[], command: string): string {
  const rows = hunts.map(({ name, bug, worlds, invariant }) => {
    return `| ${name} | ${bug} | ${worlds} | ${invariant ?? "**survives**"} |`;
  });
  const head = "| mutant | bug | worlds until it was found | by the invariant |\n|---|---|---|---|";
  return replace("mutants", `${head}\n${rows.join("\n")}\n\nCommand: \`${command}\`.`);
}

function replace(part: string, text: string): string {
  const file = join(projectRoot(), PAGE);
  const page = readFileSync(file, "utf8");
  const [begin, end] = [`<!-- simulate: ${part} begin -->`, `<!-- simulate: ${part} end -->`];
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${file} has no place for the ${part}`);
  writeFileSync(file, `${page.slice(0, from)}${begin}\n${text}\n${page.slice(to)}`);
  return PAGE;
}
