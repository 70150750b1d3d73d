/**
 * Rules of KX/1.1: OPEN, the name of the log, and what DONE gets as an answer (docs/protocol.md,
 * KX/1.1). They need a server whose HELO has the tag KX11.
 */
import { readLogName, TAG_11 } from "../kx/messages.js";
import { type Conversation, Deviation, Skipped, shown } from "./conversation.js";
import { type Rule, rule11 } from "./rule.js";
import { ahead, get, isUnavailable } from "./rules-requests.js";
import type { Subject } from "./subject.js";
import type { Heard } from "./wire.js";

/** Lines that an OPEN may have. */
const OPEN_LINES = 100;

export const EXTENDED_RULES: readonly Rule[] = [
  rule11(
    "1.1.open",
    "When both HELOs have the tag KX11, the server sends OPEN once, right after its first IHAVE.",
    {
      source: "KX/1.1, Negotiation",
      async play(subject) {
        const line = await subject.opened();
        await openOf(line);
        await line.stillAnswers();
        const order = line.all.slice(0, 3).map(({ command }) => command);
        if (order.join(" ") !== "HELO IHAVE OPEN") {
          throw new Deviation(`HELO IHAVE OPEN was due; the server sent ${order.join(" ")}`);
        }
        if (line.left("OPEN").length > 0) throw new Deviation("the server sent OPEN twice");
      },
    },
  ),
  rule11("1.1.version", "The version in HELO stays 1.0.", {
    source: "KX/1.1, Negotiation",
    async play(subject) {
      const line = await subject.opened();
      const version = line.all[0]?.lines.join();
      if (version !== "1.0") throw new Deviation(`the version is ${version}`);
    },
  }),
  rule11(
    "1.1.open-form",
    "OPEN has at most one log of 32 hex digits, and its features are words.",
    {
      source: "KX/1.1, Negotiation",
      async play(subject) {
        const { lines } = await openOf(await subject.opened());
        const logs = lines.filter((one) => /^log\b/.test(one));
        const wrong = logs.find((one) => !/^log [0-9a-f]{32}$/.test(one));
        if (wrong !== undefined) throw new Deviation(`the line "${wrong.slice(0, 60)}"`);
        if (logs.length > 1) throw new Deviation("two lines name a log");
        if (lines.length > OPEN_LINES) throw new Deviation(`OPEN has ${lines.length} lines`);
        if (!lines.some((one) => /^features( [\x21-\x7e]+)*$/.test(one))) {
          throw new Deviation("there is no line of features");
        }
      },
    },
  ),
  rule11("1.1.log-stays", "The server names the same log on every connection.", {
    source: "KX/1.1, log",
    async play(subject) {
      const names = new Set<string | undefined>();
      for (let n = 0; n < 2; n += 1) names.add(await logOf(await subject.opened()));
      if (names.has(undefined)) throw new Skipped("the server names no log, as in observe mode");
      if (names.size > 1) throw new Deviation(`the names ${[...names].join(" and ")}`);
    },
  }),
  rule11("1.1.not-to-1.0", "Without the tag KX11 in our HELO the server sends no OPEN.", {
    source: "KX/1.1",
    async play(subject) {
      const line = await subject.greeted();
      await line.stillAnswers();
      const [open] = line.left("OPEN");
      if (open !== undefined) throw new Deviation(`the server sent ${shown(open)}`);
    },
  }),
  rule11(
    "1.1.open-in-1.0",
    "Without the tag KX11 in our HELO, OPEN and DONE are unknown commands: ERROR 500.",
    {
      source: "KX/1.1; Messages",
      async play(subject) {
        const line = await subject.greeted();
        await line.refusal(line.send("OPEN", ...subject.openLines("receipt")), 500);
        await line.refusal(line.send("DONE", "1"), 500);
        await line.stillAnswers();
      },
    },
  ),
  rule11("1.1.unknown-words", "Keys and features of OPEN that are not known are ignored.", {
    source: "KX/1.1, Negotiation",
    async play(subject) {
      const lines = subject.openLines("frobnication", "sha999");
      const line = await subject.opened(["cluster 3 of 5", ...lines, "colour"]);
      await openOf(line);
      await line.quiet("An OPEN with unknown words");
    },
  }),
  rule11("1.1.empty-open", "An OPEN without a line is accepted.", {
    source: "KX/1.1, Negotiation",
    async play(subject) {
      const line = await subject.opened([]);
      await line.quiet("An OPEN without a line");
    },
  }),
  rule11(
    "1.1.no-open",
    "A peer that has the tag KX11 and sends no OPEN is answered as one of KX/1.0.",
    {
      source: "KX/1.1, Negotiation",
      async play(subject) {
        const line = await subject.greeted({ tag: TAG_11 });
        await line.stillAnswers();
        await line.quiet("A peer with the tag KX11 by chance");
      },
    },
  ),
  rule11("1.1.open-once", "A second OPEN gets ERROR 551, and the connection continues.", {
    source: "KX/1.1, Negotiation",
    async play(subject) {
      const line = await subject.opened();
      await line.refusal(line.send("OPEN", ...subject.openLines()), 551);
      await line.stillAnswers();
    },
  }),
  rule11(
    "1.1.open-early",
    "OPEN in place of the first IHAVE gets ERROR 551, and the connection ends.",
    {
      source: "KX/1.1, Negotiation; Messages",
      async play(subject) {
        const line = await subject.helo({ tag: TAG_11 });
        await line.refusal(line.send("OPEN", ...subject.openLines()), 551);
        await line.closed();
      },
    },
  ),
  ...(
    [
      ["1.1.bad-log", "An OPEN whose log is not 32 hex digits", ["log 12345"]],
      ["1.1.not-hex", "An OPEN whose log has another character", [`log ${"0".repeat(31)}x`]],
      ["1.1.two-logs", "An OPEN that names two logs", two("log")],
      ["1.1.long-open", "An OPEN of more than 100 lines", Array.from({ length: 101 }, () => "x")],
    ] as const
  ).map(([id, what, lines]) =>
    rule11(id, `${what} gets ERROR 500, and the connection is one of KX/1.0.`, {
      source: "KX/1.1, Negotiation",
      async play(subject) {
        const line = await subject.helo({ tag: TAG_11 });
        subject.greetBack(line);
        await line.refusal(line.send("OPEN", ...lines), 500);
        await line.stillAnswers();
      },
    }),
  ),
  rule11(
    "1.1.done-unwanted",
    "A DONE without the feature gets no answer, and the connection continues.",
    {
      source: "KX/1.1, receipt; Messages",
      async play(subject) {
        const line = await subject.opened();
        line.send("DONE", "1");
        await line.quiet("A DONE without the feature receipt");
      },
    },
  ),
  rule11("1.1.done", "DONE of a number that the log has gets no answer.", {
    source: "KX/1.1, receipt",
    async play(subject) {
      const line = await withReceipts(subject);
      line.send("DONE", String(line.newest?.number ?? 0));
      await line.quiet("A DONE");
    },
  }),
  rule11(
    "1.1.done-ahead",
    "DONE of a number that the log does not have is ignored without an answer.",
    {
      source: "KX/1.1, receipt",
      async play(subject) {
        const line = await withReceipts(subject);
        line.send("DONE", String(ahead(line)));
        await line.quiet("A DONE for a number that the log does not have");
      },
    },
  ),
  rule11("1.1.done-back", "DONE of a number below an earlier one is ignored without an answer.", {
    source: "KX/1.1, receipt",
    async play(subject) {
      const line = await withReceipts(subject);
      const { number } = subject.newestOf(line);
      line.send("DONE", String(number));
      line.send("DONE", String(Math.max(0, number - 1)));
      await line.quiet("A DONE that goes back");
    },
  }),
  ...(
    [
      ["1.1.done-nothing", "DONE without a number", []],
      ["1.1.done-word", "DONE with a word for a number", ["all"]],
      ["1.1.done-range", "DONE with a line that is no range", ["1", "1-2-3"]],
    ] as const
  ).map(([id, what, lines]) =>
    rule11(id, `${what} gets ERROR 500, and the connection continues.`, {
      source: "KX/1.1; Messages",
      async play(subject) {
        const line = await withReceipts(subject);
        await line.refusal(line.send("DONE", ...lines), 500);
        await line.stillAnswers();
      },
    }),
  ),
  rule11("1.1.requests", "LIST and GETUPDATE are answered as in KX/1.0.", {
    source: "KX/1.1",
    async play(subject) {
      const line = await subject.opened();
      const newest = subject.newestOf(line);
      const [listed] = await line.list(String(newest.number));
      if (listed?.hash !== newest.hash) throw new Deviation(`${listed?.hash} was listed`);
      const answer = await get(line, newest.number);
      if (answer.command !== "UPDATE" && !isUnavailable(answer, newest.number)) {
        throw new Deviation(`UPDATE was due; the server sent ${shown(answer)}`);
      }
    },
  }),
  rule11("1.1.close", "CLOSE in place of OPEN is answered.", {
    source: "KX/1.1; thesis A.2.7",
    async play(subject) {
      const line = await subject.greeted({ tag: TAG_11 });
      const tag = line.send("CLOSE");
      await line.wait(`CLOSE ${tag}`, ({ command, lines }) => {
        return command === "CLOSE" && lines[0] === tag;
      });
    },
  }),
];

function two(key: string): string[] {
  return ["0", "1"].map((digit) => `${key} ${digit.repeat(32)}`);
}

async function openOf(line: Conversation): Promise<Heard> {
  return await line.wait("OPEN", ({ command }) => command === "OPEN");
}

async function logOf(line: Conversation): Promise<string | undefined> {
  const { lines } = await openOf(line);
  const found = lines.map((one) => /^log (.*)$/.exec(one)?.[1]).find((one) => one !== undefined);
  return found === undefined ? undefined : readLogName(found);
}

/** A connection on which both sides use receipts. Throws `Skipped` if the server does not. */
async function withReceipts(subject: Subject): Promise<Conversation> {
  const line = await subject.opened(subject.openLines("receipt"));
  await openOf(line);
  if (!line.features.receipt) throw new Skipped("the server has not the feature receipt");
  return line;
}
