/**
 * The features "sha256" and "octets" on one connection: in force after both OPENs and not before,
 * requests for several updates in one message, and answers that name their numbers.
 */
import { expect, test } from "vitest";
import { type Announcement, NO_FEATURES, type Opening } from "../../src/kx/messages.js";
import { serialize } from "../../src/kx/serializer.js";
import type { LogName, UpdateDigest } from "../../src/update.js";
import { asked, HASH, LINE, Line, NEWEST, told } from "./talk.js";

const DIGEST = `${HASH}${HASH}` as UpdateDigest;
const NAMED: Announcement = { ...NEWEST, digest: DIGEST };
const LOG = "00112233445566778899aabbccddeeff" as LogName;
const OWN: Opening = { log: LOG, features: ["receipt", "sha256", "octets"] };
const ALL = { ...NO_FEATURES, receipt: true, sha256: true, octets: true };

/** A line after both greetings; `features` are those of the peer. */
function opened(features = "sha256 octets", own = OWN): Line {
  const line = new Line(own);
  line.raw("KX11|HELO|1.0|.|");
  line.session.greet(NAMED);
  const [established] = line.say(`IHAVE|NOTIFY|${LINE}`, `OPEN|features ${features}`);
  expect(established).toMatch(/^established 45/);
  return line;
}

const text = (line: Line) =>
  told(line.session.announce([NAMED]))[0]
    ?.split("|")
    .slice(1);

test("the greeting is that of KX/1.0, also if the peer has sent its OPEN before", () => {
  const line = new Line(OWN);
  line.raw(`KX11|HELO|1.0|.|a000|IHAVE|NOTIFY|${LINE}|.|a001|OPEN|features sha256 octets|.|`);
  expect(told(line.session.greet(NAMED))).toEqual([
    `0002|IHAVE|NOTIFY|${LINE}`,
    `0003|OPEN|log ${LOG}|features receipt sha256 octets`,
  ]);
  expect(text(line)?.[0]).toMatch(/^IHAVE \d+$/);
});

test.each([
  ["sha256", ["IHAVE", "NOTIFY", `${LINE} ${DIGEST}`]],
  ["receipt", ["IHAVE", "NOTIFY", LINE]],
  ["octets", ["IHAVE 21", ""]],
  ["octets sha256", ["IHAVE 53", ""]],
])("with %j an announcement is of that form", (features, expected) => {
  expect(text(opened(features))?.slice(0, expected.length)).toEqual(expected);
  // The peer names it, but we do not.
  const none = opened(features, { log: LOG, features: [] });
  expect(text(none)).toEqual(["IHAVE", "NOTIFY", LINE]);
});

test("octets before OPEN, or without the feature, are no command", () => {
  const line = new Line(OWN);
  line.raw("KX11|HELO|1.0|.|");
  line.session.greet(NAMED);
  const early = line.raw(`a001|IHAVE 0|NOTIFY|.|`);
  expect(early).toEqual([
    "0004|ERROR|a001|551|IHAVE NOTIFY was due",
    "complaint: IHAVE NOTIFY was due",
    "end: out-of-sequence",
  ]);
  expect(opened("sha256").raw("a002|IHAVE 0|NOTIFY|.|")).toEqual([
    "0004|ERROR|a002|500|no such command",
    "complaint: no such command",
  ]);
});

test("a second OPEN does not change what is used", () => {
  const line = opened("receipt");
  expect(line.say("OPEN|features sha256 octets")).toHaveLength(2);
  expect(text(line)).toEqual(["IHAVE", "NOTIFY", LINE]);
  const other = opened();
  expect(other.say("OPEN|features none")).toHaveLength(2);
  expect(text(other)?.[0]).toBe("IHAVE 53");
});

test("64 numbers are asked for at a time, and in KX/1.0 one", () => {
  const many = Array.from({ length: 65 }, (_, n) => asked(n)).flat();
  const sent = told(opened().session.get(many));
  expect(sent.map((one) => one.split("|").length - 2)).toEqual([64, 1]);
  expect(told(opened("sha256").session.get(many))).toHaveLength(65);
});

test("each answer settles the number that it names, once", () => {
  const line = opened();
  line.session.get([7, 8, 9].flatMap(asked));
  const answer = (...numbers: readonly number[]) => {
    const deliveries = numbers.map((number) => {
      return { number, packets: number === 8 ? undefined : Buffer.from("key") };
    });
    const message = { command: "DELIVERY", tag: "b000", inReplyTo: "0004", deliveries } as const;
    return told(line.session.received(serialize(message, ALL), line.now));
  };
  expect(answer(9, 8)).toEqual(["update 9 true", "unavailable 8", "progress"]);
  expect(answer(9, 7)).toEqual([
    "update 7 true",
    "complaint: an UPDATE that was not asked for",
    "progress",
  ]);
  // A thousand that nobody asked for are one bad message.
  expect(answer(...Array.from({ length: 1000 }, (_, n) => n))).toEqual([
    "complaint: an UPDATE that was not asked for",
  ]);
});

test("an ERROR and an UPDATE that is too large settle all numbers of the request", () => {
  const line = opened();
  line.session.get([7, 8].flatMap(asked));
  expect(line.say("ERROR|0004|500|7 update not available")).toEqual([
    "unavailable 7",
    "unavailable 8",
    "progress",
  ]);
  line.session.get([9, 10].flatMap(asked));
  const length = 8 * 2 ** 20 + 1;
  line.raw(`c000|UPDATE ${length}|0005|`);
  expect(told(line.session.received(Buffer.alloc(length), line.now))).toEqual(["progress"]);
  expect(line.raw(".|")).toEqual([
    "update-failed 9: the UPDATE is too large",
    "update-failed 10: the UPDATE is too large",
    "progress",
  ]);
});

test("requests of the peer are answered in one message", () => {
  const line = opened();
  expect(line.say("GETUPDATE|43|44")).toEqual(["asked a002 43", "asked a002 44"]);
  line.session.close(line.now);
  line.say("CLOSE|0004");
  const deliveries = [
    { number: 43, packets: Buffer.from("key") },
    { number: 44, packets: undefined },
  ];
  const [answer, end] = line.session.deliver("a002", deliveries);
  const message = { command: "DELIVERY", tag: "0005", inReplyTo: "a002", deliveries } as const;
  expect(answer).toEqual({ type: "send", bytes: serialize(message) });
  // Both are answered, so that nothing is owed any more.
  expect(end).toMatchObject({ type: "end", reason: "closed" });
});
