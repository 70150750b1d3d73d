/** A wait that can be cut short, and that loses no ring. */
import { expect, test } from "vitest";
import { Alarm } from "../../src/delivery/alarm.js";

const pending = Symbol("pending");
/** What a promise is after the event loop went round. */
async function now(promise: Promise<void>): Promise<unknown> {
  const turn = new Promise((resolve) => setImmediate(() => resolve(pending)));
  return await Promise.race([promise.then(() => "over"), turn]);
}

test("ends by itself, by a ring, and at once when it rang before", async () => {
  const alarm = new Alarm();
  await alarm.wait(5);
  const long = alarm.wait(undefined);
  expect(await now(long)).toBe(pending);
  alarm.ring();
  expect(await now(long)).toBe("over");
  alarm.ring();
  alarm.ring();
  expect(await now(alarm.wait(undefined))).toBe("over");
  const next = alarm.wait(60_000);
  expect(await now(next)).toBe(pending);
  alarm.ring();
  await next;
});

test("a wait longer than a timer takes is not over at once", async () => {
  const alarm = new Alarm();
  const wait = alarm.wait(2 ** 40);
  expect(await now(wait)).toBe(pending);
  alarm.ring();
  await wait;
});
