/**
 * Rules of framing and of the greeting, in KX/1.0 (thesis A.1 and A.2.5; docs/protocol.md, Framing,
 * Messages and Conversation).
 */
import { Deviation, shown } from "./conversation.js";
import type { Rule } from "./rule.js";

/** How long nothing may come that is not due. */
const STILL_MS = 300;
/** Between two octets, so that they are not joined on their way. */
const OCTET_MS = 5;
/** Longer than a line may be. */
const LONG = "7".repeat(1100);

export const GREETING_RULES: readonly Rule[] = [
  {
    id: "helo.at-once",
    text: "The server sends HELO as soon as it is connected, with one line: version 1.0.",
    source: "thesis A.2.5",
    async play(subject) {
      const line = await subject.connect();
      const helo = await line.wait("HELO", () => true);
      if (helo.command !== "HELO" || helo.lines.length !== 1 || helo.lines[0] !== "1.0") {
        throw new Deviation(`HELO with the line 1.0 was due; the server sent ${shown(helo)}`);
      }
    },
  },
  {
    id: "helo.alone",
    text: "Before it has our HELO, the server sends nothing but its own.",
    source: "thesis A.2.5",
    async play(subject) {
      const line = await subject.connect();
      await line.wait("HELO", (one) => one.command === "HELO");
      await line.pause(STILL_MS);
      const more = line.all[1];
      if (more !== undefined) throw new Deviation(`the server sent ${shown(more)} after its HELO`);
    },
  },
  {
    id: "helo.newest",
    text: "On our HELO it sends IHAVE NOTIFY first, with its newest update or without a line.",
    source: "thesis A.2.5; Conversation 1",
    async play(subject) {
      const line = await subject.helo();
      const first = line.all[1];
      if (first?.command !== "IHAVE" || first.lines[0] !== "NOTIFY") {
        throw new Deviation(`IHAVE NOTIFY was due; the server sent ${first && shown(first)}`);
      }
    },
  },
  {
    id: "helo.minor-version",
    text: "Another minor version is accepted.",
    source: "Conversation 1",
    async play(subject) {
      const line = await subject.greeted({ version: "1.7" });
      await line.stillAnswers();
    },
  },
  {
    id: "helo.major-version",
    text: "Another major version gets ERROR 500 and CLOSE.",
    source: "Conversation 1",
    async play(subject) {
      const line = await subject.connect();
      const tag = line.send("HELO", "2.0");
      await line.refusal(tag, 500);
      await line.wait("CLOSE", (one) => one.command === "CLOSE");
      await line.closed();
    },
  },
  {
    id: "helo.first",
    text: "A first message that is not HELO gets ERROR 551, and the connection ends.",
    source: "thesis A.2.6; Messages",
    async play(subject) {
      const line = await subject.connect();
      await line.refusal(line.send("LIST", "1"), 551);
      await line.closed();
    },
  },
  {
    id: "helo.then-ihave",
    text: "A second message that is not IHAVE NOTIFY gets ERROR 551, and the connection ends.",
    source: "thesis A.2.6; Messages",
    async play(subject) {
      const line = await subject.helo();
      await line.refusal(line.send("LIST", "1"), 551);
      await line.closed();
    },
  },
  {
    id: "helo.then-notify",
    text: "A first IHAVE that quotes a tag gets ERROR 551, and the connection ends.",
    source: "Messages",
    async play(subject) {
      const line = await subject.helo();
      await line.refusal(line.send("IHAVE", "zzzz"), 551);
      await line.closed();
    },
  },
  {
    id: "helo.once",
    text: "A second HELO gets ERROR 551, and the connection continues.",
    source: "Messages",
    async play(subject) {
      const line = await subject.greeted();
      await line.refusal(line.send("HELO", "1.0"), 551);
      await line.stillAnswers();
    },
  },
  {
    id: "helo.overdue",
    text: "Without HELO the connection ends after 30 s.",
    source: "Conversation 1",
    needs: ["slow"],
    async play(subject) {
      await ends(await subject.connect(), 30_000);
    },
  },
  {
    id: "helo.ihave-overdue",
    text: "Without a first IHAVE the connection ends after 60 s.",
    source: "Conversation 1",
    needs: ["slow"],
    async play(subject) {
      await ends(await subject.helo(), 60_000);
    },
  },
  {
    id: "framing.lf",
    text: "Lines that end with LF alone are read.",
    source: "Framing",
    async play(subject) {
      const line = await subject.greeted();
      line.raw("lfon\nLIST\n1\n.\n");
      await line.listing("lfon");
    },
  },
  {
    id: "framing.pieces",
    text: "A message that comes octet by octet is read.",
    source: "Framing",
    async play(subject) {
      const line = await subject.greeted();
      for (const octet of "octt\r\nLIST\r\n1\r\n.\r\n") {
        line.raw(octet);
        await line.pause(OCTET_MS);
      }
      await line.listing("octt");
    },
  },
  {
    id: "framing.together",
    text: "Messages that come in one piece are all answered, in their order.",
    source: "Framing; Numbers",
    async play(subject) {
      const line = await subject.greeted();
      const tags = ["one1", "two2", "thr3"];
      line.raw(tags.map((tag) => `${tag}\r\nLIST\r\n1\r\n.\r\n`).join(""));
      const isOurs = ({ lines: [first = ""] }: { readonly lines: readonly string[] }) => {
        return tags.includes(first);
      };
      for (const tag of tags) {
        const answer = await line.wait(`the answer to ${tag}`, isOurs);
        if (answer.lines[0] !== tag) throw new Deviation(`${answer.lines[0]} came before ${tag}`);
      }
    },
  },
  {
    id: "framing.case",
    text: "Commands are read in any case.",
    source: "Framing",
    async play(subject) {
      const line = await subject.greeted();
      await line.listing(line.send("list", "1"));
    },
  },
  {
    id: "framing.blank-line",
    text: "A blank line before a tag is ignored.",
    source: "Framing",
    async play(subject) {
      const line = await subject.greeted();
      line.raw("\r\n\r\n");
      await line.stillAnswers();
    },
  },
  {
    id: "framing.bad-tag",
    text: "A tag that has not four octets gets ERROR NOTIFY 500, and the connection ends.",
    source: "thesis A.1; Framing",
    async play(subject) {
      const line = await subject.greeted();
      line.sendAs("abcde", "LIST", "1");
      await line.refusal("NOTIFY", 500);
      await line.closed();
    },
  },
  {
    id: "framing.unprintable-tag",
    text: "A tag with an octet outside of 0x20 to 0x7E does the same.",
    source: "thesis A.1; Framing",
    async play(subject) {
      const line = await subject.greeted();
      line.sendAs("ab\x07d", "LIST", "1");
      await line.refusal("NOTIFY", 500);
      await line.closed();
    },
  },
  {
    id: "framing.long-line",
    text: "A line of more than 1024 octets gets ERROR NOTIFY 500, and the connection ends.",
    source: "Framing",
    async play(subject) {
      const line = await subject.greeted();
      line.send("LIST", LONG);
      await line.refusal("NOTIFY", 500);
      await line.closed();
    },
  },
  {
    id: "framing.long-line-in-update",
    text: "An UPDATE with such a line is skipped to its end, and the connection continues.",
    source: "Framing",
    async play(subject) {
      const line = await subject.greeted();
      line.send("UPDATE", "zzzz", `1 ${"0".repeat(32)}`, LONG);
      await line.stillAnswers();
    },
  },
  {
    id: "framing.unknown-command",
    text: "An unknown command gets ERROR 500, and the connection continues.",
    source: "Messages",
    async play(subject) {
      const line = await subject.greeted();
      await line.refusal(line.send("FROBNICATE", "1"), 500);
      await line.stillAnswers();
    },
  },
  {
    id: "framing.no-command",
    text: "A message of a tag alone gets ERROR 500, and the connection continues.",
    source: "thesis A.1; Messages",
    async play(subject) {
      const line = await subject.greeted();
      line.raw("none\r\n.\r\n");
      await line.refusal("none", 500);
      await line.stillAnswers();
    },
  },
];

/** Waits until the server ends a connection after `ms`, and not before. */
async function ends(
  line: { readonly isClosed: boolean; pause(ms: number): Promise<void> },
  ms: number,
): Promise<void> {
  await line.pause(ms * 0.8);
  if (line.isClosed) throw new Deviation(`the connection ended before ${(ms * 0.8) / 1000} s`);
  for (let waited = 0; waited < ms * 0.4 && !line.isClosed; waited += 500) await line.pause(500);
  if (!line.isClosed) throw new Deviation(`the connection is open after ${(ms * 1.2) / 1000} s`);
}
