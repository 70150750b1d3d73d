/**
 * KX/1.1 on one connection: who opens it with whom, what a side says of itself, and receipts. To a
 * peer of KX/1.0 nothing of it shows but the tag of HELO.
 */
import { describe, expect, test } from "vitest";
import type { Opening } from "../../src/kx/messages.js";
import type { LogName } from "../../src/update.js";
import { LINE, Line, NEWEST, told } from "./talk.js";

const LOG = "00112233445566778899aabbccddeeff" as LogName;
const THEIRS = "FFEEDDCCBBAA99887766554433221100";
const OWN: Opening = { log: LOG, features: ["receipt"] };
const OPEN = `OPEN|log ${THEIRS}|features receipt`;
const ESTABLISHED = `established 45 ${THEIRS.toLowerCase()} receipt`;

/** A line on which the peer has said HELO with the tag of KX/1.1, and both their first IHAVE. */
function extended(own = OWN): Line {
  const line = new Line(own);
  expect(line.raw("KX11|HELO|1.0|.|")).toEqual(["greet"]);
  line.session.greet(NEWEST);
  expect(line.say(`IHAVE|NOTIFY|${LINE}`)).toEqual([]);
  expect(line.session.isOpen).toBe(false);
  return line;
}

function opened(own = OWN, open = OPEN): Line {
  const line = extended(own);
  expect(line.say(open)).toEqual([expect.stringMatching(/^established 45/)]);
  expect(line.session.isOpen).toBe(true);
  return line;
}

describe("the greeting", () => {
  test("ends with OPEN when both sides show the tag", () => {
    const line = new Line(OWN);
    expect(line.raw("KX11|HELO|1.0|.|")).toEqual(["greet"]);
    expect(told(line.session.greet(NEWEST))).toEqual([
      `0002|IHAVE|NOTIFY|${LINE}`,
      `0003|OPEN|log ${LOG}|features receipt`,
    ]);
    expect(line.say(`IHAVE|NOTIFY|${LINE}`, OPEN)).toEqual([ESTABLISHED]);
  });

  test("may come in one piece", () => {
    const line = new Line(OWN);
    const all = `KX11|HELO|1.0|.|a000|IHAVE|NOTIFY|${LINE}|.|a001|${OPEN}|.|a002|LIST|1-|.|`;
    expect(line.raw(all)).toEqual(["greet", ESTABLISHED, "asked a002 list"]);
  });

  test("has no OPEN for a peer of KX/1.0", () => {
    const line = new Line(OWN);
    expect(line.say("HELO|1.0")).toEqual(["greet"]);
    expect(told(line.session.greet(NEWEST))).toEqual([`0002|IHAVE|NOTIFY|${LINE}`]);
    expect(line.say(`IHAVE|NOTIFY|${LINE}`)).toEqual(["established 45"]);
    expect(told(line.session.done({ number: 45, without: [] }))).toEqual([]);
  });

  test("has none from a side of KX/1.0, for which OPEN and DONE are no commands", () => {
    const line = new Line();
    expect(line.raw("KX11|HELO|1.0|.|")).toEqual(["greet"]);
    expect(told(line.session.greet(NEWEST))).toEqual([`0002|IHAVE|NOTIFY|${LINE}`]);
    expect(line.say(`IHAVE|NOTIFY|${LINE}`)).toEqual(["established 45"]);
    expect(line.say(OPEN, "DONE|45")).toEqual([
      "0003|ERROR|a001|500|no such command",
      "complaint: no such command",
      "0004|ERROR|a002|500|no such command",
      "complaint: no such command",
    ]);
  });

  test("of a peer that has the tag by chance is over with its next message", () => {
    const line = extended();
    expect(line.say("LIST|1-")).toEqual(["established 45", "asked a001 list"]);
    expect(told(line.session.done({ number: 45, without: [] }))).toEqual([]);
    expect(line.say(OPEN)).toEqual([
      "0004|ERROR|a002|551|OPEN was sent already",
      "complaint: OPEN was sent already",
    ]);
  });

  test("of one that then says nothing is over when an IHAVE would be overdue", () => {
    const line = extended();
    expect(line.session.nextAt()).toBe(line.now + 60_000);
    expect(line.wait(59_999)).toEqual([]);
    expect(line.wait(1)).toEqual(["established 45"]);
    expect(line.session.isOpen).toBe(true);
  });

  test("reads what later versions may add, and an OPEN that says nothing", () => {
    const later = `OPEN|features sha512 receipt octets|log ${THEIRS}|cluster 3 of 5`;
    expect(extended().say(later)).toEqual([
      `established 45 ${THEIRS.toLowerCase()} sha512 receipt octets`,
    ]);
    expect(extended().say("OPEN")).toEqual(["established 45 "]);
  });

  test.each([
    ["log abc", "the log in OPEN wants 32 hex digits"],
    ["log", "the log in OPEN wants 32 hex digits"],
    [`log ${THEIRS} ${THEIRS}`, "OPEN names two logs"],
    [`log ${THEIRS}|log ${THEIRS}`, "OPEN names two logs"],
    [Array.from({ length: 101 }, () => "x").join("|"), "OPEN has too many lines"],
  ])("is of KX/1.0 after an OPEN with %j", (data, problem) => {
    expect(extended().say(`OPEN|${data}`)).toEqual([
      "established 45",
      `0004|ERROR|a001|500|${problem}`,
      `complaint: ${problem}`,
    ]);
  });

  test("is said once", () => {
    expect(opened().say(OPEN)).toEqual([
      "0004|ERROR|a002|551|OPEN was sent already",
      "complaint: OPEN was sent already",
    ]);
  });

  test("can be left by CLOSE before OPEN", () => {
    expect(extended().say("CLOSE")).toEqual(["0004|CLOSE|a001", "end: closed"]);
  });
});

describe("a receipt", () => {
  test("says how far, and which numbers are without their update", () => {
    const receipt = {
      number: 45,
      without: [
        { low: 3, high: 3 },
        { low: 7, high: 9 },
      ],
    };
    expect(told(opened().session.done(receipt))).toEqual(["0004|DONE|45|3|7-9"]);
    expect(opened().say("DONE|45|3|7-9", "DONE|46")).toEqual(["done 45 3-3 7-9", "done 46"]);
  });

  test.each([
    ["ours lacks it", { log: LOG, features: [] }, OPEN],
    ["theirs lacks it", OWN, `OPEN|log ${THEIRS}|features sha256`],
  ])("is neither sent nor taken when %s", (_, own, open) => {
    const line = opened(own, open);
    expect(told(line.session.done({ number: 45, without: [] }))).toEqual([]);
    expect(line.say("DONE|45")).toEqual(["complaint: a DONE without the feature receipt"]);
  });

  test.each([
    ["", "DONE wants a number"],
    ["|x", "DONE wants a number"],
    ["|4294967296", "DONE wants a number"],
    ["|45|x", "DONE has a line that is no range"],
    [`|45${"|1".repeat(1001)}`, "DONE has too many ranges"],
  ])("is refused as DONE%s", (data, problem) => {
    expect(opened().say(`DONE${data}`)).toEqual([
      `0004|ERROR|a002|500|${problem}`,
      `complaint: ${problem}`,
    ]);
  });
});
