/** Commands to a pksd and its answers: what is written, and what is understood of the answer. */
import { describe, expect, it } from "vitest";
import {
  canAsk,
  composeCommand,
  fewerDays,
  type MailCommand,
  questionMark,
  readAnswer,
} from "../../src/mail/command.js";
import { headerValues, readHead } from "../../src/mail/head.js";
import type { Fingerprint } from "../../src/update.js";
import { text } from "./fixtures.js";

const FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567" as Fingerprint;
const GET: MailCommand = { verb: "get", fingerprint: FINGERPRINT };
const LAST: MailCommand = { verb: "last", days: 14 };
const SECRET = new Uint8Array(32).fill(7);

describe("a question", () => {
  const ask = (command: MailCommand, changes = {}) =>
    composeCommand({
      ...{ command, to: "pks@pks.example.net", from: "keymaster@example.org" },
      ...{ replyTo: "pgp-public-keys@kx.example.org", date: 0 },
      ...{ mark: questionMark("pks", command, SECRET), ...changes },
    });

  it("has the command as its subject, and where the answer goes", () => {
    const { fields } = readHead(ask(GET));
    const value = (name: string) => headerValues(fields, name)[0];
    expect(value("Subject")).toBe(`GET 0x${FINGERPRINT}`);
    expect(value("Reply-To")).toBe("pgp-public-keys@kx.example.org");
    expect(value("Message-ID")).toMatch(/^<ask\.[0-9a-f]{32}\.0@kx\.example\.org>$/);
    expect(headerValues(readHead(ask(LAST)).fields, "Subject")).toEqual(["LAST 14"]);
  });

  it("is plain lines that end as they should, and never one of an update", () => {
    const raw = text(ask(GET));
    expect(raw.endsWith("\r\n")).toBe(true);
    expect(raw.replaceAll("\r\n", "")).not.toMatch(/[\r\n]/);
    expect(raw).not.toContain("X-KeyServer-Sent");
  });

  it("lets nothing into its head", () => {
    for (const name of ["to", "from", "replyTo"]) {
      expect(() => ask(GET, { [name]: "a@b.example\r\nBcc: c@d.example" })).toThrow(/plain/);
    }
  });

  it("has a mark that only we can make", () => {
    const mark = questionMark("pks", GET, SECRET);
    const others = [
      questionMark("pks2", GET, SECRET),
      questionMark("pks", LAST, SECRET),
      questionMark("pks", GET, new Uint8Array(32)),
    ];
    expect(others).not.toContain(mark);
    expect(questionMark("pks", GET, SECRET)).toBe(mark);
  });

  it("cannot name a key of version 3 or 6, which pksd finds by no fingerprint", () => {
    expect([32, 40, 64].map((length) => canAsk("A".repeat(length) as Fingerprint))).toEqual([
      ...[false, true, false],
    ]);
  });
});

describe("an answer", () => {
  const read = (subject: string, more: Record<string, string> = {}) =>
    readAnswer(
      Object.entries({ Subject: subject, ...more }).map(([name, value]) => ({ name, value })),
    );
  const hex = FINGERPRINT.toLowerCase();

  it.each<[string, MailCommand, boolean]>([
    [`Your command, GET 0x${FINGERPRINT}`, GET, false],
    [`your COMMAND, get 0x${hex}`, GET, false],
    [`Your command, GET  0x${FINGERPRINT} , failed`, GET, true],
    [`Your command, GET 0x${FINGERPRINT}, was invalid`, GET, true],
    ["Your command, LAST 14", LAST, false],
    ["Your command, LAST 14, failed", LAST, true],
  ])("%s", (subject, command, failed) => {
    expect(read(subject)).toEqual({ command, failed, inReplyTo: undefined });
  });

  it.each([
    "Your command, ADD",
    "Your command, GET 0x01234567",
    "Your command, GET alice",
    "Your command, INDEX 0x0123456789ABCDEF0123456789ABCDEF01234567",
    "Your command, LAST",
    "Your command, LAST 123456",
    `Re: Your command, GET 0x${FINGERPRINT}`,
    `Your command, GET 0x${FINGERPRINT}0`,
    "",
  ])("to no question of ours: %j", (subject) => {
    expect(read(subject)).toBeUndefined();
  });

  it("quotes the question", () => {
    const quoted = "<ask.00.1@kx.example.org>";
    expect(read("Your command, LAST 14", { "In-Reply-To": quoted })?.inReplyTo).toBe(quoted);
  });
});

describe("fewer days", () => {
  it.each([
    ["LAST argument must be less than or rqual to 7", 14, 7],
    ["LAST argument must be less than or equal to 7", 14, 7],
    ["LAST argument must be less than or rqual to 14", 14, undefined],
    ["LAST is not permitted by this server", 14, undefined],
    ["Number of keys in reply would exceeded maximum allowed (50) Try a smaller time.", 7, 3],
    ["Number of keys in reply would exceeded maximum allowed (50)", 1, undefined],
    ["No matching keys in database", 14, undefined],
  ])("%s, asked for %d: %j", (words, days, fewer) => {
    expect(fewerDays(words, days)).toBe(fewer);
  });
});
