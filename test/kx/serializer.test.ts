/**
 * The words of KX: one table of messages and their spelling, driven through serializer and parser,
 * cut anywhere; and what a line may look like.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  readAnnouncement,
  readNumber,
  readRange,
  seqOfWire,
  wireNumber,
} from "../../src/kx/messages.js";
import { serialize } from "../../src/kx/serializer.js";
import { ARMOR, HASH, one, parse, parseEveryWay, TABLE, two, V3, V4, wire } from "./wire.js";

describe("messages", () => {
  test.each(TABLE)("%s", (_name, message, lines) => {
    expect(Buffer.from(serialize(message)).toString("latin1")).toBe(wire(lines).toString("latin1"));
    expect(parseEveryWay(wire(lines))).toEqual([message]);
  });

  test.each(TABLE)("%s with bare line feeds", (_name, message, lines) => {
    const armor = Buffer.from(ARMOR);
    const expected = message.command === "UPDATE" ? { ...message, armor } : message;
    expect(parseEveryWay(wire(lines, "\n"))).toEqual([expected]);
  });

  test("one after the other, with blank lines where a tag is due", () => {
    const all = TABLE.map(([, , lines]) => wire(lines));
    const spaced = all.flatMap((bytes) => [Buffer.from("\r\n\n"), bytes]);
    const messages = TABLE.map(([, message]) => message);
    expect(parse(all)).toEqual(messages);
    expect(parse([Buffer.concat(all)])).toEqual(messages);
    expect(parse([Buffer.concat(spaced)])).toEqual(messages);
  });

  test("commands in any case, fingerprints and hashes in any case", () => {
    const announcement = `45 ${V4.toLowerCase()} ${HASH.toUpperCase()}`;
    expect(parse([wire(`0002|ihave|notify|${announcement}`)])).toEqual([
      { command: "IHAVE", tag: "0002", inReplyTo: undefined, announcements: [two] },
    ]);
    expect(parse([wire("0001|hElO|1.0")])).toMatchObject([{ command: "HELO" }]);
  });

  test("what we write holds no line that is a lone dot, whatever a text says", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "binary" }),
        fc.integer({ min: 100, max: 999 }),
        (text, code) => {
          const error = {
            command: "ERROR",
            tag: "0001",
            inReplyTo: undefined,
            code,
            text,
          } as const;
          const bytes = Buffer.from(serialize(error));
          expect(parse([bytes])).toMatchObject([{ command: "ERROR", code }]);
          expect(bytes.length).toBeLessThan(300);
        },
      ),
    );
  });
});

describe("lines", () => {
  test.each([
    ["41-1040", { low: 41, high: 1040 }],
    ["0", { low: 0, high: 0 }],
    ["00012", { low: 12, high: 12 }],
    ["2147483647-", { low: 2_147_483_647, high: undefined }],
    ["2147483648-", undefined],
    ["1-99999999999", undefined],
    ["-1-5", undefined],
    ["1--5", undefined],
    ["1e3", undefined],
    ["0x10", undefined],
    ["", undefined],
    ["1,2", undefined],
  ])("range %j", (line, range) => expect(readRange(line)).toEqual(range));

  test.each([`41 ${V3} ${HASH} `, `41  ${V3}   ${HASH}`])("announcement %j", (line) =>
    expect(readAnnouncement(line)).toEqual(one),
  );

  test.each([
    `-1 ${V3} ${HASH}`,
    `2147483648 ${V3} ${HASH}`,
    `41 ${V3.slice(1)} ${HASH}`,
    `41 ${V3} ${HASH}0`,
    `41 ${V3}`.slice(0, -1),
    `41\t${HASH}`,
    HASH,
    "",
  ])("no announcement %j", (line) => expect(readAnnouncement(line)).toBeUndefined());

  test("numbers are decimal and have 31 bits", () => {
    expect(["7", "2147483647", "2147483648", "+7", "7 ", "", undefined].map(readNumber)).toEqual([
      7,
      2_147_483_647,
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });

  test("wire numbers wrap to 0 and are found again", () => {
    const top = 2 ** 31;
    expect([1, top - 1, top, top + 5].map(wireNumber)).toEqual([1, top - 1, 0, 5]);
    expect(seqOfWire(5, top + 5)).toBe(top + 5);
    expect(seqOfWire(top - 1, top + 5)).toBe(top - 1);
    expect(seqOfWire(6, top + 5)).toBe(6);
    expect(seqOfWire(191, 190)).toBeUndefined();
    expect(seqOfWire(190, 190)).toBe(190);
  });
});
