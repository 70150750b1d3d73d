/**
 * What the log keeps of blocks and forgotten updates, over a restart and over time; and what is
 * left of a forgotten key in the files, byte by byte.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { expect, test } from "vitest";
import { Trouble } from "../../src/errors.js";
import { inspectLog } from "../../src/log/inspect.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { scratch } from "../support/scratch.js";
import { arrival, fingerprint, HOUR_MS, selfSigned, seq, skeletonOf, update } from "./material.js";

const ASKED = { reason: "asked by its owner", until: undefined, allowRevocation: false };

/** The n-th update with `text` in its body and in what is remembered of its key. */
function personal(n: number, text: string, filler = 0) {
  const body = Buffer.from(`${"x".repeat(filler)}${text}${"y".repeat(filler)}`);
  const id = `<${text}@mail.example>`;
  const one = { ...update(n), body, selfSigned: selfSigned(`id ${text}`) };
  return arrival(n, { update: one, messageId: id });
}

/** How often `text` stands in the files of a log. */
function traces(directory: string, text: string): number {
  return readdirSync(directory)
    .map((name) => readFileSync(join(directory, name)).toString("latin1").split(text).length - 1)
    .reduce((sum, count) => sum + count, 0);
}

test("a block outlives the process, and can be taken back", () => {
  const path = join(scratch(), "log");
  const log = UpdateLog.open(path);
  log.removals.setBlock(fingerprint(1), ASKED, 1000);
  log.removals.setBlock(fingerprint(2), { ...ASKED, until: 5000, allowRevocation: true }, 2000);
  log.refusals.add(update(9).hash, "blocked", 1e12);
  log.refusals.add(update(8).hash, "policy-size", 1e12);
  log.close();

  const again = UpdateLog.open(path);
  expect(again.removals.block(fingerprint(1))).toEqual({
    ...ASKED,
    fingerprint: fingerprint(1),
    at: 1000,
  });
  expect(
    again.removals.blocks().map(({ until, allowRevocation }) => [until, allowRevocation]),
  ).toEqual([
    [5000, true],
    [undefined, false],
  ]); // prettier-ignore
  expect(again.removals.unblock(fingerprint(1), 1)).toBe(true);
  expect(again.removals.unblock(fingerprint(1), 1)).toBe(false);
  expect(again.removals.block(fingerprint(1))).toBeUndefined();
  expect(again.refusals.holds(update(9).hash, 1)).toBe(false);
  expect(again.refusals.holds(update(8).hash, 1)).toBe(true);
  again.close();
  const reader = UpdateLog.open(path, { readonly: true });
  expect(reader.removals.blocks().map((one) => one.fingerprint)).toEqual([fingerprint(2)]);
  reader.close();
});

test("what is forgotten leaves its number and its hash, and nothing else", () => {
  const path = join(scratch(), "log");
  const log = UpdateLog.open(path);
  const later = personal(1, "zwei");
  const two = {
    ...later,
    update: { ...later.update, hash: update(2).hash, digest: update(2).digest },
  };
  log.append([personal(1, "eins"), two, arrival(3)]);
  log.lanes.open("far");
  const said = { code: 550, text: "no eins", at: 1 };
  const mine = { site: "far", seq: seq(1), fingerprint: fingerprint(1) };
  log.exceptions.set({ ...mine, ...said, state: "refused", reason: "refused" });
  const bounce = { site: "far", about: "site", code: 450, text: "not eins", at: 1 } as const;
  log.bounces.note({ ...bounce, first: seq(2), seq: seq(2) });
  log.bounces.note({ ...bounce, first: seq(1), seq: seq(3) });
  let woken = 0;
  log.onAppend(() => {
    woken += 1;
  });

  const done = log.removals.forget(fingerprint(1), "asked", 5000, 0);
  expect(done).toEqual({ updates: 2, bodies: 2, isClean: true, isRebuilt: false });
  expect(woken).toBe(1);
  expect([log.body(seq(1)), log.body(seq(2)), log.skeletons.get(fingerprint(1))]).toEqual([
    undefined,
    undefined,
    undefined,
  ]); // prettier-ignore
  expect(log.entry(seq(1))).toMatchObject({ hash: update(1).hash, fingerprint: "0".repeat(40) });
  expect(log.lookup.messageId(seq(1))).toBeUndefined();
  expect(log.exceptions.list("far", "refused", 10)).toEqual([]);
  // The bounce of a mail that also held others is still to be looked at.
  expect(log.bounces.fresh("far")).toMatchObject({ first: 1, seq: 3 });
  expect(log.removals.isForgotten(seq(2))).toBe(true);
  expect(log.removals.isForgotten(seq(3))).toBe(false);
  expect(log.removals.tombstone(seq(1))).toEqual({ reason: "asked", at: 5000 });
  expect(log.removals.forgottenOf(fingerprint(1), 10)).toEqual([2, 1]);
  expect(log.removals.forgottenOf(fingerprint(3), 10)).toEqual([]);
  expect(log.body(seq(3))).toBeDefined();

  // It comes again: it is known, and stays without a body.
  expect(log.append([personal(1, "eins")])).toEqual([{ outcome: "duplicate", seq: 1 }]);
  expect(log.body(seq(1))).toBeUndefined();
  expect(log.removals.forget(fingerprint(1), "again", 6000, 0).updates).toBe(0);
  log.close();
  expect(inspectLog(path).problems).toEqual([]);
  const reopened = UpdateLog.open(path);
  expect(reopened.removals.isForgotten(seq(1))).toBe(true);
  reopened.close();
});

