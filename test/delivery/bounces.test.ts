/**
 * Mails that come back after the relay took them: sent again by the schedule, given up when that is
 * of no use, never without end, and none of the others lost or held up for long.
 */
import { cpSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { MAX_TRIES } from "../../src/delivery/bounces.js";
import type { Bounce } from "../../src/log/bounces.js";
import type { Seq } from "../../src/update.js";
import { DrivenLane, later } from "./driven-lane.js";
import { ADDRESS, directory, hashes, updates, world } from "./stage.js";

const hash = (n: number) => updates[n]?.hash;

function bounce(seq: number, about: Bounce["about"] = "site", first = seq): Bounce {
  const numbers = { first: first as Seq, seq: seq as Seq };
  return { site: "old", ...numbers, about, code: 550, text: "No such user", at: Date.now() };
}

describe("what is sent again", () => {
  test("the update that came back, after a pause, before anything new", () => {
    const site = new DrivenLane({ retry: [300] }).start();
    site.add(0);
    site.comesBack(1);
    site.add(1);
    expect(site.lane.status()).toMatchObject({ backlog: 2, lastError: "No such user" });
    expect(site.lane.status().nextAt).toBe(site.clock.now() + 300);
    expect(site.row?.nextAt).toBe(site.clock.now() + 300);
    site.pass(300);
    expect(site.hashes).toEqual([hash(0), hash(0)]);
    // It has the time to come back once more.
    site.pass(299);
    expect(site.taken).toHaveLength(2);
    site.pass(1);
    expect(site.hashes).toEqual([hash(0), hash(0), hash(1)]);
    expect(site.diagnostics.all("retry")).toMatchObject([{ seq: 1, attempt: 1, code: 550 }]);
    expect(site.lane.status()).toMatchObject({ backlog: 0 });
    expect(site.log.exceptions.list("old", "refused", 10)).toEqual([]);
  });

  test("a mail whose answer was lost, once, and not before its turn as well", () => {
    const site = new DrivenLane({ retry: [300] });
    site.answer = () => (site.seen.length > 1 ? undefined : later("connection lost"));
    site.start();
    site.add(0);
    expect(site.row?.cursor).toBe(0);
    site.comesBack(1);
    site.add(1);
    site.pass(10_000);
    // The first one, whose answer was lost, and one with both.
    expect(site.seen).toHaveLength(2);
    expect(site.hashes).toEqual([hash(0), hash(1)]);
    expect(site.lane.status()).toMatchObject({ backlog: 0 });
    expect(site.log.exceptions.counts("old").waiting).toBe(0);
  });

  test("a second word about one mail counts once", () => {
    const site = new DrivenLane({ retry: [100] }).start();
    site.add(0);
    site.comesBack(1);
    site.comesBack(1);
    site.pass(10_000);
    expect(site.taken).toHaveLength(2);
    expect(site.diagnostics.all("retry")).toHaveLength(1);
  });

  test("not when the site says itself that it has got it meanwhile", () => {
    const site = new DrivenLane({ retry: [100] }).start();
    site.add(0);
    site.comesBack(1);
    // What others say of it does not count any more.
    site.add(0, { neighbour: "third", trail: [ADDRESS] });
    expect(site.log.exceptions.counts("old").waiting).toBe(1);
    site.add(0, { neighbour: "old" });
    expect(site.log.exceptions.counts("old").waiting).toBe(0);
    site.pass(10_000);
    expect(site.taken).toHaveLength(1);
  });

  test("and when that was given up, what is new goes out as ever", () => {
    const site = new DrivenLane({ retry: [100] }).start();
    site.add(0);
    site.comesBack(1);
    site.pass(100);
    expect(site.taken).toHaveLength(2);
    // While it waits whether it comes back once more, it does.
    site.comesBack(1, "update");
    site.pass(100);
    expect(site.diagnostics.all("undelivered")).toHaveLength(1);
    expect(site.waitMs).toBe(Infinity);
    site.add(1);
    expect(site.hashes).toEqual([hash(0), hash(0), hash(1)]);
  });

  test("over a restart, no sooner than it was to be", () => {
    const first = new DrivenLane({ retry: [800] }).start();
    first.add(0);
    first.comesBack(1);
    expect(first.stop()).toBe(true);
    const site = new DrivenLane({ retry: [800], after: first }).start();
    site.pass(799);
    expect(site.taken).toEqual([]);
    site.pass(1);
    expect(site.hashes).toEqual([hash(0)]);
  });

  test("a crash right after it was sent again repeats that mail and no other", async () => {
    const before = await world(undefined, [30]);
    const copy = directory();
    before.lane().start();
    before.add(0);
    before.add(1);
    await before.heard("sent", 2);
    before.relay.answer = (phase) => {
      if (phase === "dot") cpSync(before.path, copy, { recursive: true });
      return undefined;
    };
    before.log.bounces.note(bounce(1));
    await before.heard("sent", 3);

    const after = await world(copy, [30]);
    const lane = after.lane();
    lane.start();
    await after.heard("sent");
    await expect.poll(() => lane.status(), { timeout: 5000 }).toMatchObject({ nextAt: 0 });
    expect(hashes(after.relay)).toEqual([hash(0)]);
  });
});

describe("what is given up", () => {
  test("an update that the site refuses for what it holds, without a pause", () => {
    const site = new DrivenLane().start();
    site.add(0);
    site.comesBack(1, "update", { code: 552, text: "Too large" });
    site.add(1);
    expect(site.hashes).toEqual([hash(0), hash(1)]);
    expect(site.log.exceptions.list("old", "refused", 10)).toMatchObject([
      { site: "old", seq: 1, code: 552, text: "Too large" },
    ]);
    expect(site.diagnostics.all("undelivered")).toMatchObject([{ seq: 1, hash: hash(0) }]);
    // What comes late is heard no more.
    site.comesBack(1);
    site.add(2);
    expect(site.taken).toHaveLength(3);
    expect(site.log.bounces.fresh("old")).toBeUndefined();
  });

  test("one that keeps coming back while others do not, the third time", () => {
    const site = new DrivenLane({ retry: [20] }).start();
    site.add(0);
    for (let n = 0; n < 3; n += 1) {
      expect(site.hashes.filter((each) => each === hash(0))).toHaveLength(n + 1);
      // Another one that stays where it is.
      site.add(n + 1);
      site.pass(1000);
      expect(site.hashes).toContain(hash(n + 1));
      site.comesBack(1);
      site.pass(1000);
    }
    expect(site.diagnostics.all("undelivered")).toHaveLength(1);
    expect(site.hashes.filter((each) => each === hash(0))).toHaveLength(3);
    expect(site.log.exceptions.list("old", "refused", 10)).toMatchObject([{ seq: 1 }]);
    expect(site.log.exceptions.counts("old").waiting).toBe(0);
  });

  test(`where all comes back, after ${MAX_TRIES} times, and never without end`, () => {
    const site = new DrivenLane({ retry: [5] }).start();
    site.add(0);
    site.add(1, { trail: ["other@site.example"] });
    for (let seen = 0; seen < site.taken.length; seen += 1) {
      site.comesBack(site.hashes[seen] === hash(0) ? 1 : 2);
      site.pass(10);
    }
    expect(site.diagnostics.all("undelivered")).toHaveLength(2);
    expect(site.taken.length).toBeLessThanOrEqual(2 * MAX_TRIES);
    expect(site.taken.length).toBeGreaterThan(MAX_TRIES);
    expect(site.log.exceptions.list("old", "refused", 10)).toHaveLength(2);
  });

  test("what is no longer in the log", () => {
    const site = new DrivenLane({ retry: [20] }).start();
    site.add(0);
    site.comesBack(99);
    site.add(1);
    expect(site.taken).toHaveLength(2);
    site.comesBack(1);
    const limits = { retainMs: 0, rememberMs: 3_600_000 };
    site.log.retention.expire(site.clock.now() + 1, limits, 100);
    site.pass(1000);
    expect(site.diagnostics.all("body-expired")).toMatchObject([{ seq: 1 }]);
    expect(site.taken).toHaveLength(2);
    expect(site.log.exceptions.counts("old").waiting).toBe(0);
  });
});

test("of a mail of several, each is sent again alone, and the guilty one is given up", () => {
  const site = new DrivenLane({ retry: [20] });
  // A hole, that nobody needs to be told of.
  const receivedAt = site.clock.now() - 120_000;
  for (const n of [0, 1, 2]) site.add(n, { receivedAt });
  site.add(3, { neighbour: "old", receivedAt });
  for (const n of [4, 5]) site.add(n, { receivedAt });
  site.start();
  expect(site.taken).toHaveLength(1);
  site.comesBack(6, "update", { first: 1 as Seq });
  const alone = [0, 1, 2, 4, 5].map(hash);
  expect(site.hashes).toEqual([...alone, ...alone]);
  expect(site.taken).toHaveLength(6);
  expect(site.log.exceptions.list("old", "refused", 10)).toEqual([]);
  site.comesBack(3, "update");
  expect(site.log.exceptions.list("old", "refused", 10)).toMatchObject([{ seq: 3 }]);
  site.pass(1000);
  expect(site.taken).toHaveLength(6);
});
