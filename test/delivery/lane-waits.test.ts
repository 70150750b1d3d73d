/** What a lane waits for: that it wakes after a pause of any kind, and never before its end. */
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { Seq } from "../../src/update.js";
import { until } from "../ingress/ways.js";
import { ADDRESS, hashes, updates, world } from "./stage.js";

const hash = (n: number) => updates[n]?.hash;

describe("after a mail that came back, the lane wakes for what is new", () => {
  test.each([
    ["when it was sent again", []],
    ["when the site has got it on another way", [ADDRESS]],
  ])("%s", async (_, trail) => {
    const { add, lane, log, heard, diagnostics } = await world(undefined, [100]);
    const served = lane();
    served.start();
    add(0);
    await heard("sent");
    const numbers = { first: 1 as Seq, seq: 1 as Seq };
    const said = { about: "site", code: 550, text: "No such user", at: Date.now() } as const;
    log.bounces.note({ site: "old", ...numbers, ...said });
    await heard("retry");
    add(0, { trail });
    await until(() => served.status().backlog === 0);
    // Longer than the pause that follows.
    await sleep(250);
    const sent = diagnostics.all("sent").length;
    add(1);
    await heard("sent", sent + 1);
  });
});

test("a site that is paused while a retry is due later gets nothing then", async () => {
  const { add, lane, relay, heard } = await world(undefined, [100]);
  relay.answer = (phase) => (phase === "dot" ? "451 4.3.0 Later" : undefined);
  const served = lane();
  served.start();
  add(0);
  await heard("stalled");
  served.pause();
  relay.answer = () => undefined;
  await sleep(300);
  expect(relay.taken).toEqual([]);
  expect(served.status()).toMatchObject({ isPaused: true, attempt: 1 });
  served.resume();
  await heard("sent");
  expect(hashes(relay)).toEqual([hash(0)]);
});

test("a retry that a clock a year ahead put off comes after the longest delay, once", async () => {
  const { add, lane, log, relay, heard } = await world(undefined, [100, 300]);
  const year = 365 * 24 * 60 * 60_000;
  const stored = log.lanes.open("old");
  log.lanes.save("old", { ...stored, attempt: 1, nextAt: Date.now() + year });
  add(0);
  const before = Date.now();
  const served = lane();
  // On disk too: a gateway that is restarted again and again does not begin the wait anew.
  const { nextAt } = log.lanes.open("old");
  expect(nextAt).toBeGreaterThanOrEqual(before);
  expect(nextAt - before).toBeLessThanOrEqual(1000);
  served.start();
  await heard("sent");
  expect(hashes(relay)).toEqual([hash(0)]);
});
