/**
 * `npm run simulate`: worlds by the thousand, each from a seed.
 *   --seeds N --from S    that many worlds; goes on where a run was broken off, unless --fresh
 *   --seed X [--trace]    one world again, with its options and, if wanted, all that happened
 *   --mutants             plants each bug of mutants.ts and tells how many worlds find it
 *   --workers N --small --mixed --json --report (puts the figures into docs/simulation.md)
 * Exits with 1 when a world fails, a mutant survives or a kind of fault never happened.
 */
import { availableParallelism } from "node:os";
import { setImmediate } from "node:timers/promises";
import { parseArgs } from "node:util";
import { readArguments } from "../support/usage.js";
import { type BatchOptions, type EventCounters, MARKERS, runBatch, unseen } from "./batch.js";
import { MUTANTS, withMutant } from "./mutants.js";
import { hasCluster, optionsOf } from "./options.js";
import { type Hunt, writeBatch, writeMutants } from "./report.js";
import { stateFile } from "./state-file.js";
import { runWorld } from "./world.js";

/** Worlds in which a planted bug must be found. */
const HUNTED = 1000;

const USAGE = `npm run simulate [-- OPTION...]

Worlds by the thousand, each from a seed. Exits with 1 when a world fails, a mutant survives or a
kind of fault never happened.

  --seeds N     so many worlds, 1000 unless said; goes on where a run was broken off
  --from S      the seed of the first one, 1 unless said
  --fresh       begin anew instead of going on
  --seed X      one world again
  --trace       with --seed: all that happened in it
  --mutants     plant each bug of mutants.ts and tell how many worlds find it
  --only NAMES  with --mutants: these bugs, separated by commas
  --workers N   processes at once, 2 unless said
  --small       small worlds
  --mixed       small worlds of KX/1.0 and KX/1.1, in which logs are replaced and restored
  --json        the result as JSON on standard output
  --report      put the figures into docs/simulation.md
  -h, --help    this text
`;

const { values } = readArguments(USAGE, () =>
  parseArgs({
    options: {
      seeds: { type: "string" },
      from: { type: "string" },
      seed: { type: "string" },
      trace: { type: "boolean" },
      mutants: { type: "boolean" },
      only: { type: "string" },
      workers: { type: "string" },
      small: { type: "boolean" },
      mixed: { type: "boolean" },
      fresh: { type: "boolean" },
      json: { type: "boolean" },
      report: { type: "boolean" },
    },
  }),
);
const size = values.mixed === true ? "mixed" : values.small === true ? "small" : "large";
const numbers = [values.seeds, values.from, values.seed, values.workers];
if (numbers.some((text) => text !== undefined && !/^\d{1,9}$/.test(text))) {
  say("--seeds, --from, --seed and --workers want a number.");
  process.exit(64);
}

if (values.seed !== undefined) replay(Number(values.seed));
else if (values.mutants === true) await hunt();
else await batch();

/** One world, told in full. */
function replay(seed: number): void {
  const options = optionsOf(seed, size);
  const print =
    values.trace === true ? (line: string) => process.stdout.write(`${line}\n`) : undefined;
  const outcome = runWorld(options, { print });
  if (values.json === true) return finish({ options, outcome }, outcome.failure === undefined);
  say(JSON.stringify(options, null, 1));
  say(JSON.stringify(outcome.counts, null, 1));
  const { failure, hash, events, simulatedMs } = outcome;
  say(`${events} events in ${Math.round(simulatedMs / 60_000)} simulated minutes, trace ${hash}`);
  say(failure === undefined ? "all is well" : `FAILED: ${failure.text}`);
  process.exitCode = failure === undefined ? 0 : 1;
}

async function batch(): Promise<void> {
  const seeds = Number(values.seeds ?? 1000);
  const from = Number(values.from ?? 1);
  const workers = Number(values.workers ?? Math.min(2, availableParallelism()));
  const state = stateFile({ seeds, from, size }, values.fresh === true);
  const options: BatchOptions = { seeds, from, size, workers, state, say };
  const counters = await runBatch(options);
  const missing = unseen(counters);
  for (const { seed } of counters.failures) {
    say(`seed ${seed} failed: npm run simulate -- --seed ${seed} --trace`);
    say(JSON.stringify(optionsOf(seed, size)));
  }
  if (missing.length > 0) say(`never happened: ${missing.join(", ")}`);
  if (values.report === true) say(`written to ${writeBatch(counters, command(), workers)}`);
  const isFine = counters.failures.length === 0 && missing.length === 0;
  if (values.json === true) finish({ ...told(counters), missing }, isFine);
  else {
    say(tellMarkers(counters));
    process.exitCode = isFine ? 0 : 1;
  }
}

/** Each bug, until a world fails by it. */
async function hunt(): Promise<void> {
  const hunts: Hunt[] = [];
  const chosen = values.only?.split(",");
  const most = Number(values.seeds ?? HUNTED);
  const from = Number(values.from ?? 1);
  for (const mutant of MUTANTS.filter(({ name }) => chosen?.includes(name) ?? true)) {
    const began = performance.now();
    let worlds = 0;
    let invariant: string | undefined;
    for (let seed = from; worlds < most && invariant === undefined; seed += 1) {
      const options = optionsOf(seed, size);
      if (mutant.isOfCluster && !hasCluster(options)) continue;
      invariant = withMutant(mutant, (store) => runWorld(options, { store }).failure?.invariant);
      worlds += 1;
      // The memory of a closed SQLite database is freed in a turn of the event loop.
      await setImmediate();
    }
    const seconds = (performance.now() - began) / 1000;
    hunts.push({ name: mutant.name, bug: mutant.bug, worlds, invariant });
    const fate = invariant === undefined ? "SURVIVES" : `found by "${invariant}"`;
    say(`${mutant.name.padEnd(16)} ${fate}, ${worlds} worlds, ${seconds.toFixed(0)} s`);
  }
  if (values.report === true) say(`written to ${writeMutants(hunts, command())}`);
  const isFine = hunts.every(({ invariant }) => invariant !== undefined);
  if (values.json === true) finish(hunts, isFine);
  else process.exitCode = isFine ? 0 : 1;
}

function tellMarkers({ counts }: EventCounters): string {
  const lines = MARKERS.map(
    (marker) => `${String(counts.get(marker) ?? 0).padStart(10)} ${marker}`,
  );
  return `sometimes:\n${lines.join("\n")}`;
}

function told(counters: EventCounters): object {
  return { ...counters, counts: Object.fromEntries(counters.counts) };
}

function finish(result: object, isFine: boolean): void {
  process.stdout.write(`${JSON.stringify(result)}\n`);
  process.exitCode = isFine ? 0 : 1;
}

function command(): string {
  const args = process.argv.slice(2).filter((one) => one !== "--fresh");
  return `npm run simulate -- ${args.join(" ")}`;
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
