/**
 * `npm run simulate:network [-- QUESTION...] [--seed S] [--quick] [--json FILE] [--state FILE]`:
 * counted worlds of up to 2000 servers. Each world is told as it ends; with --state a run that was
 * broken off goes on where it was. The tables and plots go into docs/simulation.md, those of a
 * --quick run only onto the terminal. `processes` runs ten real gateways beside the model, for two
 * minutes, and only when it is asked for. The calibration must give the thesis's 4.44 within 0.3;
 * otherwise the run ends with 1, for then the model is not the network of 2003; so it does when the
 * processes differ from the model by more than 1 %.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { realMaterial } from "../../bench/material.js";
import { readArguments } from "../../support/usage.js";
import type { Result } from "./measure.js";
import { compareProcesses } from "./processes.js";
import { type Outcome, table, writeReport, writeSection } from "./report.js";
import { nameOf, runWorld, type Scenario, scenarios } from "./scenarios.js";

/** 40,000 mails for 9,000 updates (thesis, section 5). */
const THESIS_COPIES = 40_000 / 9000;
const TOLERANCE = 0.3;
const PROCESSES = "processes";
/** Percent of bytes that ten real processes may differ from the model. */
const MOST_DIFFERENCE = 1;

const USAGE = `npm run simulate:network [-- QUESTION...] [-- OPTION...]

Counted worlds of up to 2000 servers; without a question all of them, but for "processes", which
runs ten real gateways beside the model. The tables and plots go into docs/simulation.md.

Questions: ${scenarios(1, true)
  .map(({ name }) => name)
  .join(", ")}, processes

  --seed S      1 unless said
  --quick       smaller worlds; nothing is written into docs/
  --json FILE   the results as JSON
  --state FILE  where a run that was broken off goes on
  -h, --help    this text
`;

const { values, positionals } = readArguments(USAGE, () =>
  parseArgs({
    allowPositionals: true,
    options: {
      seed: { type: "string", default: "1" },
      quick: { type: "boolean", default: false },
      json: { type: "string" },
      state: { type: "string" },
    },
  }),
);
const { quick, state } = values;
const all = scenarios(Number(values.seed), quick);
const names = [...all.map(({ name }) => name), PROCESSES];
const unknown = positionals.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  say(`There is no ${unknown.join(", ")}; there are ${names.join(", ")}.`);
  process.exit(64);
}

const material = realMaterial();
const sizes = material.updates(quick ? 500 : 5000).map(({ body }) => body.length);
const done = readState();
const report: Record<string, readonly Outcome[]> = {};
for (const scenario of all) {
  if (positionals.length > 0 && !positionals.includes(scenario.name)) continue;
  const outcomes = runAll(scenario);
  report[scenario.name] = outcomes;
  say(`\n${scenario.title}\n${table(scenario, outcomes)}\n`);
  const command = `npm run simulate:network -- ${scenario.name} --seed ${values.seed}`;
  if (!quick) say(`written to ${writeReport(scenario, outcomes, command).join(", ")}`);
  if (scenario.name === "calibration") calibrate(outcomes);
}
if (positionals.includes(PROCESSES)) await compare();
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);

function runAll({ title, plans }: Scenario): Outcome[] {
  say(`${title}: ${plans.length} worlds of updates of ${material.source}`);
  return plans.map((plan, n) => {
    const name = nameOf(plan);
    const began = performance.now();
    const result = done.get(name) ?? runWorld(plan, sizes);
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    say(`  ${n + 1}/${plans.length} ${name}: ${result.events} events, ${seconds} s`);
    done.set(name, result);
    if (state !== undefined) writeFileSync(state, JSON.stringify([...done]));
    return { plan, result };
  });
}

async function compare(): Promise<void> {
  const compared = await compareProcesses(
    material.updates(quick ? 20 : 100),
    Number(values.seed),
    say,
  );
  const { updates, realBytes, modelBytes, difference, complete } = compared;
  const words =
    `Ten real processes, ${updates} updates: ${realBytes} bytes of KX after the greetings; ` +
    `the model says ${Math.round(modelBytes)} (${difference.toFixed(2)} % difference). ` +
    `${complete} of 10 hold everything.`;
  say(words);
  const command = `npm run simulate:network -- ${PROCESSES} --seed ${values.seed}`;
  if (!quick) writeSection(PROCESSES, `\`${command}\`\n\n${words}`);
  if (complete < 10 || Math.abs(difference) > MOST_DIFFERENCE) process.exitCode = 1;
}

function calibrate(outcomes: readonly Outcome[]): void {
  const off = outcomes.map(({ result }) => Math.abs(result.copies - THESIS_COPIES));
  const nearest = outcomes[off.indexOf(Math.min(...off))];
  if (nearest === undefined) return;
  const { plan, result } = nearest;
  const mails = Math.round(result.copies * 9000);
  say(`nearest to ${THESIS_COPIES.toFixed(2)}: ${plan.topology}, ${mails} mails for 9000 updates`);
  if (Math.abs(result.copies - THESIS_COPIES) > TOLERANCE) process.exitCode = 1;
}

/** JSON knows no Infinity: what never happened comes back as null. */
function readState(): Map<string, Result> {
  if (state === undefined || !existsSync(state)) return new Map();
  const revive = (_: string, value: unknown) => (value === null ? Number.POSITIVE_INFINITY : value);
  return new Map(JSON.parse(readFileSync(state, "utf8"), revive) as [string, Result][]);
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
