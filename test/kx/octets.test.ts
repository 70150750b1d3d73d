/**
 * IHAVE and UPDATE as octets (feature "octets" of KX/1.1): what is written is read back, at every
 * cut, and what is wrong or too much is refused without harm to the stream, or ends it where the
 * framing is lost.
 */
import { deflateRawSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { type Announcement, type Features, NO_FEATURES } from "../../src/kx/messages.js";
import { deflatedPart, inflated, joined } from "../../src/kx/octets.js";
import { PARSER_LIMITS, type Parsed, Parser } from "../../src/kx/parser.js";
import { serialize, serializeListing, serializePart } from "../../src/kx/serializer.js";
import type { UpdateDigest } from "../../src/update.js";
import { HASH, V3, V4, V6, wire } from "./wire.js";

const OCTETS: Features = { ...NO_FEATURES, octets: true };
const ALL: Features = { receipt: true, sha256: true, octets: true, reconcile: false };
const DIGEST = `${HASH}${HASH}` as UpdateDigest;
const NAMED: readonly Announcement[] = [V3, V4, V6, undefined].map((fingerprint, n) => {
  return { number: n === 3 ? 0x7fff_ffff : n, fingerprint, hash: HASH, digest: DIGEST };
});
const PLAIN = NAMED.map(({ number, fingerprint, hash }) => ({ number, fingerprint, hash }));
const NEXT = wire("0009|LIST|1-");

function parse(parts: readonly Uint8Array[], features: Features, limits = PARSER_LIMITS) {
  const parser = new Parser(limits, true);
  parser.features = features;
  return parts.flatMap((part) => parser.push(part)).map(plain);
}

/** Packets as text, to be compared. */
function plain(parsed: Parsed): unknown {
  if (parsed.command !== "DELIVERY") return parsed;
  const deliveries = parsed.deliveries.map(({ number, packets }) => {
    return { number, packets: packets && Buffer.from(packets).toString("latin1") };
  });
  return { ...parsed, deliveries };
}

/** The same messages whole, at every cut in two, and one octet at a time. */
function everyWay(bytes: Buffer, features = ALL, limits = PARSER_LIMITS): unknown[] {
  const whole = parse([bytes], features, limits);
  for (let at = 1; at < bytes.length; at++) {
    const cut = parse([bytes.subarray(0, at), bytes.subarray(at)], features, limits);
    expect(cut, `cut at ${at}`).toEqual(whole);
  }
  expect(
    parse(
      [...bytes].map((octet) => Uint8Array.of(octet)),
      features,
      limits,
    ),
  ).toEqual(whole);
  return whole;
}

const counted = (command: string, octets: Uint8Array, head = "100d") => {
  const first = Buffer.from(`0001\r\n${command}\r\n${head}\r\n`);
  return Buffer.concat([first, octets, Buffer.from(".\r\n")]);
};

describe("announcements", () => {
  test.each([
    ["with their SHA-256", ALL, NAMED],
    ["without", OCTETS, PLAIN],
  ])("%s come back as they were", (_, features, expected) => {
    const message = { command: "IHAVE", tag: "0002", inReplyTo: undefined } as const;
    const bytes = Buffer.from(serialize({ ...message, announcements: NAMED }, features));
    const next = Buffer.concat([bytes, NEXT]);
    expect(everyWay(next, features)).toMatchObject([
      { ...message, announcements: expected },
      { command: "LIST" },
    ]);
  });

  test("of a notice are behind an empty line, or NOTIFY", () => {
    for (const head of ["", "NOTIFY"]) {
      expect(everyWay(counted("IHAVE 0", Buffer.alloc(0), head))).toEqual([
        { command: "IHAVE", tag: "0001", inReplyTo: undefined, announcements: [] },
      ]);
    }
  });

  test("as lines have the SHA-256 at the end, with the feature and not without", () => {
    const lines: Features = { ...NO_FEATURES, sha256: true };
    const message = { command: "IHAVE", tag: "0002", inReplyTo: "100c" } as const;
    const bytes = Buffer.from(serialize({ ...message, announcements: NAMED }, lines));
    expect(bytes.toString()).toContain(`\r\n1 ${V4} ${HASH} ${DIGEST}\r\n`);
    expect(everyWay(bytes, lines)).toEqual([{ ...message, announcements: NAMED }]);
    const problem = "IHAVE has a line that is none";
    expect(parse([bytes], NO_FEATURES)).toMatchObject([{ command: "malformed", problem }]);
    const without = Buffer.from(serialize({ ...message, announcements: PLAIN }));
    expect(parse([without], lines)).toMatchObject([{ command: "malformed", problem }]);
  });

  test("of a listing are compressed in parts, and an empty one is read", () => {
    const many = Array.from({ length: 300 }, (_, number) => ({ ...NAMED[1], number }));
    const parts = [many.slice(0, 256), many.slice(256)].map((some) => {
      return serializePart(some as Announcement[], ALL);
    });
    const bytes = serializeListing("0002", "100c", parts, ALL);
    expect(bytes.length).toBeLessThan(300 * 73);
    expect(parse([bytes], ALL)).toEqual([
      { command: "IHAVE", tag: "0002", inReplyTo: "100c", announcements: many },
    ]);
    expect(parse([serializeListing("0002", "100c", [], ALL)], ALL)).toMatchObject([
      { announcements: [] },
    ]);
  });
});

describe("updates", () => {
  const deliveries = [
    { number: 7, packets: Buffer.from("\r\n.\r\n\0\xff", "latin1") },
    { number: 8, packets: undefined },
    { number: 0x7fff_ffff, packets: Buffer.from("k") },
  ];
  const bytes = serialize({ command: "DELIVERY", tag: "0004", inReplyTo: "100d", deliveries });

  test("come back whatever their octets are, and those that are gone as such", () => {
    const found = everyWay(Buffer.concat([bytes, NEXT]));
    expect(found).toMatchObject([
      {
        command: "DELIVERY",
        inReplyTo: "100d",
        deliveries: [
          { number: 7, packets: "\r\n.\r\n\0\xff" },
          { number: 8, packets: undefined },
          { number: 0x7fff_ffff, packets: "k" },
        ],
      },
      { command: "LIST" },
    ]);
  });

  test("may be compressed by a peer", () => {
    const octets = Buffer.concat([Buffer.from([0, 0, 0, 7, 0, 0, 1, 0]), Buffer.alloc(256, 65)]);
    const small = deflateRawSync(octets);
    expect(everyWay(counted(`UPDATE ${small.length} ${octets.length}`, small))).toMatchObject([
      { command: "DELIVERY", deliveries: [{ number: 7, packets: "A".repeat(256) }] },
    ]);
  });

  test("as text are read as well", () => {
    const text = wire(`0004|UPDATE|100d|7 ${V4} ${HASH} ${DIGEST}|-----BEGIN|-----END`);
    expect(everyWay(text)).toMatchObject([{ command: "UPDATE", announcement: { number: 7 } }]);
  });
});

describe("what is wrong", () => {
  const one = serialize({ command: "IHAVE", tag: "", inReplyTo: undefined, announcements: NAMED });
  const big = Buffer.alloc(1000);
  const small = deflateRawSync(big);
  test.each([
    ["announcements of one octet too few", "IHAVE 72", Buffer.alloc(72), "announcements"],
    ["a fingerprint of 21 octets", "IHAVE 80", Buffer.alloc(80, 21), "announcements"],
    [
      "a number of 32 bits",
      "IHAVE 53",
      Buffer.alloc(53, "\xff\0\0\0\0", "latin1"),
      "announcements",
    ],
    ["text", `IHAVE ${one.length}`, one, "announcements"],
    ["no updates", "UPDATE 0", Buffer.alloc(0), "no updates"],
    ["half a head", "UPDATE 7", Buffer.alloc(7), "no updates"],
    ["an update that is longer", "UPDATE 9", Buffer.of(0, 0, 0, 1, 0, 0, 0, 2, 0), "no updates"],
    ["a number beyond all", "UPDATE 8", Buffer.alloc(8, 255), "no updates"],
    ["nothing that was compressed", "IHAVE 5 9", Buffer.from("hello"), "cannot be inflated to 9"],
    ["less than it says", `UPDATE ${small.length} 1001`, small, "cannot be inflated to 1001"],
    ["more than it says", `UPDATE ${small.length} 999`, small, "cannot be inflated to 999"],
    ["a tail", `UPDATE ${small.length + 1} 1000`, Buffer.concat([small, Buffer.of(0)]), "inflated"],
  ])("%s: the stream stays framed", (_, command, octets, problem) => {
    const found = everyWay(Buffer.concat([counted(command, octets), NEXT]));
    expect(found).toMatchObject([
      { command: "malformed", tag: "0001", problem: expect.stringContaining(problem) },
      { command: "LIST", tag: "0009" },
    ]);
  });

  test.each([
    ["one octet more than it says", "UPDATE 8", Buffer.alloc(9)],
    ["one less", "UPDATE 10", Buffer.alloc(9)],
    ["a listing that is too long", `IHAVE ${PARSER_LIMITS.messageBytes + 1}`, Buffer.alloc(9)],
    ["one that is when inflated", `IHAVE 9 ${PARSER_LIMITS.messageBytes + 1}`, Buffer.alloc(9)],
  ])("%s: the framing is lost", (_, command, octets) => {
    const bytes = Buffer.concat([counted(command, octets), NEXT]);
    expect(everyWay(bytes)).toMatchObject([{ command: "unframed" }]);
  });

  test.each([
    ["without the feature", "UPDATE 9", NO_FEATURES],
    ["of another command", "LIST 9", ALL],
    ["that is no number", "UPDATE x", ALL],
    ["that is negative", "UPDATE -1", ALL],
    ["of eleven digits", "UPDATE 00000000009", ALL],
    ["with a third number", "UPDATE 9 9 9", ALL],
  ])("a length %s is no command", (_, command, features) => {
    const bytes = counted(command, Buffer.from("some text\r\n"));
    const problem = "no such command";
    expect(parse([bytes], features)).toMatchObject([{ command: "malformed", problem }]);
  });

  test("an UPDATE above the limit is skipped without being kept", () => {
    const limits = { ...PARSER_LIMITS, messageBytes: 1000 };
    const many = counted("UPDATE 100000", Buffer.alloc(100_000, ".\r\n"));
    const inflates = counted("UPDATE 9 1001", Buffer.alloc(9));
    const bytes = Buffer.concat([many, inflates, NEXT]);
    const oversized = { command: "oversized", inReplyTo: "100d" };
    const expected = [oversized, oversized, { command: "LIST" }];
    expect(parse([bytes], ALL, limits)).toMatchObject(expected);
    const pieces = Array.from({ length: 101 }, (_, n) => bytes.subarray(n * 1000, (n + 1) * 1000));
    expect(parse(pieces, ALL, limits)).toMatchObject(expected);
  });

  test("more announcements than a listing may have are refused", () => {
    const limits = { ...PARSER_LIMITS, announcements: 3 };
    const message = { command: "IHAVE", tag: "0002", inReplyTo: undefined } as const;
    const four = serialize({ ...message, announcements: NAMED }, ALL);
    expect(parse([four], ALL, limits)).toMatchObject([{ command: "malformed" }]);
    const three = serialize({ ...message, announcements: NAMED.slice(1) }, ALL);
    expect(parse([three], ALL, limits)).toMatchObject([{ command: "IHAVE" }]);
  });
});

describe("a bomb", () => {
  const bomb = deflateRawSync(Buffer.alloc(64 * 2 ** 20));

  test("is never inflated beyond what it says, nor beyond a message", () => {
    const before = process.memoryUsage().arrayBuffers;
    expect(inflated(bomb, 1000)).toBeUndefined();
    const { messageBytes } = PARSER_LIMITS;
    const said = counted(`UPDATE ${bomb.length} ${64 * 2 ** 20}`, bomb);
    expect(parse([said], ALL)).toMatchObject([{ command: "oversized" }]);
    const lies = counted(`UPDATE ${bomb.length} ${messageBytes}`, bomb);
    expect(parse([lies], ALL)).toMatchObject([{ command: "malformed" }]);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 * messageBytes);
  });
});

test("what was compressed in parts is inflated as one", () => {
  const parts = ["a", "bb", ""].map((text) => deflatedPart(Buffer.from(text)));
  expect(inflated(joined(parts), 3)?.toString()).toBe("abb");
  expect(inflated(joined([]), 0)?.length).toBe(0);
});
