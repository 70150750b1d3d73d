/**
 * What may be said when on one KX connection: the greeting, and who asks for what.
 */
import { describe, expect, test } from "vitest";
import { NO_FEATURES } from "../../src/kx/messages.js";
import { serializePart } from "../../src/kx/serializer.js";
import { asked, greeted, HASH, LINE, Line, NEWEST, told, UPDATE } from "./talk.js";

describe("the greeting", () => {
  test("opens the session, with a newest update or without", () => {
    expect(greeted().session.isOpen).toBe(true);
    const line = new Line();
    line.say("HELO|1.0");
    expect(told(line.session.greet(undefined))).toEqual(["0002|IHAVE|NOTIFY"]);
    expect(line.say("IHAVE|NOTIFY")).toEqual(["established empty"]);
  });

  test("may tell more than the newest", () => {
    const line = new Line();
    line.say("HELO|1.0");
    expect(line.say(`IHAVE|NOTIFY|44 ${HASH}|${LINE}`)).toEqual(["established 45", "announced 2"]);
  });

  test.each(["IHAVE|NOTIFY", "LIST|1-", "GETUPDATE|1", UPDATE, "QUUX"])(
    "begins with HELO, not with %s",
    (message) => {
      expect(new Line().say(message)).toEqual([
        "0002|ERROR|a000|551|HELO was due",
        "complaint: HELO was due",
        "end: out-of-sequence",
      ]);
    },
  );

  test.each(["HELO|1.0", "IHAVE|0001", "LIST|1-", "GETUPDATE|1", UPDATE, "QUUX", "LIST"])(
    "goes on with IHAVE NOTIFY, not with %s",
    (message) => {
      const line = new Line();
      line.say("HELO|1.0");
      expect(line.say(message)).toEqual([
        "0002|ERROR|a001|551|IHAVE NOTIFY was due",
        "complaint: IHAVE NOTIFY was due",
        "end: out-of-sequence",
      ]);
    },
  );

  test("ends at the peer's ERROR, which gets none in return", () => {
    expect(new Line().say("ERROR|NOTIFY|500|go away")).toEqual([
      "complaint: ERROR 500 go away",
      "end: out-of-sequence",
    ]);
    expect(new Line().say("ERROR")).toEqual([
      "complaint: ERROR wants a tag or NOTIFY, a code and a text",
      "end: out-of-sequence",
    ]);
  });

  test.each(["1", "1.0", "1.1", "1.0 "])("speaks with version %j", (version) => {
    expect(new Line().say(`HELO|${version}`)).toEqual(["greet"]);
  });

  test.each(["2.0", "0.9", "10.0", "", "one"])("says goodbye to version %j", (version) => {
    expect(new Line().say(`HELO|${version}`)).toEqual([
      "0002|ERROR|a000|500|KX version 1 is spoken here",
      "complaint: KX version 1 is spoken here",
      "0003|CLOSE",
      "end: version 3600000",
    ]);
  });

  test("has 30 s for HELO and 60 s in all", () => {
    const [silent, half] = [new Line(), new Line()];
    expect(silent.session.nextAt()).toBe(31_000);
    half.say("HELO|1.0");
    expect(half.session.nextAt()).toBe(61_000);
    expect(silent.wait(29_999)).toEqual([]);
    const overdue = [
      "0002|ERROR|NOTIFY|551|the greeting is overdue",
      "complaint: the greeting is overdue",
      "end: greeting-timeout",
    ];
    expect(silent.wait(1)).toEqual(overdue);
    expect(half.wait(59_999)).toEqual([]);
    expect(half.wait(1)).toEqual(overdue);
    expect(half.session.nextAt()).toBeUndefined();
  });

  test("nothing is asked or announced before it is done", () => {
    const { session, now } = new Line();
    expect([session.list(1, 9, now), session.get(asked(1)), session.announce([NEWEST])]).toEqual([
      [],
      [],
      [],
    ]);
  });
});

