/** The sum of what observe mode would have sent. */
import { expect, test } from "vitest";
import { observedSum, observedSumWords } from "../../src/status/observed.js";

const HOUR_MS = 3_600_000;
const NOW = 500_000 * HOUR_MS;
const ROW = {
  way: "lane",
  first: 1,
  last: 9,
  since: NOW - 12 * HOUR_MS,
  at: NOW - 60_000,
} as const;

test("adds up neighbours and ways, and says how often", () => {
  const sum = observedSum(
    [
      { ...ROW, neighbour: "a", updates: 10, mails: 6, bytes: 1000 },
      { ...ROW, neighbour: "a", way: "kx", updates: 5, mails: 0, bytes: 500, at: NOW },
      { ...ROW, neighbour: "b", updates: 1, mails: 2, bytes: 300, since: NOW - HOUR_MS },
    ],
    NOW,
  );
  expect(sum).toEqual({
    ...{ neighbours: 2, updates: 16, mails: 8, bytes: 1800 },
    ...{ since: NOW - 12 * HOUR_MS, at: NOW, perDay: { updates: 32, mails: 16 } },
  });
  if (sum === undefined) throw new Error("no sum");
  expect(observedSumWords(sum)).toBe(
    "16 updates in 8 mails to 2 neighbours, 1.8 kB, about 16 mails a day",
  );
});

test("guesses no rate from a few minutes, and is nothing without rows", () => {
  const row = { ...ROW, neighbour: "a", updates: 1, mails: 1, bytes: 10, since: NOW - 60_000 };
  expect(observedSum([row], NOW)?.perDay).toBe(null);
  expect(observedSum([], NOW)).toBeUndefined();
});
