/**
 * What the log forgets and when, that numbers are never used twice, and that the running totals
 * stay equal to a count of the rows.
 */
import Database from "better-sqlite3";
import { expect, test } from "vitest";
import { inspectLog } from "../../src/log/inspect.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { scratch } from "../support/scratch.js";
import { arrival, fingerprint, HOUR_MS, selfSigned, seq, skeletonOf, update } from "./material.js";

const DAY_MS = 24 * HOUR_MS;
const MINUTE_MS = HOUR_MS / 60;
const LIMITS = { retainMs: 96 * HOUR_MS, rememberMs: 720 * HOUR_MS };
const T0 = 1_700_000_000_000;

function logWith(times: readonly number[]): UpdateLog {
  const log = UpdateLog.open(":memory:");
  log.append(times.map((receivedAt, index) => arrival(index + 1, { receivedAt })));
  return log;
}

test("a body goes exactly at its age, its announcement and hash stay", () => {
  const log = logWith([T0, T0 + 1, T0 + 2]);
  const end = T0 + LIMITS.retainMs;
  expect(log.retention.expire(end - 1, LIMITS, 100)).toEqual({
    bodies: 0,
    entries: 0,
    dropped: 0,
    more: false,
  });
  expect(log.body(seq(1))).toEqual(update(1).body);
  expect(log.retention.expire(end, LIMITS, 100)).toEqual({
    bodies: 1,
    entries: 0,
    dropped: 0,
    more: false,
  });
  expect(log.body(seq(1))).toBeUndefined();
  expect(log.body(seq(2))).toEqual(update(2).body);
  expect(log.has(update(1).hash)).toBe(true);
  expect(log.range(seq(1), seq(9), 9)).toHaveLength(3);
  expect(log.append([arrival(1)])).toEqual([{ outcome: "duplicate", seq: 1 }]);
  expect(log.body(seq(1))).toBeUndefined();
  expect(log.counts()).toMatchObject({ entries: 3, bodies: 2, bodyBytes: 400 });
});

test("an entry goes exactly at its age", () => {
  const log = logWith([T0, T0 + 1, T0 + 2]);
  const end = T0 + LIMITS.rememberMs;
  log.retention.expire(end - 1, LIMITS, 100);
  expect(log.has(update(1).hash)).toBe(true);
  expect(log.retention.expire(end, LIMITS, 100)).toEqual({
    bodies: 0,
    entries: 1,
    dropped: 0,
    more: false,
  });
  expect(log.has(update(1).hash)).toBe(false);
  expect(log.entry(seq(1))).toBeUndefined();
  expect(log.has(update(2).hash)).toBe(true);
});

test("the newest entry and its body always stay, also when its clock was the oldest", () => {
  const log = logWith([T0 + 5, T0 + 4, T0]);
  const later = T0 + 100 * LIMITS.rememberMs;
  expect(log.retention.expire(later, LIMITS, 100)).toEqual({
    bodies: 2,
    entries: 2,
    dropped: 0,
    more: false,
  });
  expect(log.newest()).toBe(3);
  expect(log.body(seq(3))).toEqual(update(3).body);
  expect(log.counts()).toMatchObject({ entries: 1, bodies: 1, bodyBytes: 200 });
  expect(log.retention.expire(later, LIMITS, 100)).toEqual({
    bodies: 0,
    entries: 0,
    dropped: 0,
    more: false,
  });
});

test("works in chunks, by age and not by number, and says when there is more", () => {
  const minute = HOUR_MS / 60;
  const log = logWith([90, 10, 80, 20, 70].map((minutes) => T0 + minutes * minute));
  const now = T0 + 2 * LIMITS.rememberMs;
  expect(log.retention.expire(now, LIMITS, 2)).toEqual({
    bodies: 2,
    entries: 2,
    dropped: 0,
    more: true,
  });
  expect(log.range(seq(1), seq(9), 9).map((entry) => entry.seq)).toEqual([1, 3, 5]);
  expect(log.retention.expire(now, LIMITS, 2)).toEqual({
    bodies: 2,
    entries: 2,
    dropped: 0,
    more: true,
  });
  expect(log.retention.expire(now, LIMITS, 2)).toEqual({
    bodies: 0,
    entries: 0,
    dropped: 0,
    more: false,
  });
  expect(log.newest()).toBe(5);
});

