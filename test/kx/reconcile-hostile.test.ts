/**
 * The machine of reconciliation under answers of a peer that lies: whatever is answered, questions,
 * memory and what is found stay within the limits of a run; a lie of each kind is named; and lies
 * about some ranges take nothing from what is found in the others.
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
  type ReconcileLimits,
  Reconciler,
} from "../../src/kx/reconcile.js";
import type { Fingerprint } from "../../src/update.js";
import { dice } from "../torture/check.js";
import { ArraySet, madeUpKey, runBetween } from "./key-sets.js";

/** Small, so that runs of a few answers come to them. */
const LIMITS: ReconcileLimits = {
  ...RECONCILE_LIMITS,
  ...{ ranges: 4, few: 3, digits: 5, questions: 40, keys: 30, spare: 6 },
};
const HASH = "0".repeat(32);
const DIGITS = [..."0123456789ABCDEF"];
const MOST_COUNT = 9_999_999_999;

function keys(from: number, to: number, version = 0): KeyState[] {
  return Array.from({ length: to - from }, (_, n) => madeUpKey(from + n, version));
}

function sorted(list: readonly KeyState[]): KeyState[] {
  return list.toSorted((a, b) => (a.fingerprint < b.fingerprint ? -1 : 1));
}

/** Any answer: often one that fits the question in parts. */
function anyAnswer(asked: readonly KeyRange[], random: () => number): Items {
  const ranges: KeyRange[] = [];
  const listed: KeyState[] = [];
  const count = () => Math.floor(random() < 0.1 ? MOST_COUNT : random() * 12);
  const key = (prefix: string): KeyState => {
    const rest = Math.floor(random() * 1000).toString(16);
    const fingerprint = (prefix + rest.toUpperCase()).padEnd(40, "0") as Fingerprint;
    return { fingerprint, digest: HASH };
  };
  for (const { prefix } of asked) {
    const kind = random();
    if (kind < 0.2) continue;
    if (kind < 0.6) {
      const some = Array.from({ length: Math.floor(random() * 4) }, () => key(prefix));
      const own =
        random() < 0.9
          ? sorted([...new Map(some.map((one) => [one.fingerprint, one])).values()])
          : some;
      ranges.push({ prefix, count: random() < 0.9 ? own.length : count(), hash: HASH });
      listed.push(...own);
    } else {
      const parts = DIGITS.filter(() => random() < 0.5);
      const all = parts.map((digit) => ({
        prefix: prefix + digit,
        count: count() + 2,
        hash: HASH,
      }));
      const sum = all.reduce((most, part) => most + part.count, 0);
      ranges.push({ prefix, count: random() < 0.95 ? sum : count(), hash: HASH }, ...all);
    }
  }
  if (random() < 0.05) ranges.push({ prefix: "AB", count: count(), hash: HASH });
  if (random() < 0.05) listed.push(key("AB"));
  if (random() < 0.05) ranges.reverse();
  return { ranges, keys: listed };
}

it("any answers cost a run its limits, show no key twice and none from nowhere", () => {
  const own = new ArraySet(keys(0, 60));
  const ends = new Map<string, number>();
  const property = fc.property(fc.nat(), (seed) => {
    const random = dice(seed);
    const run = new Reconciler(own, true, LIMITS);
    const seen = new Set<string>();
    let [wanted, told, questions, most] = [0, 0, 0, 0];
    let end = "";
    for (let asked = run.next(); asked !== undefined; asked = run.next()) {
      questions += 1;
      expect(questions).toBeLessThanOrEqual(LIMITS.questions);
      expect(asked.length).toBeLessThanOrEqual(LIMITS.ranges);
      for (const { prefix } of asked) {
        expect(prefix.length).toBeLessThanOrEqual(LIMITS.digits);
        // No range twice, and none within another one of the question.
        expect(asked.filter((one) => one.prefix.startsWith(prefix))).toHaveLength(1);
        expect(seen.has(`range ${prefix}`)).toBe(false);
        seen.add(`range ${prefix}`);
      }
      const answer = anyAnswer(asked, random);
      most = Math.max(most, answer.keys.length);
      try {
        const found = run.answered(answer);
        run.wants(found.wanted.length);
        for (const { fingerprint } of found.wanted) {
          expect(answer.keys.some((key) => key.fingerprint === fingerprint)).toBe(true);
          expect(asked.some(({ prefix }) => fingerprint.startsWith(prefix))).toBe(true);
          expect(seen.has(`wanted ${fingerprint}`)).toBe(false);
          seen.add(`wanted ${fingerprint}`);
        }
        for (const { fingerprint, digest } of found.told) {
          expect(own.digestOf(fingerprint)).toBe(digest);
          expect(seen.has(`told ${fingerprint}`)).toBe(false);
          seen.add(`told ${fingerprint}`);
        }
        wanted += found.wanted.length;
        told += found.told.length;
      } catch (error) {
        if (!(error instanceof BadAnswer)) throw error;
        end = error.message;
        break;
      }
    }
    if (end === "") {
      expect(run.isDone || run.isOverBudget).toBe(true);
      end = run.isDone ? "done" : "budget";
    }
    expect(wanted).toBeLessThan(LIMITS.keys + Math.max(1, most));
    expect(told).toBeLessThanOrEqual(LIMITS.keys);
    ends.set(end, (ends.get(end) ?? 0) + 1);
  });
  fc.assert(property, { numRuns: 400 });
  // The answers get far enough to come to every end.
  expect([...ends.keys()].sort()).toEqual([
    "a key that was not asked for",
    "a range that was not asked for",
    "budget",
    "done",
    "keys are not in order",
    "the count of a range is wrong",
    "the counts of a range do not add up",
  ]);
});

