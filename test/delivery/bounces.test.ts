/**
 * Mails that come back after the relay took them: sent again by the schedule, given up when that is
 * of no use, never without end, and none of the others lost or held up for long.
 */
import { cpSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { MAX_TRIES } from "../../src/delivery/bounces.js";
import type { Bounce } from "../../src/log/bounces.js";
import type { Seq } from "../../src/update.js";
import { directory, hashes, updates, world } from "./stage.js";

const hash = (n: number) => updates[n]?.hash;

function bounce(seq: number, about: Bounce["about"] = "site", first = seq): Bounce {
  const numbers = { first: first as Seq, seq: seq as Seq };
  return { site: "old", ...numbers, about, code: 550, text: "No such user", at: Date.now() };
}

describe("what is sent again", () => {
  test("the update that came back, after a pause, before anything new", async () => {
    const { add, lane, log, relay, heard, diagnostics } = await world(undefined, [300]);
    const served = lane();
    served.start();
    add(0);
    await heard("sent");
    log.bounces.note(bounce(1));
    await heard("retry");
    add(1);
    expect(served.status()).toMatchObject({ backlog: 2, lastError: "No such user" });
    expect(served.status().nextAt).toBeGreaterThan(Date.now());
    expect(log.lanes.get("old")?.nextAt).toBe(served.status().nextAt);
    await heard("sent", 3);
    expect(hashes(relay)).toEqual([hash(0), hash(0), hash(1)]);
    const [first, again, next] = relay.taken.map(({ at }) => at);
    expect((again ?? 0) - (first ?? 0)).toBeGreaterThanOrEqual(290);
    // It had the time to come back once more.
    expect((next ?? 0) - (again ?? 0)).toBeGreaterThanOrEqual(290);
    expect(diagnostics.all("retry")).toMatchObject([{ seq: 1, attempt: 1, code: 550 }]);
    expect(served.status()).toMatchObject({ backlog: 0 });
    expect(log.lanes.undelivered(10)).toEqual([]);
  });

  test("a second word about one mail counts once", async () => {
    const { add, lane, log, relay, heard, diagnostics } = await world(undefined, [100]);
    lane().start();
    add(0);
    await heard("sent");
    log.bounces.note(bounce(1));
    await heard("retry");
    log.bounces.note(bounce(1));
    await heard("sent", 2);
    await sleep(150);
    expect(relay.taken).toHaveLength(2);
    expect(diagnostics.all("retry")).toHaveLength(1);
  });

  test("not when the site has got it on another way meanwhile", async () => {
    const { add, lane, log, relay, heard } = await world(undefined, [100]);
    lane().start();
    add(0);
    await heard("sent");
    log.bounces.note(bounce(1));
    await heard("retry");
    add(0, { trail: ["pgp-public-keys@pks.example.net"] });
    await heard("suppressed");
    expect(relay.taken).toHaveLength(1);
    expect(log.bounces.waiting("old")).toBe(0);
  });

  test("and when that was given up, what is new goes out as ever", async () => {
    const { add, lane, log, heard } = await world(undefined, [100]);
    lane().start();
    add(0);
    await heard("sent");
    log.bounces.note(bounce(1));
    await heard("sent", 2);
    // While it waits whether it comes back once more, it does.
    log.bounces.note(bounce(1, "update"));
    await heard("undelivered");
    // The lane is at rest now, and its pause is over.
    await sleep(50);
    add(1);
    await heard("sent", 3);
  });

  test("over a restart, with what is left of the pause", async () => {
    const path = directory();
    const before = await world(path, [800]);
    const lane = before.lane();
    lane.start();
    before.add(0);
    await before.heard("sent");
    before.log.bounces.note(bounce(1));
    await before.heard("retry");
    await lane.stop();
    const { nextAt } = before.log.lanes.get("old") ?? { nextAt: 0 };
    before.log.close();

    const after = await world(path, [800]);
    after.lane().start();
    await after.heard("sent");
    expect(Date.now()).toBeGreaterThanOrEqual(nextAt);
    expect(hashes(after.relay)).toEqual([hash(0)]);
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
    after.lane().start();
    await after.heard("sent");
    await sleep(100);
    expect(hashes(after.relay)).toEqual([hash(0)]);
  });
});

describe("what is given up", () => {
  test("an update that the site refuses for what it holds, without a pause", async () => {
    const { add, lane, log, relay, heard, diagnostics } = await world(undefined, [60_000]);
    lane().start();
    add(0);
    await heard("sent");
    log.bounces.note({ ...bounce(1, "update"), code: 552, text: "Too large" });
    add(1);
    await heard("sent", 2);
    expect(hashes(relay)).toEqual([hash(0), hash(1)]);
    expect(log.lanes.undelivered(10)).toMatchObject([
      { site: "old", seq: 1, code: 552, text: "Too large" },
    ]);
    expect(diagnostics.all("undelivered")).toMatchObject([{ seq: 1, hash: hash(0) }]);
    // What comes late is heard no more.
    log.bounces.note(bounce(1));
    add(2);
    await heard("sent", 3);
    expect(relay.taken).toHaveLength(3);
    expect(log.bounces.fresh("old")).toBeUndefined();
  });

  test("one that keeps coming back while others do not, the third time", async () => {
    const { add, lane, log, relay, heard } = await world(undefined, [20]);
    lane().start();
    for (let n = 0; n < 3; n += 1) {
      if (n === 0) add(0);
      await relay.until(() => hashes(relay).filter((each) => each === hash(0)).length > n);
      // Another one that stays where it is.
      add(n + 1);
      await relay.until(() => hashes(relay).includes(hash(n + 1)));
      log.bounces.note(bounce(1));
    }
    await heard("undelivered");
    await sleep(100);
    expect(hashes(relay).filter((each) => each === hash(0))).toHaveLength(3);
    expect(log.lanes.undelivered(10)).toMatchObject([{ seq: 1 }]);
    expect(log.bounces.waiting("old")).toBe(0);
  });

  test(`where all comes back, after ${MAX_TRIES} times, and never without end`, async () => {
    const { add, lane, log, relay, heard } = await world(undefined, [5]);
    lane().start();
    add(0);
    add(1, { trail: ["other@site.example"] });
    let seen = 0;
    const site = setInterval(() => {
      for (; seen < relay.taken.length; seen += 1) {
        const [name] = hashes({ ...relay, taken: relay.taken.slice(seen, seen + 1) } as never);
        log.bounces.note(bounce(name === hash(0) ? 1 : 2));
      }
    }, 1);
    await heard("undelivered", 2);
    clearInterval(site);
    await sleep(50);
    expect(relay.taken.length).toBeLessThanOrEqual(2 * MAX_TRIES);
    expect(relay.taken.length).toBeGreaterThan(MAX_TRIES);
    expect(log.lanes.undelivered(10)).toHaveLength(2);
  });

  test("what is no longer in the log", async () => {
    const { add, lane, log, heard, relay } = await world(undefined, [20]);
    lane().start();
    add(0);
    await heard("sent");
    log.bounces.note(bounce(99));
    add(1);
    await heard("sent", 2);
    log.bounces.note(bounce(1));
    log.retention.expire(Date.now() + 1, { retainMs: 0, rememberMs: 3_600_000 }, 100);
    await heard("body-expired");
    await sleep(50);
    expect(relay.taken).toHaveLength(2);
    expect(log.bounces.waiting("old")).toBe(0);
  });
});

test("of a mail of several, each is sent again alone, and the guilty one is given up", async () => {
  const { add, lane, log, relay, heard } = await world(undefined, [20]);
  const served = lane();
  // A hole, that nobody needs to be told of.
  const receivedAt = Date.now() - 120_000;
  for (const n of [0, 1, 2]) add(n, { receivedAt });
  add(3, { neighbour: "old", receivedAt });
  for (const n of [4, 5]) add(n, { receivedAt });
  served.start();
  await heard("sent", 5);
  expect(relay.taken).toHaveLength(1);
  log.bounces.note(bounce(6, "update", 1));
  await heard("sent", 10);
  const alone = [0, 1, 2, 4, 5].map(hash);
  expect(hashes(relay)).toEqual([...alone, ...alone]);
  expect(relay.taken).toHaveLength(6);
  expect(log.lanes.undelivered(10)).toEqual([]);
  log.bounces.note(bounce(3, "update"));
  await heard("undelivered");
  expect(log.lanes.undelivered(10)).toMatchObject([{ seq: 3 }]);
  await sleep(50);
  expect(relay.taken).toHaveLength(6);
});
