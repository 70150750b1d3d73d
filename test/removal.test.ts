/**
 * Orders about a key as they are read: from what the operator types, and from the path by which
 * they reach a running gateway; what they do is in test/cli/removal.test.ts. And the end of blocks
 * by their date.
 */
import { describe, expect, onTestFinished, test } from "vitest";
import type { Block } from "../src/block.js";
import { Trouble } from "../src/errors.js";
import { UpdateLog } from "../src/log/update-log.js";
import { BlockEnds, orderOf, pathOf, readOrder } from "../src/removal.js";
import type { Fingerprint } from "../src/update.js";
import { DEFAULT_POLICY } from "./config/example.js";
import { fingerprint, update } from "./log/material.js";
import { checked } from "./support/reported.js";

const KEY = "F8D2585B8783D4816D25DDF2DADEE1E18FC2C80E";
const NOW = Date.parse("2026-11-23T12:00:00Z");
const GIVEN = { fingerprint: KEY, reason: "asked", until: undefined, allowRevocation: false };

describe("an order that the operator types", () => {
  test("has its reason without the blanks around it", () => {
    expect(readOrder("block", { ...GIVEN, reason: "  by its owner " }, NOW)).toEqual({
      value: {
        ...{ verb: "block", fingerprint: KEY, reason: "by its owner" },
        ...{ until: undefined, allowRevocation: false },
      },
    });
  });

  test.each([
    ["no reason", { reason: undefined }, /a reason is missing/],
    ["an empty reason", { reason: " " }, /a reason is missing/],
    ["a reason of two lines", { reason: "a\nb" }, /one line of at most 500 characters/],
    ["a reason that is too long", { reason: "x".repeat(501) }, /at most 500 characters/],
    ["a key id in place of the fingerprint", { fingerprint: "0x8783D481" }, /fingerprint/],
    ["a date that is none", { until: "soon" }, /date/],
    ["a date that has passed", { until: "2026-11-23" }, /2026-11-23 is in the past/],
  ])("is refused with %s", (_, changed, fault) => {
    expect(readOrder("block", { ...GIVEN, ...changed }, NOW)).toEqual({
      fault: expect.stringMatching(fault),
    });
  });

  test("may have a reason of 500 characters", () => {
    expect(readOrder("block", { ...GIVEN, reason: "x".repeat(500) }, NOW)).toHaveProperty("value");
  });
});

describe("the path of an order", () => {
  test.each([
    { ...GIVEN },
    { ...GIVEN, until: "2027-01-31" },
    { ...GIVEN, reason: "a&b=c? ü/%", allowRevocation: true },
  ])("is read back as the same order", (given) => {
    const reading = readOrder("block", given, NOW);
    if ("fault" in reading) throw new Error(reading.fault);
    const { pathname, searchParams } = new URL(pathOf(reading.value), "http://gateway");
    const [, , fingerprint = "", verb = ""] = pathname.split("/");
    expect(orderOf(verb, fingerprint, searchParams, NOW)).toEqual(reading);
  });

  test("of another verb is no order", () => {
    expect(orderOf("delete", KEY, new URLSearchParams({ reason: "x" }), NOW)).toBeUndefined();
  });
});

