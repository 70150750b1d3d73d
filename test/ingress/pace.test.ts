/** The pace that a client has to keep, in virtual time. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Pace } from "../../src/ingress/pace.js";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const LIMITS = { dataMs: 10_000, graceMs: 1000, bytesPerSecond: 100 };

/** When a client that has sent `bytesAt(ms)` bytes after `ms` is too slow; 0 within a minute. */
function slowAt(bytesAt: (ms: number) => number): number {
  const start = Date.now();
  let at = 0;
  const pace = new Pace(
    {
      bytes: () => bytesAt(Date.now() - start),
      onSlow: () => {
        expect(at).toBe(0);
        at = Date.now() - start;
      },
    },
    LIMITS,
  );
  vi.advanceTimersByTime(60_000);
  pace.stop();
  return at;
}

test("a client that sends nothing has the grace", () => {
  expect(slowAt(() => 0)).toBe(1000);
});

test("bytes earn time at the pace", () => {
  expect(slowAt(() => 200)).toBe(3000);
});

test("a client below the pace ends where its time is used up", () => {
  // 50 of the 100 bytes a second: 1000 + 10 t ms are earned by 0.05 t bytes.
  expect(slowAt((ms) => ms * 0.05)).toBeGreaterThanOrEqual(1999);
  expect(slowAt((ms) => ms * 0.05)).toBeLessThanOrEqual(2020);
});

test("a client that keeps the pace ends with the time of the whole message", () => {
  expect(slowAt((ms) => ms)).toBe(10_000);
});

test("nothing is said after a stop", () => {
  const onSlow = vi.fn();
  new Pace({ bytes: () => 0, onSlow }, LIMITS).stop();
  vi.advanceTimersByTime(60_000);
  expect(onSlow).not.toHaveBeenCalled();
});
