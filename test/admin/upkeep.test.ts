/**
 * Upkeep that fails twice is told by /readyz, health, doctor and the status, by its name and with
 * the reason; and no longer when it works again. So is a clock that has jumped.
 */
import { join } from "node:path";
import { afterEach, expect, onTestFinished, test, vi } from "vitest";
import { systemClock } from "../../src/clock.js";
import { loadConfig } from "../../src/config/load.js";
import { EXIT, Trouble } from "../../src/errors.js";
import { Gateway } from "../../src/gateway.js";
import { Retention } from "../../src/log/retention.js";
import { UPKEEP_LIMITS } from "../../src/upkeep.js";
import { base, configFile, kxgw } from "../e2e/stage.js";
import { soon } from "../support/soon.js";

const USUAL = { ...UPKEEP_LIMITS };
afterEach(() => {
  Object.assign(UPKEEP_LIMITS, USUAL);
  vi.restoreAllMocks();
});

const PEER = '[[peer]]\nname = "old"\naccept_from = ["127.0.0.1"]\n';

/** A gateway in this process whose upkeep does not wait. */
async function running(clock = systemClock) {
  Object.assign(UPKEEP_LIMITS, { everyMs: 10, againMs: 10, settleMs: 0 });
  const file = configFile(base("pgp-public-keys@kx.example.org") + PEER);
  const gateway = await Gateway.start(
    { clock, diagnostics: { report: () => {} } },
    loadConfig(file, {}),
  );
  onTestFinished(() => gateway.stop());
  const get = async (path: string) => {
    const answer = await fetch(`http://127.0.0.1:${gateway.listening.admin?.port}${path}`);
    return `${answer.status} ${await answer.text()}`;
  };
  const command = (...args: string[]) => kxgw([...args, "-c", file]);
  return { get, command, log: join(file, "../updates.db") };
}

test("expiry that fails", async () => {
  const message = "updates.db: the update log cannot be opened (SQLITE_CANTOPEN)";
  const failing = vi.spyOn(Retention.prototype, "expire").mockImplementation(() => {
    throw new Trouble("unusable", message, "Check that its directory can be written.");
  });
  const { get, command } = await running();
  const words = /^503 not ready\nupkeep: expiry failed \d+ times in a row: updates\.db/;
  await soon(() => get("/readyz")).toMatch(words);
  expect(await get("/livez")).toBe("200 ok\n");
  const health = await command("health");
  expect(health.code).toBe(EXIT.unavailable);
  expect(health.stderr).toContain("upkeep: expiry failed");
  const doctor = await command("doctor");
  expect(doctor.code).toBe(EXIT.unavailable);
  expect(doctor.stdout).toMatch(/Expiry failed \d+ times in a row: .*SQLITE_CANTOPEN/);
  expect(doctor.stdout).toContain("Check that its directory can be written.");
  const { upkeep } = JSON.parse((await get("/status.json")).slice(4));
  expect(upkeep).toMatchObject({ trouble: { problem: message }, clockJumpedMs: null });
  expect(await get("/metrics")).toMatch(/^kxgw_upkeep_failures ([2-9]|\d\d+)$/m);

  failing.mockRestore();
  await soon(() => get("/readyz")).toBe("200 ok\n");
  expect((await command("health")).code).toBe(EXIT.ok);
  expect(await get("/metrics")).toMatch(/^kxgw_upkeep_failures 0$/m);
});

test("one failure is not told by /readyz: the disk may have been busy", async () => {
  let calls = 0;
  vi.spyOn(Retention.prototype, "expire").mockImplementation(() => {
    calls += 1;
    if (calls % 2 === 0) throw new Trouble("busy", "another process holds it", "Wait.");
    return { bodies: 0, entries: 0, dropped: 0, more: false };
  });
  const { get } = await running();
  const answers = new Set<string>();
  while (calls < 12) answers.add(await get("/readyz"));
  expect([...answers]).toEqual(["200 ok\n"]);
});

test("a clock that has jumped", async () => {
  let wrong = 0;
  const clock = { ...systemClock, now: () => Date.now() + wrong };
  const { get, command } = await running(clock);
  Object.assign(UPKEEP_LIMITS, { settleMs: 3_600_000 });
  wrong = 50 * 3_600_000;
  const jumped = /"clockJumpedMs": (179|180)\d{6}/;
  await soon(() => get("/status.json")).toMatch(jumped);
  const doctor = await command("doctor");
  expect(doctor.code).toBe(EXIT.unavailable);
  expect(doctor.stdout).toContain("The clock jumped by 50 hours.");
  expect(await get("/readyz")).toBe("200 ok\n");
  Object.assign(UPKEEP_LIMITS, { settleMs: 0 });
  await soon(() => get("/status.json")).toMatch(/"clockJumpedMs": null/);
});
