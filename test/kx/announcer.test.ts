/**
 * When a peer hears of news: the timing rules, and that nothing is left out or told twice.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { Announcer } from "../../src/kx/announcer.js";

/** What is due now, taken as sent. */
function send(announcer: Announcer, now: number): [number, number] | undefined {
  const due = announcer.due(now);
  if (due === undefined) return undefined;
  announcer.sent(due.high, now);
  return [due.low, due.high];
}

test("the first news goes at once, what comes within 20 ms of it then, in one message", () => {
  const announcer = new Announcer(10);
  expect(announcer.nextAt()).toBeUndefined();
  announcer.grew(11, false, 5000);
  expect(announcer.nextAt()).toBe(5000);
  expect(send(announcer, 5000)).toEqual([11, 11]);
  announcer.grew(12, false, 5001);
  announcer.grew(13, false, 5015);
  expect(announcer.nextAt()).toBe(5020);
  expect(send(announcer, 5019)).toBeUndefined();
  expect(send(announcer, 5020)).toEqual([12, 13]);
  announcer.grew(14, false, 5040);
  expect(send(announcer, 5040)).toEqual([14, 14]);
});

test("a message holds at most 500 lines; the rest follows every 20 ms", () => {
  const announcer = new Announcer(0);
  announcer.grew(1100, false, 0);
  expect(send(announcer, 0)).toEqual([1, 500]);
  expect(announcer.nextAt()).toBe(20);
  expect(send(announcer, 20)).toEqual([501, 1000]);
  expect(send(announcer, 40)).toEqual([1001, 1100]);
  expect(announcer.nextAt()).toBeUndefined();
});

test("the peer's own updates cause no message for a minute, and ride with the next one", () => {
  const announcer = new Announcer(0);
  announcer.grew(5, true, 1000);
  announcer.grew(6, true, 2000);
  expect(announcer.nextAt()).toBe(61_000);
  announcer.grew(7, false, 3000);
  expect(send(announcer, 3000)).toEqual([1, 7]);
  announcer.grew(8, true, 3500);
  expect(announcer.nextAt()).toBe(63_500);
  expect(send(announcer, 63_500)).toEqual([8, 8]);
});

test("an echo does not hold back what is due already", () => {
  const announcer = new Announcer(0);
  announcer.grew(1, false, 0);
  announcer.grew(2, true, 0);
  expect(send(announcer, 0)).toEqual([1, 2]);
});

test("what could not be sent stays due, and is not due before the time that was set", () => {
  const announcer = new Announcer(0);
  announcer.grew(3, false, 0);
  expect(announcer.due(0)).toEqual({ low: 1, high: 3 });
  announcer.postponed(1000);
  expect([announcer.nextAt(), announcer.due(999)]).toEqual([1000, undefined]);
  expect(send(announcer, 1000)).toEqual([1, 3]);
  announcer.postponed(5000);
  expect(announcer.nextAt()).toBeUndefined();
});

test("a signal that says nothing new does nothing", () => {
  const announcer = new Announcer(10);
  announcer.grew(10, false, 0);
  announcer.grew(7, false, 0);
  expect(announcer.nextAt()).toBeUndefined();
});

test("everything is announced once, in order, within a minute, in few messages", () => {
  const step = fc.record({
    ms: fc.nat(3000),
    added: fc.nat(700),
    isEcho: fc.boolean(),
    fails: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const announcer = new Announcer(0);
      let [newest, told, now, messages] = [0, 0, 0, 0];
      const tellUntil = (end: number, fails: boolean) => {
        for (let at = announcer.nextAt(); at !== undefined && at <= end; at = announcer.nextAt()) {
          now = Math.max(now, at);
          const due = announcer.due(now);
          if (due === undefined) throw new Error("nothing was due when it said");
          if (fails) {
            announcer.postponed(now + 1000);
            fails = false;
            continue;
          }
          expect(due.low).toBe(told + 1);
          expect(due.high - due.low).toBeLessThan(500);
          announcer.sent(due.high, now);
          told = due.high;
          messages += 1;
        }
        now = end;
      };
      for (const { ms, added, isEcho, fails } of steps) {
        tellUntil(now + ms, fails);
        newest += added;
        announcer.grew(newest, isEcho, now);
      }
      tellUntil(now + 65_000, false);
      expect(told).toBe(newest);
      expect(messages).toBeLessThanOrEqual(steps.length + newest / 500);
    }),
  );
});
