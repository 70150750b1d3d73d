/**
 * What the log promises to its callers, on a log in memory: append, duplicates, trails, collisions,
 * numbers, ranges, look-ups together, cursors, lanes, skeletons, refusals and the append signal.
 */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { inspectLog } from "../../src/log/inspect.js";
import type { LaneRow } from "../../src/log/lanes.js";
import { TRAIL_LIMIT } from "../../src/log/trail.js";
import { UpdateLog } from "../../src/log/update-log.js";
import type { Update, UpdateHash } from "../../src/update.js";
import { scratch } from "../support/scratch.js";
import { arrival, fingerprint, HOUR_MS, selfSigned, seq, skeletonOf, update } from "./material.js";

const NO_HASH = "00000000000000000000000000000000" as UpdateHash;

describe("append", () => {
  test("numbers from 1 without gaps and returns what was stored", () => {
    const log = UpdateLog.open(":memory:");
    expect(log.newest()).toBe(0);
    expect(log.append([arrival(1), arrival(2)])).toEqual([
      { outcome: "appended", seq: 1, collision: false },
      { outcome: "appended", seq: 2, collision: false },
    ]);
    expect(log.append([arrival(3)])).toEqual([{ outcome: "appended", seq: 3, collision: false }]);
    expect(log.newest()).toBe(3);
    const { hash, digest, body } = update(2);
    expect(log.entry(seq(2))).toEqual({
      seq: 2,
      hash,
      digest,
      fingerprint: fingerprint(2),
      size: 200,
      origin: { neighbour: "oldpks", transport: "mail" },
      receivedAt: 1_000_002,
    });
    expect(log.entryByHash(hash)).toEqual(log.entry(seq(2)));
    expect(log.body(seq(2))).toEqual(body);
    expect(log.trails.get(seq(2))).toEqual(["pgp@site2.example"]);
    expect(log.has(hash)).toBe(true);
  });

  test("what is not there is undefined, empty or false", () => {
    const log = UpdateLog.open(":memory:");
    log.append([arrival(1)]);
    for (const number of [0, 2, -1]) {
      expect(log.entry(seq(number))).toBeUndefined();
      expect(log.body(seq(number))).toBeUndefined();
      expect(log.trails.get(seq(number))).toEqual([]);
    }
    expect(log.has(NO_HASH)).toBe(false);
    expect(log.entryByHash(NO_HASH)).toBeUndefined();
  });

  test("an origin without a neighbour and fingerprints of v3, v4 and v6 keys come back", () => {
    const log = UpdateLog.open(":memory:");
    for (const [index, digits] of [32, 40, 64].entries()) {
      const print = "AB".repeat(digits / 2) as ReturnType<typeof fingerprint>;
      const origin = { neighbour: undefined, transport: "kx" } as const;
      log.append([arrival(index, { update: { ...update(index), fingerprint: print }, origin })]);
      expect(log.entry(seq(index + 1))).toMatchObject({ fingerprint: print, origin });
    }
  });

  test("a duplicate takes no number, keeps the first body and merges the trail", () => {
    const log = UpdateLog.open(":memory:");
    log.append([arrival(1, { trail: ["A@x.example", "b@x.example"] })]);
    const before = log.counts();
    const again = arrival(1, { trail: ["a@X.EXAMPLE", "C@x.example", "c@x.example"] });
    expect(log.append([again, again, arrival(2)])).toEqual([
      { outcome: "duplicate", seq: 1 },
      { outcome: "duplicate", seq: 1 },
      { outcome: "appended", seq: 2, collision: false },
    ]);
    expect(log.trails.get(seq(1))).toEqual(["A@x.example", "b@x.example", "C@x.example"]);
    expect(log.entry(seq(1))?.receivedAt).toBe(1_000_001);
    expect(log.counts()).toMatchObject({ entries: before.entries + 1, bodies: before.bodies + 1 });
  });

  test("the same update twice in one call is stored once", () => {
    const log = UpdateLog.open(":memory:");
    const outcomes = log.append([arrival(7), arrival(7, { trail: ["other@x.example"] })]);
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(["appended", "duplicate"]);
    expect(log.trails.get(seq(1))).toEqual(["pgp@site7.example", "other@x.example"]);
    expect(log.counts()).toMatchObject({ entries: 1, bodies: 1, bodyBytes: 200 });
  });

  test("a trail ends at its limit and never grows past it", () => {
    const log = UpdateLog.open(":memory:");
    const addresses = (from: number, count: number) =>
      Array.from({ length: count }, (_, index) => `s${from + index}@x.example`);
    log.append([arrival(1, { trail: addresses(0, TRAIL_LIMIT - 1) })]);
    log.append([arrival(1, { trail: addresses(5000, 3) })]);
    log.append([arrival(1, { trail: addresses(6000, 3) })]);
    expect(log.trails.get(seq(1))).toHaveLength(TRAIL_LIMIT);
    expect(log.trails.get(seq(1)).at(-1)).toBe("s5000@x.example");
  });

  test("two updates with one MD5 are both kept, and the second is reported", () => {
    const log = UpdateLog.open(":memory:");
    const twin = { ...update(2, 50), hash: update(1).hash };
    const again = arrival(2, { update: twin });
    expect(log.append([arrival(1), again, again])).toEqual([
      { outcome: "appended", seq: 1, collision: false },
      { outcome: "appended", seq: 2, collision: true },
      { outcome: "duplicate", seq: 2 },
    ]);
    expect(log.append([arrival(1)])).toEqual([{ outcome: "duplicate", seq: 1 }]);
    expect([log.body(seq(1))?.length, log.body(seq(2))?.length]).toEqual([200, 50]);
    expect(log.entryByHash(twin.hash)?.seq).toBe(2);
  });

  test("an empty call stores nothing, or only the cursor", () => {
    const log = UpdateLog.open(":memory:");
    const at = { number: 9, hash: update(9).hash };
    expect(log.append([])).toEqual([]);
    expect(log.append([], { peer: "p", at })).toEqual([]);
    expect(log.cursors.get("p")).toEqual(at);
    expect(log.newest()).toBe(0);
  });

  test("a malformed hash is a bug, not trouble, and stores nothing of the call", () => {
    const log = UpdateLog.open(":memory:");
    const broken = arrival(2, { update: { ...update(2), hash: "abcd" as UpdateHash } });
    const at = { number: 1, hash: update(1).hash };
    expect(() => log.append([arrival(1), broken], { peer: "p", at })).toThrow(
      expect.objectContaining({ code: "SQLITE_CONSTRAINT_CHECK" }),
    );
    expect(log.newest()).toBe(0);
    expect(log.cursors.get("p")).toBeUndefined();
    expect(log.counts()).toMatchObject({ entries: 0, bodies: 0, bodyBytes: 0 });
    expect(log.append([arrival(1)])[0]?.seq).toBe(1);
  });
});

