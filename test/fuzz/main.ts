/**
 * `npm run fuzz [-- --seconds N] [--seed S] [--only TARGET] [--grow]`: mutated inputs through the
 * targets for as long as asked, round robin. An input with an outcome not seen before joins the
 * others for this run, and with --grow small ones are kept in corpus/. What breaks a promise, or
 * takes more than a second, is made smaller and kept in crashes/. Exits with 1 when there was any.
 */
import { parseArgs } from "node:util";
import { readArguments, wrongUsage } from "../support/usage.js";
import { dice, seedFor } from "../torture/check.js";
import { keep, seeds } from "./corpus.js";
import { mutate } from "./mutate.js";
import { type Target, targets } from "./targets.js";

const SLOW_MS = 1000;
const POOL = 3000;
/** What is worth keeping in the repository. */
const SMALL_BYTES = 600;
const KEPT_A_RUN = 25;
const SHRINKING_TRIES = 2000;
const TURN_MS = 200;

const USAGE = `npm run fuzz [-- OPTION...]

Mutated inputs through the readers of what strangers send. Exits with 1 when one broke a promise.

Targets: ${targets.map(({ name }) => name).join(", ")}

  --seconds N    60 unless said
  --seed S       the date unless said
  --only TARGET  this one alone
  --grow         keep small inputs with an outcome that is new in test/fuzz/corpus
  -h, --help     this text
`;

const { values } = readArguments(USAGE, () =>
  parseArgs({
    options: {
      seconds: { type: "string" },
      seed: { type: "string" },
      only: { type: "string" },
      grow: { type: "boolean" },
    },
  }),
);
const seconds = Number(values.seconds ?? 60);
const seed = Number(values.seed ?? Date.now() % 1_000_000);
if (!targets.some(({ name }) => (values.only ?? name) === name)) {
  wrongUsage(USAGE, `There is no target ${values.only}.`);
}
if (Number.isNaN(seconds) || Number.isNaN(seed)) {
  wrongUsage(USAGE, "--seconds and --seed want a number.");
}
const endsAt = performance.now() + seconds * 1000;

interface Field {
  readonly target: Target;
  readonly random: () => number;
  readonly pool: Uint8Array[];
  readonly words: Set<string>;
  runs: number;
  crashes: number;
  kept: number;
  slowestMs: number;
}

say(`seed ${seed}, ${seconds} s`);
const fields: Field[] = [];
for (const target of targets.filter(({ name }) => (values.only ?? name) === name)) {
  const field: Field = {
    target,
    random: dice(seedFor(seed, target.name)),
    pool: [],
    words: new Set(),
    runs: 0,
    crashes: 0,
    kept: 0,
    slowestMs: 0,
  };
  for (const input of seeds(target.name)) await attempt(field, input, false);
  fields.push(field);
}
let toldAt = performance.now();
while (performance.now() < endsAt) {
  for (const field of fields) {
    const until = Math.min(performance.now() + TURN_MS, endsAt);
    while (performance.now() < until) {
      const { pool, random } = field;
      const input = pool[Math.floor(random() * pool.length)] ?? new Uint8Array(0);
      await attempt(field, mutate(input, pool, random), true);
    }
  }
  if (performance.now() > toldAt + 10_000) {
    toldAt = performance.now();
    say(fields.map(({ target, runs, pool }) => `${target.name} ${runs}/${pool.length}`).join("  "));
  }
}
for (const { target, runs, pool, words, crashes, slowestMs } of fields) {
  const slowest = `slowest ${slowestMs.toFixed(0)} ms`;
  say(
    `${target.name.padEnd(8)} ${runs} executions, ${words.size} outcomes, pool ${pool.length}, ` +
      `${crashes} crashes, ${slowest}`,
  );
}
const peakMib = Math.round(process.resourceUsage().maxRSS / 1024);
say(`seed ${seed}, peak resident ${peakMib} MiB`);
process.exitCode = fields.some(({ crashes }) => crashes > 0) ? 1 : 0;

async function attempt(field: Field, input: Uint8Array, isNew: boolean): Promise<void> {
  const { target, words, pool } = field;
  field.runs += 1;
  const outcome = await outcomeOf(target, input);
  field.slowestMs = Math.max(field.slowestMs, outcome.ms);
  if (outcome.fault !== undefined) {
    field.crashes += 1;
    const small = await smaller(target, input, outcome.fault);
    say(`${target.name}: ${outcome.fault}\n  ${keep("crashes", target.name, small)}`);
    return;
  }
  if (isNew && words.has(outcome.word)) return;
  words.add(outcome.word);
  if (pool.length < POOL) pool.push(input);
  if (isNew && values.grow === true && input.length <= SMALL_BYTES && field.kept < KEPT_A_RUN) {
    field.kept += 1;
    keep("corpus", target.name, input);
  }
}

async function outcomeOf(target: Target, input: Uint8Array) {
  const before = performance.now();
  try {
    const word = await target.run(input);
    const ms = performance.now() - before;
    const fault = ms > SLOW_MS ? `took more than ${SLOW_MS} ms` : undefined;
    return { word, ms, fault };
  } catch (error) {
    const fault = error instanceof Error ? error.message.split("\n")[0] : String(error);
    return { word: "", ms: performance.now() - before, fault: fault ?? "failed" };
  }
}

/** The input without whatever can be left out so that it still fails in the same way. */
async function smaller(target: Target, input: Uint8Array, fault: string): Promise<Uint8Array> {
  let best = Buffer.from(input);
  let tries = 0;
  for (let size = best.length >> 1; size >= 1 && tries < SHRINKING_TRIES; size >>= 1) {
    for (let at = 0; at < best.length && tries < SHRINKING_TRIES; tries += 1) {
      const shorter = Buffer.concat([best.subarray(0, at), best.subarray(at + size)]);
      if ((await outcomeOf(target, shorter)).fault === fault) best = shorter;
      else at += size;
    }
  }
  return best;
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
