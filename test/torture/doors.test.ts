/**
 * A log that fails under the open doors: the i-th SQLite call fails for i = 1, 2, 3 ... until a
 * mail gets through, with each code, once and for good. Mail is deferred with the right code, KX is
 * served, nothing is half stored, and all is well again without a restart, except after damage:
 * then the gateway takes nothing more and says so.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../src/clock.js";
import { loadConfig } from "../../src/config/load.js";
import { Gateway } from "../../src/gateway.js";
import { inspectLog } from "../../src/log/inspect.js";
import { checked } from "../support/reported.js";
import { SmtpClient } from "../support/smtp-client.js";
import { holdsWithin, quietFor } from "../support/until.js";
import { fail, heal, isInTransaction, type Order, openFailing } from "./failing-log.js";
import { Ledger } from "./ledger.js";
import { incremental, made, SITE_ADDRESS } from "./material.js";
import { World } from "./world.js";

const SEED = 7;
const CODES = ["SQLITE_BUSY", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY"];
const MODES = CODES.flatMap((code) => [false, true].map((sticky) => ({ code, sticky })));

let restore = () => {};
beforeAll(() => {
  restore = openFailing();
});
afterAll(() => restore());

interface Stage {
  readonly world: World;
  readonly log: string;
  readonly events: string[];
  readonly admin: number;
  send(n: number): Promise<{ code: number; text: string }>;
}

/** A gateway in this process with an SMTP client and a KX peer that it has dialled. */
async function stage(sink = false): Promise<Stage> {
  const directory = mkdtempSync(join(tmpdir(), "kxgw-doors-"));
  const world = await World.make({ directory, build: "", peer: true, sink });
  const events: string[] = [];
  const diagnostics = checked((event) => events.push(event));
  const gateway = await Gateway.start(
    { clock: systemClock, diagnostics },
    loadConfig(world.config, {}),
  );
  const { smtp, admin } = gateway.listening;
  const client = await SmtpClient.connect(smtp[0]?.port ?? 0);
  onTestFinished(async () => {
    client.close();
    await gateway.stop();
    await world.end();
    rmSync(directory, { recursive: true, force: true });
  });
  await holdsWithin(() => world.peer?.connected === true, 5000);
  const send = (n: number) =>
    client.deliver(incremental([made(SEED, n).armor], `doors.${n}`), SITE_ADDRESS);
  return { world, log: world.log, events, admin: admin?.port ?? 0, send };
}

function holds(log: string, n: number): boolean {
  const ledger = new Ledger();
  ledger.audit(log, []);
  expect(ledger.faults).toEqual([]);
  return ledger.holds(made(SEED, n).update.hash);
}

async function ready(port: number): Promise<number> {
  return (await fetch(`http://127.0.0.1:${port}/readyz`)).status;
}

test.each(MODES)("$code (sticky: $sticky) in any call of a mail", async ({ code, sticky }) => {
  const { world, log, events, admin, send } = await stage();
  const answer = code === "SQLITE_FULL" ? /^452 4\.3\.1 / : /^451 4\.3\.0 /;
  const runs = { failed: 0, passed: 0 };
  for (let from = 1; runs.passed === 0 && from < 100; from += 1) {
    fail(log, { code, from, sticky });
    const reply = await send(from);
    const hits = heal(log);
    expect(isInTransaction(log)).toBe(false);
    expect(holds(log, from)).toBe(reply.code === 250);
    expect((await world.peer?.list(1, 5))?.command).toBe("IHAVE");
    if (reply.code === 250) {
      // With hits, the call that failed was one of KX, which announces the mail before.
      if (hits === 0) runs.passed += 1;
      continue;
    }
    runs.failed += 1;
    expect(reply.text).toMatch(answer);
    expect((await send(from)).text).toMatch(/^250 .* 1 new, 0 known/);
  }
  expect(runs).toEqual({ failed: expect.any(Number), passed: 1 });
  expect(runs.failed).toBeGreaterThanOrEqual(6);
  expect(events).toContain("mail-deferred");
  expect(events).not.toContain("log-damaged");
  expect(await ready(admin)).toBe(200);
  expect(inspectLog(log).problems).toEqual([]);
});

