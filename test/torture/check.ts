/**
 * What a check of the torture run is: a promise, a way to try to break it within a budget, and the
 * figures that come of it. Each durability check also runs a gateway that is wrong on purpose and
 * must be caught (its negative control), since a check that cannot fail is no check.
 */
import { createHash } from "node:crypto";

/** How much may be tried, where, and with which dice. */
export interface Context {
  readonly seed: number;
  /** A number in [0, 1), from the seed. */
  readonly random: () => number;
  /** How often to try, at most. */
  readonly runs: number;
  /** Monotonic milliseconds after which no new try is begun. */
  readonly endsAt: number;
  /** An empty directory of the check's own. */
  readonly directory: string;
  /** Where the compiled gateway and programs are: the directory that holds src and test. */
  readonly build: string;
  readonly say: (text: string) => void;
}

export interface Outcome {
  /** What went wrong, in words; empty when the promise held. */
  readonly faults: readonly string[];
  readonly figures: string;
  /** What the gateway that is wrong on purpose came to, and whether it was caught. */
  readonly control?: { readonly caught: boolean; readonly figures: string };
}

export interface Check {
  /** For --only. */
  readonly name: string;
  /** Rows of the list of faults in docs/reliability.md. */
  readonly rows: readonly number[];
  readonly promise: string;
  /** Runs in a long run, and its share of --seconds compared with the others. */
  readonly runs: number;
  readonly share: number;
  run(context: Context): Promise<Outcome>;
}

/** Whether there is time for one more try; the first `least` are always made. */
export function goesOn(context: Context, done: number, least = 1): boolean {
  if (done >= context.runs) return false;
  return done < least || performance.now() < context.endsAt;
}

/** The context of a negative control: so many runs, however little time is left. */
export function controlOf(context: Context, runs: number): Context {
  return { ...context, runs, endsAt: Number.POSITIVE_INFINITY };
}

/** Numbers in [0, 1) that follow from the seed (mulberry32). */
export function dice(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A seed of its own for each check, so that --only repeats what the whole run did. */
export function seedFor(seed: number, name: string): number {
  return createHash("sha256").update(`${seed}/${name}`).digest().readUInt32BE(0);
}

/** The value below which `share` of the values lie; 0 for none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) * share)] ?? 0;
}
