/**
 * Spools that are full: of thousands of files the oldest come first, nothing stalls, others are not
 * kept waiting; and what was refused goes when it is old or too much, and is told.
 * KXGW_SPOOL_FILES is how many files there are, 20,000 without it.
 */
import { existsSync, mkdirSync, readdirSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Clock } from "../../src/clock.js";
import { systemClock } from "../../src/clock.js";
import { SpoolDoor } from "../../src/ingress/spool.js";
import { Foremost, filesIn } from "../../src/ingress/spool-files.js";
import { REFUSED_LIMITS, RefusedFiles } from "../../src/ingress/spool-refused.js";
import { stallMeter } from "../support/cpu.js";
import { until } from "../support/until.js";
import { dice } from "../torture/check.js";
import { Recorder } from "./door.js";
import { bench, fixture, stopped } from "./ways.js";

const FILES = Number(process.env.KXGW_SPOOL_FILES ?? 20_000);
const LONG = { timeout: 600_000 };

function spools(...names: string[]) {
  const beside = bench((directory) => {
    for (const name of names) mkdirSync(join(directory, name));
    const watch = names.map((name) => `"${name}"`).join(", ");
    return `[spool]\nwatch = [${watch}]\nevery = "200ms"\n`;
  });
  const { config, intake, diagnostics, directory } = beside;
  const { spool } = config;
  if (spool === undefined) throw new Error("no spool section");
  const start = () =>
    stopped(
      new SpoolDoor({ intake, diagnostics, clock: systemClock }, { ...config, spool }),
    ).start();
  const paths = names.map((name) => join(directory, name));
  return { ...beside, paths, start };
}

test(`${FILES} files: oldest first, no stall, no other directory waits`, LONG, async () => {
  const { paths, start, entries, diagnostics } = spools("full", "other");
  const [full = "", other = ""] = paths;
  const random = dice(7);
  const began = Date.now() / 1000 - 1_000_000;
  let newest = "";
  for (let n = 0; n < FILES; n += 1) {
    const path = join(full, `${Math.floor(random() * 1e9)}-${n}.ready`);
    writeFileSync(path, "no mail");
    newest = path;
    utimesSync(path, began + n, began + n);
  }
  const mails = ["pksd-delta.eml", "pksd-new-rsa4096.eml", "onak-new.eml"];
  for (const [n, name] of mails.entries()) {
    writeFileSync(join(full, `pks-mail.${9 - n}`), fixture(name));
    utimesSync(join(full, `pks-mail.${9 - n}`), began - 100 + n, began - 100 + n);
  }
  const stalls = stallMeter();
  onTestFinished(() => stalls.stop());
  start();
  const startedAt = performance.now();
  // A mail that comes meanwhile into another directory is not behind the full one.
  writeFileSync(
    join(other, "pks-mail.1"),
    fixture("sks-new-eddsa.eml").toString().replaceAll("sks.example.org", "onak.example.org"),
  );
  await until(() => readdirSync(other).filter((name) => name !== "refused").length === 0);
  await expect.poll(() => entries().length, LONG).toBeGreaterThanOrEqual(mails.length);
  const firstMs = performance.now() - startedAt;
  const isNewestLeft = existsSync(newest);
  await expect.poll(() => diagnostics.all("mail-refused").length, LONG).toBeGreaterThan(2500);
  const files = diagnostics.all("mail-refused").map(({ file }) => String(file));
  const numbers = files.filter((file) => file.startsWith(full)).map(numberOf);
  // The first two looks take 4000 files at most, each look in the order of their dates.
  expect(numbers.slice(0, 1500)).toEqual(Array.from({ length: 1500 }, (_, n) => n));
  expect(isNewestLeft).toBe(true);
  expect(stalls.most()).toBeLessThan(100);
  process.stdout.write(
    `${FILES} files: first mails after ${Math.round(firstMs)} ms, longest stall ` +
      `${Math.round(stalls.most())} ms of processor time\n`,
  );
});

function numberOf(file: string): number {
  return Number(/-(\d+)\.ready$/.exec(file)?.[1]);
}

