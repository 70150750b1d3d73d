/**
 * Orders about a key as they are read: from what the operator types, and from the path by which
 * they reach a running gateway. What they do is in test/cli/removal.test.ts.
 */
import { describe, expect, test } from "vitest";
import { orderOf, pathOf, readOrder } from "../src/removal.js";

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
