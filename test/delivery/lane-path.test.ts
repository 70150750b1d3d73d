/** A lane whose path is shut sends nothing and keeps its place; open, it sends what KX left. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import type { Seq } from "../../src/update.js";
import { ADDRESS, hashes, updates, world } from "./stage.js";

const AUTO = { via: "auto", fallbackMs: 150 } as const;
const hash = (n: number) => updates[n]?.hash;

test("what the site never fetched is mailed once, and the cursor is past it", async () => {
  const { add, lane, relay, log, heard } = await world();
  const served = lane({ path: AUTO });
  served.path.session(true);
  served.start();
  const seqs = [0, 1, 2].map((n) => add(n));
  await sleep(300);
  // The site has fetched the first and the last one; the second it does not want.
  log.trails.note([seqs[0], seqs[2]].map((seq = 0 as Seq) => ({ seq, address: ADDRESS })));
  await expect.poll(() => log.lanes.get("old")?.cursor, { timeout: 5000 }).toBe(1);
  expect(relay.taken).toEqual([]);
  expect(served.status()).toMatchObject({ path: { road: "kx", isOpen: false, opensAt: 0 } });

  served.path.session(false);
  await heard("sent");
  await expect.poll(() => log.lanes.get("old")?.cursor, { timeout: 5000 }).toBe(3);
  expect(hashes(relay)).toEqual([hash(1)]);

  // KX is back and goes again: nothing of it is mailed a second time.
  served.path.session(true);
  await sleep(200);
  served.path.session(false);
  await sleep(400);
  add(3);
  await heard("sent", 2);
  expect(hashes(relay)).toEqual([hash(1), hash(3)]);
});

test("shut, it does not wait for what has expired, and holds nothing", async () => {
  const { add, lane, log, heard } = await world();
  const served = lane({ path: { via: "kx", fallbackMs: 0 } });
  served.start();
  add(0, { receivedAt: Date.now() - 120_000 });
  add(1, { receivedAt: Date.now() });
  await sleep(100);
  expect(log.lanes.get("old")?.cursor).toBe(0);
  log.retention.expire(Date.now(), { retainMs: 60_000, rememberMs: 1e12 }, 100);
  await heard("unfetched");
  await expect.poll(() => log.lanes.get("old")?.cursor, { timeout: 5000 }).toBe(1);
  expect(served.path.isOpen).toBe(false);
});

test("a retry that is put off ends when KX takes over", async () => {
  const { add, lane, relay, log, heard } = await world(undefined, [60_000]);
  relay.answer = (phase) => (phase === "dot" ? "451 Later" : undefined);
  const served = lane({ path: { via: "auto", fallbackMs: 0 } });
  served.start();
  const seq = add(0);
  await heard("stalled");
  served.path.session(true);
  log.trails.note([{ seq, address: ADDRESS }]);
  await expect
    .poll(() => log.lanes.get("old"), { timeout: 5000 })
    .toMatchObject({
      cursor: 1,
      attempt: 0,
      nextAt: 0,
    });
  relay.answer = () => undefined;
  served.path.session(false);
  add(1);
  await heard("sent");
  expect(hashes(relay)).toEqual([hash(1)]);
});

test("both: mail goes whatever KX does, but not to a site that has the update", async () => {
  const { add, lane, relay, heard } = await world();
  const served = lane({ path: { via: "both", fallbackMs: 600_000 } });
  served.path.session(true);
  served.start();
  add(0, { trail: [ADDRESS] });
  add(1);
  await heard("sent");
  await heard("suppressed");
  expect(hashes(relay)).toEqual([hash(1)]);
});