test("a body never outlives its entry, whatever the limits", () => {
  const log = logWith([T0, T0, T0, T0]);
  const odd = { retainMs: 10 * HOUR_MS, rememberMs: HOUR_MS };
  expect(log.retention.expire(T0 + HOUR_MS, odd, 2)).toEqual({
    bodies: 2,
    entries: 2,
    dropped: 0,
    more: true,
  });
  log.retention.expire(T0 + HOUR_MS, odd, 2);
  expect(log.counts()).toMatchObject({ entries: 1, bodies: 1 });
});

test("skeletons and refusals go at their age, exceptions with their entries", () => {
  const log = UpdateLog.open(":memory:");
  const named = (n: number) => update(n, 20, selfSigned("Ann"));
  const heardOf = { ...named(2), fingerprint: fingerprint(9) };
  log.append([
    arrival(1, { update: named(1), receivedAt: T0 }),
    arrival(2, { update: heardOf, receivedAt: T0 }),
    // It teaches nothing of the key, and keeps what is known of it.
    arrival(3, {
      update: { ...update(3), fingerprint: fingerprint(9) },
      receivedAt: T0 + 24 * HOUR_MS,
    }),
  ]);
  log.exceptions.set({
    ...{ site: "s", seq: seq(1), fingerprint: fingerprint(1), state: "refused", reason: "refused" },
    ...{ code: 552, text: "big", at: T0 },
  });
  const end = T0 + LIMITS.rememberMs;
  log.refusals.add(update(7).hash, "too-large", end);
  log.refusals.add(update(8).hash, "too-large", end + 1);
  log.retention.expire(end - 1, LIMITS, 100);
  expect(log.skeletons.get(fingerprint(1))).toBeDefined();
  expect(log.exceptions.list("s", "refused", 9)).toHaveLength(1);
  expect(log.refusals.holds(update(7).hash, end - 1)).toBe(true);
  log.retention.expire(end, LIMITS, 100);
  expect(log.exceptions.list("s", "refused", 9)).toEqual([]);
  // Asked with an earlier time: the row itself is gone, not only over.
  expect(log.refusals.holds(update(7).hash, 0)).toBe(false);
  expect(log.refusals.holds(update(8).hash, end)).toBe(true);
  // Skeletons go in days, from the end of the last one on which the key was heard of.
  log.retention.expire(end + 24 * HOUR_MS, LIMITS, 100);
  expect(log.skeletons.get(fingerprint(1))).toBeUndefined();
  expect(log.skeletons.get(fingerprint(9))).toEqual(skeletonOf("Ann"));
});

test("numbers strictly grow over expire-all, restart and insert, 100 times", () => {
  const path = `${scratch()}/log`;
  let last = 0;
  let next = 0;
  for (let round = 0; round < 100; round += 1) {
    const log = UpdateLog.open(path);
    expect(log.newest()).toBe(last);
    for (const outcome of log.append([arrival(next), arrival(next + 1)])) {
      expect(outcome).toEqual({ outcome: "appended", seq: last + 1, collision: false });
      last = outcome.seq ?? 0;
    }
    next += 2;
    log.retention.expire(Number.MAX_SAFE_INTEGER, { retainMs: 0, rememberMs: 0 }, 1000);
    expect(log.counts()).toMatchObject({ entries: 1, bodies: 1 });
    log.close();
  }
});

test("numbers are not used again even when every row is gone", () => {
  const path = `${scratch()}/log`;
  const log = UpdateLog.open(path);
  log.append([arrival(1), arrival(2)]);
  log.close();
  const db = new Database(path);
  db.exec("DELETE FROM bodies; DELETE FROM updates;");
  db.close();
  const again = UpdateLog.open(path);
  expect(again.newest()).toBe(0);
  expect(again.append([arrival(3)])[0]?.seq).toBe(3);
  again.close();
});

