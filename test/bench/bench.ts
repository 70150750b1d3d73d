/**
 * What a bench is: a question, a way to measure it several times in one run, and figures. A time
 * means nothing on a shared machine, so what is compared with a goal is a ratio of two things that
 * were measured side by side, bytes, or counts.
 */
import type { Material } from "./material.js";
import type { Side } from "./sides.js";

export interface Context {
  /** Small sizes and one run, so that it is seen to work; the figures mean nothing then. */
  readonly quick: boolean;
  /** How often each thing is measured, after a warm-up. */
  readonly runs: number;
  readonly material: Material;
  /** An empty directory of the bench's own. */
  readonly directory: string;
  /** Where the compiled gateway and programs are: the directory that holds src and test. */
  readonly build: string;
  readonly say: (text: string) => void;
  /** The checkouts that are measured; this one is the last. */
  readonly sides: readonly Side[];
}

/** One measured quantity: a value a run, in `unit`. */
export interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly values: readonly number[];
}

/** What was hoped for, and what came. */
export interface Goal {
  readonly text: string;
  readonly reached: string;
  readonly met: boolean;
}

export interface Outcome {
  readonly figures: readonly Figure[];
  readonly goals: readonly Goal[];
  /** A sentence on what the figures were taken from. */
  readonly input: string;
}

export interface Bench {
  readonly name: string;
  readonly question: string;
  run(context: Context): Promise<Outcome>;
}

/** The middle value, or the mean of the two in the middle; 0 for none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return ((low ?? 0) + (high ?? 0)) / 2;
}

/** The value below which `share` of the values lie; 0 for none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) * share)] ?? 0;
}

/** Each value over the one of the same turn; in percent with a factor of 100. */
export function ratios(
  above: readonly number[],
  below: readonly number[],
  factor = 1,
): readonly number[] {
  return above.map((value, turn) => (factor * value) / (below[turn] ?? Number.NaN));
}

/** The same, begun one further in each turn, so that nothing always goes first. */
export function rotated<T>(values: readonly T[], turn: number): T[] {
  const from = turn % Math.max(1, values.length);
  return [...values.slice(from), ...values.slice(0, from)];
}

/** Three significant digits, and no more digits than a reader wants. */
export function short(value: number): string {
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(3)));
}

/** A goal that is a ratio with a least value. */
export function atLeast(text: string, value: number, least: number, unit = ""): Goal {
  return { text, reached: `${short(value)}${unit}`, met: value >= least };
}

/** A goal that is a ratio or a size with a greatest value. */
export function atMost(text: string, value: number, most: number, unit = ""): Goal {
  return { text, reached: `${short(value)}${unit}`, met: value <= most };
}
