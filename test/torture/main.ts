/**
 * `npm run torture [-- --seconds N] [--runs N] [--seed S] [--only NAME[,NAME]]`: the long checks of
 * what docs/reliability.md promises, each within its share of the time, progress while they run. At
 * the end a table of figures, printed and written into docs/reliability.md with the command that
 * made it; a check that did not run keeps its old figures. Exits with 1 when a promise was broken
 * or a gateway that is wrong on purpose was not caught.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { readArguments, wrongUsage } from "../support/usage.js";
import { type Check, dice, type Outcome, seedFor } from "./check.js";
import { CHECKS } from "./checks/all.js";
import { type Line, table, writeFigures } from "./report.js";

const DEFAULT_SECONDS = 300;

const USAGE = `npm run torture [-- OPTION...]

The long checks of what docs/reliability.md promises. Exits with 1 when a promise was broken or a
gateway that is wrong on purpose was not caught.

Checks: ${CHECKS.map(({ name }) => name).join(", ")}

  --seconds N     the time of all together, 300 unless said
  --runs N        so many runs of each instead
  --seed S        the date unless said
  --only NAMES    these checks, separated by commas
  --no-report     do not write the figures into docs/reliability.md
  -h, --help      this text
`;

const { values } = readArguments(USAGE, () =>
  parseArgs({
    options: {
      seconds: { type: "string" },
      runs: { type: "string" },
      seed: { type: "string" },
      only: { type: "string" },
      "no-report": { type: "boolean" },
    },
  }),
);
const numbers = [values.seconds, values.runs, values.seed];
if (numbers.some((text) => text !== undefined && !/^\d{1,9}$/.test(text))) {
  wrongUsage(USAGE, "--seconds, --runs and --seed want a number.");
}
const seed = Number(values.seed ?? Date.now() % 1_000_000);
const only = values.only?.split(",");
const unknown = only?.filter((name) => !CHECKS.some((check) => check.name === name)) ?? [];
if (unknown.length > 0) {
  say(`There is no ${unknown.join(", ")}. Checks: ${CHECKS.map(({ name }) => name).join(", ")}`);
  process.exit(64);
}

const chosen = CHECKS.filter(({ name }) => only?.includes(name) ?? true);
const seconds = Number(values.seconds ?? (values.runs === undefined ? DEFAULT_SECONDS : Infinity));
const root = mkdtempSync(join(tmpdir(), "kxgw-torture-"));
const lines: Line[] = [];
const startedAt = performance.now();
const shares = chosen.reduce((sum, { share }) => sum + share, 0);
say(`seed ${seed}, ${chosen.length} checks, ${seconds} s`);
try {
  let left = shares;
  for (const check of chosen) {
    // What a check leaves of its share goes to those behind it.
    const remaining = seconds * 1000 - (performance.now() - startedAt);
    lines.push(await runOne(check, Math.max(0, remaining * (check.share / left))));
    left -= check.share;
  }
} finally {
  rmSync(root, { recursive: true, force: true });
}
say(`\n${table(lines)}`);
if (values["no-report"] !== true) say(`written to ${writeFigures(lines)}`);
process.exitCode = lines.every(({ passed }) => passed) ? 0 : 1;

async function runOne(check: Check, budgetMs: number): Promise<Line> {
  const { name, rows, promise } = check;
  const directory = join(root, name);
  mkdirSync(directory);
  const own = seedFor(seed, name);
  const began = performance.now();
  say(`${name}: ${promise}`);
  let outcome: Outcome;
  try {
    outcome = await check.run({
      seed: own,
      random: dice(own),
      runs: values.runs === undefined ? check.runs : Number(values.runs),
      endsAt: began + budgetMs,
      directory,
      build: resolve(import.meta.dirname, "../.."),
      say: (text) => say(`  ${name}: ${text}`),
    });
  } catch (error) {
    outcome = { faults: [error instanceof Error ? (error.stack ?? "") : "failed"], figures: "" };
  }
  const { faults, figures, control } = outcome;
  const passed = faults.length === 0 && control?.caught !== false;
  for (const fault of faults) say(`  ${name}: BROKEN: ${fault}`);
  if (control?.caught === false) say(`  ${name}: THE CONTROL WAS NOT CAUGHT: ${control.figures}`);
  say(`  ${figures}${control === undefined ? "" : `\n  control: ${control.figures}`}`);
  const command = `npm run torture -- ${[...process.argv.slice(2), ...seedArgument()].join(" ")}`;
  const took = Math.round((performance.now() - began) / 1000);
  return { name, rows, figures, control: control?.figures ?? "", passed, command, seconds: took };
}

/** The seed belongs to the command that makes the figures again. */
function seedArgument(): string[] {
  return values.seed === undefined ? ["--seed", String(seed)] : [];
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
