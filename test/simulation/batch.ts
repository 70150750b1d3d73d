/**
 * Many worlds, on several workers: hands out seeds, gathers what comes back, keeps where it is in a
 * file so that a run can go on after it was broken off, and tells how it goes. Which faults a batch
 * has to see at least once is held here; a fault that never happened proves nothing.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { LIES } from "./liar.js";
import { CLUSTER_FAULTS, FAULTS, TROUBLE, type WorldSize } from "./options.js";
import { addCounts, type Counts } from "./trace.js";
import type { Outcome } from "./world.js";

/** What a large batch must have seen: faults, and what the engine did about them. */
export const MARKERS: readonly string[] = [
  ...[...FAULTS, ...CLUSTER_FAULTS].map((fault) => `fault: ${fault}`),
  ...["answer lost", "crash between commits", "lease-taken", "lease-lost"],
  "a takeover repeats a part",
  ...LIES.map((lie) => `lie: ${lie}`),
  ...TROUBLE.map((trouble) => `trouble: ${trouble}`),
  ...["site refuses a key", "site fails on a key", "local refuses"],
  ...["set-aside", "reopened", "withheld", "skipped", "lane-renamed", "pruned", "no news"],
  ...["crash before commit", "crash after commit", "start failed"],
  ...[
    "relay refusesForNow",
    "relay refuses",
    "relay answerLost",
    "relay bounces",
    "relay loses",
    "relay slow",
  ],
  ...["accepted", "duplicate", "served", "sent", "suppressed", "retry", "bounce", "undelivered"],
  ...["log-trouble", "mail-deferred", "fetch-timeout", "update-wrong", "update-lost"],
  ...["peer-connected", "peer-disconnected", "peer-complaint", "peer-reset", "expired", "unpacked"],
];

/** Bodies expire in long worlds only, and none of the mixed ones is long. */
const ONLY_LONG: readonly string[] = ["expired"];

/** Worlds after which every marker must have been seen. */
export const ENOUGH = 1000;

export interface Failure {
  readonly seed: number;
  readonly invariant: string;
  readonly text: string;
}

export interface EventCounters {
  readonly from: number;
  readonly size: WorldSize;
  /** Worlds done; seeds are handed out in order, so these are the first ones. */
  worlds: number;
  simulatedMs: number;
  events: number;
  updates: number;
  /** Time that it took, on all workers together or not: what a clock on the wall showed. */
  tookMs: number;
  readonly failures: Failure[];
  readonly counts: Map<string, number>;
}

export interface BatchOptions {
  readonly seeds: number;
  readonly from: number;
  readonly size: WorldSize;
  readonly workers: number;
  /** Where the state is kept; undefined for nowhere. */
  readonly state: string | undefined;
  readonly say: (text: string) => void;
}

/** Seeds that a worker gets at once. */
const PORTION = 5;
const TELL_MS = 5000;

/** Runs the batch, or what is left of it. */
export async function runBatch(options: BatchOptions): Promise<EventCounters> {
  const counters = restored(options) ?? fresh(options);
  const began = performance.now() - counters.tookMs;
  const end = options.from + options.seeds;
  /** Portions that are done out of turn. */
  const done = new Map<number, Outcome[]>();
  let next = options.from + counters.worlds;
  let toldAt = performance.now();
  const settle = () => {
    for (;;) {
      const seed = options.from + counters.worlds;
      const outcomes = done.get(seed);
      if (outcomes === undefined) break;
      done.delete(seed);
      for (const outcome of outcomes) add(counters, outcome, options.say);
    }
    counters.tookMs = performance.now() - began;
    if (performance.now() - toldAt < TELL_MS && counters.worlds < options.seeds) return;
    toldAt = performance.now();
    keep(counters, options);
    options.say(progress(counters, options.seeds));
  };
  const work = async () => {
    const worker = new Worker(new URL("./worker.js", import.meta.url));
    try {
      while (next < end) {
        const from = next;
        const count = Math.min(PORTION, end - from);
        next += count;
        done.set(from, await ask(worker, { from, count, size: options.size }));
        settle();
      }
    } finally {
      await worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: options.workers }, work));
  return counters;
}

export interface Portion {
  readonly from: number;
  readonly count: number;
  readonly size: WorldSize;
}

function ask(worker: Worker, portion: Portion): Promise<Outcome[]> {
  return new Promise((resolve, reject) => {
    const answered = (outcomes: Outcome[]) => {
      worker.off("error", reject);
      resolve(outcomes);
    };
    worker.once("message", answered);
    worker.once("error", reject);
    worker.postMessage(portion);
  });
}

function add(counters: EventCounters, outcome: Outcome, say: (text: string) => void): void {
  counters.worlds += 1;
  counters.simulatedMs += outcome.simulatedMs;
  counters.events += outcome.events;
  counters.updates += outcome.updates;
  addCounts(counters.counts, outcome.counts);
  if (outcome.failure === undefined) return;
  const { seed, failure } = outcome;
  counters.failures.push({ seed, ...failure });
  say(`seed ${seed} FAILED: ${failure.text}`);
}

/** Markers that were never seen, once that says something. */
export function unseen({ worlds, counts, size }: EventCounters): string[] {
  if (worlds < ENOUGH) return [];
  const wanted = MARKERS.filter((marker) => size !== "mixed" || !ONLY_LONG.includes(marker));
  return wanted.filter((marker) => !counts.has(marker));
}

export function progress(
  { worlds, tookMs, simulatedMs, failures }: EventCounters,
  seeds: number,
): string {
  const perSecond = worlds / (tookMs / 1000);
  const left = Math.round((seeds - worlds) / Math.max(perSecond, 0.001));
  const hours = Math.round(simulatedMs / 3_600_000);
  return (
    `${worlds} of ${seeds} worlds, ${hours} simulated hours, ${failures.length} failed, ` +
    `${perSecond.toFixed(1)} worlds a second, ${left} s to go`
  );
}

// State.

type Kept = Omit<EventCounters, "counts"> & { readonly counts: Counts };

function fresh({ from, size }: BatchOptions): EventCounters {
  const sums = { worlds: 0, simulatedMs: 0, events: 0, updates: 0, tookMs: 0 };
  return { from, size, ...sums, failures: [], counts: new Map() };
}

function restored({ state, from, size, seeds, say }: BatchOptions): EventCounters | undefined {
  if (state === undefined || !existsSync(state)) return undefined;
  const kept = JSON.parse(readFileSync(state, "utf8")) as Kept;
  if (kept.from !== from || kept.size !== size || kept.worlds > seeds) return undefined;
  if (kept.worlds > 0) say(`going on after ${kept.worlds} worlds (${state})`);
  return { ...kept, counts: new Map(Object.entries(kept.counts)) };
}

function keep(counters: EventCounters, { state }: BatchOptions): void {
  if (state === undefined) return;
  const kept: Kept = { ...counters, counts: Object.fromEntries(counters.counts) };
  writeFileSync(`${state}.new`, `${JSON.stringify(kept)}\n`);
  renameSync(`${state}.new`, state);
}
