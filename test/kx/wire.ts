/**
 * Messages as bytes and back, however the bytes are cut, and a table of every kind of message with
 * its spelling. `|` stands for a line end; the closing dot is left out.
 */
import { expect } from "vitest";
import type { Announcement, Message } from "../../src/kx/messages.js";
import type { Parsed, ParserLimits } from "../../src/kx/parser.js";
import { Parser } from "../../src/kx/parser.js";
import type { UpdateHash } from "../../src/update.js";

export const HASH = "9b4f7cbf22b6def1f8d579b969fd4d58" as UpdateHash;
export const V3 = "3E200377663F6B09E474FDAE801568FC";
export const V4 = "EFE396F418F58D65849428FC1438516892082481";
export const V6 = `${V3}${V3}`;
export const one: Announcement = { number: 41, fingerprint: V3, hash: HASH };
export const two: Announcement = { number: 45, fingerprint: V4, hash: HASH };
export const ARMOR = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQGi\n=W4X1\n-----END-----\n";

/** A message and its lines on the wire, tag and command included, dot left out. */
export const TABLE: readonly (readonly [string, Message, string])[] = [
  ["HELO", { command: "HELO", tag: "0001", version: "1.0" }, "0001|HELO|1.0"],
  [
    "IHAVE NOTIFY",
    { command: "IHAVE", tag: "0002", inReplyTo: undefined, announcements: [one] },
    `0002|IHAVE|NOTIFY|41 ${V3} ${HASH}`,
  ],
  [
    "IHAVE of an empty log",
    { command: "IHAVE", tag: "0002", inReplyTo: undefined, announcements: [] },
    "0002|IHAVE|NOTIFY",
  ],
  [
    "IHAVE in reply, every kind of fingerprint and none",
    {
      command: "IHAVE",
      tag: "0003",
      inReplyTo: "100c",
      announcements: [
        one,
        two,
        { number: 0, fingerprint: V6, hash: HASH },
        { number: 2_147_483_647, fingerprint: undefined, hash: HASH },
      ],
    },
    `0003|IHAVE|100c|41 ${V3} ${HASH}|45 ${V4} ${HASH}|0 ${V6} ${HASH}|2147483647 ${HASH}`,
  ],
  [
    "LIST of every sort of range",
    {
      command: "LIST",
      tag: "100c",
      ranges: [
        { low: 41, high: undefined },
        { low: 7, high: 7 },
        { low: 1, high: 5 },
        { low: undefined, high: 9 },
        { low: undefined, high: undefined },
      ],
    },
    "100c|LIST|41-|7|1-5|-9|-",
  ],
  [
    "GETUPDATE",
    { command: "GETUPDATE", tag: "100d", numbers: [43, 0, 44] },
    "100d|GETUPDATE|43|0|44",
  ],
  [
    "UPDATE, whose blank line is data",
    {
      command: "UPDATE",
      tag: "0004",
      inReplyTo: "100d",
      announcement: two,
      armor: Buffer.from(ARMOR.replaceAll("\n", "\r\n")),
    },
    `0004|UPDATE|100d|45 ${V4} ${HASH}|${ARMOR.trimEnd().replaceAll("\n", "|")}`,
  ],
  [
    "ERROR",
    {
      command: "ERROR",
      tag: " ~.!",
      inReplyTo: "100d",
      code: 500,
      text: "43 update not available",
    },
    " ~.!|ERROR|100d|500|43 update not available",
  ],
  [
    "ERROR NOTIFY",
    { command: "ERROR", tag: "0005", inReplyTo: undefined, code: 551, text: "HELO was due" },
    "0005|ERROR|NOTIFY|551|HELO was due",
  ],
  ["CLOSE", { command: "CLOSE", tag: "0006", inReplyTo: undefined }, "0006|CLOSE"],
  ["CLOSE in reply", { command: "CLOSE", tag: "0006", inReplyTo: "100e" }, "0006|CLOSE|100e"],
];

export function wire(lines: string, ending = "\r\n"): Buffer {
  return Buffer.from(`${lines}|.|`.replaceAll("|", ending), "latin1");
}

export function parse(parts: readonly Uint8Array[], limits?: ParserLimits): Parsed[] {
  const parser = new Parser(limits);
  return parts.flatMap((part) => parser.push(part)).map(comparable);
}

export function comparable(parsed: Parsed): Parsed {
  return parsed.command === "UPDATE" ? { ...parsed, armor: Buffer.from(parsed.armor) } : parsed;
}

export function bytewise(bytes: Uint8Array): Uint8Array[] {
  return [...bytes].map((octet) => Uint8Array.of(octet));
}

/** The same messages whole, at every cut in two, and one byte at a time. */
export function parseEveryWay(bytes: Buffer, limits?: ParserLimits): Parsed[] {
  const whole = parse([bytes], limits);
  for (let at = 1; at < bytes.length; at++) {
    const cut = parse([bytes.subarray(0, at), bytes.subarray(at)], limits);
    if (JSON.stringify(cut) !== JSON.stringify(whole)) expect(cut, `cut at ${at}`).toEqual(whole);
  }
  expect(parse(bytewise(bytes), limits)).toEqual(whole);
  return whole;
}
