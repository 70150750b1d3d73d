/** What the benches measure with: CPU and bytes of a process, the floors, the shuffled input. */
import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { scratch } from "../support/scratch.js";
import { median, ratios, rotated } from "./bench.js";
import { decode, FloorStore, storedIn } from "./floors/work.js";
import { armorOf, mailOf, realMaterial, shuffled } from "./material.js";
import { cpuUs, diskBytes, meter } from "./processes.js";

test("the CPU of a process is that of all its threads, in microseconds", () => {
  const own = process.cpuUsage();
  const before = cpuUs(process.pid);
  const end = performance.now() + 200;
  while (performance.now() < end);
  const { user, system } = process.cpuUsage(own);
  const spent = cpuUs(process.pid) - before;
  expect(spent).toBeGreaterThan(0.8 * (user + system) - 8000);
  expect(spent).toBeLessThan(1.2 * (user + system) + 8000);
});

test("bytes are those that go to a disk", () => {
  const file = join(scratch(), "file");
  const spent = meter(process.pid);
  const before = diskBytes(process.pid);
  const descriptor = openSync(file, "w");
  writeSync(descriptor, Buffer.alloc(100 * 4096, 1));
  fsyncSync(descriptor);
  closeSync(descriptor);
  expect(diskBytes(process.pid) - before).toBeGreaterThanOrEqual(100 * 4096);
  expect(spent(100).bytes).toBeGreaterThanOrEqual(4096);
});

test("a floor reads what the benches send, and stores it", () => {
  const file = join(scratch(), "floor.db");
  const updates = realMaterial().updates(20);
  const named = updates.map((update) => decode(Buffer.from(mailOf(update, "one"), "latin1")));
  expect(named.map(({ body }) => [...body])).toEqual(updates.map(({ body }) => [...body]));
  const store = new FloorStore(file);
  store.add(named);
  expect(named.every(({ hash }) => store.has(hash))).toBe(true);
  expect(store.has(Buffer.alloc(16))).toBe(false);
  store.close();
  const octets = updates.reduce((sum, { body }) => sum + body.length, 0);
  expect(storedIn(file)).toEqual({ rows: 20, octets });
});

test("a floor refuses another checksum", () => {
  const [update] = realMaterial().updates(1);
  if (update === undefined) throw new Error("no material");
  const armor = armorOf(update).replace(/\n/g, "\r\n");
  const wrong = armor.replace(/\r\n=.{4}/, "\r\n=AAAA");
  expect(decode(Buffer.from(armor, "latin1")).body.length).toBe(update.body.length);
  expect(() => decode(Buffer.from(wrong, "latin1"))).toThrow("another checksum");
});

test("shuffled values are the same ones, in an order that a seed decides", () => {
  const values = Array.from({ length: 1000 }, (_, n) => n);
  const first = shuffled(values, 1);
  expect(first).not.toEqual(values);
  expect([...first].sort((a, b) => a - b)).toEqual(values);
  expect(shuffled(values, 1)).toEqual(first);
  expect(shuffled(values, 2)).not.toEqual(first);
  // Neighbours are apart: in keyring order each follows the one before it.
  const follow = first.filter((value, n) => value === (first[n - 1] ?? -2) + 1).length;
  expect(follow).toBeLessThan(10);
});

test("updates are all different, and more of them begin with the same ones", () => {
  const { updates } = realMaterial();
  const few = updates(20).map(({ hash }) => hash);
  expect(new Set(few).size).toBe(20);
  expect(
    updates(40)
      .slice(0, 20)
      .map(({ hash }) => hash),
  ).toEqual(few);
});

test("ratios are of the same turn, and who goes first changes", () => {
  expect(ratios([1, 4], [2, 4], 100)).toEqual([50, 100]);
  expect(rotated(["a", "b", "c"], 1)).toEqual(["b", "c", "a"]);
});

test("the median is the middle value, or between the two in the middle", () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(median([])).toBe(0);
});
