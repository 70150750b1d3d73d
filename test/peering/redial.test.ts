/**
 * When a peer without a connection is dialled: each numbered rule of `redial.ts`.
 */
import { describe, expect, test } from "vitest";
import { Redial } from "../../src/peering/redial.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

function redial(): Redial {
  return new Redial([1000, 5000, 30_000, 5 * MINUTE_MS, HOUR_MS], () => 0);
}

/** Attempts that fail at once, as the schedule has them, so many; the waits. */
function failing(one: Redial, count: number, from: number): { waits: number[]; now: number } {
  let now = from;
  const waits = Array.from({ length: count }, () => {
    one.tried(now);
    const wait = one.laterMs(false, now);
    now += wait;
    return wait;
  });
  return { waits, now };
}

describe("the schedule", () => {
  test("climbs while attempts fail, and begins anew after five healthy minutes", () => {
    const one = redial();
    const { waits, now } = failing(one, 6, 0);
    expect(waits).toEqual([1000, 5000, 30_000, 5 * MINUTE_MS, HOUR_MS, HOUR_MS]);
    one.connected();
    one.ended(now, false, now + 299_999);
    expect(one.laterMs(false, now + 299_999)).toBe(HOUR_MS);
    one.connected();
    one.ended(now, false, now + 300_000);
    expect(one.laterMs(false, now + 300_000)).toBe(1000);
  });

  test("does not climb for a peer that hangs up after each burst", () => {
    const one = redial();
    const waits = Array.from({ length: 100 }, (_, n) => {
      const now = n * 10_000;
      one.tried(now);
      one.connected();
      one.ended(now, true, now + 500);
      return one.laterMs(false, now + 500);
    });
    expect(new Set(waits)).toEqual(new Set([1000]));
  });

  test("climbs for a peer that greets and hangs up", () => {
    const one = redial();
    const waits = Array.from({ length: 6 }, (_, n) => {
      const now = n * 2 * HOUR_MS;
      one.connected();
      one.ended(now, false, now + 500);
      return one.laterMs(false, now + 500);
    });
    expect(waits.at(-1)).toBe(HOUR_MS);
  });
});

describe("news", () => {
  test("dials at once, whatever the schedule says, and 5 s after the attempt before", () => {
    const one = redial();
    const { now } = failing(one, 6, 0);
    expect(one.newsMs(now)).toBe(0);
    one.tried(now);
    expect(one.newsMs(now + 1000)).toBe(4000);
    expect(one.newsMs(now + 5000)).toBe(0);
  });

  test("never puts off an attempt that the schedule has sooner", () => {
    const one = new Redial([1000], () => 0.5);
    one.tried(0);
    const planned = one.laterMs(false, 10);
    expect(planned).toBeLessThan(5000);
    expect(one.newsMs(10)).toBe(planned);
    expect(one.newsMs(500)).toBe(planned - 490);
  });

  test("and a timer that fires early: the next attempt is the next of the schedule", () => {
    const one = new Redial([1, HOUR_MS], () => 0.5);
    one.tried(0);
    const planned = one.laterMs(false, 0.4);
    one.tried(0.4 + planned - 0.3);
    expect(one.laterMs(false, 0.5 + planned)).toBeGreaterThan(1000);
  });

  test("that comes all the time costs a dead peer an attempt in 5 s, and moves no schedule", () => {
    const one = redial();
    const { now } = failing(one, 5, 0);
    // An hour is to pass now; instead there is news all the time.
    one.tried(now - HOUR_MS);
    let [attempts, at] = [0, now - HOUR_MS + 10];
    while (at < now - 10) {
      one.tried(at);
      attempts += 1;
      const wait = one.laterMs(true, at);
      expect(wait).toBeLessThanOrEqual(5000);
      at += wait;
    }
    expect(attempts).toBe(HOUR_MS / 5000);
    expect(one.laterMs(false, now - 10)).toBe(10);
  });

  test("does not dial a peer that wants to be left alone", () => {
    const one = redial();
    one.stayAway(HOUR_MS, 0);
    expect([one.laterMs(true, 0), one.newsMs(1000)]).toEqual([HOUR_MS, HOUR_MS - 1000]);
    one.forget();
    expect(one.newsMs(2000)).toBe(0);
  });
});