describe("range", () => {
  test("is ascending, includes both ends and respects its limit", () => {
    const log = UpdateLog.open(":memory:");
    log.append(Array.from({ length: 10 }, (_, index) => arrival(index)));
    const numbers = (low: number, high: number, limit: number) =>
      log.range(seq(low), seq(high), limit).map((entry) => entry.seq);
    expect(numbers(3, 6, 100)).toEqual([3, 4, 5, 6]);
    expect(numbers(3, 6, 2)).toEqual([3, 4]);
    expect(numbers(9, Number.POSITIVE_INFINITY, 100)).toEqual([9, 10]);
    expect(numbers(-5, 2, 100)).toEqual([1, 2]);
    expect(numbers(6, 3, 100)).toEqual([]);
    expect(numbers(1, 10, 0)).toEqual([]);
    expect(log.range(seq(4), seq(4), 1)[0]).toEqual(log.entry(seq(4)));
  });
});

describe("receive cursors", () => {
  test("are stored with the updates, set, and forgotten, one a peer", () => {
    const log = UpdateLog.open(":memory:");
    expect(log.cursors.get("p")).toBeUndefined();
    log.append([arrival(1)], { peer: "p", at: { number: 41, hash: update(1).hash } });
    log.cursors.set("q", { number: 0, hash: update(2).hash });
    expect(log.cursors.get("p")).toEqual({ number: 41, hash: update(1).hash });
    log.append([arrival(1)], { peer: "p", at: { number: 42, hash: update(3).hash } });
    expect(log.cursors.get("p")).toEqual({ number: 42, hash: update(3).hash });
    log.cursors.forget("p");
    expect(log.cursors.get("p")).toBeUndefined();
    expect(log.cursors.get("q")).toEqual({ number: 0, hash: update(2).hash });
  });
});