it("a peer that splits for ever leaves few ranges to be remembered", () => {
  const limits = { ...RECONCILE_LIMITS, questions: 300 };
  const own = new ArraySet([]);
  const run = new Reconciler(own, true, limits);
  const ask = (answer: (asked: readonly KeyRange[]) => Items) => {
    let questions = 0;
    for (let asked = run.next(); asked !== undefined; asked = run.next()) {
      run.answered(answer(asked));
      questions += 1;
      expect(questions).toBeLessThanOrEqual(limits.questions);
    }
    return questions;
  };
  const splits = (asked: readonly KeyRange[]): Items => {
    const ranges = asked.flatMap(({ prefix }) => {
      if (prefix.length === limits.digits) return [{ prefix, count: 0, hash: HASH }];
      const parts = DIGITS.map((digit) => ({ prefix: prefix + digit, count: 17, hash: HASH }));
      return [{ prefix, count: 16 * 17, hash: HASH }, ...parts];
    });
    return { ranges, keys: [] };
  };
  expect(ask(splits)).toBe(limits.questions);
  // What is left is asked for and found to be the same: so many ranges were remembered.
  run.renew();
  const left = ask(() => ({ ranges: [], keys: [] })) * limits.ranges;
  expect(run.isDone).toBe(true);
  // The ranges beside those of one question, on each level.
  expect(left).toBeLessThanOrEqual(limits.digits * 16 * limits.ranges);
});

/** A lie: what it makes of an honest answer, or undefined where it has no place. */
type Lie = (answer: Items, at: number) => Items | undefined;

/** The index of a range of the question that is listed, and how many keys it has. */
function listedAt({ ranges, keys: all }: Items, at: number): number | undefined {
  const found = ranges.flatMap(({ prefix, count }, index) => {
    const isListed =
      all.filter(({ fingerprint }) => fingerprint.startsWith(prefix)).length === count;
    return isListed && count > 0 ? [index] : [];
  });
  return found[at % found.length];
}

/** The index of a part of a range that is not listed. */
function partAt({ ranges }: Items, at: number): number | undefined {
  const found = ranges.flatMap(({ prefix }, index) => {
    const before = ranges.slice(0, index).some((one) => one.prefix === prefix.slice(0, -1));
    return before ? [index] : [];
  });
  return found[at % found.length];
}

function withCount({ ranges, keys: all }: Items, index: number, change: number): Items {
  const changed = ranges.map((one, n) =>
    n === index ? { ...one, count: one.count + change } : one,
  );
  return { ranges: changed, keys: all };
}

