/**
 * What goes wrong on one KX connection, and how it ends: bad messages, silence, CLOSE.
 */
import { describe, expect, test } from "vitest";
import { ERROR_LIMITS, SESSION_LIMITS } from "../../src/kx/session.js";
import { asked, greeted, LINE, Line, NEWEST, told, UPDATE } from "./talk.js";

describe("what goes wrong", () => {
  test("an unknown command is 500, a second HELO 551, a broken ERROR 501", () => {
    const line = greeted();
    expect(line.say("QUUX", "HELO|1.0", "ERROR|a001|what")).toEqual([
      "0003|ERROR|a002|500|no such command",
      "complaint: no such command",
      "0004|ERROR|a003|551|HELO was said already",
      "complaint: HELO was said already",
      "0005|ERROR|a004|501|ERROR wants a tag or NOTIFY, a code and a text",
      "complaint: ERROR wants a tag or NOTIFY, a code and a text",
    ]);
  });

  test.each([500, 501, 551, 999])("an ERROR %i gets no answer", (code) => {
    const line = greeted();
    expect(line.say(`ERROR|NOTIFY|${code}|you are wrong`)).toEqual([
      `complaint: ERROR ${code} you are wrong`,
    ]);
    expect(line.say(`ERROR|zzzz|${code}|`)).toEqual([`complaint: ERROR ${code} `]);
  });

  test("lost framing is ERROR NOTIFY 500 and the end, and nothing after it is heard", () => {
    const line = greeted();
    expect(line.raw("GET / HTTP/1.1||a000|LIST|1-|.|")).toEqual([
      "0003|ERROR|NOTIFY|500|a tag of 4 printable characters was due",
      "complaint: a tag of 4 printable characters was due",
      "end: lost-framing",
    ]);
    expect(line.say("LIST|1-")).toEqual([]);
    expect(line.wait(10_000_000)).toEqual([]);
  });

  const BAD = [
    ["nonsense", "QUUX"],
    ["greetings", "HELO|1.0"],
    ["broken ERRORs", "ERROR"],
    ["ERRORs", "ERROR|NOTIFY|500|x"],
    ["UPDATEs that nobody asked for", UPDATE],
    ["huge UPDATEs that nobody asked for", `UPDATE|zzzz|${"x".repeat(2000)}`],
    ["listings that nobody asked for", `IHAVE|zzzz|${LINE}`],
    ["answers to no CLOSE", "CLOSE|zzzz"],
  ] as const;
  test.each(BAD)("the tenth of a flood of %s ends the connection", (_name, message) => {
    const line = greeted();
    const nine = line.say(...Array.from({ length: ERROR_LIMITS.badMessages - 1 }, () => message));
    expect(nine.filter((text) => text.startsWith("end"))).toEqual([]);
    const rest = line.say(...Array.from({ length: 100 }, () => message));
    expect(rest.at(-1)).toBe("end: too-many-errors");
    expect(rest.length).toBeLessThanOrEqual(3);
  });

  test("what is asked for is no flood, however much of it fails", () => {
    const line = greeted();
    for (let n = 0; n < 50; n++) line.session.get(asked(n));
    const tags = [..."3456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvw"].slice(0, 50);
    line.say(...tags.map((tag) => `ERROR|000${tag}|500|1 update not available`));
    expect(line.session.isOpen).toBe(true);
  });
});

describe("silence", () => {
  test("is reported after 5 minutes, once", () => {
    const line = greeted();
    expect(line.session.nextAt()).toBe(301_000);
    expect(line.wait(299_999)).toEqual([]);
    expect(line.wait(1)).toEqual(["silent"]);
    expect(line.session.nextAt()).toBeUndefined();
    expect(line.wait(1_000_000)).toEqual([]);
    line.say("LIST|1-");
    expect(line.wait(SESSION_LIMITS.silenceMs)).toEqual(["silent"]);
  });

  test("of a LIST makes for another at once, and the second ends the connection", () => {
    const line = greeted();
    line.wait(300_000);
    line.session.list(45, 1044, line.now);
    expect(line.session.nextAt()).toBe(361_000);
    expect(line.wait(59_999)).toEqual([]);
    expect(line.wait(1)).toEqual(["list-failed 45-1044", "silent"]);
    line.session.list(45, 1044, line.now);
    expect(line.wait(60_000)).toEqual(["list-failed 45-1044", "end: silent"]);
  });

  test("of one LIST is forgiven when the next one is answered, or it is itself, late", () => {
    for (const answer of [`IHAVE|0003|${LINE}`, `IHAVE|0004|${LINE}`, "ERROR|0004|500|no"]) {
      const line = greeted();
      line.session.list(1, 9, line.now);
      expect(line.wait(60_000)).toEqual(["list-failed 1-9", "silent"]);
      line.session.list(1, 9, line.now);
      expect(line.say(answer)[0]).toMatch(/^list/);
      if (answer.includes("0004")) line.session.list(1, 9, line.now);
      expect(line.wait(60_000)).toEqual(["list-failed 1-9", "silent"]);
    }
  });

  test("other talk does not stand for an answer to a LIST", () => {
    const line = greeted();
    line.session.list(1, 9, line.now);
    for (let n = 0; n < 59; n++) expect(line.wait(1000)).toEqual([]);
    line.say(`IHAVE|NOTIFY|${LINE}`);
    expect(line.wait(1000)).toEqual(["list-failed 1-9", "silent"]);
  });
});

