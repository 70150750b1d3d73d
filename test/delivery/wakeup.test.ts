/** A wait that can be cut short, and that loses no ring. */
import { expect, test } from "vitest";
import { Wakeup } from "../../src/delivery/wakeup.js";

const pending = Symbol("pending");
/** What a promise is after the event loop went round. */
async function now(promise: Promise<void>): Promise<unknown> {
  const turn = new Promise((resolve) => setImmediate(() => resolve(pending)));
  return await Promise.race([promise.then(() => "over"), turn]);
}

test("ends by itself, by a ring, and at once when it rang before", async () => {
  const wakeup = new Wakeup();
  await wakeup.wait(5);
  const long = wakeup.wait(Infinity);
  expect(await now(long)).toBe(pending);
  wakeup.ring();
  expect(await now(long)).toBe("over");
  wakeup.ring();
  wakeup.ring();
  expect(await now(wakeup.wait(Infinity))).toBe("over");
  const next = wakeup.wait(60_000);
  expect(await now(next)).toBe(pending);
  wakeup.ring();
  await next;
});

test("a wait longer than a timer takes is not over at once", async () => {
  const wakeup = new Wakeup();
  const wait = wakeup.wait(2 ** 40);
  expect(await now(wait)).toBe(pending);
  wakeup.ring();
  await wait;
});
