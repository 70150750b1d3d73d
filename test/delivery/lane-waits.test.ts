/** What a lane waits for: that it wakes after a pause of any kind, and never before its end. */
import { describe, expect, test } from "vitest";
import { parseConfig } from "../../src/config/load.js";
import { Trouble } from "../../src/errors.js";
import { CARRY_ALL } from "../../src/policy.js";
import { DrivenLane, later } from "./driven-lane.js";
import { ADDRESS, updates } from "./stage.js";

const hash = (n: number) => updates[n]?.hash;
const busy = { kind: "temporary", about: "update", code: 451, words: "451 Busy" } as const;
const YEAR_MS = 365 * 24 * 60 * 60_000;

describe("after a mail that came back, the lane wakes for what is new", () => {
  test.each([
    ["when it was sent again", []],
    ["when the site has got it on another way", [ADDRESS]],
  ])("%s", (_, trail) => {
    const site = new DrivenLane({ retry: [100] }).start();
    site.add(0);
    site.comesBack(1);
    site.add(0, { trail });
    site.pass(100);
    expect(site.lane.status().backlog).toBe(0);
    // The pause that follows.
    site.pass(100);
    expect(site.waitMs).toBe(Infinity);
    const before = site.taken.length;
    site.add(1);
    expect(site.hashes.slice(before)).toEqual([hash(1)]);
  });
});

test("a site that is paused while a retry is due later gets nothing then", () => {
  const site = new DrivenLane({ retry: [100] }).start();
  site.answer = () => later();
  site.add(0);
  site.lane.pause();
  site.answer = () => undefined;
  site.pass(YEAR_MS);
  expect(site.taken).toEqual([]);
  expect(site.lane.status()).toMatchObject({ isPaused: true, attempt: 1, nextAt: 0 });
  expect(site.waitMs).toBe(Infinity);
  site.resume();
  expect(site.hashes).toEqual([hash(0)]);
});

test("a pause while a mail is under way outlasts its outcome, and a restart", () => {
  const site = new DrivenLane({ retry: [100] }).start();
  site.answer = () => "hold";
  site.add(0);
  site.lane.pause();
  site.finish(later());
  site.answer = () => undefined;
  site.pass(YEAR_MS);
  expect(site.taken).toEqual([]);
  expect(site.stop()).toBe(true);
  const next = new DrivenLane({ after: site }).start();
  next.add(1);
  expect(next.lane.status()).toMatchObject({ isPaused: true, backlog: 2 });
  expect(next.taken).toEqual([]);
  next.resume();
  expect(next.hashes).toEqual([hash(0), hash(1)]);
});

test("a retry that a clock a year ahead put off comes after the longest delay, once", () => {
  const first = new DrivenLane({ retry: [100, 300] });
  const row = first.log.lanes.open("old");
  first.log.lanes.save("old", { ...row, attempt: 1, nextAt: first.clock.now() + YEAR_MS });
  first.add(0);
  const site = new DrivenLane({ retry: [100, 300], after: first });
  // On disk too: a gateway that is restarted again and again does not begin the wait anew.
  expect(site.row?.nextAt).toBe(site.clock.now() + 360);
  site.start();
  site.pass(359);
  expect(site.taken).toEqual([]);
  site.pass(1);
  expect(site.hashes).toEqual([hash(0)]);
});

test("a clock that is set back meanwhile does not lengthen a wait", () => {
  const site = new DrivenLane({ retry: [50] }).start();
  site.answer = () => later();
  site.add(0);
  site.setBackMs = 3_600_000;
  site.answer = () => undefined;
  site.pass(49);
  expect(site.taken).toEqual([]);
  site.pass(1);
  expect(site.hashes).toEqual([hash(0)]);
});

test("a retry is neither hurried nor forgotten over a restart", () => {
  const first = new DrivenLane({ retry: [1500] }).start();
  first.answer = () => later();
  first.add(0);
  first.pass(500);
  expect(first.stop()).toBe(true);
  const site = new DrivenLane({ retry: [1500], after: first }).start();
  site.add(1);
  site.pass(999);
  expect(site.taken).toEqual([]);
  site.pass(1);
  expect(site.hashes).toEqual([hash(0), hash(1)]);
  expect(site.row).toMatchObject({ cursor: 2, attempt: 0, nextAt: 0 });
});

test("what is skipped or on its way is not skipped", () => {
  const site = new DrivenLane({ retry: [100] }).start();
  site.answer = () => "hold";
  site.add(0);
  site.add(1);
  expect(site.lane.skip(1)).toBe(false);
  site.finish(later());
  expect(site.lane.skip(2)).toBe(false);
  expect(site.lane.skip(1)).toBe(true);
  expect(site.log.exceptions.list("old", "withheld", 10)).toMatchObject([{ seq: 1, code: 0 }]);
  site.answer = () => undefined;
  site.wake();
  expect(site.hashes).toEqual([hash(1)]);
});