const LIES: readonly (readonly [string, string, Lie])[] = [
  [
    "a range that was not asked for",
    "not asked for|add up|count of a range",
    ({ ranges, keys: all }, at) => {
      const range = { prefix: "0".repeat(17 - (at % 2)), count: 1, hash: HASH };
      return { ranges: ranges.toSpliced(at % (ranges.length + 1), 0, range), keys: all };
    },
  ],
  [
    "a range twice",
    "not asked for|add up",
    ({ ranges, keys: all }, at) => {
      const [range] = ranges.slice(at % ranges.length);
      return range && { ranges: ranges.toSpliced(at % ranges.length, 0, range), keys: all };
    },
  ],
  [
    "a part with a larger count",
    "do not add up",
    (answer, at) => {
      const index = partAt(answer, at);
      return index === undefined ? undefined : withCount(answer, index, 1);
    },
  ],
  [
    "a part that is left out",
    "do not add up",
    (answer, at) => {
      const index = partAt(answer, at);
      if (index === undefined) return undefined;
      return { ...answer, ranges: answer.ranges.toSpliced(index, 1) };
    },
  ],
  [
    "a count above all",
    "do not add up|count of a range|not asked for",
    (answer, at) => {
      return answer.ranges.length === 0
        ? undefined
        : withCount(answer, at % answer.ranges.length, MOST_COUNT / 2);
    },
  ],
  [
    "a listed range with a larger count",
    "count of a range|not asked for|add up",
    (answer, at) => {
      const index = listedAt(answer, at);
      return index === undefined ? undefined : withCount(answer, index, 1);
    },
  ],
  [
    "a key that was not asked for",
    "not asked for|count of a range|in order",
    ({ ranges, keys: all }, at) => {
      return { ranges, keys: [...all, madeUpKey(100_000 + at)] };
    },
  ],
  [
    "a key twice",
    "in order",
    (answer, at) => {
      const index = listedAt(answer, at);
      const prefix = index === undefined ? undefined : answer.ranges[index]?.prefix;
      const place = answer.keys.findIndex(({ fingerprint }) =>
        fingerprint.startsWith(prefix ?? "-"),
      );
      const key = answer.keys[place];
      if (index === undefined || key === undefined) return undefined;
      if ((answer.ranges[index]?.count ?? 0) >= RECONCILE_LIMITS.few) return undefined;
      const more = withCount(answer, index, 1);
      return { ...more, keys: more.keys.toSpliced(place, 0, key) };
    },
  ],
  [
    "keys out of order",
    "in order|not asked for|count of a range",
    ({ ranges, keys: all }, at) => {
      const place = at % Math.max(1, all.length - 1);
      const [a, b] = all.slice(place, place + 2);
      return a && b && { ranges, keys: all.toSpliced(place, 2, b, a) };
    },
  ],
];

const HERE = [...keys(0, 300), ...keys(300, 320, 1)];
const THERE = [...keys(12, 320), ...keys(320, 360)];

describe("a peer that lies once ends the run, and the next run finds everything:", () => {
  it.each(LIES)("%s", (_, words, lie) => {
    let lies = 0;
    const there = new ArraySet(THERE);
    const here = new ArraySet(HERE);
    // Few ranges in a question, so that there are many questions to lie to.
    const limits = { ...RECONCILE_LIMITS, ranges: 5 };
    const places = fc.tuple(fc.nat({ max: 12 }), fc.nat({ max: 500 }));
    const property = fc.property(places, ([question, at]) => {
      const run = new Reconciler(here, true, limits);
      for (let asked = run.next(); asked !== undefined; asked = run.next()) {
        const honest = answerRanges(there, asked, limits);
        const answer = run.counts.questions > question ? lie(honest, at) : undefined;
        if (answer === undefined) {
          run.answered(honest);
          continue;
        }
        lies += 1;
        let named: unknown;
        try {
          run.answered(answer);
        } catch (error) {
          named = error;
        }
        expect(named).toBeInstanceOf(BadAnswer);
        expect((named as BadAnswer).message).toMatch(new RegExp(words));
        break;
      }
    });
    fc.assert(property, { numRuns: 60 });
    expect(lies).toBeGreaterThan(40);
    const { wanted, told } = runBetween(here, there, { limits });
    expect(sorted(wanted)).toEqual(sorted([...keys(300, 320), ...keys(320, 360)]));
    expect(sorted(told)).toEqual(sorted([...keys(0, 12), ...keys(300, 320, 1)]));
  });
});

it("lies about the keys below one digit hide no difference below the others", () => {
  const here = new ArraySet(HERE);
  const digits = fc.constantFrom(...DIGITS);
  const property = fc.property(digits, fc.nat(), (digit, seed) => {
    const random = dice(seed);
    // It shows other keys below the digit: none, some of its own, and made-up ones.
    const is = ({ fingerprint }: KeyState) => fingerprint.startsWith(digit);
    const madeUp = keys(5000, 5400).filter((key) => is(key) && random() < 0.7);
    const shown = THERE.filter((key) => !is(key) || random() < 0.5);
    const there = new ArraySet([...shown, ...madeUp]);
    const { run, wanted, told } = runBetween(here, there);
    expect(run.isDone).toBe(true);
    const others = (list: readonly KeyState[]) => sorted(list.filter((key) => !is(key)));
    expect(others(wanted)).toEqual(others([...keys(300, 320), ...keys(320, 360)]));
    expect(others(told)).toEqual(others([...keys(0, 12), ...keys(300, 320, 1)]));
  });
  fc.assert(property, { numRuns: 40 });
});
