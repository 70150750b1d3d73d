/**
 * Reconciliation: what it costs to find the keys that differ between two sites. Two key indexes on
 * disk are compared by the machine of the gateway, with every message written and read as on the
 * wire, in one process and without sockets: octets and rounds are exact, times are those of both
 * sides together. Beside it stand the octets of sending the whole list of one side, and the least
 * that the algorithm of SKS needs by its authors.
 */
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PARSER_LIMITS, Parser } from "../../../src/kx/parser.js";
import { answerRanges, RECONCILE_LIMITS, Reconciler } from "../../../src/kx/reconcile.js";
import { serialize } from "../../../src/kx/serializer.js";
import { type IndexChange, KeyIndex } from "../../../src/log/key-index.js";
import type { Seq } from "../../../src/update.js";
import { type Plot, svg } from "../../simulation/network/plot.js";
import { projectRoot } from "../../torture/material.js";
import { atMost, type Bench, type Context, type Figure, type Outcome } from "../bench.js";

const LOG = { seq: 0 as Seq, name: "00".repeat(16) };
const DIFFERENCES = [1, 100, 10_000];
/** Octets of a line of a key: 40 and 32 digits, a blank, the line end. */
const LINE = 75;
/**
 * Octets of an element in SKS: a residue modulo a prime of 129 bits. An exchange needs one for each
 * difference at least (Minsky, Trachtenberg, Zippel, "Set Reconciliation with Nearly Optimal
 * Communication Complexity", IEEE Trans. Inf. Theory 49(9), 2003). SKS then asks for each key.
 */
const SKS_ELEMENT = 17;
/** Keys that are stored at once. */
const BATCH = 50_000;

export const reconcile: Bench = {
  name: "reconcile",
  question: "What does it cost to find the keys that differ between two sites?",
  run,
};

interface Cost {
  readonly size: number;
  readonly differences: number;
  readonly octets: number;
  readonly rounds: number;
  readonly ms: number;
}

async function run(context: Context): Promise<Outcome> {
  const { quick, directory, say } = context;
  const sizes = quick ? [1000] : [1000, 100_000, 1_000_000];
  const costs: Cost[] = [];
  let perKey = 0;
  for (const size of sizes) {
    const path = join(directory, `here-${size}`);
    const here = fill(path, size);
    perKey = here.status().fileBytes / size;
    for (const differences of DIFFERENCES.filter((count) => count <= size)) {
      copyFileSync(path, `${path}-there`);
      const there = KeyIndex.open(`${path}-there`) as KeyIndex;
      there.apply(changes(size, differences));
      const cost = compare(here, there, size, differences);
      there.close();
      costs.push(cost);
      say(`${size} keys, ${differences} differ: ${cost.octets} octets, ${cost.rounds} rounds`);
    }
    here.close();
  }
  if (!quick) plots(costs);
  const largest = costs.filter(({ size }) => size === sizes.at(-1));
  const one = largest[0]?.octets ?? 0;
  return {
    input: "made-up keys; of the differences a third each is missing here, missing there, other",
    figures: [
      ...costs.flatMap(figuresOf),
      { name: "on disk for a key of the largest index", unit: "octets", values: [perKey] },
    ],
    goals: [
      atMost("one difference in the largest set takes 20 kB", one, 20_000, " octets"),
      atMost("the index keeps 50 octets for a key", perKey, 50, " octets"),
    ],
  };
}

function figuresOf({ size, differences, octets, rounds, ms }: Cost): Figure[] {
  const name = `${size} keys, ${differences} differ`;
  return [
    { name: `${name}: ranges`, unit: "octets", values: [octets] },
    { name: `${name}: the whole list`, unit: "octets", values: [size * LINE] },
    { name: `${name}: least of SKS`, unit: "octets", values: [differences * SKS_ELEMENT] },
    { name: `${name}: rounds`, unit: "", values: [rounds] },
    { name: `${name}: both sides`, unit: "ms", values: [ms] },
  ];
}

