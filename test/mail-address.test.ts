/**
 * Addresses are compared in one way everywhere: all spellings of one address are equal in each
 * place that compares, and no spelling of another address is.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Neighbour } from "../src/config/config.js";
import { parseConfig } from "../src/config/load.js";
import { ConfigFaults } from "../src/errors.js";
import { authorOf } from "../src/intake/senders.js";
import { union } from "../src/log/trail.js";
import {
  addressesIn,
  grownTrail,
  inTrail,
  mergeTrails,
  parseTrail,
} from "../src/mail/sent-trail.js";
import { isBounceAddress, parseVerp, verpSender } from "../src/mail/verp.js";
import {
  addressKey,
  addressParts,
  distinctAddresses,
  isAddress,
  isSameAddress,
  plainAddress,
} from "../src/mail-address.js";

const SECRET = new Uint8Array(32).fill(7);

/** A domain by its labels; an internationalised label as [A-label, U-label]. */
type Labels = readonly (string | readonly [string, string])[];
interface Mailbox {
  readonly local: string;
  readonly labels: Labels;
}

const label = fc.oneof(
  fc.string({ unit: fc.constantFrom(..."abk19"), minLength: 1, maxLength: 3 }).map((x) => `x${x}`),
  fc.constantFrom("a_b", "_a", "example", "xn--a"),
  fc.constantFrom<[string, string]>(
    ["xn--schlssel-95a", "schlüssel"],
    ["xn--mnchen-3ya", "münchen"],
    ["xn--e1afmkfd", "пример"],
    ["xn--ls8h", "💩"],
  ),
);
const mailbox: fc.Arbitrary<Mailbox> = fc.record({
  local: fc
    .array(fc.string({ unit: fc.constantFrom(..."abk+=_-'7"), minLength: 1, maxLength: 4 }), {
      minLength: 1,
      maxLength: 3,
    })
    .map((atoms) => atoms.join(".")),
  labels: fc.array(label, { minLength: 1, maxLength: 3 }),
});

const plainly = ({ local, labels }: Mailbox) =>
  `${local}@${labels.map((one) => (typeof one === "string" ? one : one[0])).join(".")}`;

/** Some spelling of an address, by dice: case, quotes, escapes, U-labels, a dot at the end. */
const spelled = ({ local, labels }: Mailbox) =>
  fc
    .record({
      upper: fc.array(fc.boolean(), { minLength: 40, maxLength: 40 }),
      quoting: fc.constantFrom("none", "quotes", "escapes"),
      unicode: fc.boolean(),
      dot: fc.boolean(),
    })
    .map(({ upper, quoting, unicode, dot }) => {
      const shout = (text: string) =>
        [...text].map((char, i) => (upper[i % 40] ? char.toUpperCase() : char)).join("");
      const inner = quoting === "escapes" ? shout(local).replaceAll(/./g, "\\$&") : shout(local);
      const before = quoting === "none" ? inner : `"${inner}"`;
      const names = labels.map((one) => {
        if (typeof one === "string") return shout(one);
        return unicode ? one[1] : shout(one[0]);
      });
      return `${before}@${names.join(".")}${dot ? "." : ""}`;
    });

const pair = mailbox.chain((one) =>
  fc.record({ plain: fc.constant(plainly(one)), a: spelled(one), b: spelled(one) }),
);

