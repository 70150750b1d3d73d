/**
 * Octets that nobody wrote (rows 36 and 37): mutants of real keys, mails, conversations and configs
 * through the fuzzing targets, and every cut and every flipped bit of small samples. No exception,
 * nothing that takes a second. Control: a target that breaks on a checksum that does not fit.
 */
import { keep, seeds } from "../../fuzz/corpus.js";
import { mutate } from "../../fuzz/mutate.js";
import { type Target, targets } from "../../fuzz/targets.js";
import { type Check, type Context, controlOf, goesOn } from "../check.js";

const SLOW_MS = 1000;
const SAMPLE_BYTES = 1024;
const SAMPLES = 4;
const CONTROL_MUTANTS = 3000;

interface EventCounters {
  mutants: number;
  damaged: number;
  slowestMs: number;
  readonly faults: string[];
}

export const parsers: Check = {
  name: "parsers",
  rows: [36, 37],
  promise: "no octets bring a parser to throw, to hang or to grow without bound",
  runs: 1_000_000,
  share: 2,
  async run(context) {
    const counters: EventCounters = { mutants: 0, damaged: 0, slowestMs: 0, faults: [] };
    for (const target of targets) await damage(context, target, counters);
    await breed(context, targets, counters);
    const control: EventCounters = { mutants: 0, damaged: 0, slowestMs: 0, faults: [] };
    await breed(controlOf(context, CONTROL_MUTANTS), [fragile()], control);
    const { mutants, damaged, slowestMs, faults } = counters;
    return {
      faults: faults.slice(0, 5),
      figures:
        `${targets.length} targets: ${mutants} mutants, ${damaged} cuts and flipped bits of ` +
        `samples up to ${SAMPLE_BYTES} bytes, ${faults.length} crashes, ` +
        `slowest ${Math.round(slowestMs)} ms`,
      control: {
        caught: control.faults.length > 0,
        figures: `a fragile target: ${control.faults.length} of ${CONTROL_MUTANTS} break it`,
      },
    };
  },
};

/** Every cut and every flipped bit, as long as there is time for a sample. */
async function damage(context: Context, target: Target, counters: EventCounters): Promise<void> {
  const small = seeds(target.name).filter(({ length }) => length > 0 && length <= SAMPLE_BYTES);
  for (const [index, sample] of small.slice(0, SAMPLES).entries()) {
    if (index > 0 && !goesOn(context, counters.damaged)) return;
    for (let at = 0; at < sample.length; at += 1) {
      await attempt(target, sample.subarray(0, at), counters);
      for (let bit = 0; bit < 8; bit += 1) {
        const flipped = Uint8Array.from(sample);
        flipped[at] = (flipped[at] ?? 0) ^ (1 << bit);
        await attempt(target, flipped, counters);
      }
      counters.damaged += 9;
    }
  }
}

async function breed(
  context: Context,
  all: readonly Target[],
  counters: EventCounters,
): Promise<void> {
  const { random } = context;
  const pools = new Map(all.map((target) => [target, seeds(target.name)]));
  while (goesOn(context, counters.mutants, 10)) {
    for (const [target, pool] of pools) {
      const input = pool[Math.floor(random() * pool.length)] ?? new Uint8Array(0);
      await attempt(target, mutate(input, pool, random), counters);
      counters.mutants += 1;
    }
  }
}

async function attempt(target: Target, input: Uint8Array, counters: EventCounters): Promise<void> {
  const before = performance.now();
  let fault: string | undefined;
  try {
    await target.run(input);
  } catch (error) {
    fault = error instanceof Error ? error.message : String(error);
  }
  const ms = performance.now() - before;
  counters.slowestMs = Math.max(counters.slowestMs, ms);
  if (ms > SLOW_MS) fault ??= `${Math.round(ms)} ms`;
  if (fault === undefined) return;
  // The fragile target of the control is nobody's bug.
  const kept = targets.includes(target) ? ` (${keep("crashes", target.name, input)})` : "";
  counters.faults.push(`${target.name}: ${fault}${kept}`);
}

function fragile(): Target {
  const [armor] = targets;
  if (armor === undefined) throw new Error("there are no targets");
  return {
    name: armor.name,
    async run(input) {
      const word = await armor.run(input);
      if (word.includes("bad-crc")) throw new Error(word);
      return word;
    },
  };
}