describe("the end of a block by its date", () => {
  const [KEY_1, KEY_2, KEY_3] = [fingerprint(1), fingerprint(2), fingerprint(3)];
  const end = (key: Fingerprint) => ["block-ended", key];
  const block = (until: number | undefined): Block => {
    return { reason: "asked", until, allowRevocation: false };
  };

  /** A log with these blocks by command, and a gateway with these of the list. */
  function given(stored: Record<string, Block>, listed: Record<string, Block>, since = NOW) {
    const log = UpdateLog.open(":memory:");
    onTestFinished(() => log.close());
    for (const [key, one] of Object.entries(stored)) {
      log.removals.setBlock(key as Fingerprint, one, NOW - 1000);
    }
    log.refusals.add(update(9).hash, "blocked", NOW + 1e9);
    const time = { now: NOW };
    const ended: unknown[] = [];
    const diagnostics = checked((event, fields) => ended.push([event, fields.fingerprint]));
    let listings = 0;
    const offered: string[] = [];
    const offerAgain = (keys: readonly string[]) => void offered.push(...keys);
    const policy = { ...DEFAULT_POLICY, blocks: new Map(Object.entries(listed)) };
    const ends = new BlockEnds(
      {
        ...{ policy, log, diagnostics, listAgain: () => (listings += 1), offerAgain },
        clock: { now: () => time.now, monotonic: () => time.now, random: () => 0 },
      },
      since,
    );
    const look = (now: number) => {
      time.now = now;
      ends.look();
      return {
        listings,
        ended: [...ended],
        offered: [...offered],
        isDeclined: log.refusals.holds(update(9).hash, NOW),
      };
    };
    return { log, look };
  }

  test("lists the peers again and forgets what was refused, once", () => {
    const { log, look } = given({ [KEY_1]: block(NOW + 10), [KEY_2]: block(undefined) }, {});
    expect(look(NOW + 9)).toEqual({ listings: 0, ended: [], offered: [], isDeclined: true });
    const once = { listings: 1, ended: [end(KEY_1)], offered: [KEY_1], isDeclined: false };
    expect(look(NOW + 10)).toEqual(once);
    expect(look(NOW + 11)).toEqual(once);
    expect(log.removals.blocks().map((one) => one.fingerprint)).toEqual([KEY_2]);
  });

  test("is noticed at the start, for the list if it was after the newest entry", () => {
    const stored = { [KEY_1]: block(NOW - 500) };
    const listed = { [KEY_2]: block(NOW - 10), [KEY_3]: block(NOW - 100) };
    const { look } = given(stored, listed, NOW - 50);
    const ended = [end(KEY_1), end(KEY_2)];
    expect(look(NOW)).toEqual({ listings: 1, ended, offered: [KEY_2, KEY_1], isDeclined: false });
  });

  test("is announced again at the next look when the log fails", () => {
    const log = UpdateLog.open(":memory:");
    onTestFinished(() => log.close());
    log.removals.setBlock(KEY_1 as Fingerprint, block(undefined), NOW - 1000);
    log.removals.unblock(KEY_1 as Fingerprint, NOW - 500);
    const keys: string[] = [];
    let isBroken = true;
    const ends = new BlockEnds(
      {
        ...{ policy: DEFAULT_POLICY, log, diagnostics: checked(() => {}), listAgain: () => {} },
        offerAgain: (some) => {
          if (isBroken) throw new Trouble("unusable", "the log is full", "Make room.");
          keys.push(...some);
        },
        clock: { now: () => NOW, monotonic: () => 0, random: () => 0 },
      },
      NOW,
    );
    ends.look();
    expect(keys).toEqual([]);
    isBroken = false;
    ends.look();
    ends.look();
    expect(keys).toEqual([KEY_1]);
  });

  test("is announced again once, and once more by the next process, until it is forgotten", () => {
    const { log, look } = given({ [KEY_1]: block(NOW + 10), [KEY_2]: block(undefined) }, {});
    look(NOW + 10);
    log.removals.unblock(KEY_2 as Fingerprint, NOW + 20);
    expect(log.removals.unblock(KEY_2 as Fingerprint, NOW + 21)).toBe(false);
    expect(look(NOW + 30).offered).toEqual([KEY_1, KEY_2]);
    expect(look(NOW + 40).offered).toEqual([KEY_1, KEY_2]);
    expect(log.removals.blocks()).toEqual([]);
    const keys: string[] = [];
    const next = new BlockEnds(
      {
        ...{ policy: DEFAULT_POLICY, log, diagnostics: checked(() => {}), listAgain: () => {} },
        offerAgain: (some) => void keys.push(...some),
        clock: { now: () => NOW + 50, monotonic: () => 0, random: () => 0 },
      },
      NOW,
    );
    next.look();
    next.look();
    expect(keys).toEqual([KEY_1, KEY_2]);
    log.removals.setBlock(KEY_1 as Fingerprint, block(undefined), NOW + 60);
    const over = (now: number) => log.removals.over(now).map(({ fingerprint }) => fingerprint);
    expect(over(NOW + 60)).toEqual([KEY_2]);
    const later = NOW + 31 * 86_400_000;
    expect(over(later)).toEqual([]);
    log.removals.unblock(KEY_1 as Fingerprint, later);
    expect(over(later)).toEqual([KEY_1]);
    expect(over(NOW)).toEqual([KEY_1]);
  });

  test("changes nothing for a key that the list still blocks", () => {
    const { log, look } = given({ [KEY_1]: block(NOW + 1) }, { [KEY_1]: block(undefined) });
    expect(look(NOW + 1)).toMatchObject({ listings: 0, ended: [], offered: [] });
    expect(log.removals.blocks()).toEqual([]);
  });

  test("is tried again when the log fails", () => {
    const { log, look } = given({ [KEY_1]: block(NOW + 1) }, { [KEY_2]: block(NOW + 1) });
    const { unblock } = log.removals;
    log.removals.unblock = () => {
      throw new Trouble("unusable", "the log is full", "Make room.");
    };
    expect(look(NOW + 1)).toMatchObject({ listings: 0, ended: [["log-trouble", undefined]] });
    log.removals.unblock = unblock;
    const again = look(NOW + 2);
    expect(again.listings).toBe(1);
    expect(again.ended.slice(1)).toEqual([end(KEY_1), end(KEY_2)]);
  });
});