test("any call that fails while KX brings updates: none is lost, no restart", async () => {
  // All at once, since each gateway waits some seconds before it fetches again.
  const orders = CODES.flatMap((code) => [
    { code, from: 1, sticky: true },
    ...Array.from({ length: 12 }, (_, index) => ({ code, from: index + 1, sticky: false })),
  ]);
  const hits = await Promise.all(orders.map(kxBringsUpdates));
  expect(hits.filter((count) => count > 0).length).toBeGreaterThan(orders.length / 2);
}, 60_000);

/** Longer than twice the pause after which a lane tries a log again. */
const MAIL_MS = 11_000;

test("a mail that went out while nothing can be noted goes out once, not for ever", async () => {
  const { world, log, send } = await stage(true);
  const { sink } = world;
  if (sink === undefined) throw new Error("there is no sink");
  sink.refusal = "451 4.3.2 Later.";
  expect((await send(1)).code).toBe(250);
  expect(await holdsWithin(() => sink.refused > 0, 5000)).toBe(true);
  fail(log, { code: "SQLITE_FULL", from: 1, sticky: true, writesOnly: true });
  sink.refusal = undefined;
  await quietFor(MAIL_MS, "each round of the lane would repeat the mail");
  expect(heal(log)).toBeGreaterThan(0);
  expect(await holdsWithin(() => sink.received.size === 1, 10_000)).toBe(true);
  expect((await send(2)).code).toBe(250);
  expect(await holdsWithin(() => sink.received.size === 2, 10_000)).toBe(true);
  expect(sink.repeats).toBe(0);
}, 60_000);

/** Ten updates are announced while the log fails as ordered; returns how many calls failed. */
async function kxBringsUpdates(order: Order): Promise<number> {
  const { world, log, events, send } = await stage();
  const { peer } = world;
  expect((await send(1)).code).toBe(250);
  const writesOnly = order.code === "SQLITE_FULL" || order.code === "SQLITE_READONLY";
  fail(log, { ...order, writesOnly });
  for (let n = 100; n < 110; n += 1) peer?.add(made(SEED, n));
  const all = () => Array.from({ length: 10 }, (_, n) => n + 100).every((n) => holds(log, n));
  if (order.sticky) {
    expect(await holdsWithin(() => events.includes("log-trouble"), 10_000)).toBe(true);
    if (writesOnly) {
      expect((await peer?.fetch(1))?.command).toBe("UPDATE");
      expect((await peer?.list(1, 9))?.command).toBe("IHAVE");
    }
  } else await holdsWithin(() => events.includes("log-trouble"), 1000);
  const hits = heal(log);
  expect(await holdsWithin(all, 30_000, 500)).toBe(true);
  expect(inspectLog(log)).toMatchObject({ problems: [], entries: 11 });
  return hits;
}

describe("damage that is met at work", () => {
  test("in any call: nothing more is taken, KX is served, the operator is told", async () => {
    let damaged = 0;
    for (let from = 1; from < 30; from += 1) {
      const { world, log, events, admin, send } = await stage();
      expect((await send(1)).code).toBe(250);
      expect(await ready(admin)).toBe(200);
      fail(log, { code: "SQLITE_CORRUPT", from, sticky: false });
      const reply = await send(2);
      const hits = heal(log);
      expect(holds(log, 2)).toBe(reply.code === 250);
      if (hits === 0) break;
      if (reply.code === 250) continue;
      damaged += 1;
      expect(reply.text).toMatch(/^451 4\.3\.0 /);
      expect((await send(3)).text).toMatch(/^451 4\.3\.0 /);
      expect(await ready(admin)).toBe(503);
      expect(events.filter((event) => event === "log-damaged")).toHaveLength(1);
      expect((await world.peer?.fetch(1))?.command).toBe("UPDATE");
      expect(holds(log, 3)).toBe(false);
    }
    expect(damaged).toBeGreaterThanOrEqual(6);
  });
});
