/** The one profile that we write: golden bytes, nothing injected, and read back as it was meant. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Refusal } from "../../src/errors.js";
import { type Composition, composeIncremental, mailDate } from "../../src/mail/compose.js";
import { readHead } from "../../src/mail/head.js";
import { recognise } from "../../src/mail/incremental.js";
import { grownTrail, parseTrail } from "../../src/mail/sent-trail.js";
import { isAddress } from "../../src/mail-address.js";
import { encodeArmor, readArmor } from "../../src/openpgp/armor.js";
import { delivered, fixture, keyArmor, keyNames, text } from "./fixtures.js";
import * as cks from "./oracles/cks.js";
import * as hockeypuck from "./oracles/hockeypuck.js";
import * as onak from "./oracles/onak.js";
import { keysOf, walk } from "./oracles/packets.js";
import * as pksd from "./oracles/pksd.js";
import { armored, bytesOf, firstBlock } from "./oracles/raw-mail.js";
import * as sks from "./oracles/sks.js";

const TRAIL = ["pgp-public-keys@a.example.com", "PGP-Public-Keys@b.example.com"];
const MAIL: Composition = {
  to: "pgp-public-keys@pks.example.net",
  from: "pgp-keyserver-admin@kx.example.org",
  trail: TRAIL,
  site: "pgp-public-keys@kx.example.org",
  date: Date.UTC(2026, 10, 23, 7, 8, 9, 999),
  messageId: "<1795417689.7.oldpks@kx.example.org>",
  armor: keyArmor("role-F8D2585B8783D481.asc"),
};

test("is the golden file to the byte", () => {
  expect(text(composeIncremental(MAIL))).toBe(text(fixture("composed-incremental.eml")));
});

test("is the same for armor with CRLF, and with blank lines behind it", () => {
  const armor = `${MAIL.armor.replaceAll("\n", "\r\n")}\r\n\r\n`;
  expect(composeIncremental({ ...MAIL, armor })).toEqual(composeIncremental(MAIL));
});

describe("the wire form", () => {
  test.each(keyNames)("%s: 7-bit, CRLF only, no line over 76", (name) => {
    const wire = text(composeIncremental({ ...MAIL, armor: keyArmor(name) }));
    expect(wire).toMatch(/^(?:[\t -~]{0,76}\r\n)+$/);
    expect(wire.endsWith("-----END PGP PUBLIC KEY BLOCK-----\r\n")).toBe(true);
  });

  test("a long address is not folded, for pksd would not see it", () => {
    const long = `${"a".repeat(242)}@example.org`;
    const wire = text(composeIncremental({ ...MAIL, trail: [long] }));
    expect(wire).toContain(`\r\nX-KeyServer-Sent: ${long}\r\n`);
    const lines = wire.split("\r\n").filter((line) => line.length > 76);
    expect(lines).toEqual([`X-KeyServer-Sent: ${long}`]);
  });

  test("ourselves in the trail already: once, and last", () => {
    const trail = ["PGP-PUBLIC-KEYS@kx.example.org", "a@b.example"];
    const { fields } = readHead(composeIncremental({ ...MAIL, trail }));
    const sent = fields.filter(({ name }) => name === "X-KeyServer-Sent");
    expect(sent.map(({ value }) => value)).toEqual(["a@b.example", MAIL.site]);
  });
});

/** Text with everything that could break out of a header line, and now and then an address. */
const hostile = fc.oneof(
  fc.constantFrom(...TRAIL, "x@y.example", "X@Y.EXAMPLE"),
  fc
    .array(
      fc.oneof(
        { weight: 3, arbitrary: fc.constantFrom("a@b.example", "a", "Bcc: v@w", "@", ".", ":") },
        fc.constantFrom(
          "\r",
          "\n",
          "\r\n",
          "\0",
          ">",
          "<",
          " ",
          "\t",
          ",",
          '"',
          "\u00e9",
          "\u2028",
        ),
        fc.constantFrom("\r\nRCPT TO:<x@y>", "\r\n.\r\n", "=?utf-8?q?=0D=0A?=", "\u010d\u010a"),
      ),
      { maxLength: 5 },
    )
    .map((pieces) => pieces.join("")),
);

