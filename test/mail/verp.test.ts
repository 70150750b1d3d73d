/** The marked bounce address: there and back, in any case, and nothing else taken for it. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isBounceAddress, parseVerp, verpSender } from "../../src/mail/verp.js";
import { isAddress } from "../../src/mail-address.js";

const BOUNCE = "pgp-bounces@ks.example.org";
const SECRET = new Uint8Array(32).fill(7);
/** A seal of the right form that nobody wrote. */
const MADE_UP = "0123456789";

/** The mark and its seal cut off, which is checked by reading it back. */
const bare = (sender: string) => sender.replace(/=[0-9a-f]{10}@/, "@");

describe("verpSender", () => {
  test.each([
    ["oldpks", 7, 7, "pgp-bounces+oldpks=7@ks.example.org"],
    ["oldpks", 7, 106, "pgp-bounces+oldpks=7-106@ks.example.org"],
    ["old_pks.2", 2 ** 40, 2 ** 40, "pgp-bounces+old_5Fpks_2E2=1099511627776@ks.example.org"],
    ["a=b+c", 1, 1, "pgp-bounces+a_3Db_2Bc=1@ks.example.org"],
  ])("marks %s and %i to %i", (site, first, last, sender) => {
    const marked = verpSender(BOUNCE, site, first, last, SECRET);
    expect(bare(marked)).toBe(sender);
    expect(parseVerp(BOUNCE, marked, SECRET)).toEqual({ site, first, last, isSealed: true });
    expect(isBounceAddress(BOUNCE, marked)).toBe(true);
  });

  test("goes out unmarked when the mark would not fit", () => {
    expect(verpSender(BOUNCE, "x".repeat(39), 7, 7, SECRET)).toMatch(/=7=/);
    expect(verpSender(BOUNCE, "x".repeat(40), 7, 7, SECRET)).toBe(BOUNCE);
    expect(verpSender(BOUNCE, "", 7, 7, SECRET)).toBe(BOUNCE);
  });

  test("refuses what is our own mistake", () => {
    expect(() => verpSender("nobody", "a", 1, 1, SECRET)).toThrow("not a plain address");
    for (const seq of [0, -1, 1.5, Number.NaN, 2 ** 53]) {
      expect(() => verpSender(BOUNCE, "a", seq, seq, SECRET)).toThrow(
        "sequence numbers are invalid",
      );
    }
    expect(() => verpSender(BOUNCE, "a", 2, 1, SECRET)).toThrow("sequence numbers are invalid");
  });

  test("comes back whole for any name, also in other letters, and is always an address", () => {
    const seqs = fc.integer({ min: 1, max: 2 ** 31 });
    fc.assert(
      fc.property(fc.string({ unit: "binary", minLength: 1, maxLength: 12 }), seqs, (name, seq) => {
        const sender = verpSender(BOUNCE, name, seq, seq, SECRET);
        expect(isAddress(sender)).toBe(true);
        if (sender === BOUNCE) return;
        const range = { first: seq, last: seq, isSealed: true };
        expect(parseVerp(BOUNCE, sender, SECRET)).toEqual({ site: name, ...range });
        const shouted = parseVerp(BOUNCE.toLowerCase(), sender.toUpperCase(), SECRET);
        expect(shouted).toMatchObject(range);
        expect(shouted?.site.toLowerCase()).toBe(name.toLowerCase());
      }),
      { numRuns: 10_000 },
    );
  });
});

describe("the seal", () => {
  const sender = verpSender(BOUNCE, "oldpks", 7, 106, SECRET);

  test.each([
    ["another site", sender.replace("oldpks", "newpks")],
    ["another first", sender.replace("=7-", "=8-")],
    ["another last", sender.replace("-106", "-107")],
    ["one update only", sender.replace("7-106", "106")],
    ["another seal", sender.replace(/=[0-9a-f]{10}@/, `=${MADE_UP}@`)],
  ])("is broken by %s", (_, forged) => {
    expect(forged).not.toBe(sender);
    expect(parseVerp(BOUNCE, forged, SECRET)).toMatchObject({ isSealed: false });
  });

  test("is broken with another secret", () => {
    const theirs = new Uint8Array(32).fill(8);
    expect(parseVerp(BOUNCE, sender, theirs)).toMatchObject({ isSealed: false });
  });
});

describe("parseVerp", () => {
  test.each([
    BOUNCE,
    "",
    "@",
    "pgp-bounces+@ks.example.org",
    ...[
      ...["a", "a=", "=7", "a=07", "a=0", "a=7x", "a=9999999999999999", "a b=7", "_FF=7", "_41=7"],
      ...["a\r\nb=7", "a=7-", "a=7-6", "a=-7", "a=7-9999999999999999"],
    ].map((mark) => `pgp-bounces+${mark}=${MADE_UP}@ks.example.org`),
    "pgp-bounces+a=7@ks.example.org",
    `pgp-bounces+a=7=${MADE_UP}0@ks.example.org`,
    `pgp-bounces+a=7=${MADE_UP}@ks.example.net`,
    `pgp-bounces+a=7=${MADE_UP}@x@ks.example.org`,
    `other+a=7=${MADE_UP}@ks.example.org`,
  ])("finds no mark in %j", (recipient) => {
    expect(parseVerp(BOUNCE, recipient, SECRET)).toBeUndefined();
  });

  test("compares local part and domain without regard to case", () => {
    const mark = parseVerp(BOUNCE, `PGP-Bounces+OldPKS=7=${MADE_UP}@KS.example.ORG`, SECRET);
    expect(mark).toEqual({ site: "OldPKS", first: 7, last: 7, isSealed: false });
  });
});

test("isBounceAddress takes the plain form in any case and nothing else", () => {
  expect(isBounceAddress(BOUNCE, "PGP-BOUNCES@ks.EXAMPLE.org")).toBe(true);
  expect(isBounceAddress(BOUNCE, "pgp-bounces+x@ks.example.org")).toBe(false);
  expect(isBounceAddress(BOUNCE, "postmaster@ks.example.org")).toBe(false);
});