describe("CLOSE", () => {
  test("of the peer's is answered and is the end when nothing is owed", () => {
    const line = greeted();
    expect(line.say("CLOSE")).toEqual(["0003|CLOSE|a002", "end: closed"]);
    expect(line.session.isEnded).toBe(true);
  });

  test("works in every state", () => {
    expect(new Line().say("CLOSE")).toEqual(["0002|CLOSE|a000", "end: closed"]);
    const line = new Line();
    line.say("HELO|1.0");
    expect(line.say("CLOSE")).toEqual(["0002|CLOSE|a001", "end: closed"]);
  });

  test("waits for what is owed both ways, asks nothing new, and lasts 10 s at most", () => {
    const line = greeted();
    line.say("GETUPDATE|1|2");
    line.session.get(asked(45));
    expect(line.say("CLOSE")).toEqual([]);
    expect(line.session.isOpen).toBe(false);
    expect([line.session.get(asked(9)), line.session.list(1, 2, line.now)]).toEqual([[], []]);
    expect(line.session.announce([NEWEST])).toEqual([]);
    expect(told(line.session.answerUnavailable("a002", 1)).length).toBe(1);
    expect(line.say(UPDATE.replace("%", "0003"))).toEqual(["update 45 true", "progress"]);
    expect(told(line.session.answerUnavailable("a002", 2))).toEqual([
      "0005|ERROR|a002|500|2 update not available",
      "0006|CLOSE|a003",
      "end: closed",
    ]);
    const slow = greeted();
    slow.say("GETUPDATE|1", "CLOSE");
    expect(slow.wait(10_000)).toEqual(["0003|CLOSE|a003", "end: closed"]);
    const other = greeted();
    other.session.get(asked(45));
    other.say("CLOSE");
    expect(other.session.nextAt()).toBe(11_000);
    expect(other.wait(9999)).toEqual([]);
    expect(other.wait(1)).toEqual(["end: closed"]);
  });

  test("of ours ends with the peer's answer, or after 10 s", () => {
    const line = greeted();
    expect(told(line.session.close(line.now))).toEqual(["0003|CLOSE"]);
    expect(line.session.close(line.now)).toEqual([]);
    expect(line.say("CLOSE|0003")).toEqual(["end: closed"]);
    const other = greeted();
    other.session.close(other.now);
    expect(other.wait(10_000)).toEqual(["end: closed"]);
  });

  test("of both at once crosses without harm", () => {
    const line = greeted();
    line.session.close(line.now);
    expect(line.say("CLOSE")).toEqual(["0004|CLOSE|a002", "end: closed"]);
    const early = new Line();
    early.session.close(early.now);
    expect(early.say("HELO|1.0", "CLOSE|0002")).toEqual(["end: closed"]);
  });

  test("is answered once, however often it is said", () => {
    const line = greeted();
    line.session.get(asked(45));
    expect(line.say("CLOSE", "CLOSE", "CLOSE")).toEqual(["0004|CLOSE|a002"]);
  });

  test("what the peer still asks for is answered", () => {
    const line = greeted();
    line.session.close(line.now);
    expect(line.say("LIST|1-")).toEqual(["asked a002 list"]);
    expect(line.say("CLOSE|0003")).toEqual([]);
    expect(told(line.session.answerList("a002", []))).toEqual(["0004|IHAVE|a002", "end: closed"]);
  });
});
