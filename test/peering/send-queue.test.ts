/** Flow control of one connection: what waits, what may go out, and when nothing moves. */
import { expect, test } from "vitest";
import { SEND_QUEUE_LIMITS, SendQueue } from "../../src/peering/send-queue.js";

const { stallMs, unsentBytes, unsentWithNewsBytes, unsentWithQuestionBytes, waitingRequests } =
  SEND_QUEUE_LIMITS;
const asked = (number: number) => ({ kind: "update", tag: "t000", number }) as const;

test("requests are answered in order, each once", () => {
  const queue = new SendQueue(0);
  const numbers = Array.from({ length: 2500 }, (_, n) => n);
  for (const number of numbers) queue.ask(asked(number));
  expect(queue.waiting).toBe(2500);
  expect(numbers.map(() => queue.next())).toEqual(numbers.map(asked));
  expect([queue.next(), queue.waiting]).toEqual([undefined, 0]);
});

test("bodies, news and questions each wait at their own amount of unsent bytes", () => {
  const queue = new SendQueue(0);
  queue.ask(asked(1));
  const state = () => [queue.isNearlyEmpty, queue.next() !== undefined, queue.takesNews];
  queue.flushed(unsentWithQuestionBytes - 1, 0);
  expect(queue.isNearlyEmpty).toBe(true);
  queue.flushed(unsentBytes, 0);
  expect(state()).toEqual([false, false, true]);
  queue.flushed(unsentWithNewsBytes, 0);
  expect(state()).toEqual([false, false, false]);
  queue.flushed(unsentBytes - 1, 0);
  expect(state()).toEqual([false, true, true]);
});

test("the socket is not read while as many requests wait as are allowed", () => {
  const queue = new SendQueue(0);
  for (let n = 1; n < waitingRequests; n++) queue.ask(asked(n));
  expect(queue.isCongested).toBe(false);
  queue.ask(asked(0));
  expect(queue.isCongested).toBe(true);
  queue.next();
  expect(queue.isCongested).toBe(false);
});

test("a connection stalls a minute after something moved last, and never when all is sent", () => {
  const queue = new SendQueue(0);
  expect(queue.stallsAt).toBe(Infinity);
  queue.sent(100, 5000);
  expect(queue.stallsAt).toBe(5000 + stallMs);
  queue.sent(100, 9000);
  expect(queue.stallsAt).toBe(5000 + stallMs);
  queue.flushed(50, 20_000);
  expect(queue.stallsAt).toBe(20_000 + stallMs);
  queue.flushed(0, 30_000);
  expect(queue.stallsAt).toBe(Infinity);
});
