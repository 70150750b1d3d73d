/**
 * The machine of reconciliation: whatever two sets differ in, both sides learn it and nothing else;
 * the cost grows with the differences; and a peer that lies costs its budget.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { KeyState } from "../../src/kx/range-sum.js";
import {
  answerRanges,
  BadAnswer,
  type Items,
  type KeyRange,
  RECONCILE_LIMITS,
  Reconciler,
} from "../../src/kx/reconcile.js";
import type { Fingerprint } from "../../src/update.js";
import { ArraySet, madeUpKey, runBetween } from "./key-sets.js";

function sorted(keys: readonly KeyState[]): KeyState[] {
  return keys.toSorted((a, b) => (a.fingerprint < b.fingerprint ? -1 : 1));
}

function range(from: number, to: number, version = 0): KeyState[] {
  return Array.from({ length: to - from }, (_, n) => madeUpKey(from + n, version));
}

describe("two sets", () => {
  it("differ in what the run finds, for any sets", () => {
    const kinds = fc.array(fc.constantFrom("here", "there", "both", "differs"), { maxLength: 300 });
    fc.assert(
      fc.property(kinds, (list) => {
        const of =
          (...wanted: string[]) =>
          (version: number) =>
            list.flatMap((kind, n) => (wanted.includes(kind) ? [madeUpKey(n, version)] : []));
        const here = [...of("here", "both")(0), ...of("differs")(1)];
        const there = [...of("there", "both")(0), ...of("differs")(2)];
        const { run, wanted, told } = runBetween(new ArraySet(here), new ArraySet(there));
        expect(run.isDone).toBe(true);
        expect(sorted(wanted)).toEqual(sorted([...of("there")(0), ...of("differs")(2)]));
        expect(sorted(told)).toEqual(sorted([...of("here")(0), ...of("differs")(1)]));
        expect(run.counts).toMatchObject({
          here: here.length,
          there: there.length,
          onlyHere: of("here")(0).length,
          onlyThere: of("there")(0).length,
          differing: of("differs")(0).length,
        });
      }),
      { numRuns: 60 },
    );
  });

  it("that are equal cost one question of one range", () => {
    const set = new ArraySet(range(0, 500));
    const { run, lines } = runBetween(set, set);
    expect({ lines, ...run.counts }).toMatchObject({ lines: 1, questions: 1, there: 500 });
  });

  it("with one difference cost a path through the tree", () => {
    const here = new ArraySet(range(0, 3000));
    const there = new ArraySet(range(1, 3000));
    const { run, lines, told } = runBetween(here, there);
    expect(told).toEqual([madeUpKey(0)]);
    // 3000 keys are three digits deep; each digit shows at most 16 ranges, the last one keys.
    expect(run.counts.questions).toBeLessThanOrEqual(4);
    expect(lines).toBeLessThan(4 * (1 + 17));
  });

  it("of which one is empty, either way", () => {
    const full = new ArraySet(range(0, 600));
    const empty = new ArraySet([]);
    expect(runBetween(full, empty).told).toHaveLength(600);
    expect(runBetween(empty, full).wanted).toHaveLength(600);
  });

  it("of which one has nothing in some ranges", () => {
    const all = range(0, 600);
    const some = all.filter(({ fingerprint }) => !/^[7A]/.test(fingerprint));
    const { told, run } = runBetween(new ArraySet(all), new ArraySet(some));
    expect(told).toHaveLength(all.length - some.length);
    expect(run.counts.onlyHere).toBe(all.length - some.length);
    expect(runBetween(new ArraySet(some), new ArraySet(all)).wanted).toHaveLength(told.length);
  });

  it("are only compared without `tells`", () => {
    const { told, run } = runBetween(new ArraySet(range(0, 50)), new ArraySet([]), {
      tells: false,
    });
    expect(told).toEqual([]);
    expect(run.counts.onlyHere).toBe(50);
  });
});

it("goes on where it was after a question without an answer", () => {
  const there = new ArraySet([...range(0, 400), ...range(400, 420, 7)]);
  const run = new Reconciler(new ArraySet(range(0, 420)), true);
  const wanted: KeyState[] = [];
  for (let n = 0; ; n++) {
    const asked = run.next();
    if (asked === undefined) break;
    expect(run.next()).toBeUndefined();
    if (n % 2 === 0) run.failed();
    else wanted.push(...run.answered(answerRanges(there, asked)).wanted);
  }
  expect(run.isDone).toBe(true);
  expect(sorted(wanted)).toEqual(sorted(range(400, 420, 7)));
});

it("ends at its budget of keys, and finds the rest with a new one", () => {
  const limits = { ...RECONCILE_LIMITS, keys: 100, ranges: 4 };
  const here = new ArraySet([]);
  const there = new ArraySet(range(0, 700));
  const { run, wanted } = runBetween(here, there, { limits });
  expect(run.isOverBudget).toBe(true);
  expect(run.isDone).toBe(false);
  expect(wanted.length).toBeLessThan(100 + 4 * 16);
  while (!run.isDone) {
    run.renew();
    for (let asked = run.next(); asked !== undefined; asked = run.next()) {
      const found = run.answered(answerRanges(there, asked, limits));
      run.wants(found.wanted.length);
      wanted.push(...found.wanted);
    }
  }
  expect(sorted(wanted)).toEqual(sorted(range(0, 700)));
});

describe("a peer that lies", () => {
  const here = new ArraySet(range(0, 300));
  const HASH = "0".repeat(32);
  const [key, other] = sorted([madeUpKey(900), madeUpKey(901)]) as [KeyState, KeyState];
  const state = (prefix: string, count: number): KeyRange => ({ prefix, count, hash: HASH });
  const lies: [string, string, Items][] = [
    ["another range", "not asked for", { ranges: [state("7", 1)], keys: [] }],
    ["parts alone", "not asked for", { ranges: [state("0", 20), state("1", 20)], keys: [] }],
    ["wrong sums", "do not add up", { ranges: [state("", 40), state("0", 20)], keys: [] }],
    ["too few keys", "count of a range", { ranges: [state("", 2)], keys: [key] }],
    ["keys without a range", "not asked for", { ranges: [], keys: [key] }],
    ["too many keys", "count of a range", { ranges: [state("", 1)], keys: [key, other] }],
    ["keys out of order", "in order", { ranges: [state("", 2)], keys: [other, key] }],
    ["a key twice", "in order", { ranges: [state("", 2)], keys: [key, key] }],
  ];
  it.each(lies)("with %s ends the run", (_, words, answer) => {
    const lying = () => runBetween(here, here, { answer: () => answer });
    expect(lying).toThrow(BadAnswer);
    expect(lying).toThrow(words);
  });

  it("with differences for ever costs the questions of one run", () => {
    // Each range has differing parts down to nine digits, where each has two keys that nobody has.
    const answer = (asked: readonly KeyRange[]): Items => {
      const ranges: KeyRange[] = [];
      const keys: KeyState[] = [];
      for (const { prefix } of asked) {
        const count = 32 * 16 ** (8 - prefix.length);
        ranges.push(state(prefix, count));
        for (const digit of "0123456789ABCDEF") {
          if (count > 2) ranges.push(state(prefix + digit, count / 16));
          else if (digit < "2") {
            const fingerprint = (prefix + digit).padEnd(40, "0") as Fingerprint;
            keys.push({ fingerprint, digest: HASH });
          }
        }
      }
      return { ranges, keys };
    };
    const limits = { ...RECONCILE_LIMITS, questions: 40, keys: Infinity };
    const { run, wanted } = runBetween(here, here, { limits, answer });
    expect(run.counts.questions).toBe(40);
    expect(run.isDone).toBe(false);
    expect(wanted.length).toBeGreaterThan(40);
  });

  it("with keys that do not exist is believed up to the budget of a run", () => {
    const limits = { ...RECONCILE_LIMITS, keys: 50 };
    const answer = (asked: readonly KeyRange[]): Items => {
      const ranges: KeyRange[] = [];
      const keys: KeyState[] = [];
      for (const { prefix } of asked) {
        const fingerprint = prefix.padEnd(40, "0") as Fingerprint;
        if (prefix.length === 2) {
          ranges.push(state(prefix, 1));
          keys.push({ fingerprint, digest: HASH });
        } else {
          const count = 17 * 16 ** (2 - prefix.length);
          ranges.push(state(prefix, count));
          for (const digit of "0123456789ABCDEF") ranges.push(state(prefix + digit, count / 16));
        }
      }
      return { ranges, keys };
    };
    const { run, wanted } = runBetween(here, here, { limits, answer });
    expect(run.isOverBudget).toBe(true);
    expect(wanted.length).toBeLessThanOrEqual(50 + RECONCILE_LIMITS.ranges);
  });
});