describe("what was refused", () => {
  const limits = { ...REFUSED_LIMITS, files: 10, bytes: 10_000, slackFiles: 5, slackBytes: 5000 };

  function refusedFiles(keepMs = 30 * 86_400_000) {
    const { paths } = spools("spool");
    const [spool = ""] = paths;
    const time = { date: Date.now(), monotonic: 0 };
    const clock: Clock = {
      now: () => time.date,
      monotonic: () => time.monotonic,
      random: () => 0.5,
    };
    const diagnostics = new Recorder();
    const refused = new RefusedFiles({ clock, diagnostics }, { spool, keepMs, limits });
    const take = async (name: string, size = 10) => {
      const from = join(spool, name);
      writeFileSync(from, "x".repeat(size));
      const { mtimeMs, ctimeMs } = statSync(from);
      await refused.take(from, { name, size, stamp: "", modifiedMs: mtimeMs, changedMs: ctimeMs });
    };
    const names = () => readdirSync(join(spool, "refused")).map((name) => name.split(".")[0]);
    const pass = (ms: number) => {
      time.date += ms;
      time.monotonic += ms;
    };
    return { refused, take, names, diagnostics, time, pass };
  }

  test("goes when there is too much of it, the oldest first, and is told", async () => {
    const { refused, take, names, diagnostics } = refusedFiles();
    for (let n = 10; n < 30; n += 1) await take(`${n}.ready`);
    await refused.sweep();
    expect(names().sort()).toEqual(Array.from({ length: 10 }, (_, n) => `${n + 20}`));
    const told = { reason: "too many", files: 10, bytes: 100 };
    expect(diagnostics.all("refused-removed")).toMatchObject([told]);
    expect(diagnostics.all("refused-removed")[0]?.names).toHaveLength(10);
    await take("large.ready", 9950);
    for (let n = 30; n < 34; n += 1) await take(`${n}.ready`);
    await refused.sweep();
    expect(diagnostics.all("refused-removed").map(({ reason }) => reason)).toEqual([
      ...["too many", "too many", "too large together"],
    ]);
    expect(names()).toEqual(expect.arrayContaining(["30", "33", "large"]));
  });

  test("is looked at after some have come, or an hour, and not each time", async () => {
    const { refused, take, names, pass } = refusedFiles();
    await refused.sweep();
    for (let n = 10; n < 14; n += 1) await take(`${n}.ready`);
    for (let n = 20; n < 30; n += 1) {
      if (n === 20) await refused.sweep();
      await take(`${n}.ready`);
    }
    expect(names()).toHaveLength(14);
    await refused.sweep();
    expect(names()).toHaveLength(10);
    await take("a.ready");
    await refused.sweep();
    expect(names()).toHaveLength(11);
    pass(limits.everyMs);
    await refused.sweep();
    expect(names()).toHaveLength(10);
  });

  test("goes when it is old, unless the clock has jumped", async () => {
    const day = 86_400_000;
    const { refused, take, names, diagnostics, time, pass } = refusedFiles(day);
    await take("a.ready");
    time.date += 400 * day;
    pass(limits.everyMs);
    await refused.sweep();
    expect(names()).toEqual(["a"]);
    time.date -= 400 * day;
    pass(day / 2);
    await refused.sweep();
    expect(names()).toEqual(["a"]);
    pass(day / 2 + 1000);
    await refused.sweep();
    expect(names()).toEqual([]);
    expect(diagnostics.all("refused-removed")).toMatchObject([
      { reason: "too old", files: 1, bytes: 10, names: [expect.stringMatching(/^a\.ready\.\d+$/)] },
    ]);
  });

  test("of a date that the process has just begun to see stays", async () => {
    const { refused, take, names, time } = refusedFiles(1000);
    await take("a.ready");
    time.date += 10_000;
    await refused.sweep();
    expect(names()).toEqual(["a"]);
  });
});

test("the foremost of many are kept in order, whatever order they come in", () => {
  const random = dice(3);
  const numbers = Array.from({ length: 5000 }, () => Math.floor(random() * 1000));
  const foremost = new Foremost<number>(100, (a, b) => a - b);
  const out = numbers.flatMap((one) => foremost.add(one));
  const { kept, out: last } = foremost.finish();
  expect(kept).toEqual(numbers.toSorted((a, b) => a - b).slice(0, 100));
  expect([...kept, ...out, ...last].sort((a, b) => a - b)).toEqual(
    numbers.toSorted((a, b) => a - b),
  );
});

test("files come in batches, and no batch is large", async () => {
  const { paths } = spools("spool");
  const [spool = ""] = paths;
  for (let n = 0; n < 600; n += 1) writeFileSync(join(spool, `${n}.ready`), "");
  mkdirSync(join(spool, "700.ready"));
  const sizes: number[] = [];
  for await (const batch of filesIn(spool, (name) => name !== "5.ready")) sizes.push(batch.length);
  expect(sizes).toEqual([256, 256, 87]);
});
