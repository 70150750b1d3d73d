/**
 * Rules of how a server learns of our updates. By default only the server's own newest update is
 * announced, which it knows. An update that it stores and passes on is announced only if the tester
 * was given one. The last rule shows another log, after which a server lists ours at most once in
 * ten minutes, so that a run after it finds no receipt.
 */
import { randomBytes } from "node:crypto";
import { readNumber } from "../kx/messages.js";
import { announcementLine } from "../kx/serializer.js";
import { type Conversation, Deviation, type OwnUpdate, Skipped, shown } from "./conversation.js";
import type { Rule } from "./rule.js";
import type { Subject } from "./subject.js";
import type { Heard } from "./wire.js";

/** When all peers have failed to deliver an update, they are asked again after a minute. */
const AGAIN_MS = 75_000;
/** Receipts come once a second. */
const RECEIPT_MS = 5000;
/** Longer than it takes to send one. */
const STILL_MS = 1500;

export const UPDATE_RULES: readonly Rule[] = [
  {
    id: "fetch.known",
    text: "An announcement of an update that the server has causes no GETUPDATE in the whole run.",
    source: "thesis 3.1; Fetching",
    async play(subject) {
      lastOf(subject);
      const line = await subject.greeted();
      await line.stillAnswers();
      if (subject.asked.has(1)) throw new Deviation("the server asked for number 1 of our log");
    },
  },
  {
    id: "fetch.receipt",
    text: "With the feature receipt, a DONE says that our updates are settled.",
    source: "KX/1.1, receipt",
    needs: ["1.1"],
    async play(subject) {
      const due = lastOf(subject);
      const line = await subject.opened(subject.openLines("receipt"));
      // A server lists another log of a peer at most once in ten minutes, and then sends it late.
      const what = `DONE ${due} (or later, if it has seen another log of ours in ten minutes)`;
      const isDone = ({ command }: Heard) => command === "DONE";
      for (let number = -1; number < due; ) {
        const done = await line.wait(what, isDone, RECEIPT_MS);
        const next = readNumber(done.lines[0]) ?? -1;
        if (next < number || next > due) throw new Deviation(`${what} was due, not ${shown(done)}`);
        number = next;
      }
    },
  },
  {
    id: "fetch.no-receipt",
    text: "Without the feature receipt in our OPEN the server sends no DONE.",
    source: "KX/1.1, Negotiation and receipt",
    needs: ["1.1"],
    async play(subject) {
      lastOf(subject);
      const line = await subject.opened();
      await line.pause(STILL_MS);
      await line.stillAnswers();
      const [done] = line.left("DONE");
      if (done !== undefined) throw new Deviation(`the server sent ${shown(done)}`);
    },
  },
  {
    id: "fetch.unasked",
    text: "An update that is sent before it was asked for is not stored.",
    source: "Fetching, Verification",
    needs: ["update"],
    async play(subject) {
      const line = await subject.greeted();
      const { announcement, armor = [] } = givenTo(subject);
      line.send("UPDATE", "zzzz", announcementLine(announcement), ...armor);
      await line.quiet("An UPDATE that was not asked for");
      if (await has(subject, line)) throw new Deviation("the update is in the log of the server");
    },
  },
  {
    id: "fetch.wrong-body",
    text: "An update whose armor is damaged is not stored, and is asked for again.",
    source: "thesis 5.3; Fetching, Verification",
    needs: ["update", "slow"],
    async play(subject) {
      const line = await subject.greeted();
      line.answersGets = false;
      const { announcement, armor = [] } = givenTo(subject);
      announce(subject, line, givenTo(subject));
      const { tag } = await request(subject, line);
      const broken = armor.map((text, n) => (n === armor.length - 3 ? "!!!!" : text));
      line.send("UPDATE", tag, announcementLine(announcement), ...broken);
      await line.stillAnswers();
      if (await has(subject, line)) throw new Deviation("the update is in the log of the server");
      const again = await request(subject, line, AGAIN_MS);
      line.give(again.tag, String(announcement.number));
      await line.stillAnswers();
    },
  },
  {
    id: "fetch.new",
    text: "A new update that is announced is asked for once, and is then in the log.",
    source: "thesis 3.1; Fetching",
    needs: ["update"],
    async play(subject) {
      const line = await subject.greeted();
      line.answersGets = false;
      announce(subject, line, givenTo(subject));
      const heard = await request(subject, line);
      if (heard.lines.length > 1) throw new Deviation(`one number was due, not ${shown(heard)}`);
      line.give(heard.tag, heard.lines[0] ?? "");
      await line.stillAnswers();
      const until = subject.scene.now() + subject.scene.waitMs;
      while (!(await has(subject, line))) {
        if (subject.scene.now() > until) throw new Deviation("the update is not in its log");
        await line.pause(100);
      }
      if (line.left("GETUPDATE").length > 0) throw new Deviation("it was asked for twice");
    },
  },
  {
    id: "fetch.other-log",
    text: "Of two connections that name different logs, the older one is closed.",
    source: "KX/1.1, log",
    needs: ["1.1", "slow"],
    async play(subject) {
      const older = await subject.opened();
      await older.stillAnswers();
      const name = randomBytes(16).toString("hex");
      const newer = await subject.opened([`log ${name}`, "features"]);
      await newer.stillAnswers();
      await older.closed();
    },
  },
];

/** The number of our newest update. Throws `Skipped` if our log is empty. */
function lastOf({ scene: { own } }: Subject): number {
  const newest = own.updates.at(-1);
  if (newest === undefined) throw new Skipped("our log is empty, as that of the server");
  return newest.announcement.number;
}

/** The update that the server may be given. */
function givenTo({ update }: Subject): OwnUpdate {
  if (update === undefined) throw new Skipped("no update may be sent");
  return update;
}

/** Shows an update in our log from now on, and announces it. */
function announce(subject: Subject, line: Conversation, one: OwnUpdate): void {
  const { own } = subject.scene;
  const others = own.updates.filter(({ announcement: { number } }) => {
    return number !== one.announcement.number;
  });
  own.updates = [...others, one].sort((a, b) => a.announcement.number - b.announcement.number);
  line.send("IHAVE", "NOTIFY", announcementLine(one.announcement));
}

/** The GETUPDATE for our update; if the server has it already, the rule is skipped. */
async function request(subject: Subject, line: Conversation, ms?: number): Promise<Heard> {
  const { announcement } = givenTo(subject);
  const number = String(announcement.number);
  return await line.wait(
    `GETUPDATE ${number}`,
    ({ command, lines }) => command === "GETUPDATE" && lines.includes(number),
    ms,
  );
}

/** Whether the server lists the update among those that are newer than at its greeting. */
async function has(subject: Subject, line: Conversation): Promise<boolean> {
  const { hash } = givenTo(subject).announcement;
  const listed = await line.list(`${(line.newest?.number ?? 0) + 1}-`);
  return listed.some((one) => one.hash === hash);
}
