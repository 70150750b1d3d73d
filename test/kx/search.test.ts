/** The search backwards for the first number of a peer's log, window by window. */
import { expect, test } from "vitest";
import { listedBetween } from "../../src/kx/positions.js";
import { BackwardSearch } from "../../src/kx/search.js";
import { ROUND } from "./listed-peer.js";
import { HASH } from "./talk.js";

/** Searches a log of the positions `first` to `last`; what was listed, and what came of it. */
function search(first: number, last: number, floor: number, windowSize = 10) {
  const search = new BackwardSearch(last, floor, windowSize);
  const windows: (readonly [number, number])[] = [];
  for (let turn = 0; turn < 2000; turn++) {
    const { low, high } = search.window;
    windows.push([low, high]);
    const numbers: number[] = [];
    for (let at = Math.max(low, first); at <= Math.min(high, last); at++) numbers.push(at % ROUND);
    const announcements = numbers.map((number) => ({ number, fingerprint: undefined, hash: HASH }));
    const found = search.listed(listedBetween(low, high, announcements));
    if (found !== undefined) return { windows, found: found.map(({ position }) => position) };
  }
  throw new Error("the search does not end");
}

test("ends with the first window that is empty", () => {
  expect(search(25, 42, -Infinity)).toEqual({
    windows: [
      [33, 42],
      [23, 32],
      [13, 22],
    ],
    found: [25, 26, 27, 28, 29, 30, 31, 32],
  });
});

test("ends at the number 0, and above what is known already", () => {
  expect(search(1, 5, -Infinity)).toEqual({ windows: [[0, 5]], found: [1, 2, 3, 4, 5] });
  expect(search(1, 42, 30).windows).toEqual([
    [33, 42],
    [31, 32],
  ]);
});

test("finds nothing where nothing is", () => {
  expect(search(100, 42, -Infinity)).toEqual({ windows: [[33, 42]], found: [] });
});

test("goes on below a wrap, since the number 0 is there", () => {
  const { windows, found } = search(ROUND - 3, ROUND + 2, -Infinity);
  expect(windows.slice(0, 2)).toEqual([
    [ROUND, ROUND + 2],
    [ROUND - 10, ROUND - 1],
  ]);
  expect(found).toEqual([ROUND - 3, ROUND - 2, ROUND - 1]);
});

test("is given up after 1000 windows", () => {
  expect(search(0, 1_000_000, -Infinity).windows).toHaveLength(1000);
});
