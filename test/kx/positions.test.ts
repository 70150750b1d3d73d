/** Where an announced number stands when numbers have wrapped. */
import { expect, test } from "vitest";
import { positionNear } from "../../src/kx/positions.js";
import { ROUND, TOP } from "./listed-peer.js";

test("a number far below what was announced is of the next round, any other of the same", () => {
  expect(positionNear(100, 101)).toBe(101);
  expect(positionNear(100, 7)).toBe(7);
  expect(positionNear(100, TOP)).toBe(TOP);
  expect(positionNear(TOP, 0)).toBe(ROUND);
  expect(positionNear(TOP - 500, 3)).toBe(ROUND + 3);
  expect(positionNear(ROUND + 3, 4)).toBe(ROUND + 4);
});
