/** Numbers, times and lists as the page and the commands write them. */
import { describe, expect, test } from "vitest";
import {
  ago,
  ahead,
  cameBy,
  grouped,
  listed,
  octets,
  percent,
  several,
  span,
} from "../src/text.js";

const MIN = 60_000;
const HOUR = 60 * MIN;

describe("a duration", () => {
  test.each([
    [-5, "0 s"],
    [999, "0 s"],
    [1000, "1 s"],
    [59_999, "59 s"],
    [MIN, "1 min"],
    [HOUR - 1, "59 min"],
    [HOUR, "1 h"],
    [24 * HOUR - 1, "23 h"],
    [49 * HOUR, "2 d"],
  ])("of %d ms is %s", (ms, words) => {
    expect(span(ms)).toBe(words);
  });

  test("in the past and in the future has words for now and never", () => {
    expect([ago(0, 1e9), ago(1e9, 1e9 + 999), ago(1e9, 1e9 + 6 * MIN)]).toEqual([
      "never",
      "now",
      "6 min ago",
    ]);
    expect([ahead(1e9 + 999, 1e9), ahead(1e9 + HOUR, 1e9), ahead(1, 1e9)]).toEqual([
      "now",
      "in 1 h",
      "now",
    ]);
  });
});

describe("a count", () => {
  test.each([
    [0, "0"],
    [999, "999"],
    [1000, "1 000"],
    [1_234_567, "1 234 567"],
    [999.6, "1 000"],
  ])("of %d is %s", (count, words) => {
    expect(grouped(count)).toBe(words);
  });

  test("has the plural for all but one", () => {
    expect([0, 1, 2, 1000].map((count) => several(count, "update"))).toEqual([
      "0 updates",
      "1 update",
      "2 updates",
      "1 000 updates",
    ]);
  });
});

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [1000, "1.0 kB"],
  [1_234_567, "1.2 MB"],
  [5e9, "5.0 GB"],
  [7e12, "7.0 TB"],
  [7e15, "7000.0 TB"],
])("%d octets are %s", (count, words) => {
  expect(octets(count)).toBe(words);
});

test("a share is a percentage, without a fraction where it has none", () => {
  expect([0, 0.5, 0.9871, 1].map(percent)).toEqual(["0 %", "50 %", "98.7 %", "100 %"]);
});

test("names are joined as in a sentence", () => {
  expect([[], ["a"], ["a", "b"], ["a", "b", "c"]].map(listed)).toEqual([
    "",
    "a",
    "a and b",
    "a, b and c",
  ]);
});

test("each transport has words", () => {
  expect((["mail", "kx", "hkp"] as const).map(cameBy)).toEqual(["by mail", "by KX", "by HKP"]);
});