test("the totals equal a count of the rows after a mixed life", () => {
  const path = `${scratch()}/log`;
  const log = UpdateLog.open(path);
  for (let step = 0; step < 60; step += 1) {
    const fresh = Array.from({ length: step % 5 }, (_, index) =>
      arrival(step * 3 + index, {
        update: update(step * 3 + index, (step * 37) % 9000),
        receivedAt: T0 + step * HOUR_MS,
      }),
    );
    log.append(fresh);
    if (step % 4 === 0) {
      const limits = { retainMs: 10 * HOUR_MS, rememberMs: 25 * HOUR_MS };
      log.retention.expire(T0 + step * HOUR_MS, limits, 7);
    }
  }
  const db = new Database(path, { readonly: true });
  const counted = db
    .prepare(
      `SELECT (SELECT count(*) FROM updates) AS entries, (SELECT count(*) FROM bodies) AS bodies,
              (SELECT sum(length(body)) FROM bodies) AS bodyBytes`,
    )
    .get();
  db.close();
  const { fileBytes, ...totals } = log.counts();
  expect(totals).toEqual(counted);
  expect(totals.entries).toBeGreaterThan(totals.bodies);
  expect(fileBytes).toBeGreaterThan(totals.bodyBytes);
  log.close();
});

test("expiry and look-ups find their rows by index, never by a scan or a sort", () => {
  const plans: string[] = [];
  const { prepare } = Database.prototype;
  Database.prototype.prepare = function planned(this: Database.Database, source: string) {
    if (/^\s*SELECT/.test(source) && /\b(bodies|updates|keys)\b/.test(source)) {
      const plan = `EXPLAIN QUERY PLAN ${source}`;
      const names = [...new Set(source.match(/@\w+/g) ?? [])].map((name) => [name.slice(1), 1]);
      const count = source.match(/\?/g)?.length ?? 0;
      const values = names.length > 0 ? Object.fromEntries(names) : Array(count).fill(1);
      const rows = prepare.call(this, plan).all(values) as { detail: string }[];
      plans.push(...rows.map(({ detail }) => `${detail} in ${source.replace(/\s+/g, " ")}`));
    }
    return prepare.call(this, source);
  } as typeof prepare;
  try {
    UpdateLog.open(":memory:").close();
  } finally {
    Database.prototype.prepare = prepare;
  }
  expect(plans.length).toBeGreaterThan(20);
  expect(plans.join("\n")).toMatch(/SEARCH bodies USING INTEGER PRIMARY KEY/);
  const slow = plans.filter((plan) => /^(SCAN (updates|bodies|keys)|USE TEMP)/.test(plan));
  // The newest entry, two of one MD5, and the look-up that reads the whole log as its file says.
  const fine = /ORDER BY seq DESC LIMIT 1|message_id = /;
  expect(slow.filter((plan) => !fine.test(plan))).toEqual([]);
});

test("entries that are redated over more than ten minutes are found by their dates", () => {
  const path = `${scratch()}/log`;
  const log = UpdateLog.open(path);
  const ahead = T0 + 400 * DAY_MS;
  const dates = Array.from({ length: 30 }, (_, n) => ahead + n * MINUTE_MS);
  log.append(dates.map((receivedAt, n) => arrival(n + 1, { receivedAt })));
  let now = T0;
  while (log.retention.redate(now, 10)) now += 11 * MINUTE_MS;
  log.append([arrival(100, { receivedAt: now + MINUTE_MS })]);
  expect(
    log.range(seq(1), seq(30), 30).map((entry) => (entry.receivedAt - T0) / MINUTE_MS),
  ).toEqual([0, 11, 22].flatMap((minute) => Array(10).fill(minute)));
  expect(inspectLog(path).problems).toEqual([]);
  log.retention.expire(T0 + LIMITS.rememberMs, LIMITS, 100);
  expect(log.range(seq(1), seq(100), 100)[0]?.seq).toBe(11);
  // Nothing is left of the wrong dates: they would be taken for evidence in a year.
  log.close();
  const db = new Database(path, { readonly: true });
  expect(db.prepare("SELECT max(at) FROM dates").pluck().get()).toBeLessThan(now + HOUR_MS);
  db.close();
});