test("no byte of a forgotten key is left in the files", () => {
  const directory = scratch();
  const log = UpdateLog.open(join(directory, "log"));
  const name = "Erika Mustermann <erika@example.org>";
  const before = Array.from({ length: 300 }, (_, n) => arrival(n + 10));
  log.append(before);
  // Small, over several pages, and one that expires before the order comes.
  log.append([personal(1, name), arrival(2), arrival(3)]);
  log.append([{ ...personal(1, name, 9000), update: personal(4, name, 9000).update }]);
  log.append(before.map((_, n) => arrival(n + 400)));
  log.retention.expire(1_000_001 + HOUR_MS, { retainMs: HOUR_MS, rememberMs: 720 * HOUR_MS }, 1000);
  expect(traces(directory, "Mustermann")).toBeGreaterThan(2);

  log.removals.forget(fingerprint(1), "asked", 5000, 0);
  log.removals.forget(fingerprint(4), "asked", 5000, 0);
  expect(traces(directory, "Mustermann")).toBe(0);
  const raw = Buffer.from(fingerprint(1), "hex").toString("latin1");
  expect(traces(directory, raw)).toBe(0);
  log.close();
  expect(traces(directory, "Mustermann")).toBe(0);
});

test("what SQLite copied while it moved rows goes when the file is rebuilt", () => {
  const directory = scratch();
  const log = UpdateLog.open(join(directory, "log"));
  const people = Array.from({ length: 500 }, (_, n) => n);
  const grown = (n: number, step: number) => {
    const text = `Person-${String(n).padStart(4, "0")}`;
    // Of several user ids the first one stays, which is the longest here.
    const userId = `${10 - step} ${text}${"z".repeat(((n * 37) % 150) + step * 90)}`;
    const { hash, digest } = update(n + step * 1000);
    const learnt = { hash, digest, selfSigned: selfSigned(userId) };
    return arrival(n, { update: { ...update(n), ...learnt } });
  };
  for (const step of [1, 2, 3]) log.append(people.map((n) => grown((n * 7) % 500, step)));
  const some = people.filter((n) => n % 20 === 0);
  for (const n of some) log.removals.forget(fingerprint(n), "asked", 1, 0);
  const names = new RegExp(some.map((n) => `Person-${String(n).padStart(4, "0")}`).join("|"));
  const isLeft = () => names.test(readFileSync(join(directory, "log")).toString("latin1"));
  expect(isLeft()).toBe(true);
  expect(log.removals.forget(fingerprint(0), "asked", 1, 2 ** 30).isRebuilt).toBe(true);
  expect(isLeft()).toBe(false);
  log.close();
});

test("a tombstone stays for as long as hashes are remembered, from the order on", () => {
  const path = join(scratch(), "log");
  const log = UpdateLog.open(path);
  log.append([arrival(1), arrival(2), arrival(3)]);
  log.removals.forget(fingerprint(1), "asked", 10 * HOUR_MS, 0);
  const limits = { retainMs: HOUR_MS, rememberMs: 2 * HOUR_MS };
  log.retention.expire(11 * HOUR_MS, limits, 100);
  expect([log.has(update(1).hash), log.has(update(2).hash)]).toEqual([true, false]);
  log.retention.expire(12 * HOUR_MS, limits, 100);
  log.retention.expire(12 * HOUR_MS, limits, 100);
  expect(log.has(update(1).hash)).toBe(false);
  expect(log.removals.tombstone(seq(1))).toBeUndefined();
  expect(log.counts()).toMatchObject({ entries: 1, bodies: 1 });
  log.close();
});

test("the keys that are known for good are those of the log, without what was forgotten", () => {
  const log = UpdateLog.open(join(scratch(), "log"));
  log.append([arrival(1), arrival(2), arrival(3)]);
  expect(log.removals.knows(fingerprint(1))).toBe(false);
  expect(log.removals.adopt()).toBe(3);
  log.removals.forget(fingerprint(1), "asked", 1, 0);
  expect(log.removals.adopt()).toBe(2);
  expect([1, 2, 4].map((n) => log.removals.knows(fingerprint(n)))).toEqual([false, true, false]);
  log.retention.expire(1e9, { retainMs: 1, rememberMs: 1 }, 100);
  expect(log.removals.knows(fingerprint(2))).toBe(true);
  log.close();
});

test("a log of version 2 is brought up to date by its writer, and read only afterwards", () => {
  const path = join(scratch(), "log");
  const db = new Database(path);
  db.pragma("journal_mode = WAL");
  db.exec(readFileSync(new URL("../fixtures/logs/2.sql", import.meta.url), "utf8"));
  const remembered = db.prepare("INSERT INTO identities VALUES (?, ?, ?, ?)");
  const key = (n: number) => Buffer.from(fingerprint(n), "hex");
  const now = 20_000 * 24 * HOUR_MS;
  remembered.run(key(8), skeletonOf("Ann"), now / 1000 + 86_400, now);
  remembered.run(key(9), skeletonOf("Mallory"), now / 1000 + 86_401, now);
  db.close();
  const read = () => UpdateLog.open(path, { readonly: true });
  expect(read).toThrow(Trouble);
  expect(read).toThrow(/older release/);
  expect(inspectLog(path)).toMatchObject({ problems: [], newest: 3 });
  const log = UpdateLog.open(path);
  log.removals.setBlock(fingerprint(1), ASKED, 1);
  expect(log.has(update(1).hash)).toBe(true);
  // A user id becomes a skeleton, save one that was signed in the future.
  expect(log.skeletons.get(fingerprint(8))).toEqual(skeletonOf("Ann"));
  expect(log.skeletons.get(fingerprint(9))).toBeUndefined();
  log.close();
  const after = read();
  expect(after.removals.block(fingerprint(1))).toBeDefined();
  after.close();
});
