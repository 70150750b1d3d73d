/** The delay of each attempt, and how much chance adds to it. */
import { expect, test } from "vitest";
import { delayMs, type Schedule } from "../src/schedule.js";

const SCHEDULE: Schedule = [1000, 5000, 60_000];

test("each attempt has its delay, and the last one repeats", () => {
  expect([0, 1, 2, 3, 100].map((attempt) => delayMs(SCHEDULE, attempt, 0))).toEqual([
    1000, 5000, 60_000, 60_000, 60_000,
  ]);
});

test("chance adds up to a fifth, and takes nothing away", () => {
  expect([0, 0.5, 0.999_999].map((random) => delayMs(SCHEDULE, 0, random))).toEqual([
    1000, 1100, 1200,
  ]);
});
