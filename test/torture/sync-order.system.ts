/**
 * The order of system calls, seen by strace: what a 250 acknowledges is on disk before it.
 * Needs: strace.
 */
import { expect, test } from "vitest";
import { syncOrder } from "./checks/sync-order.js";
import { compile, expectHeld } from "./short.js";

test("the WAL is on disk before each 250", { timeout: 60_000 }, async () => {
  const { figures } = await expectHeld(syncOrder, 25, compile("sync-order"));
  expect(figures).toMatch(/^25 of 25 /);
});