function fill(path: string, size: number): KeyIndex {
  const index = KeyIndex.create(path, 0, LOG);
  for (let from = 0; from < size; from += BATCH) {
    const count = Math.min(BATCH, size - from);
    index.apply(Array.from({ length: count }, (_, n) => keyOf(from + n)));
  }
  return index;
}

/** Of the differences a third is missing there, a third here, and a third has other packets. */
function changes(size: number, count: number): IndexChange[] {
  return Array.from({ length: count }, (_, n) => {
    if (n % 3 === 0) return { ...keyOf(n), digest: keyOf(n + 1).digest };
    return n % 3 === 1 ? { ...keyOf(n), digest: undefined } : keyOf(size + n);
  });
}

function keyOf(n: number) {
  const octets = createHash("sha512").update(`bench ${n}`).digest();
  return { fingerprint: octets.subarray(0, 20), digest: octets.subarray(20, 36) };
}

function compare(here: KeyIndex, there: KeyIndex, size: number, differences: number): Cost {
  const from = performance.now();
  const run = new Reconciler(here, true, { ...RECONCILE_LIMITS, keys: Number.MAX_SAFE_INTEGER });
  let octets = 0;
  const parser = { here: extended(), there: extended() };
  for (let asked = run.next(); asked !== undefined; asked = run.next()) {
    const question = serialize({ command: "RANGE", tag: "0001", ranges: asked });
    const [read] = parser.there.push(question);
    if (read?.command !== "RANGE") throw new Error("the question cannot be read");
    const items = answerRanges(there, read.ranges);
    const answer = serialize({ command: "ITEMS", tag: "0001", inReplyTo: "0001", ...items });
    const [got] = parser.here.push(answer);
    if (got?.command !== "ITEMS") throw new Error("the answer cannot be read");
    const { told } = run.answered(got);
    octets += question.length + answer.length;
    for (let at = 0; at < told.length; at += RECONCILE_LIMITS.told) {
      const keys = told.slice(at, at + RECONCILE_LIMITS.told);
      const notice = { tag: "0001", inReplyTo: undefined, ranges: [], keys };
      octets += serialize({ command: "ITEMS", ...notice }).length;
    }
  }
  const { onlyHere, onlyThere, differing, questions } = run.counts;
  const found = onlyHere + onlyThere + differing;
  if (!run.isDone || found !== differences) throw new Error(`found ${found} of ${differences}`);
  return { size, differences, octets, rounds: questions, ms: performance.now() - from };
}

function extended(): Parser {
  const parser = new Parser(PARSER_LIMITS, true);
  parser.push(serialize({ command: "HELO", tag: "KX11", version: "1.0" }));
  return parser;
}

/** Octets and rounds over the number of differences, a line for each size. */
function plots(costs: readonly Cost[]): void {
  const directory = join(projectRoot(), "docs/performance");
  mkdirSync(directory, { recursive: true });
  const sizes = [...new Set(costs.map(({ size }) => size))];
  const lines = (value: (cost: Cost) => number) =>
    sizes.map((size) => ({
      name: `${size.toLocaleString("en-US")} keys`,
      points: costs
        .filter((cost) => cost.size === size)
        .map((cost) => [cost.differences, value(cost)] as const),
    }));
  const whole = sizes.map((size) => ({
    name: `list of ${size.toLocaleString("en-US")}`,
    points: [1, Math.max(...DIFFERENCES)].map((count) => [count, size * LINE] as const),
  }));
  const sks = {
    name: "least of SKS",
    points: DIFFERENCES.map((count) => [count, count * SKS_ELEMENT] as const),
  };
  const all: readonly Plot[] = [
    {
      name: "reconcile-octets",
      title: "Octets to find the differences",
      x: "keys that differ",
      y: "octets",
      lines: [...lines(({ octets }) => octets), ...whole, sks],
    },
    {
      name: "reconcile-rounds",
      title: "Rounds to find the differences",
      x: "keys that differ",
      y: "rounds",
      lines: lines(({ rounds }) => rounds),
    },
  ];
  for (const plot of all) writeFileSync(join(directory, `${plot.name}.svg`), svg(plot));
}
