/**
 * Dates that are wrong from the start, in small.
 * Needs: faketime.
 */
import { expect, test } from "vitest";
import { wrongStarts } from "./checks/wrong-starts.js";
import { compile, expectHeld } from "./short.js";

test("a date that is wrong at the start", { timeout: 240_000 }, async () => {
  const { figures } = await expectHeld(wrongStarts, 1, compile("clocks"));
  expect(figures).toMatch(/72 acknowledged, 0 without a body, 72 mailed/);
});
