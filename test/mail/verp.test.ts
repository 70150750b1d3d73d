/** The marked bounce address: there and back, in any case, and nothing else taken for it. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isAddress } from "../../src/mail/sent-trail.js";
import { isBounceAddress, parseVerp, verpSender } from "../../src/mail/verp.js";

const BOUNCE = "pgp-bounces@ks.example.org";

describe("verpSender", () => {
  test.each([
    ["oldpks", 7, "pgp-bounces+oldpks=7@ks.example.org"],
    ["old_pks.2", 2 ** 40, "pgp-bounces+old_5Fpks_2E2=1099511627776@ks.example.org"],
    ["a=b+c", 1, "pgp-bounces+a_3Db_2Bc=1@ks.example.org"],
  ])("marks %s and %i", (site, seq, sender) => {
    expect(verpSender(BOUNCE, site, seq)).toBe(sender);
    expect(parseVerp(BOUNCE, sender)).toEqual({ site, seq });
    expect(isBounceAddress(BOUNCE, sender)).toBe(true);
  });

  test("goes out unmarked when the mark would not fit", () => {
    expect(verpSender(BOUNCE, "x".repeat(50), 7)).toMatch(/=7@/);
    expect(verpSender(BOUNCE, "x".repeat(51), 7)).toBe(BOUNCE);
    expect(verpSender(BOUNCE, "", 7)).toBe(BOUNCE);
  });

  test("refuses what is our own mistake", () => {
    expect(() => verpSender("nobody", "a", 1)).toThrow("not a plain address");
    for (const seq of [0, -1, 1.5, Number.NaN, 2 ** 53]) {
      expect(() => verpSender(BOUNCE, "a", seq)).toThrow("no sequence number");
    }
  });

  test("comes back whole for any name, also in other letters, and is always an address", () => {
    const seqs = fc.integer({ min: 1, max: 2 ** 31 });
    fc.assert(
      fc.property(fc.string({ unit: "binary", minLength: 1, maxLength: 12 }), seqs, (name, seq) => {
        const sender = verpSender(BOUNCE, name, seq);
        expect(isAddress(sender)).toBe(true);
        if (sender === BOUNCE) return;
        expect(parseVerp(BOUNCE, sender)).toEqual({ site: name, seq });
        const shouted = parseVerp(BOUNCE.toLowerCase(), sender.toUpperCase());
        expect(shouted?.site.toLowerCase()).toBe(name.toLowerCase());
      }),
      { numRuns: 10_000 },
    );
  });
});

describe("parseVerp", () => {
  test.each([
    BOUNCE,
    "",
    "@",
    "pgp-bounces+@ks.example.org",
    "pgp-bounces+a@ks.example.org",
    "pgp-bounces+a=@ks.example.org",
    "pgp-bounces+=7@ks.example.org",
    "pgp-bounces+a=07@ks.example.org",
    "pgp-bounces+a=0@ks.example.org",
    "pgp-bounces+a=7x@ks.example.org",
    "pgp-bounces+a=9999999999999999@ks.example.org",
    "pgp-bounces+a=7@ks.example.net",
    "pgp-bounces+a=7@x@ks.example.org",
    "other+a=7@ks.example.org",
    "pgp-bounces+a b=7@ks.example.org",
    "pgp-bounces+_FF=7@ks.example.org",
    "pgp-bounces+_41=7@ks.example.org",
    "pgp-bounces+a\r\nb=7@ks.example.org",
  ])("finds no mark in %j", (recipient) => {
    expect(parseVerp(BOUNCE, recipient)).toBeUndefined();
  });

  test("compares local part and domain without regard to case", () => {
    expect(parseVerp(BOUNCE, "PGP-Bounces+OldPKS=7@KS.example.ORG")).toEqual({
      site: "OldPKS",
      seq: 7,
    });
  });
});

test("isBounceAddress takes the plain form in any case and nothing else", () => {
  expect(isBounceAddress(BOUNCE, "PGP-BOUNCES@ks.EXAMPLE.org")).toBe(true);
  expect(isBounceAddress(BOUNCE, "pgp-bounces+x@ks.example.org")).toBe(false);
  expect(isBounceAddress(BOUNCE, "postmaster@ks.example.org")).toBe(false);
});
