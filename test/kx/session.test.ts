/**
 * What may be said when on one KX connection: each rule of the session, in the words of the wire.
 * `|` is a line end and the closing dot is left out.
 */
import { describe, expect, test } from "vitest";
import { ERROR_LIMITS } from "../../src/kx/error-budget.js";
import type { Announcement } from "../../src/kx/messages.js";
import { SESSION_LIMITS, Session } from "../../src/kx/session.js";
import type { SessionOutput } from "../../src/kx/session-output.js";
import type { UpdateHash } from "../../src/update.js";

const HASH = "9b4f7cbf22b6def1f8d579b969fd4d58" as UpdateHash;
const LINE = `45 ${HASH}`;
const NEWEST: Announcement = { number: 45, fingerprint: undefined, hash: HASH };
const UPDATE = `UPDATE|%|${LINE}|-----BEGIN|-----END`;

/** Outputs as text: what is sent as on the wire, the rest by its type and what matters of it. */
function told(outputs: readonly SessionOutput[]): string[] {
  return outputs.map((output) => {
    switch (output.type) {
      case "send":
        return Buffer.from(output.bytes)
          .toString("latin1")
          .replace(/\r\n\.\r\n$/, "")
          .replaceAll("\r\n", "|");
      case "complaint":
        return `complaint: ${output.problem}`;
      case "end":
        return `end: ${output.reason}${output.backoffMs === undefined ? "" : ` ${output.backoffMs}`}`;
      case "listed":
        return `listed ${output.low}-${output.high}: ${output.announcements.length}`;
      case "list-failed":
        return `list-failed ${output.low}-${output.high}`;
      case "update":
        return `update ${output.request.number} ${output.request.hash === HASH}`;
      case "unavailable":
        return `unavailable ${output.request.number}`;
      case "update-failed":
        return `update-failed ${output.request.number}: ${output.problem}`;
      case "asked":
        return output.asked.kind === "list"
          ? `asked ${output.asked.tag} list`
          : `asked ${output.asked.tag} ${output.asked.number}`;
      case "announced":
        return `announced ${output.announcements.length}`;
      case "established":
        return `established ${output.newest?.number ?? "empty"}`;
      default:
        return output.type;
    }
  });
}

class Line {
  readonly session: Session;
  now = 1000;
  #tags = 0;

  constructor() {
    this.session = new Session(this.now);
    expect(told(this.session.start())).toEqual(["0001|HELO|1.0"]);
  }

  /** Says messages without their tags, which are a000, a001 and so on. */
  say(...messages: readonly string[]): string[] {
    const text = messages.map((message) => {
      const tag = `a${String(this.#tags++).padStart(3, "0")}`;
      return `${tag}|${message}|.|`;
    });
    return this.raw(text.join(""));
  }

  raw(text: string): string[] {
    return told(this.session.received(Buffer.from(text.replaceAll("|", "\r\n")), this.now));
  }

  wait(ms: number): string[] {
    this.now += ms;
    return told(this.session.tick(this.now));
  }
}

function greeted(): Line {
  const line = new Line();
  expect(line.say("HELO|1.0")).toEqual(["greet"]);
  expect(told(line.session.greet(NEWEST))).toEqual([`0002|IHAVE|NOTIFY|${LINE}`]);
  expect(line.say(`IHAVE|NOTIFY|${LINE}`)).toEqual(["established 45"]);
  return line;
}

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
    expect([session.list(1, 9, now), session.get(1, HASH), session.announce([NEWEST])]).toEqual([
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
    expect(told(line.session.answerList("a002", [NEWEST]))).toEqual([`0003|IHAVE|a002|${LINE}`]);
    expect(told(line.session.answerUpdate("a003", NEWEST, Buffer.from("armor\n")))).toEqual([
      `0004|UPDATE|a003|${LINE}|armor`,
    ]);
    expect(told(line.session.answerUnavailable("a003", 44))).toEqual([
      "0005|ERROR|a003|500|44 update not available",
    ]);
  });

  test("LIST without a line or with a bad one: an empty answer and 500", () => {
    const line = greeted();
    expect(line.say("LIST", "LIST|all")).toEqual([
      "0003|IHAVE|a002",
      "0004|ERROR|a002|500|LIST wants a range",
      "complaint: LIST wants a range",
      "0005|IHAVE|a003",
      "0006|ERROR|a003|500|LIST has a line that is no range",
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
    expect(told(line.session.get(45, HASH))).toEqual(["0003|GETUPDATE|45"]);
    expect(told(line.session.get(46, HASH))).toEqual(["0004|GETUPDATE|46"]);
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
    line.session.get(45, HASH);
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
    line.session.get(45, HASH);
    line.session.get(45, HASH);
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
    line.session.get(45, HASH);
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
    for (let n = 0; n < 1000; n++) line.session.get(n, HASH);
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
    for (let n = 0; n < 50; n++) line.session.get(n, HASH);
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
    line.session.get(45, HASH);
    expect(line.say("CLOSE")).toEqual(["0004|CLOSE|a003"]);
    expect(line.session.isOpen).toBe(false);
    expect([line.session.get(9, HASH), line.session.list(1, 2, line.now)]).toEqual([[], []]);
    expect(line.session.announce([NEWEST])).toEqual([]);
    expect(told(line.session.answerUnavailable("a002", 1)).length).toBe(1);
    expect(line.say(UPDATE.replace("%", "0003"))).toEqual(["update 45 true", "progress"]);
    expect(told(line.session.answerUnavailable("a002", 2))).toEqual([
      "0006|ERROR|a002|500|2 update not available",
      "end: closed",
    ]);
    const other = greeted();
    other.session.get(45, HASH);
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
    line.session.get(45, HASH);
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