test("of a stretch of which a part is dated ahead, each entry is found by its date", () => {
  const path = `${scratch()}/log`;
  const log = UpdateLog.open(path);
  const base = Math.ceil(T0 / (10 * MINUTE_MS)) * 10 * MINUTE_MS;
  const minutes = [9, 1, 8, 2];
  log.append(
    minutes.map((minute, n) => {
      return arrival(n + 1, { receivedAt: base + DAY_MS + minute * MINUTE_MS });
    }),
  );
  const now = base + 5 * MINUTE_MS;
  expect(log.retention.redate(now, 10)).toBe(false);
  log.append([arrival(9, { receivedAt: now + MINUTE_MS })]);
  const late = log.range(seq(1), seq(9), 9).map(({ receivedAt }) => receivedAt > base + DAY_MS);
  expect(late).toEqual([false, true, false, true, false]);
  expect(inspectLog(path).problems).toEqual([]);
  log.close();
});

test("a body that was restored while the clock was ahead goes when the clock is right", () => {
  const log = logWith([T0, T0 + 1]);
  const after = T0 + 5 * DAY_MS;
  log.retention.expire(after, LIMITS, 100);
  log.repairs.again(seq(1), update(1).body, [], T0 + 400 * DAY_MS);
  while (log.retention.redate(after, 100));
  log.retention.expire(after, LIMITS, 100);
  expect(log.body(seq(1))).toBeUndefined();
  // One that was restored by a right clock stays for its time.
  log.repairs.again(seq(1), update(1).body, [], after);
  log.retention.expire(after + LIMITS.retainMs - 1, LIMITS, 100);
  expect(log.body(seq(1))).toEqual(update(1).body);
  log.retention.expire(after + LIMITS.retainMs, LIMITS, 100);
  expect(log.body(seq(1))).toBeUndefined();
});

test("an expiry that is rolled back is made again, of names and of held bodies", () => {
  const log = UpdateLog.open(":memory:");
  log.lanes.open("far");
  const name = Buffer.alloc(16, 7);
  const named = { ...update(1), packets: [name] };
  log.append([
    arrival(1, { receivedAt: T0, update: named }),
    arrival(2, { receivedAt: T0 + 86 * DAY_MS }),
    arrival(3, { receivedAt: T0 + 90 * DAY_MS }),
  ]);
  const limits = { ...LIMITS, hold: { sites: ["far"], bytes: 0 } };
  const failing = (now: number) =>
    expect(() => {
      log.lanes.together(() => {
        log.retention.expire(now, limits, 1);
        throw new Error("the disk is full");
      });
    }).toThrow("full");
  const now = T0 + 91 * DAY_MS;
  failing(now);
  // The first body of the walk is the youngest.
  log.retention.expire(now, limits, 1);
  expect(log.body(seq(2))).toBeUndefined();
  while (log.retention.expire(now, limits, 100).more);
  expect(log.packets.lastSeen(name)).toBeUndefined();
});

test("names of packets go at their age, in batches; a wrong clock keeps none for years", () => {
  const log = logWith([T0]);
  const names = Array.from({ length: 120 }, (_, n) => Buffer.alloc(16, n + 1));
  const [old, fresh, ahead] = [0, 1, 2].map((kind) => names.filter((_, n) => n % 3 === kind));
  const now = T0 + 100 * DAY_MS;
  const today = Math.floor(now / DAY_MS);
  log.packets.remember(old ?? [], now - LIMITS.rememberMs - DAY_MS);
  log.packets.remember(fresh ?? [], now);
  log.packets.remember(ahead ?? [], now + 700 * DAY_MS);
  // 50 names for a row of the batch.
  const walk = (at: number) => [1, 2, 3].map(() => log.retention.expire(at, LIMITS, 1).more);
  walk(now);
  const days = (some: readonly Buffer[] = []) => [...new Set(log.packets.daysOf(some))];
  expect(days(old)).toEqual([undefined]);
  expect(days(fresh)).toEqual([today]);
  expect(days(ahead)).toEqual([today]);
  while (log.retention.expire(now, LIMITS, 1).more);
  log.packets.remember([Buffer.alloc(16, 200)], now - LIMITS.rememberMs - DAY_MS);
  expect(walk(now)).toEqual([false, false, false]);
  // The walk of the next day has 81 names.
  expect(walk(now + DAY_MS)).toEqual([true, false, false]);
  expect(days([Buffer.alloc(16, 200)])).toEqual([undefined]);
});