test("max_rate lets so many through at once, then by and by, and packs what waits", () => {
  const site = new DrivenLane({ rate: { count: 2, periodMs: 800 } }).start();
  const receivedAt = site.clock.now() - 120_000;
  for (let n = 0; n < 6; n += 1) {
    site.add(n, { receivedAt });
    site.pass(20);
  }
  site.pass(279);
  expect(site.taken.map(({ at }) => at)).toEqual([0, 20]);
  site.pass(1);
  expect(site.taken.map(({ at }) => at)).toEqual([0, 20, 400]);
  expect(site.hashes).toEqual([0, 1, 2, 3, 4, 5].map(hash));
});

test("a full log is tried again, and the mail that went out is not repeated", () => {
  const site = new DrivenLane().start();
  const { lanes } = site.log;
  const save = lanes.save.bind(lanes);
  lanes.save = () => {
    throw new Trouble("disk-full", "the disk is full", "Free some.");
  };
  site.add(0);
  expect(site.diagnostics.all("log-trouble")).toMatchObject([
    { door: "egress", kind: "disk-full" },
  ]);
  expect(site.waitMs).toBe(5000);
  site.pass(20_000);
  expect(site.taken).toHaveLength(1);
  lanes.save = save;
  site.pass(5000);
  expect(site.row).toMatchObject({ cursor: 1 });
  expect(site.taken).toHaveLength(1);
});

describe("what a log that cannot be written should have kept of an update is kept later", () => {
  const failing = (site: DrivenLane) => {
    const { lanes } = site.log;
    const save = lanes.save.bind(lanes);
    lanes.save = () => {
      throw new Trouble("unusable", "the disk has errors", "Look for them.");
    };
    return () => {
      lanes.save = save;
    };
  };

  test("an update that failed for itself is tried again", () => {
    const site = new DrivenLane({ retry: [100] }).start();
    let tries = 0;
    let mend = () => {};
    site.answer = () => {
      tries += 1;
      // The third failure sets it aside.
      if (tries === 3) mend = failing(site);
      return tries <= 3 ? busy : undefined;
    };
    site.add(0);
    site.pass(1000);
    expect(tries).toBe(3);
    expect(site.log.exceptions.waiting("old")).toEqual([]);
    mend();
    site.pass(10_000);
    expect(site.hashes).toEqual([hash(0)]);
    expect(site.log.exceptions.waiting("old")).toEqual([]);
  });

  test("an update of a blocked key is withheld, and leaves when the block ends", () => {
    let isBlocked = true;
    const rules = {
      ...CARRY_ALL,
      withholds: () => (isBlocked ? ("blocked" as const) : undefined),
      blockOn: () => undefined,
    };
    const site = new DrivenLane({ rules }).start();
    const mend = failing(site);
    site.add(0);
    mend();
    site.pass(5000);
    expect(site.log.exceptions.list("old", "withheld", 10)).toHaveLength(1);
    isBlocked = false;
    site.lane.reopen("all");
    site.wake();
    expect(site.hashes).toEqual([hash(0)]);
  });

  test("an order to skip that the log could not keep counts as soon as it can", () => {
    const site = new DrivenLane({ retry: [100] }).start();
    site.answer = () => later();
    site.add(0);
    const mend = failing(site);
    expect(() => site.lane.skip(1)).toThrow(Trouble);
    expect(() => site.lane.skip(1)).toThrow(Trouble);
    mend();
    site.wake();
    site.pass(5000);
    const skipped = site.log.exceptions.list("old", "withheld", 10);
    expect(skipped).toMatchObject([{ seq: 1, reason: "skipped" }]);
    expect(site.diagnostics.all("skipped")).toHaveLength(1);
  });
});

test.each([
  ["a second", 1000],
  ["five minutes", 5 * 60_000],
  ["a day", 86_400_000],
])("the local keyserver gets what waits within 30 s of its return after %s", (_, outage) => {
  const text = `[site]\naddress = "a@b.example"\n[log]\n[local]\ntype = "hkp"\nurl = "http://x"\n`;
  const { local } = parseConfig(text, "test.toml", "/", {});
  if (local === undefined) throw new Error("no local section");
  const site = new DrivenLane({ retry: local.retry }).start();
  site.answer = () => later();
  for (const n of [0, 1, 2]) site.add(n);
  site.pass(outage);
  const returned = site.ms;
  site.answer = () => undefined;
  site.pass(60_000);
  expect(site.lane.status().backlog).toBe(0);
  const last = Math.max(...site.taken.map(({ at }) => at));
  // A fifth is added at random at most; this clock adds nothing.
  expect((last - returned) * 1.2).toBeLessThanOrEqual(30_000);
  // No more than one attempt in 15 s once it is down for a while.
  expect(site.seen.length).toBeLessThan(20 + outage / 15_000);
});
