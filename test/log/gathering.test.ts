/**
 * What the log gathers before it writes it: packet names, fingerprints, totals and additions to
 * trails. Each read sees it at once, a transaction that fails takes it back, a settling writes it,
 * and a kill loses only what is allowed to be lost.
 */
import { copyFileSync, existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { expect, test } from "vitest";
import { updateOf } from "../../src/admit.js";
import { Refusal } from "../../src/errors.js";
import { TAIL_LIMIT, TAIL_LIMIT_BYTES } from "../../src/log/gathering.js";
import { inspectLog } from "../../src/log/inspect.js";
import { dayOf, NAMES_GATHERED } from "../../src/log/packet-memory.js";
import { TRAILS_GATHERED } from "../../src/log/trail.js";
import { type Arrival, UpdateLog } from "../../src/log/update-log.js";
import { readArmor } from "../../src/openpgp/armor.js";
import { readKeys } from "../../src/openpgp/key.js";
import type { PacketName } from "../../src/update.js";
import { scratch } from "../support/scratch.js";
import { arrival, fingerprint, HOUR_MS, seq, update } from "./material.js";

const SITE = { name: "far", address: "pgp@far.example" };
const [KEY = ""] = readdirSync(new URL("../fixtures/keys/", import.meta.url));
const T0 = 1_700_000_000_000;

function nameOf(n: number): PacketName {
  return Buffer.from(n.toString(16).padStart(32, "0"), "hex");
}

function named(n: number, packets: readonly PacketName[]): Arrival {
  return arrival(n, { update: { ...update(n), packets } });
}

/** The update came again, from a site that nobody is configured for, with this trail. */
function again(n: number, ...trail: string[]): Arrival {
  return arrival(n, { origin: { neighbour: undefined, transport: "mail" }, trail });
}

/** A transaction that stores `arrivals` and then fails. */
function failing(log: UpdateLog, arrivals: readonly Arrival[]): void {
  const wrong = { neighbour: undefined, transport: "pigeon" as "mail" };
  expect(() => log.append([...arrivals, arrival(999_999, { origin: wrong })])).toThrow();
}

/** The files as they are now, opened as after a kill. */
function afterKill(path: string): UpdateLog {
  const copy = join(scratch(), "log");
  for (const end of ["", "-wal"]) {
    if (existsSync(path + end)) copyFileSync(path + end, copy + end);
  }
  return UpdateLog.open(copy);
}

/** What a query gives in the file, for another process. */
function inFile(path: string, sql: string): unknown {
  const db = new Database(path, { readonly: true });
  const value = db.prepare(sql).pluck().get();
  db.close();
  return value;
}

const walBytes = (path: string) => statSync(`${path}-wal`).size;

test("a packet name is known at once, and written with a thousand others", () => {
  const path = join(scratch(), "log");
  const log = UpdateLog.open(path);
  const count = "SELECT count(*) FROM packets";
  log.append([named(1, [nameOf(1)])]);
  expect(log.packets.lastSeen(nameOf(1))).toBe(0);
  expect(log.append([named(2, [nameOf(1)])])).toMatchObject([{ outcome: "duplicate" }]);
  expect(inFile(path, count)).toBe(0);
  const names = Array.from({ length: NAMES_GATHERED - 1 }, (_, n) => nameOf(n + 2));
  log.append([named(3, names)]);
  expect(inFile(path, count)).toBe(NAMES_GATHERED);
  expect(log.packets.knowsAll([nameOf(1), ...names])).toBe(true);
  log.append([named(4, [nameOf(5000)])]);
  log.close();
  expect(inFile(path, count)).toBe(NAMES_GATHERED + 1);
});

test("names of a transaction that fails are not known, and those before it are", () => {
  const log = UpdateLog.open(":memory:");
  log.append([named(1, [nameOf(1)])]);
  failing(log, [named(2, [nameOf(2)])]);
  expect(log.packets.lastSeen(nameOf(2))).toBeUndefined();
  expect(log.packets.lastSeen(nameOf(1))).toBe(0);
  // The same for one in which all that was gathered is written.
  failing(log, [
    named(
      3,
      Array.from({ length: NAMES_GATHERED }, (_, n) => nameOf(n + 10)),
    ),
  ]);
  expect(log.packets.lastSeen(nameOf(10))).toBeUndefined();
  expect(log.packets.lastSeen(nameOf(1))).toBe(0);
  log.settle();
  expect(log.packets.lastSeen(nameOf(1))).toBe(0);
});

test("after a kill the names of an update that nobody can read are news, and nothing else", () => {
  const path = join(scratch(), "log");
  const log = UpdateLog.open(path);
  log.append([named(1, [nameOf(1)]), named(2, [nameOf(2)])]);
  const killed = afterKill(path);
  const { fileBytes: _, ...totals } = log.counts();
  expect(killed.counts()).toMatchObject(totals);
  expect(killed.lookup.byFingerprint(fingerprint(2), 9)).toEqual([2]);
  expect(killed.packets.lastSeen(nameOf(1))).toBeUndefined();
  expect(killed.append([named(3, [nameOf(1)])])).toMatchObject([{ outcome: "appended", seq: 3 }]);
  expect(killed.append([named(1, [nameOf(1)])])).toMatchObject([{ outcome: "duplicate", seq: 1 }]);
  killed.close();
  log.close();
});

test("after a kill the names of the newest entries are made from their bodies again", () => {
  const path = join(scratch(), "log");
  const log = UpdateLog.open(path);
  const armor = readFileSync(new URL(`../fixtures/keys/${KEY}`, import.meta.url));
  const [block] = readArmor(armor);
  const [key] = block === undefined || block instanceof Refusal ? [] : readKeys(block.data);
  if (key === undefined || key instanceof Refusal) throw new Error("the fixture is no key");
  const whole = updateOf(key);
  expect(whole.packets.length).toBeGreaterThan(2);
  log.append([arrival(1), { ...arrival(2), update: whole, receivedAt: T0 }]);
  const killed = afterKill(path);
  expect(killed.packets.knowsAll(whole.packets)).toBe(true);
  expect(killed.packets.lastSeen(whole.packets[0] ?? nameOf(0))).toBe(dayOf(T0));
  const part = { ...update(3), packets: whole.packets.slice(1) };
  expect(killed.append([arrival(3, { update: part })])).toMatchObject([{ seq: undefined }]);
  killed.close();
  log.close();
});

test("entries of a key are found before and after they are settled, and totals are exact", () => {
  const path = join(scratch(), "log");
  const log = UpdateLog.open(path);
  const key = fingerprint(1);
  const total = 2 * TAIL_LIMIT + 100;
  const count = "SELECT count(*) FROM keys";
  const seen = new Set<unknown>();
  for (let n = 1; n <= total; n += 50) {
    const batch = Array.from({ length: Math.min(50, total - n + 1) }, (_, m) => n + m);
    log.append(batch.map((one) => arrival(one, { update: { ...update(one), fingerprint: key } })));
    const entries = Math.min(n + 49, total);
    expect(log.lookup.byFingerprint(key, total)).toHaveLength(entries);
    expect(log.counts()).toMatchObject({ entries, bodies: entries, bodyBytes: 200 * entries });
    seen.add(inFile(path, count));
  }
  expect(seen).toEqual(new Set([0, TAIL_LIMIT, 2 * TAIL_LIMIT]));
  expect(log.lookup.byFingerprint(key, 3)).toEqual([total, total - 1, total - 2]);
  const reader = UpdateLog.open(path, { readonly: true });
  expect(reader.lookup.byFingerprint(key, total)).toHaveLength(total);
  expect(reader.counts()).toMatchObject({ entries: total });
  reader.close();
  expect(inspectLog(path).problems).toEqual([]);
  const killed = afterKill(path);
  expect(killed.counts()).toMatchObject({ entries: total, bodies: total, bodyBytes: 200 * total });
  killed.close();
  // Old and new entries are forgotten alike.
  expect(log.removals.forget(key, "asked", T0, 0)).toMatchObject({ updates: total, bodies: total });
  expect(log.lookup.byFingerprint(key, total)).toEqual([]);
  log.close();
  expect(inFile(path, count)).toBe(0);
  expect(inspectLog(path).problems).toEqual([]);
});

test("entries that expire before they are settled leave exact totals and no keys", () => {
  const path = join(scratch(), "log");
  const log = UpdateLog.open(path);
  log.append([1, 2, 3, 4].map((n) => arrival(n, { receivedAt: T0 + n * HOUR_MS })));
  const limits = { retainMs: HOUR_MS, rememberMs: 2 * HOUR_MS };
  log.retention.expire(T0 + 4 * HOUR_MS, limits, 100);
  expect(log.counts()).toMatchObject({ entries: 2, bodies: 1, bodyBytes: 200 });
  expect(log.lookup.byFingerprint(fingerprint(1), 9)).toEqual([]);
  expect(log.lookup.byFingerprint(fingerprint(3), 9)).toEqual([3]);
  const killed = afterKill(path);
  expect(killed.append([arrival(9)])).toMatchObject([{ outcome: "appended", seq: 5 }]);
  killed.close();
  log.close();
  expect(inspectLog(path).problems).toEqual([]);
});

test("the file itself keeps the last number, whoever deletes the newest entry", () => {
  const path = join(scratch(), "log");
  const log = UpdateLog.open(path);
  log.append([arrival(1), arrival(2), arrival(3)]);
  const db = new Database(path);
  db.exec("DELETE FROM bodies WHERE seq > 1; DELETE FROM updates WHERE seq > 1");
  db.close();
  expect(log.append([arrival(4)])).toMatchObject([{ outcome: "appended", seq: 4 }]);
  log.close();
});

test.each([
  ["DELETE FROM keys WHERE seq = 2", /1 entries are not found by their fingerprints/],
  ["INSERT INTO keys VALUES (zeroblob(20), 9)", /1 rows of keys belong to no entry/],
  ["DELETE FROM dates", /3 entries are not found by their dates/],
  ["UPDATE totals SET upto = 1", /the totals are/],
])("an inspection finds what is wrong after %s", (sql, problem) => {
  const path = join(scratch(), "log");
  const log = UpdateLog.open(path);
  log.append([arrival(1), arrival(2), arrival(3)]);
  log.close();
  expect(inspectLog(path).problems).toEqual([]);
  const db = new Database(path);
  db.exec(sql);
  db.close();
  expect(inspectLog(path).problems.join("\n")).toMatch(problem);
});

test("what a duplicate adds to a trail is seen at once and written later, without an fsync", () => {
  const path = join(scratch(), "log");
  const log = UpdateLog.open(path);
  log.lanes.open("far", { address: SITE.address });
  log.append([1, 2, 3].map((n) => arrival(n)));
  expect([...log.pending.seqs(SITE)]).toEqual([1, 2, 3]);
  expect(log.pending.of(SITE)).toMatchObject({ count: 3, first: 1 });
  const before = walBytes(path);
  expect(log.append([again(1, "PGP@far.example", "x@x.example")])).toEqual([
    { outcome: "duplicate", seq: 1 },
  ]);
  // Without a new frame in the WAL there was nothing to sync.
  expect(walBytes(path)).toBe(before);
  const stored = "SELECT trail FROM updates WHERE seq = 1";
  expect(inFile(path, stored)).toBe('["pgp@site1.example"]');
  expect(log.trails.get(seq(1))).toEqual(["pgp@site1.example", "PGP@far.example", "x@x.example"]);
  expect(log.trails.gathered).toBe(1);
  const entry = log.entry(seq(1));
  expect(entry && log.pending.has(SITE, entry)).toBe(true);
  expect([...log.pending.seqs(SITE)]).toEqual([2, 3]);
  expect(log.pending.of(SITE)).toMatchObject({ count: 2, first: 2 });
  expect(log.pending.before(SITE, seq(3))).toBe(1);
  log.append([again(1, "y@y.example", "x@x.example")]);
  expect(log.trails.get(seq(1))).toHaveLength(4);
  log.trails.settle();
  expect(log.trails.gathered).toBe(0);
  expect(walBytes(path)).toBeGreaterThan(before);
  expect(JSON.parse(String(inFile(path, stored)))).toEqual(log.trails.get(seq(1)));
  expect([...log.pending.seqs(SITE)]).toEqual([2, 3]);
  expect(log.pending.of(SITE)).toMatchObject({ count: 2, first: 2 });
  log.close();
});

test("gathered trails are written at a limit, with a note of a peer, and at the end", () => {
  const path = join(scratch(), "log");
  const log = UpdateLog.open(path);
  const all = Array.from({ length: TRAILS_GATHERED }, (_, n) => n + 1);
  log.append(all.map((n) => arrival(n)));
  const written = `SELECT count(*) FROM updates WHERE trail LIKE '%x@x.example%'`;
  log.append(all.slice(1).map((n) => again(n, "x@x.example")));
  expect(inFile(path, written)).toBe(0);
  log.append([again(1, "x@x.example")]);
  expect(inFile(path, written)).toBe(TRAILS_GATHERED);
  log.append([again(2, "y@y.example")]);
  log.trails.note([{ seq: seq(3), address: "z@z.example" }]);
  expect(log.trails.gathered).toBe(0);
  expect(inFile(path, "SELECT trail FROM updates WHERE seq = 3")).toMatch(/z@z.example/);
  log.append([again(5, "end@end.example")]);
  log.close();
  expect(inFile(path, "SELECT trail FROM updates WHERE seq = 5")).toMatch(/end@end.example/);
});

test("additions of a transaction that fails are gone, and those before it are not", () => {
  const log = UpdateLog.open(":memory:");
  log.append([arrival(1), arrival(2)]);
  log.append([again(1, "x@x.example")]);
  failing(log, [again(1, "y@y.example"), again(2, "y@y.example")]);
  expect(log.trails.get(seq(1))).toEqual(["pgp@site1.example", "x@x.example"]);
  expect(log.trails.get(seq(2))).toEqual(["pgp@site2.example"]);
  expect(log.trails.gathered).toBe(1);
});

test("a kill loses an addition to a trail and never the update", () => {
  const path = join(scratch(), "log");
  const log = UpdateLog.open(path);
  // Both in one transaction: when the duplicate is answered, the update is on disk.
  expect(log.append([arrival(1), again(1, "x@x.example")])).toMatchObject([
    { outcome: "appended", seq: 1 },
    { outcome: "duplicate", seq: 1 },
  ]);
  const killed = afterKill(path);
  expect(killed.body(seq(1))).toEqual(update(1).body);
  expect(killed.trails.get(seq(1))).toEqual(["pgp@site1.example"]);
  killed.close();
  failing(log, [arrival(2), again(2, "x@x.example")]);
  expect(log.has(update(2).hash)).toBe(false);
  log.close();
});

test("a large log is rebuilt, and what is gathered stays", () => {
  const path = join(scratch(), "log");
  const log = UpdateLog.open(path);
  const large = (n: number) => arrival(n, { update: update(n, 35 * 1024 ** 2) });
  log.append([large(1), large(2), named(3, [nameOf(3)]), arrival(4)]);
  log.append([again(3, "pgp@new.example")]);
  const forgotten = log.removals.forget(fingerprint(4), "asked", T0, Number.POSITIVE_INFINITY);
  expect(forgotten).toMatchObject({ updates: 1, isRebuilt: true, isClean: true });
  expect(log.trails.get(seq(3))).toContain("pgp@new.example");
  expect(log.append([named(5, [nameOf(3)])])).toMatchObject([{ outcome: "duplicate" }]);
  expect(log.append([named(6, [nameOf(6)])])).toMatchObject([{ outcome: "appended", seq: 5 }]);
  log.close();
  expect(inspectLog(path).problems).toEqual([]);
});

test("large updates are settled sooner: a start after a kill reads the bodies of the tail", () => {
  const path = join(scratch(), "log");
  const log = UpdateLog.open(path);
  const quarter = (n: number) => arrival(n, { update: update(n, TAIL_LIMIT_BYTES / 4) });
  const count = "SELECT count(*) FROM keys";
  log.append([quarter(1), quarter(2), quarter(3)]);
  expect(inFile(path, count)).toBe(0);
  log.append([quarter(4)]);
  expect(inFile(path, count)).toBe(4);
  log.append([quarter(5)]);
  expect(inFile(path, count)).toBe(4);
  log.close();
});
