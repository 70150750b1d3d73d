/**
 * Repair by mail, without the mail: whose answer counts, how often is asked, and that a relay which
 * is down uses up nothing.
 */
import { expect, test } from "vitest";
import { systemClock } from "../../src/clock.js";
import type { Neighbour } from "../../src/config/config.js";
import { GroupCommit } from "../../src/intake/group-commit.js";
import { KeyIntake } from "../../src/intake/key-intake.js";
import { commandText, type MailCommand, questionMark } from "../../src/mail/command.js";
import type { MailQuestion } from "../../src/repair/repair-door.js";
import { RepairIntake } from "../../src/repair/repair-intake.js";
import { MailAnswers } from "../../src/repair/repair-mail.js";
import { bytes } from "../mail/fixtures.js";
import { pause, quietFor } from "../support/until.js";
import { FINGERPRINT, key, QUICK, type RepairStage, repairStage } from "./stage.js";

const NEIGHBOUR = { name: "old", mail: "pks@old.example.net", repair: { type: "mail" } };
const OLD = NEIGHBOUR as unknown as Neighbour;
const GET: MailCommand = { verb: "get", fingerprint: FINGERPRINT };
const ARMOR = [bytes(key(0).armor)];

/** Takes the answers to the questions of a stage into its log. */
function answersTo({ log, diagnostics }: RepairStage): MailAnswers {
  const appends = new GroupCommit(log);
  const keys = new KeyIntake({ log, appends, clock: systemClock, diagnostics });
  const intake = new RepairIntake({ repairs: log.repairs, keys, clock: systemClock });
  return new MailAnswers({ log, intake }, { neighbours: [OLD] });
}

/** A stage whose neighbour "old" is asked by mail, and what takes his answers. */
async function stage(answer: () => Awaited<ReturnType<MailQuestion>>, limits = QUICK) {
  const asked: string[] = [];
  const mail: MailQuestion = async (_, command) => {
    asked.push(commandText(command));
    return answer();
  };
  const all = await repairStage({ old: "mail" }, { mail, limits });
  const answers = answersTo(all);
  const head = (inReplyTo: string) => [
    { name: "Subject", value: `Your command, GET 0x${FINGERPRINT}` },
    { name: "In-Reply-To", value: inReplyTo },
  ];
  return {
    ...all,
    asked,
    take: (quoted: string, from: Neighbour[] = []) => answers.take(head(quoted), ARMOR, from),
  };
}

test("an answer counts from the neighbour's address, or with our mark, and once", async () => {
  for (const how of ["address", "mark"]) {
    const { want, heard, take, log, asked } = await stage(() => ({ kind: "delivered" }), {
      ...QUICK,
      mailMs: 60_000,
    });
    const mark = questionMark("old", GET, log.bounces.secret);
    expect(await take(`<${mark}1@x>`, [OLD])).toBe(false);
    want({ neighbours: ["old"] });
    await heard("repair-asked");
    expect(await take("<ask.00000000000000000000000000000000.1@x>")).toBe(false);
    expect(await (how === "mark" ? take(`<${mark}1@x>`) : take("", [OLD]))).toBe(true);
    expect(await heard("repaired")).toMatchObject({ neighbour: "old", via: "mail", appended: 1 });
    expect(await take(`<${mark}1@x>`, [OLD])).toBe(false);
    expect([asked, log.newest()]).toEqual([[commandText(GET)], 1]);
  }
});

test("who does not answer is asked three times, and then it is lost", async () => {
  const { want, heard, asked, diagnostics } = await stage(() => ({ kind: "delivered" }));
  want({ neighbours: ["old"] });
  expect((await heard("repair-failed")).problem).toBe("old: does not answer");
  expect(asked).toHaveLength(3);
  expect(diagnostics.all("repair-asked")).toHaveLength(3);
});

test("a relay that is down uses up no question", async () => {
  let isDown = true;
  const relay = () =>
    isDown ? ({ kind: "temporary", words: "no relay" } as const) : ({ kind: "delivered" } as const);
  const { want, heard, asked, take } = await stage(relay, { ...QUICK, mailMs: 60_000 });
  want({ neighbours: ["old"] });
  await heard("repair-retry", 6);
  isDown = false;
  await heard("repair-asked");
  expect(await take("", [OLD])).toBe(true);
  await heard("repaired");
  expect(asked.length).toBeGreaterThan(6);
});

test("an answer that is faster than the relay is not missed", async () => {
  let take: ((quoted: string, from: Neighbour[]) => Promise<boolean>) | undefined;
  const taken: boolean[] = [];
  const asked: MailQuestion = async () => {
    taken.push((await take?.("", [OLD])) ?? false);
    await pause(30);
    return { kind: "delivered" };
  };
  const all = await repairStage({ old: "mail" }, { mail: asked });
  const answers = answersTo(all);
  const head = [{ name: "Subject", value: `Your command, GET 0x${FINGERPRINT}` }];
  take = (_, from) => answers.take(head, ARMOR, from);
  all.want({ neighbours: ["old"] });
  await all.heard("repaired");
  await quietFor(100, "the relay's answer would come and put the question off again");
  expect([taken, all.log.repairs.count()]).toEqual([[true], 0]);
});