describe("lanes", () => {
  test("a new lane begins at the newest entry, an old one where it stood", () => {
    const log = UpdateLog.open(":memory:");
    const fresh: LaneRow = {
      cursor: 0,
      part: 0,
      attempt: 0,
      nextAt: 0,
      lastError: "",
      lastErrorAt: 0,
      lastSuccessAt: 0,
      failed: 0,
      refused: 0,
      badSince: 0,
    };
    expect(log.lanes.get("s")).toBeUndefined();
    expect(log.lanes.open("s")).toEqual(fresh);
    log.append([arrival(1), arrival(2)]);
    expect(log.lanes.open("s")).toEqual(fresh);
    expect(log.lanes.open("t")).toEqual({ ...fresh, cursor: 2 });
    const lane: LaneRow = {
      cursor: seq(1),
      part: 2,
      attempt: 3,
      nextAt: 1_700_000_000_000,
      lastError: "451 come back later",
      lastErrorAt: 1_699_999_999_999,
      lastSuccessAt: 5,
      failed: 2,
      refused: 21,
      badSince: 4,
    };
    log.lanes.save("s", lane);
    expect(log.lanes.get("s")).toEqual(lane);
    expect(log.lanes.open("s")).toEqual(lane);
    log.lanes.save("new", lane);
    expect(log.lanes.get("new")).toEqual(lane);
  });
});

const KNOWN = [Buffer.alloc(16, 7)];

describe("skeletons", () => {
  const learn = (log: UpdateLog, n: number, changes: Partial<Update>, receivedAt = 1_000_000) =>
    log.append([
      arrival(n, { update: { ...update(n), fingerprint: fingerprint(0), ...changes }, receivedAt }),
    ]);

  test("are learnt with an update, from a duplicate too, and grow", () => {
    const log = UpdateLog.open(":memory:");
    learn(log, 1, {});
    expect(log.skeletons.get(fingerprint(0))).toBeUndefined();
    expect(learn(log, 1, { selfSigned: selfSigned("Bob") })).toMatchObject([
      { outcome: "duplicate" },
    ]);
    expect(log.skeletons.get(fingerprint(0))).toEqual(skeletonOf("Bob"));
    learn(log, 2, {});
    expect(log.skeletons.get(fingerprint(0))).toEqual(skeletonOf("Bob"));
    learn(log, 3, { selfSigned: selfSigned("Ann") });
    expect(log.skeletons.get(fingerprint(0))).toEqual(skeletonOf("Ann"));
    // An update of another hash without news.
    const changes = {
      ...{ packets: KNOWN, selfSigned: selfSigned("Eve"), fingerprint: fingerprint(4) },
    };
    log.packets.remember(KNOWN, 1);
    expect(learn(log, 4, changes)).toEqual([{ outcome: "duplicate", covers: [] }]);
    expect(log.skeletons.get(fingerprint(4))).toEqual(skeletonOf("Eve"));
  });

  test("of what was forgotten are not learnt again from what is known", () => {
    const log = UpdateLog.open(":memory:");
    const changes = { selfSigned: selfSigned("Ann") };
    learn(log, 1, changes);
    log.removals.forget(fingerprint(0), "asked", 1, 0);
    expect(log.skeletons.get(fingerprint(0))).toBeUndefined();
    expect(learn(log, 1, changes)).toMatchObject([{ outcome: "duplicate" }]);
    log.packets.remember(KNOWN, 1);
    expect(learn(log, 2, { ...changes, packets: KNOWN })).toMatchObject([{ outcome: "duplicate" }]);
    expect(log.skeletons.get(fingerprint(0))).toBeUndefined();
  });

  test("cost no write when they stay as they are, and one a day when the key is heard of", () => {
    const path = join(scratch(), "log");
    const log = UpdateLog.open(path);
    log.packets.remember(KNOWN, 1);
    const bob = { packets: KNOWN, selfSigned: selfSigned("Bob") };
    const day = 24 * HOUR_MS;
    learn(log, 1, bob, 10 * day);
    const size = () => log.counts().fileBytes;
    const before = size();
    for (let n = 0; n < 100; n += 1) learn(log, 1, bob, 10 * day + n);
    expect(size()).toBe(before);
    expect(log.newest()).toBe(0);
    learn(log, 1, bob, 11 * day);
    expect(size()).toBeGreaterThan(before);
    log.close();
  });
});

