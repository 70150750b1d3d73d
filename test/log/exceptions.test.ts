/** The store of exceptions: bounds, what is opened again and when, and the step to version 8. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { describe, expect, onTestFinished, test } from "vitest";
import { EXCEPTION_LIMITS, type NewException } from "../../src/log/exceptions.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { scratch } from "../support/scratch.js";
import { arrival, fingerprint, seq, update } from "./material.js";

const T0 = 1_700_000_000_000;
const HOUR = 3_600_000;

function opened(entries = 3): UpdateLog {
  const log = UpdateLog.open(":memory:");
  onTestFinished(() => log.close());
  log.append(Array.from({ length: entries }, (_, n) => arrival(n + 1)));
  return log;
}

function row(n: number, more: Partial<NewException> = {}): NewException {
  const about = { site: "far", seq: seq(n), fingerprint: fingerprint(n) };
  return { ...about, state: "refused", reason: "refused", code: 554, text: "no", at: T0, ...more };
}

describe("what is kept", () => {
  test("one row a site and update, listed by state and counted by reason", () => {
    const log = opened();
    log.exceptions.set(row(1));
    log.exceptions.set(row(1, { text: "still no", tries: 2 }));
    log.exceptions.set(row(2, { state: "waiting", reason: "failed", nextAt: T0 + 5 }));
    log.exceptions.set(row(2, { site: "b" }));
    expect(log.exceptions.get("far", seq(1))).toMatchObject({ text: "still no", tries: 2 });
    expect(log.exceptions.counts("far")).toEqual({ waiting: 1, refused: 1, withheld: 0 });
    expect(log.exceptions.of(seq(2)).map(({ site }) => site)).toEqual(["b", "far"]);
    expect([...log.exceptions.countsBySite().keys()]).toEqual(["b", "far"]);
    expect(log.exceptions.next("far")).toMatchObject({ seq: 2, nextAt: T0 + 5 });
    log.exceptions.set(row(3, { at: T0 + 9 }));
    expect(log.exceptions.reasons("far", T0 + 9)).toEqual([
      { state: "refused", reason: "refused", count: 2, recent: 1 },
      { state: "waiting", reason: "failed", count: 1, recent: 0 },
    ]);
  });

  test("so many that wait, and so many in all: then the oldest that do not wait go", () => {
    const limits = EXCEPTION_LIMITS as { waiting: number; rows: number };
    const usual = { ...limits };
    onTestFinished(() => void Object.assign(limits, usual));
    Object.assign(limits, { waiting: 100, rows: 300 });
    const log = opened(1);
    for (let n = 1; n <= 200; n += 1) {
      log.exceptions.set(row(n, { state: "waiting", reason: "failed" }));
    }
    const { waiting, refused } = log.exceptions.counts("far");
    expect(waiting).toBeGreaterThanOrEqual(100);
    expect(waiting).toBeLessThan(100 + 64);
    expect(waiting + refused).toBe(200);
    // One that waits already stays.
    log.exceptions.set(row(1, { state: "waiting", reason: "failed", tries: 9 }));
    expect(log.exceptions.get("far", seq(1))).toMatchObject({ state: "waiting", tries: 9 });
    let dropped = 0;
    for (let n = 201; n <= 1000; n += 1) dropped += log.exceptions.set(row(n, { at: T0 + n }));
    const left = log.exceptions.counts("far");
    expect(left.waiting).toBe(waiting);
    expect(left.refused + left.waiting + dropped).toBe(1000);
    expect(left.refused + left.waiting).toBeLessThan(300 + 64);
    expect(log.exceptions.get("far", seq(1000))).toBeDefined();
  });

  test("as long as its entry, and no longer", () => {
    const log = opened();
    for (const n of [1, 2, 3]) log.exceptions.set(row(n));
    log.retention.expire(1_000_002, { retainMs: 0, rememberMs: 0 }, 100);
    expect(log.exceptions.list("far", "refused", 9).map((one) => one.seq)).toEqual([3]);
  });
});

describe("what comes again", () => {
  const came = (n: number, more: object = {}) => ({
    ...{ fingerprint: fingerprint(n), seq: undefined, body: update(9).body, from: "third" },
    ...more,
  });

  test("is offered to each site that refused something of the key, once an hour", () => {
    const log = opened();
    log.exceptions.set(row(1));
    log.exceptions.set(row(1, { site: "b", state: "withheld", reason: "skipped" }));
    log.exceptions.set(row(2));
    log.cameAgain([came(1)], T0 + 1);
    expect(log.exceptions.next("far")).toMatchObject({ seq: 1, nextAt: T0 + 1 });
    expect(log.exceptions.next("b")).toMatchObject({ seq: 1 });
    expect(log.exceptions.offerOf("far", seq(1))).toEqual(update(9).body);
    expect(log.exceptions.get("far", seq(2))?.state).toBe("refused");
    log.exceptions.set(row(1));
    log.cameAgain([came(1, { seq: seq(1), body: undefined })], T0 + HOUR);
    const later = { seq: 1, state: "waiting", nextAt: T0 + 1 + HOUR };
    expect(log.exceptions.get("far", seq(1))).toMatchObject(later);
    log.exceptions.settle("far", seq(1));
    log.exceptions.set(row(1));
    // What is early waits until the hour has passed.
    log.cameAgain([came(1)], T0 + 1);
    log.exceptions.set(row(1));
    log.cameAgain([came(1, { body: update(8).body })], T0 + HOUR);
    expect(log.exceptions.get("far", seq(1))).toMatchObject(later);
    expect(log.exceptions.offerOf("far", seq(1))).toEqual(update(8).body);
    log.cameAgain([came(1)], T0 + HOUR + 2);
    expect(log.exceptions.get("far", seq(1))).toMatchObject(later);
    log.exceptions.set(row(1));
    log.cameAgain([came(1, { seq: seq(1), body: undefined })], T0 + 1 + 2 * HOUR);
    expect(log.exceptions.get("far", seq(1))?.state).toBe("waiting");
  });

  test("is not kept beyond a size, nor offered while the key is blocked", () => {
    const log = opened();
    log.exceptions.set(row(1, { state: "withheld", reason: "blocked" }));
    log.cameAgain([came(1)], T0 + HOUR);
    expect(log.exceptions.next("far")).toBeUndefined();
    log.exceptions.set(row(2));
    const body = new Uint8Array(EXCEPTION_LIMITS.offer + 1);
    log.cameAgain([came(2, { body })], T0 + HOUR);
    expect(log.exceptions.next("far")).toBeUndefined();
    expect(log.exceptions.unblocked(fingerprint(1), T0)).toBe(1);
    expect(log.exceptions.next("far")).toMatchObject({ seq: 1, state: "waiting" });
  });

  test("by its announcement: the update of that name, and for the announcer it is settled", () => {
    const log = opened();
    log.exceptions.set(row(1));
    log.exceptions.set(row(1, { site: "peer" }));
    log.announcedAgain(update(1).hash, "peer", T0 + HOUR);
    expect(log.exceptions.get("peer", seq(1))).toBeUndefined();
    expect(log.exceptions.get("far", seq(1))?.state).toBe("waiting");
    expect(log.exceptions.offerOf("far", seq(1))).toBeUndefined();
  });
});

describe("claims in trails", () => {
  const FAR = { address: "pgp@far.example" };

  test("of others are left out for a site that fails or has an exception, its own settle", () => {
    const log = opened();
    const lane = log.lanes.open("far", FAR);
    log.exceptions.set(row(1));
    const again = (n: number, neighbour: string) =>
      log.append([
        arrival(n, { origin: { neighbour, transport: "mail" }, trail: ["PGP@far.example"] }),
      ]);
    again(1, "third");
    expect(log.trails.get(seq(1))).not.toContain("PGP@far.example");
    again(2, "third");
    expect(log.trails.get(seq(2))).toContain("PGP@far.example");
    log.lanes.save("far", { ...lane, attempt: 1 });
    again(3, "third");
    again(4, "third");
    for (const n of [3, 4]) expect(log.trails.get(seq(n))).not.toContain("PGP@far.example");
    again(1, "far");
    expect(log.trails.get(seq(1))).toContain("PGP@far.example");
    expect(log.exceptions.get("far", seq(1))).toBeUndefined();
    log.exceptions.set(row(2));
    log.trails.note([{ seq: seq(2), address: "pgp@far.example" }]);
    expect(log.exceptions.get("far", seq(2))).toBeUndefined();
  });
});

test.each(["6", "7"])("what a log of version %s has of bounces and refusals is kept", (name) => {
  const path = join(scratch(), "updates.db");
  const db = new Database(path);
  db.pragma("journal_mode = WAL");
  db.exec(readFileSync(new URL(`../fixtures/logs/${name}.sql`, import.meta.url), "utf8"));
  const undelivered = db.prepare("INSERT INTO undelivered VALUES ('b', ?, ?, ?, 7)");
  undelivered.run(2, 554, "bad key");
  undelivered.run(3, 0, "skipped by the operator");
  undelivered.run(99, 554, "of an entry that is gone");
  const returned = db.prepare(
    "INSERT INTO returned VALUES ('c', ?, ?, 'site', 550, 'no', 8, ?, 0, ?, 8, 1)",
  );
  returned.run(3, 1, 1, 0);
  returned.run(2, 2, 0, 4);
  db.close();
  const log = UpdateLog.open(path);
  expect(log.exceptions.list("b", "refused", 9)).toMatchObject([{ seq: 2, text: "bad key" }]);
  expect(log.exceptions.list("b", "withheld", 9)).toMatchObject([{ seq: 3, reason: "skipped" }]);
  expect(log.exceptions.next("far")).toMatchObject({ seq: 2, reason: "bounced", tries: 1 });
  expect(log.exceptions.back("c", seq(2))).toEqual({
    ...{ tries: 4, lastAt: 8, cursor: 1, waiting: false },
  });
  expect(log.bounces.fresh("c")).toMatchObject({ first: 1, seq: 3, about: "site" });
  expect(log.exceptions.counts("c")).toEqual({ waiting: 0, refused: 0, withheld: 0 });
  expect(log.lanes.unowned(["b"])).toMatchObject([{ site: "far", address: null, cursor: 2 }]);
  log.close();
});