/** The only lines that a head of ours may have, in order; the trail's are counted. */
const HEAD_LINES = [
  /^To: [!-;=?-~]+@[!-;=?-~]+$/,
  /^From: PGP Key Server Administrator <[!-;=?-~]+@[!-;=?-~]+>$/,
  /^Subject: incremental$/,
  /^Precedence: list$/,
  /^Auto-Submitted: auto-generated$/,
  /^Date: Mon, 23 Nov 2026 07:08:09 \+0000$/,
  /^Message-ID: <[!-;=?-~]+@[!-;=?-~]+>$/,
  /^MIME-Version: 1\.0$/,
  /^Content-type: application\/pgp-keys$/,
  /^Content-Transfer-Encoding: 7bit$/,
];

function expectOurHead(wire: string, trail: readonly string[]): void {
  expect(wire).toMatch(/^(?:[\t -~]*\r\n)+$/);
  const [head = ""] = wire.split("\r\n\r\n");
  const lines = head.split("\r\n");
  const sent = lines.splice(3, trail.length);
  expect(sent).toEqual(trail.map((address) => `X-KeyServer-Sent: ${address}`));
  expect(lines).toHaveLength(HEAD_LINES.length);
  for (const [index, pattern] of HEAD_LINES.entries()) expect(lines[index]).toMatch(pattern);
}

describe("header injection", () => {
  test("what came in a trail goes out clean or not at all, 10,000 times", () => {
    let kept = 0;
    fc.assert(
      fc.property(fc.array(hostile, { maxLength: 5 }), (values) => {
        const trail = parseTrail(values);
        kept += trail.length;
        expectOurHead(text(composeIncremental({ ...MAIL, trail })), grownTrail(trail, MAIL.site));
      }),
      { numRuns: 10_000 },
    );
    expect(kept).toBeGreaterThan(1000);
  });

  test("any other value is written clean or refused as our own mistake, 10,000 times", () => {
    let composed = 0;
    let refused = 0;
    const slots = fc.constantFrom("to", "from", "site", "trail", "messageId", "armor");
    fc.assert(
      fc.property(slots, hostile, (slot, value) => {
        const wrapped = { trail: [value], messageId: `<${value}>`, armor: MAIL.armor + value };
        const mail = { ...MAIL, [slot]: slot in wrapped ? Reflect.get(wrapped, slot) : value };
        let wire: string;
        try {
          wire = text(composeIncremental(mail));
        } catch (error) {
          expect(error).toMatchObject({ name: "Error", message: /^compose: / });
          refused += 1;
          return;
        }
        composed += 1;
        expectOurHead(wire, grownTrail(mail.trail, mail.site));
        if (slot !== "messageId" && slot !== "armor") expect(isAddress(value)).toBe(true);
      }),
      { numRuns: 10_000 },
    );
    expect(Math.min(composed, refused)).toBeGreaterThan(1000);
  });

  test.each([
    ["a long armor line", `${MAIL.armor}${"A".repeat(77)}\n`],
    ["8-bit armor", MAIL.armor.replace("\n\n", "\nComment: \u00e9\n\n")],
    ["a lone CR", MAIL.armor.replace("\n\n", "\nComment: a\rb\n\n")],
    ["no armor", ""],
    ["text before the armor", `hello\n${MAIL.armor}`],
  ])("refuses %s", (_, armor) => {
    expect(() => composeIncremental({ ...MAIL, armor })).toThrow(/^compose: /);
  });
});

test("round trip: what we write we understand", () => {
  const address = fc
    .tuple(fc.stringMatching(/^[a-z0-9+=-]{1,12}$/), fc.stringMatching(/^[a-z]{1,8}\.[a-z]{2,3}$/))
    .map(([local, domain]) => `${local}@${domain}`);
  fc.assert(
    fc.property(
      fc.array(address, { maxLength: 20 }),
      fc.constantFrom(...keyNames),
      (trail, key) => {
        const armor = keyArmor(key);
        const wire = composeIncremental({ ...MAIL, trail, armor });
        const { fields, bodyStart } = readHead(wire);
        const understood = recognise(fields, [wire.subarray(bodyStart)]);
        expect(understood).toMatchObject({
          command: "incremental",
          trail: grownTrail(trail, MAIL.site),
          from: MAIL.from,
          messageId: MAIL.messageId,
        });
        const [part] = understood.command === "reply" ? [] : understood.armor;
        expect(text(part ?? new Uint8Array())).toBe(armor.replaceAll("\n", "\r\n"));
      },
    ),
    { numRuns: 300 },
  );
});

