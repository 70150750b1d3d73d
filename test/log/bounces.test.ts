/** What a second bounce of one update does to the first, while nobody has looked at either. */
import { expect, onTestFinished, test } from "vitest";
import type { Bounce } from "../../src/log/bounces.js";
import { UpdateLog } from "../../src/log/update-log.js";
import type { Seq } from "../../src/update.js";

const BOUNCE = { site: "old", about: "site", code: 550, text: "No such user", at: 1 } as const;

function bounces() {
  const log = UpdateLog.open(":memory:");
  onTestFinished(() => log.close());
  const note = (first: number, seq: number, other: Partial<Bounce> = {}) =>
    log.bounces.note({ ...BOUNCE, first: first as Seq, seq: seq as Seq, ...other });
  return { ...{ bounces: log.bounces }, note };
}

test("a bounce of one update takes nothing from one of a mail that ended with it", () => {
  const { bounces: log, note } = bounces();
  note(5, 10);
  note(10, 10, { text: "Mailbox full", about: "update" });
  expect(log.fresh("old")).toMatchObject({ first: 5, seq: 10, text: "Mailbox full" });
  note(3, 10);
  expect(log.fresh("old")).toMatchObject({ first: 3, seq: 10, about: "site" });
});

test("what was looked at is done with: the next one stands for itself", () => {
  const { bounces: log, note } = bounces();
  note(5, 10);
  const bounce = log.fresh("old");
  if (bounce !== undefined) log.dismiss(bounce);
  expect(log.fresh("old")).toBeUndefined();
  note(10, 10);
  expect(log.fresh("old")).toMatchObject({ first: 10, seq: 10 });
});
