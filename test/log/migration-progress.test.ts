/** A migration is told of at its begin and end, and at most every five seconds in between. */
import { expect, test } from "vitest";
import type { Migration } from "../../src/log/connection.js";
import { PROGRESS_MS, seldom } from "../../src/log/migration-progress.js";

test("the first, the last, and one in five seconds", () => {
  let now = 0;
  const told: number[] = [];
  const tell = seldom(({ done }) => told.push(done), { monotonic: () => now });
  const what = { path: "a.db", from: 8, to: 9, bytes: 1, parts: 4 } satisfies Partial<Migration>;
  tell({ ...what, done: 0, isDone: false });
  tell({ ...what, done: 1, isDone: false });
  now = PROGRESS_MS;
  tell({ ...what, done: 2, isDone: false });
  now += PROGRESS_MS - 1;
  tell({ ...what, done: 3, isDone: false });
  tell({ ...what, done: 4, isDone: true });
  expect(told).toEqual([0, 2, 4]);
});
