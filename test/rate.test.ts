/** The token bucket: what it lets through in any span of time, whatever the clock does. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { TokenBucket } from "../src/rate.js";

describe("TokenBucket", () => {
  test("is full at first, then gives as it earns", () => {
    const bucket = new TokenBucket({ count: 3, periodMs: 3000 }, 0);
    for (let n = 0; n < 3; n += 1) {
      expect(bucket.waitMs(0)).toBe(0);
      bucket.take(0);
    }
    expect(bucket.waitMs(0)).toBe(1000);
    expect(bucket.waitMs(400)).toBe(600);
    expect(bucket.waitMs(1000)).toBe(0);
    bucket.take(1000);
    expect(bucket.waitMs(1000)).toBe(1000);
    expect(bucket.waitMs(100_000)).toBe(0);
  });

  test("may be overdrawn, and has that back before it gives again", () => {
    const bucket = new TokenBucket({ count: 1, periodMs: 100 }, 0);
    for (let n = 0; n < 4; n += 1) bucket.take(0);
    expect(bucket.waitMs(0)).toBe(400);
    expect(bucket.waitMs(400)).toBe(0);
  });

  test("gains nothing by a clock that goes back", () => {
    const bucket = new TokenBucket({ count: 1, periodMs: 100 }, 1000);
    bucket.take(1000);
    expect(bucket.waitMs(0)).toBe(100);
    expect(bucket.waitMs(1000)).toBe(100);
  });

  test("never lets more through than its count and what a span of time earns", () => {
    const steps = fc.array(fc.integer({ min: 0, max: 500 }), { maxLength: 200 });
    const rates = fc.record({
      count: fc.integer({ min: 1, max: 50 }),
      periodMs: fc.integer({ min: 1, max: 5000 }),
    });
    fc.assert(
      fc.property(rates, steps, (rate, gaps) => {
        const bucket = new TokenBucket(rate, 0);
        let now = 0;
        let taken = 0;
        for (const gap of gaps) {
          now += gap;
          while (bucket.waitMs(now) === 0) {
            bucket.take(now);
            taken += 1;
          }
          const most = rate.count + (now * rate.count) / rate.periodMs;
          expect(taken).toBeLessThanOrEqual(most + 1e-6);
          // A millisecond more, where the halves do not add up to one.
          expect(bucket.waitMs(now + bucket.waitMs(now))).toBeLessThanOrEqual(1);
        }
      }),
    );
  });
});