describe("requests of the peer", () => {
  test("are handed over one number at a time and answered with their tag", () => {
    const line = greeted();
    expect(line.say("LIST|1-|7", "GETUPDATE|43|44")).toEqual([
      "asked a002 list",
      "asked a003 43",
      "asked a003 44",
    ]);
    expect(told(line.session.answerList("a002", [serializePart([NEWEST], NO_FEATURES)]))).toEqual([
      `0003|IHAVE|a002|${LINE}`,
    ]);
    expect(told(line.session.answerUpdate("a003", NEWEST, Buffer.from("armor\n")))).toEqual([
      `0004|UPDATE|a003|${LINE}|armor`,
    ]);
    expect(told(line.session.answerUnavailable("a003", 44))).toEqual([
      "0005|ERROR|a003|500|44 update not available",
    ]);
  });

  test("LIST without a line or with a bad one: one answer, 500", () => {
    const line = greeted();
    expect(line.say("LIST", "LIST|all")).toEqual([
      "0003|ERROR|a002|500|LIST wants a range",
      "complaint: LIST wants a range",
      "0004|ERROR|a003|500|LIST has a line that is no range",
      "complaint: LIST has a line that is no range",
    ]);
    expect(line.session.isOpen).toBe(true);
  });

  test("an answer of 'not available' is not held back by the budget of ERRORs", () => {
    const line = greeted();
    line.say(`GETUPDATE${"|1".repeat(100)}`);
    const answers = Array.from({ length: 100 }, () => line.session.answerUnavailable("a002", 1));
    expect(answers.flat().length).toBe(100);
  });
});

describe("our requests", () => {
  test("carry one number each, and only an answer that quotes them is believed", () => {
    const line = greeted();
    expect(told(line.session.get(asked(45)))).toEqual(["0003|GETUPDATE|45"]);
    expect(told(line.session.get(asked(46)))).toEqual(["0004|GETUPDATE|46"]);
    expect(line.say(UPDATE.replace("%", "0004"))).toEqual(["update 46 true", "progress"]);
    expect(line.say("ERROR|0003|500|45 update not available")).toEqual([
      "unavailable 45",
      "progress",
    ]);
    expect(line.say(UPDATE.replace("%", "0004"))).toEqual([
      "complaint: an UPDATE that was not asked for",
    ]);
  });

  test("an answer to a LIST is not one to a GETUPDATE, nor the other way round", () => {
    const line = greeted();
    line.session.get(asked(45));
    line.session.list(1, 9, line.now);
    expect(line.say(`IHAVE|0003|${LINE}`)).toEqual(["complaint: a listing that was not asked for"]);
    expect(line.say(UPDATE.replace("%", "0004"))).toEqual([
      "complaint: an UPDATE that was not asked for",
    ]);
    expect(line.say(`IHAVE|0004|${LINE}`)).toEqual(["listed 1-9: 1"]);
    expect(line.say(UPDATE.replace("%", "0003"))).toEqual(["update 45 true", "progress"]);
  });

  test("other ERRORs are a failure, not the end of the update", () => {
    const line = greeted();
    line.session.get(asked(45));
    line.session.get(asked(45));
    line.session.list(1, 9, line.now);
    expect(line.say("ERROR|0003|500|no time", "ERROR|0004|551|not available")).toEqual([
      "update-failed 45: ERROR 500 no time",
      "update-failed 45: ERROR 551 not available",
      "progress",
    ]);
    expect(line.say("ERROR|0005|500|no")).toEqual(["list-failed 1-9", "complaint: ERROR 500 no"]);
  });

  test("an UPDATE that is too large is a failure and the connection lives", () => {
    const line = greeted();
    line.session.get(asked(45));
    expect(line.say(`UPDATE|0003|${LINE}|${"x".repeat(2000)}`)).toEqual([
      "update-failed 45: the UPDATE is too large",
      "progress",
    ]);
    expect(line.session.isOpen).toBe(true);
  });

  test("an UPDATE on its way shows that the peer moves", () => {
    const line = greeted();
    expect(line.raw("b000|UPDATE|0003|")).toEqual(["progress"]);
    expect(line.raw("x|")).toEqual(["progress"]);
  });

  test("of those without an answer the latest 256 are still open to one", () => {
    const line = greeted();
    for (let n = 0; n < 1000; n++) line.session.get(asked(n));
    const tags = [..."0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"];
    const tag = (n: number) => {
      const count = n + 3;
      return `00${tags[Math.floor(count / 62)]}${tags[count % 62]}`;
    };
    expect(line.say(UPDATE.replace("%", tag(743)))).toMatchObject([/^complaint/]);
    expect(line.say(UPDATE.replace("%", tag(744)))[0]).toBe("update 744 true");
    expect(line.say(UPDATE.replace("%", tag(999)))[0]).toBe("update 999 true");
  });
});