describe("all spellings of an address", () => {
  test("are one in every place that compares", () => {
    fc.assert(
      fc.property(pair, fc.integer({ min: 1, max: 1000 }), ({ plain, a, b }, seq) => {
        expect(addressKey(a)).toBe(addressKey(b));
        expect(addressKey(addressKey(a))).toBe(addressKey(a));
        expect(isSameAddress(a, b)).toBe(true);
        expect(distinctAddresses([a, b])).toEqual([a]);
        // Trails, in the log and in mails.
        const read = plainAddress(a) ?? "";
        expect(isAddress(read)).toBe(true);
        expect(inTrail([read], b)).toBe(true);
        expect(union([plain], [read, b])).toEqual([plain]);
        expect(mergeTrails([plain], [b])).toEqual([plain]);
        expect(grownTrail([read, "z@z.example"], plain)).toEqual(["z@z.example", plain]);
        const header = Buffer.from(`Name <${a}>, ${b}`, "utf8").toString("latin1");
        expect(addressesIn(header).map(addressKey)).toEqual([addressKey(plain), addressKey(plain)]);
        expect(parseTrail([header])).toHaveLength(1);
        // Who wrote a mail.
        const neighbours = [{ mail: "z@z.example" }, { mail: plain }] as Neighbour[];
        expect(authorOf(neighbours, { trail: [], addresses: [a] })).toBe(neighbours[1]);
        // Bounces.
        expect(isBounceAddress(plain, a)).toBe(true);
        const marked = verpSender(plain, "old", seq, seq, SECRET);
        const { local = "" } = addressParts(marked) ?? {};
        const back = `"${local}"${a.slice(a.lastIndexOf("@"))}`;
        if (marked !== plain) {
          expect(parseVerp(plain, back, SECRET)).toMatchObject({ last: seq, isSealed: true });
        }
      }),
      { numRuns: 2000 },
    );
  });

  test("are one in the configuration, as far as it takes them", () => {
    const address = mailbox.chain((one) => fc.tuple(fc.constant(plainly(one)), spelled(one)));
    fc.assert(
      fc.property(address, ([plain, other]) => {
        const text = (mail: string) =>
          `[site]\naddress = "${plain}"\n[log]\n[[peer]]\nname = "a"\nmail = '${mail}'\n`;
        const faults = (toml: string) => {
          try {
            parseConfig(toml, "kxgw.toml", "/", {});
            return [];
          } catch (error) {
            if (!(error instanceof ConfigFaults)) throw error;
            return error.faults.map(({ message }) => message);
          }
        };
        const said = isAddress(other) ? "is the same as site.address" : "is not in plain form";
        fc.pre(!other.includes("'"));
        expect(faults(text(other))).toEqual([expect.stringContaining(said)]);
      }),
      { numRuns: 300 },
    );
  });
});

test("two addresses are never one, however they are spelled", () => {
  const two = fc
    .tuple(mailbox, mailbox)
    .filter(([one, other]) => plainly(one) !== plainly(other))
    .chain(([one, other]) => fc.tuple(spelled(one), spelled(other)));
  fc.assert(
    fc.property(two, ([a, b]) => {
      expect(isSameAddress(a, b)).toBe(false);
      expect(inTrail([plainAddress(a) ?? ""], b)).toBe(false);
      expect(isBounceAddress(plainAddress(a) ?? "", b)).toBe(false);
    }),
    { numRuns: 5000 },
  );
});

test.each([
  ["a Kelvin sign", "k@x.example", "\u212a@x.example"],
  ["a dot that is quoted away", '"a.b"@x.example', '"a\\\\.b"@x.example'],
  ["a blank", '"a b"@x.example', '"ab"@x.example'],
  ["a domain in the local part", '"a@x.example"@y.example', "a@x.example"],
  ["the start of a domain", "a@x.example", "a@x.example.org"],
  ["digits of another script", "a@1.2.0.3", "a@\uff11.2.3"],
  ["a digit of another script as a label", "a@0.0.0.1.x", "a@\uff11.x"],
  ["a percent sign", "a@\u00e4a.example", "a@\u00e4%61.example"],
  ["a marked address", "a@x.example", "a+b@x.example"],
  ["no address", "a@x.example", "a@x.example\n"],
  ["an invisible character", "ab@x.example", "a\u200bb@x.example"],
])("%s makes a difference", (_, a, b) => {
  expect(isSameAddress(a, b)).toBe(false);
});

test.each(["", "@", "a", "a@", "@b", "a@.b", "a b@c", "a@b@c", '"a@b', 'a"b@c', "a@b..c", "a@b c"])(
  "%j is no address",
  (text) => {
    expect(addressParts(text)).toBeUndefined();
    expect(addressKey(text)).toBe(text);
    expect(plainAddress(text)).toBeUndefined();
  },
);

test.each([
  ["a..b@docomo.example", "a..b@docomo.example"],
  ['"a..b"@DOCOMO.example', "a..b@docomo.example"],
  ["user.@host_1.example", "user.@host_1.example"],
  ['"A \\"b\\""@x.example', '"a \\"b\\""@x.example'],
  ["root@[192.0.2.1]", "root@[192.0.2.1]"],
])("%s has the key %s and cannot be written plainly", (text, key) => {
  expect(addressKey(text)).toBe(key);
  expect(plainAddress(text)).toBeUndefined();
});
