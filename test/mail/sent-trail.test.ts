/** The trail in every spelling that servers and relays have made of it, and its growth. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  addressesIn,
  grownTrail,
  inTrail,
  MAX_TRAIL,
  mergeTrails,
  parseTrail,
} from "../../src/mail/sent-trail.js";
import { isAddress } from "../../src/mail-address.js";
import { cpuTimer } from "../support/cpu.js";

const many = (count: number) => Array.from({ length: count }, (_, i) => `site${i}@example.org`);

describe("parseTrail", () => {
  test.each([
    ["one bare address", ["pgp@a.example"], ["pgp@a.example"]],
    ["one a header", ["pgp@a.example", "pgp@b.example"], ["pgp@a.example", "pgp@b.example"]],
    ["quoted, as SKS writes its own", ['"pgp@sks.example.com"'], ["pgp@sks.example.com"]],
    ["quoted with a name, as Debian's sksconf has it", ['"PGP Key Server <a@b.c>"'], ["a@b.c"]],
    ["angle brackets", ["<pgp@a.example>"], ["pgp@a.example"]],
    ["two in brackets without a comma", ["<a@x.org> <b@x.org>"], ["a@x.org"]],
    ["a display name", ["Key Server <pgp@a.example>"], ["pgp@a.example"]],
    ["a quoted name with a comma", ['"Doe, J" <pgp@a.example>'], ["pgp@a.example"]],
    ["an address for a name", ['"no@one.example" <pgp@a.example>'], ["pgp@a.example"]],
    ["an escaped quote in a name", ['"a \\" , <x@y>" <pgp@a.example>'], ["pgp@a.example"]],
    ["a comment", ["pgp@a.example (the (old) one, x@y)"], ["pgp@a.example"]],
    [
      "a list",
      ['a@x.org, "b@x.org",<c@x.org>;d@x.org'],
      ["a@x.org", "b@x.org", "c@x.org", "d@x.org"],
    ],
    ["a list folded and not unfolded", ["a@x.org,\r\n\tb@x.org"], ["a@x.org", "b@x.org"]],
    ["repeats in another case", ["PGP@A.example", "pgp@a.EXAMPLE"], ["PGP@A.example"]],
    ["empty", ["", " , ,, "], []],
    ["no address at all", ["yes", "@", "a@", "@b", "<>"], []],
    ["blanks inside", ["a b@x.org", "a@x.org b@x.org"], []],
    ["control bytes", ["a\0@x.org", "a@x.org\rX: y", "a@x\u0007.org", "b@x.org\u007f"], []],
    ["a closing bracket", ["a@x.org>", "a>b@x.org", "<a@x.org>>"], ["a@x.org"]],
    ["8-bit bytes", ["\u00e4@x.org", "a@\u00fc.org"], []],
    ["a source route and an encoded word", ["<@a,@b:c@d>", "=?utf-8?q?a=40x.org?="], []],
    ["a quote and a bracket left open", ['"a@x.org', "<b@x.org"], ["a@x.org", "b@x.org"]],
    ["254 bytes, 255 bytes", [longAddress(254), longAddress(255)], [longAddress(254)]],
  ])("reads %s", (_, values, expected) => {
    expect(parseTrail(values)).toEqual(expected);
  });

  test("takes 256 entries, of more the last ones", () => {
    const [padded] = [parseTrail(many(MAX_TRAIL + 44))];
    expect(parseTrail(many(MAX_TRAIL))).toHaveLength(256);
    expect(padded).toEqual(parseTrail(many(MAX_TRAIL + 44).slice(44)));
    expect(parseTrail(Array(MAX_TRAIL + 44).fill("a@x.org"))).toEqual(["a@x.org"]);
  });

  test("lets nothing but plain addresses through, whatever comes", () => {
    const hostile = fc.string({
      unit: fc.constantFrom(...'ab@.,;<>"()\\ \t\r\n\0\u00e9\u2028:+='),
      maxLength: 60,
    });
    fc.assert(
      fc.property(fc.array(hostile, { maxLength: 6 }), (values) => {
        for (const address of parseTrail(values)) {
          expect(address).toMatch(/^[!-;=?-~]+@[!-;=?-~]+$/);
          expect(Buffer.byteLength(address)).toBeLessThanOrEqual(254);
        }
      }),
      { numRuns: 10_000 },
    );
  });

  test("is linear: megabytes of the worst take well under a second", () => {
    for (const worst of ["<", '"', "(", "\\", ",", "<a", '"\\', "a.", "a@", "(\\", '""']) {
      const cpuMs = cpuTimer();
      addressesIn(worst.repeat(1_000_000 / worst.length));
      expect(cpuMs()).toBeLessThan(1000);
    }
  });
});

function longAddress(length: number): string {
  return `${"a".repeat(length - 6)}@x.org`;
}

describe("isAddress", () => {
  test.each(["a@b", "pgp-public-keys@kx.example.org", "a+b=7@x.org", "o'k@x_y.org"])(
    "takes %s",
    (address) => expect(isAddress(address)).toBe(true),
  );
  test.each(["", "a", "a@b@c", "a@b.", "a@.b", ".a@b", "a..b@c", "a@b\n", "a@[1.2.3.4]", "a,b@c"])(
    "refuses %j",
    (address) => expect(isAddress(address)).toBe(false),
  );
});

describe("the growing trail", () => {
  test("asks without regard to case", () => {
    expect(inTrail(["PGP@a.example"], "pgp@A.example")).toBe(true);
    expect(inTrail(["pgp@a.example"], "pgp@b.example")).toBe(false);
    expect(inTrail([], "pgp@b.example")).toBe(false);
  });

  test("ends in ourselves, once, in our own spelling", () => {
    expect(grownTrail(["a@x", "US@x", "b@x", "A@x"], "us@x")).toEqual(["a@x", "b@x", "us@x"]);
    expect(grownTrail([], "us@x")).toEqual(["us@x"]);
  });

  test("stays within what the next hop accepts", () => {
    const full = grownTrail(many(MAX_TRAIL), "us@x");
    expect(full).toHaveLength(256);
    expect(full.at(-1)).toBe("us@x");
    expect(parseTrail(full)).toEqual(full);
  });

  test("merges in order, each site once, never above the limit", () => {
    expect(mergeTrails(["a@x", "b@x"], ["B@x", "c@x"])).toEqual(["a@x", "b@x", "c@x"]);
    expect(mergeTrails(many(200), many(400))).toEqual(many(256));
  });
});
