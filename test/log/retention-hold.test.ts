/**
 * Bodies that a site has not got yet stay beyond their age, up to a size: exactly those, whatever
 * the chunk, and never longer than their entry.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { RetentionLimits } from "../../src/log/retention.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { arrival, HOUR_MS, seq } from "./material.js";

const T0 = 1_700_000_000_000;
/** When all that comes at T0 and in the hours after it has reached its age. */
const LATER = T0 + 200 * HOUR_MS;

/** A log with lanes at 0 and `count` entries of 200 bytes, one an hour. */
function logWith(count: number, sites: readonly string[] = ["old"]): UpdateLog {
  const log = UpdateLog.open(":memory:");
  for (const site of sites) log.lanes.open(site);
  log.append(
    Array.from({ length: count }, (_, n) => arrival(n + 1, { receivedAt: T0 + n * HOUR_MS })),
  );
  return log;
}

function limits(bytes: number, sites: readonly string[] = ["old"]): RetentionLimits {
  return { retainMs: 96 * HOUR_MS, rememberMs: 720 * HOUR_MS, hold: { sites, bytes } };
}

function served(log: UpdateLog, cursor: number, site = "old"): void {
  log.lanes.save(site, { ...log.lanes.open(site), cursor: seq(cursor) });
}

/** Numbers of the entries that have a body. */
function bodies(log: UpdateLog): number[] {
  const entries = log.range(seq(1), seq(1000), 1000);
  return entries.map((entry) => entry.seq).filter((number) => log.body(number) !== undefined);
}

function expireAll(log: UpdateLog, now: number, rules: RetentionLimits, batch = 100): number {
  let dropped = 0;
  for (;;) {
    const expired = log.retention.expire(now, rules, batch);
    dropped += expired.dropped;
    if (!expired.more) return dropped;
  }
}

test("what the slowest site has not got stays, and goes when it has", () => {
  const log = logWith(6, ["old", "far"]);
  served(log, 2);
  served(log, 4, "far");
  const rules = limits(1_000_000, ["old", "far"]);
  expect(expireAll(log, LATER, rules)).toBe(0);
  expect(bodies(log)).toEqual([3, 4, 5, 6]);
  served(log, 5);
  expireAll(log, LATER, rules);
  expect(bodies(log)).toEqual([5, 6]);
  served(log, 6, "far");
  served(log, 6);
  expireAll(log, LATER, rules);
  expect(bodies(log)).toEqual([6]);
});

test("a lane that nobody serves any more holds nothing", () => {
  const log = logWith(5, ["old", "gone"]);
  served(log, 5);
  expect(expireAll(log, LATER, limits(1_000_000))).toBe(0);
  expect(bodies(log)).toEqual([5]);
  expect(expireAll(log, LATER, limits(1_000_000, []))).toBe(0);
});

test("what came back stays until it has been sent again", () => {
  const log = logWith(5);
  served(log, 5);
  const at = LATER;
  const bounce = { site: "old", first: seq(2), seq: seq(2), code: 550, text: "", at };
  log.bounces.note({ ...bounce, about: "site" });
  expireAll(log, LATER, limits(1_000_000));
  expect(bodies(log)).toEqual([2, 3, 4, 5]);
  log.bounces.dismiss({ ...bounce, about: "site" }, () =>
    log.exceptions.cameBack("old", seq(2), bounce, 5),
  );
  expireAll(log, LATER, limits(1_000_000));
  expect(bodies(log)).toEqual([2, 3, 4, 5]);
  log.exceptions.resent("old", seq(2));
  expireAll(log, LATER, limits(1_000_000));
  expect(bodies(log)).toEqual([5]);
});

test("beyond the size the oldest go, and are counted", () => {
  const log = logWith(8);
  served(log, 1);
  expect(expireAll(log, LATER, limits(600))).toBe(3);
  // The newest always stays and is not counted as held.
  expect(bodies(log)).toEqual([5, 6, 7, 8]);
  expect(expireAll(log, LATER, limits(600))).toBe(0);
  expect(log.counts()).toMatchObject({ bodies: 4, bodyBytes: 800, entries: 8 });
});

test("nothing is held longer than its entry is remembered", () => {
  const log = logWith(5);
  const end = T0 + 721 * HOUR_MS;
  expect(expireAll(log, end, limits(1_000_000), 2)).toBe(2);
  expect(bodies(log)).toEqual([3, 4, 5]);
  expect(log.counts()).toMatchObject({ bodies: 3, bodyBytes: 600, entries: 3 });
});

test("comes to the same in chunks of any size, with times in any order", () => {
  const times = fc.array(fc.integer({ min: 0, max: 150 }), { minLength: 1, maxLength: 30 });
  const numbers = fc.record({
    batch: fc.integer({ min: 1, max: 9 }),
    cursor: fc.nat(31),
    bytes: fc.nat(4000),
  });
  fc.assert(
    fc.property(times, numbers, (hours, { batch, cursor, bytes }) => {
      const log = UpdateLog.open(":memory:");
      log.lanes.open("old");
      const receivedAt = (n: number) => T0 + (hours[n] ?? 0) * HOUR_MS;
      log.append(hours.map((_, n) => arrival(n + 1, { receivedAt: receivedAt(n) })));
      served(log, cursor);
      const rules = limits(bytes);
      expireAll(log, LATER, rules, batch);

      const dated = hours.map((hour, n) => ({ hour, number: n + 1 }));
      // What came after the oldest entry that is a day too young for it is not as old as it says.
      const young = dated.filter(({ hour }) => hour > 200 - 96 + 24);
      young.sort((a, b) => a.hour - b.hour || a.number - b.number);
      const end = young[0]?.number ?? Infinity;
      const aged = dated
        .filter(({ hour, number }) => 200 - hour >= 96 && number !== hours.length)
        .filter(({ number }) => number < end)
        .sort((a, b) => b.hour - a.hour || b.number - a.number);
      const needed = aged.filter(({ number }) => number > cursor);
      const held = needed.slice(0, Math.floor(bytes / 200)).map(({ number }) => number);
      const gone = aged.map(({ number }) => number).filter((number) => !held.includes(number));
      const all = hours.map((_, n) => n + 1);
      expect(bodies(log)).toEqual(all.filter((number) => !gone.includes(number)));
      expect(log.counts().bodyBytes).toBe(bodies(log).length * 200);
      log.close();
    }),
    { numRuns: 200 },
  );
});

test("many held bodies of ten minutes take as long as those of months", { timeout: 60_000 }, () => {
  const count = 20_000;
  const walkMs = (everyMs: number) => {
    const log = logWith(0);
    const dates = Array.from({ length: count }, (_, n) => T0 + n * everyMs);
    log.append(dates.map((receivedAt, n) => arrival(n + 1, { receivedAt })));
    const begun = process.cpuUsage();
    expect(expireAll(log, T0 + 2e10, { ...limits(1e12), rememberMs: 1e11 })).toBe(0);
    const { user, system } = process.cpuUsage(begun);
    expect(log.counts()).toMatchObject({ bodies: count });
    log.close();
    return (user + system) / 1000;
  };
  const months = walkMs(HOUR_MS / 6);
  expect(walkMs(1) / months).toBeLessThan(2);
});
