/** The rows of what is to be fetched again: one a key, bounded, kept over a restart. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { MOST_REPAIRS } from "../../src/log/repairs.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { scratch } from "../support/scratch.js";
import { fingerprint, update } from "./material.js";

const lost = (n: number, neighbours: readonly string[] = ["old"]) => {
  return { fingerprint: fingerprint(n), neighbours, why: "lost" as const, at: 1000 + n };
};

test("a key is one row, that learns who else has it and who needs it", () => {
  const log = UpdateLog.open(":memory:");
  let woken = 0;
  log.onAppend(() => {
    woken += 1;
  });
  log.repairs.want({ ...lost(1), hash: update(1).hash });
  log.repairs.want(lost(1, ["new", "old"]));
  log.repairs.want({ ...lost(1, []), why: "expired", site: "far" });
  expect(log.repairs.count()).toBe(1);
  expect(log.repairs.next("")).toMatchObject({
    ...{ what: fingerprint(1), why: "lost", hash: update(1).hash, wantedAt: 1001, attempts: 0 },
    ...{ neighbours: ["old", "new"], sites: ["far"], source: "", refused: {}, answer: undefined },
  });
  expect(woken).toBe(3);
  log.close();
});

test("what is due first is first, for each source, and a lost source's rows come back", () => {
  const log = UpdateLog.open(":memory:");
  for (const n of [3, 1, 2]) log.repairs.want(lost(n));
  const [one, two] = [fingerprint(1), fingerprint(2)];
  expect(log.repairs.next("")?.what).toBe(one);
  const row = log.repairs.get(two);
  if (row === undefined) throw new Error("no row");
  log.repairs.save({ ...row, source: "old", attempts: 2, nextAt: 1, askedAt: 7 });
  expect(log.repairs.next("old")?.what).toBe(two);
  expect(log.repairs.nextAnswered("old")).toBeUndefined();
  const answer = { kind: "absent", words: "no", appended: 0, known: 0 } as const;
  log.repairs.answered(two, answer);
  log.repairs.answered(fingerprint(99), answer);
  expect(log.repairs.nextAnswered("old")).toMatchObject({ what: two, answer });
  log.repairs.keepSources(["old"]);
  expect(log.repairs.get(two)?.attempts).toBe(2);
  log.repairs.keepSources(["new"]);
  expect(log.repairs.get(two)).toMatchObject({ source: "", attempts: 0, askedAt: 0 });
  expect(log.repairs.counts()).toEqual([{ source: "", count: 3 }]);
  log.close();
});

test("there is an end to what is wanted", () => {
  const log = UpdateLog.open(":memory:");
  for (let n = 0; n < MOST_REPAIRS; n++) log.repairs.want({ ...lost(n), why: "expired" });
  expect(log.repairs.want(lost(MOST_REPAIRS))).toBe(false);
  expect(log.repairs.want(lost(5, ["new"]))).toBe(true);
  log.repairs.forget(fingerprint(7));
  log.repairs.forget(fingerprint(7));
  expect(log.repairs.want(lost(MOST_REPAIRS))).toBe(true);
  expect([log.repairs.count(), log.repairs.want(lost(7))]).toEqual([MOST_REPAIRS, false]);
  log.close();
});

test("one neighbour that announces what it does not have leaves room for the others", () => {
  const path = join(scratch(), "updates.db");
  let log = UpdateLog.open(path);
  let next = 0;
  const wanted = (neighbour: string, most: number) => {
    let taken = 0;
    for (let n = 0; n < most; n++) if (log.repairs.want(lost(next++, [neighbour]))) taken += 1;
    return taken;
  };
  const half = MOST_REPAIRS / 2;
  expect(wanted("liar", MOST_REPAIRS)).toBe(half);
  expect(log.repairs.want({ ...lost(next++, []), why: "expired", site: "far" })).toBe(true);
  expect(wanted("honest", 2000)).toBe(2000);
  // What is no more is room again, also after a restart.
  log.close();
  log = UpdateLog.open(path);
  expect(wanted("liar", 10)).toBe(0);
  expect(wanted("other", MOST_REPAIRS)).toBe((half - 2000) / 2);
  for (let n = 0; n < 2000; n++) log.repairs.forget(fingerprint(n));
  expect(wanted("liar", MOST_REPAIRS)).toBeGreaterThan(100);
  expect(log.repairs.count()).toBeLessThan(MOST_REPAIRS);
  log.close();
}, 60_000);

test("all that changed at a neighbour is one row, which the operator's order begins anew", () => {
  const path = join(scratch(), "updates.db");
  const log = UpdateLog.open(path);
  const all = { fingerprint: undefined, neighbours: ["old"], at: 5 };
  log.repairs.want({ ...all, why: "gap" });
  const row = log.repairs.next("");
  expect(row).toMatchObject({ what: "LAST old", fingerprint: undefined, days: 0, why: "gap" });
  if (row !== undefined) log.repairs.save({ ...row, source: "old", askedAt: 6, attempts: 1 });
  log.repairs.want({ ...all, why: "gap" });
  expect(log.repairs.get("LAST old")?.attempts).toBe(1);
  log.repairs.want({ ...all, why: "backfill", days: 14 });
  log.close();
  const again = UpdateLog.open(path);
  expect(again.repairs.get("LAST old")).toMatchObject({ days: 14, source: "", attempts: 0 });
  again.close();
});

test("a repair of a transaction that fails is not counted", () => {
  const log = UpdateLog.open(":memory:");
  log.repairs.want(lost(1));
  expect(log.repairs.count()).toBe(1);
  expect(() => {
    log.lanes.together(() => {
      log.repairs.want(lost(2));
      throw new Error("the disk is full");
    });
  }).toThrow("full");
  expect(log.repairs.count()).toBe(1);
  expect(log.repairs.counts()).toEqual([{ source: "", count: 1 }]);
  log.close();
});