describe("refusals", () => {
  test("hold until their end, and a later one replaces an earlier", () => {
    const log = UpdateLog.open(":memory:");
    const { hash } = update(1);
    log.refusals.add(hash, "too-large", 1000);
    expect([999, 1000].map((now) => log.refusals.holds(hash, now))).toEqual([true, false]);
    log.refusals.add(hash, "too-large", 2000);
    expect(log.refusals.holds(hash, 1999)).toBe(true);
    expect(log.refusals.holds(update(2).hash, 0)).toBe(false);
  });
});

describe("onAppend", () => {
  test("signals after the commit, once a call, only when an entry was added", () => {
    const path = `${scratch()}/log`;
    const log = UpdateLog.open(path);
    const reader = UpdateLog.open(path, { readonly: true });
    const seen: number[] = [];
    const stop = log.onAppend(() => seen.push(reader.newest()));
    log.append([arrival(1), arrival(2)]);
    log.append([arrival(1, { trail: ["new@x.example"] })]);
    log.append([], { peer: "p", at: { number: 1, hash: update(1).hash } });
    expect(seen).toEqual([2]);
    log.append([arrival(3)]);
    stop();
    log.append([arrival(4)]);
    expect(seen).toEqual([2, 3]);
    reader.close();
    log.close();
  });

  test("a listener may append and unsubscribe while it is called", () => {
    const log = UpdateLog.open(":memory:");
    const seen: string[] = [];
    const stop = log.onAppend(() => {
      stop();
      seen.push(`first ${log.newest()}`);
      log.append([arrival(2)]);
    });
    log.onAppend(() => seen.push(`second ${log.newest()}`));
    log.append([arrival(1)]);
    expect(seen).toEqual(["first 1", "second 2", "second 2"]);
  });
});

describe("look-ups together", () => {
  test("see one state until a write in between, and leave no transaction open", () => {
    const path = `${scratch()}/log`;
    const log = UpdateLog.open(path);
    log.append([arrival(1)]);
    const reader = UpdateLog.open(path, { readonly: true });
    const seen = reader.together(() => {
      const before = reader.newest();
      log.append([arrival(2)]);
      return [before, reader.newest()];
    });
    expect(seen).toEqual([1, 1]);
    expect(log.checkpoint()).toBe(true);
    expect(reader.newest()).toBe(2);
    const own = log.together(() => {
      const before = log.newest();
      log.append([arrival(3)]);
      return [before, log.newest(), log.together(() => log.newest())];
    });
    expect(own).toEqual([2, 3, 3]);
    reader.close();
    log.close();
  });

  test("end when their work throws", () => {
    const path = `${scratch()}/log`;
    const log = UpdateLog.open(path);
    const reader = UpdateLog.open(path, { readonly: true });
    const fault = new Error("a fault of the caller");
    expect(() =>
      reader.together(() => {
        reader.newest();
        throw fault;
      }),
    ).toThrow(fault);
    log.append([arrival(1)]);
    // A read transaction that was left open would keep frames in the WAL.
    expect(log.checkpoint()).toBe(true);
    expect(reader.newest()).toBe(1);
    reader.close();
    log.close();
  });
});

test("each entry of one append is found by its own date", () => {
  const path = `${scratch()}/log`;
  const log = UpdateLog.open(path);
  const dates = [0, 0, 3, 3, 0, 9].map((hours) => hours * HOUR_MS);
  log.append(dates.map((receivedAt, n) => arrival(n, { receivedAt })));
  log.close();
  expect(inspectLog(path).problems).toEqual([]);
});