describe("the date", () => {
  test("is what the platform says, for any second to the year 9999", () => {
    const last = Date.UTC(9999, 11, 31, 23, 59, 59, 999);
    expect(mailDate(0)).toBe("Thu, 01 Jan 1970 00:00:00 +0000");
    expect(mailDate(last)).toBe("Fri, 31 Dec 9999 23:59:59 +0000");
    const leap = [Date.UTC(2000, 1, 29), Date.UTC(2100, 1, 28, 24), Date.UTC(2024, 11, 31)];
    const utc = (ms: number) => new Date(ms).toUTCString().replace("GMT", "+0000");
    for (const ms of leap) expect(mailDate(ms)).toBe(utc(ms));
    fc.assert(
      fc.property(fc.integer({ min: 0, max: last }), (ms) => {
        expect(mailDate(ms)).toBe(utc(ms));
      }),
      { numRuns: 10_000 },
    );
  });

  test.each([-1, Number.NaN, Number.POSITIVE_INFINITY, Date.UTC(9999, 11, 31, 24)])(
    "refuses %d",
    (ms) => expect(() => mailDate(ms)).toThrow("date is out of range"),
  );
});

test("our own armor goes out and comes back to the byte", () => {
  for (const name of keyNames) {
    const data = firstBlock(keyArmor(name))?.packets ?? new Uint8Array();
    const wire = composeIncremental({ ...MAIL, armor: encodeArmor(data) });
    const { fields, bodyStart } = readHead(wire);
    const understood = recognise(fields, [wire.subarray(bodyStart)]);
    const parts = understood.command === "reply" ? [] : understood.armor;
    const blocks = parts.flatMap(readArmor);
    expect(blocks).toHaveLength(1);
    const back = blocks.map((block) => (block instanceof Refusal ? block.reason : block.data));
    expect(Buffer.from(back[0] ?? "").equals(data)).toBe(true);
    expect(sks.read(delivered(wire)).accepted).toHaveLength(1);
  }
});

describe("the five readers", () => {
  const RSA_OR_DSA = keyNames.filter(
    (name) => !["role-762F67A0B2C39DE4.asc", "role-F8D2585B8783D481.asc"].includes(name),
  );

  test("have 20 keys that even pksd knows", () => expect(RSA_OR_DSA).toHaveLength(20));

  test.each(RSA_OR_DSA)("%s: all take it and see the whole trail", (name) => {
    const file = delivered(composeIncremental({ ...MAIL, armor: keyArmor(name) }));
    const fingerprint = expect.stringMatching(new RegExp(`${name.slice(5, 21)}$`));
    for (const server of [pksd, sks, onak, cks, hockeypuck]) {
      expect(server.read(file)).toMatchObject({ accepted: [fingerprint], refused: [] });
    }
    for (const server of [pksd, onak, cks]) {
      const reading = server.read(file);
      for (const address of [...TRAIL, MAIL.site]) expect(reading.seenTrail(address)).toBe(true);
      expect(reading.seenTrail(MAIL.to)).toBe(false);
      expect(reading.seenTrail("keys@a.example.com")).toBe(false);
    }
  });

  test("EdDSA keys: all but pksd, which is older than they are", () => {
    const file = delivered(composeIncremental(MAIL));
    for (const server of [sks, onak, cks, hockeypuck]) {
      expect(server.read(file).accepted).toHaveLength(1);
    }
    expect(pksd.read(file)).toMatchObject({ accepted: [], refused: ["algorithm 22"] });
  });

  test("several keys in our one block: all take all of them", () => {
    const keys = RSA_OR_DSA.slice(0, 5).map((name) => {
      const packets = walk(firstBlock(keyArmor(name))?.packets ?? new Uint8Array()) ?? [];
      return bytesOf(keysOf(packets)[0] ?? []);
    });
    const file = delivered(composeIncremental({ ...MAIL, armor: armored(keys) }));
    for (const server of [pksd, sks, onak, cks, hockeypuck]) {
      expect(server.read(file).accepted).toHaveLength(5);
    }
  });
});
