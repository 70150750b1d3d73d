/**
 * Two gateways of one site as processes, on one PostgreSQL: what each accepts is one log with one
 * numbering, a lane is run by one of them, and what happens when one of the three goes away.
 *
 * Needs: /usr/lib/postgresql.
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import type { GatewayProcess } from "../../src/demo/process.js";
import { kxgw, logOf, start } from "../e2e/stage.js";
import { pause, until } from "../support/until.js";
import {
  arrived,
  expectNumbered,
  holds,
  oneLog,
  post,
  pump,
  refused,
  repeated,
  stage,
  TAKEOVER_MS,
} from "./site.js";

it("accepts mail at both, numbers it once, and sends each update once", async () => {
  const { far, peer, files } = await stage();
  const [one, two] = [await start(files[0]), await start(files[1])];
  const acknowledged = new Set<string>();
  await Promise.all([
    pump(one, "first", acknowledged, (count) => count === 40),
    pump(two, "second", acknowledged, (count) => count === 40),
  ]);
  expect(acknowledged.size).toBe(80);
  // The same update at both is one entry.
  const again = await post(two, "first", 3);
  expect(again.code).toBe(250);
  await arrived(far, acknowledged);
  const log = await oneLog(files, 80);
  expectNumbered(log);
  expect(log).toHaveLength(80);
  expect(repeated(far)).toBe(0);
  // One gateway runs the lane, and one dials the peer, to which all numbers are announced.
  expect([one, two].filter((gateway) => holds(gateway, "lane:far"))).toHaveLength(1);
  expect([one, two].filter((gateway) => holds(gateway, "dial:kx"))).toHaveLength(1);
  await until(() => new Set(peer.heard.map(({ number }) => number)).size === 80);
});

it("loses nothing and repeats one part when the gateway that sends is killed", async () => {
  const { far, files } = await stage();
  let gateways = [await start(files[0]), await start(files[1])] as [GatewayProcess, GatewayProcess];
  const acknowledged = new Set<string>();
  const kills = 3;
  for (let run = 0; run < kills; run += 1) {
    let isOver = false;
    await until(() => gateways.some((one) => holds(one, "lane:far")), "a lane", TAKEOVER_MS);
    const victim = gateways.findIndex((one) => holds(one, "lane:far"));
    const mailing = gateways.map((gateway, at) =>
      pump(gateway, `run ${run} of ${at}`, acknowledged, () => isOver),
    );
    const before = far.received.length;
    await until(() => far.received.length > before + 3);
    await pause(Math.random() * 100);
    await gateways[victim]?.end("SIGKILL");
    const other = gateways[1 - victim];
    if (other === undefined) throw new Error("there are two");
    await until(() => holds(other, "lane:far"), "the takeover", TAKEOVER_MS);
    isOver = true;
    await Promise.all(mailing);
    const back = await start(files[victim] ?? "");
    gateways = victim === 0 ? [back, other] : [other, back];
  }
  await arrived(far, acknowledged);
  const log = await oneLog(files, acknowledged.size);
  expectNumbered(log);
  const logged = new Set(log.map(({ fingerprint }) => fingerprint));
  expect([...acknowledged].filter((one) => !logged.has(one))).toEqual([]);
  expect(acknowledged.size).toBeGreaterThan(20);
  expect(repeated(far)).toBeLessThanOrEqual(kills);
});

it("takes over from a gateway that hangs, which sends nothing when it goes on", async () => {
  const { far, files } = await stage();
  const one = await start(files[0]);
  await until(() => holds(one, "lane:far"));
  const two = await start(files[1]);
  expect((await post(one, "before")).code).toBe(250);
  await until(() => far.received.length === 1);
  process.kill(one.pid, "SIGSTOP");
  onTestFinished(() => void process.kill(one.pid, "SIGCONT"));
  const keys = [await post(two, "during", 1), await post(two, "during", 2)];
  await until(() => holds(two, "lane:far"), "the takeover", TAKEOVER_MS);
  await arrived(
    far,
    keys.map(({ fingerprint }) => fingerprint),
  );
  process.kill(one.pid, "SIGCONT");
  await until(() => !holds(one, "lane:far"), "the loss is noticed", TAKEOVER_MS);
  await one.event("database-back");
  const after = await post(one, "after");
  expect(after.code).toBe(250);
  await arrived(far, [after.fingerprint]);
  // The gateway may have been stopped before it stored that the site had the first one.
  expect(repeated(far)).toBeLessThanOrEqual(1);
  expectNumbered(await oneLog(files, 4));
});

it("defers mail while the database is away, and continues by itself", async () => {
  const { server, far, files } = await stage();
  const [one, two] = [await start(files[0]), await start(files[1])];
  const before = await post(one, "before");
  await arrived(far, [before.fingerprint]);
  await server.kill();
  for (const gateway of [one, two]) {
    const { code, text } = await post(gateway, "during");
    expect(`${code} ${text}`).toMatch(/^451 /);
    await gateway.event("database-away");
  }
  const { stdout } = await kxgw(["log", "-c", files[0]]);
  expect(stdout).toContain(before.fingerprint);
  await server.restart();
  for (const gateway of [one, two]) await gateway.event("database-back");
  const after = [await post(one, "during"), await post(two, "after")];
  expect(after.map(({ code }) => code)).toEqual([250, 250]);
  await arrived(
    far,
    after.map(({ fingerprint }) => fingerprint),
  );
  expect(repeated(far)).toBeLessThanOrEqual(1);
  expectNumbered(await oneLog(files, 3));
});

it("starts with its copy while the database is away, and not without one", async () => {
  const { server, files } = await stage();
  const one = await start(files[0]);
  const before = await post(one, "before");
  await one.end("SIGTERM");
  await server.stop();
  const again = await start(files[0]);
  expect((await post(again, "during")).code).toBe(451);
  const { code, stderr } = await kxgw(["serve", "-c", files[1]]);
  expect(code).toBe(69);
  expect(stderr).toContain("the shared database");
  await server.restart();
  await again.event("database-back");
  expect((await post(again, "during")).code).toBe(250);
  expect((await logOf(files[0])).map(({ fingerprint }) => fingerprint)).toContain(
    before.fingerprint,
  );
});

it("makes no tables in an empty database that took the place of its own", async () => {
  const { server, files } = await stage();
  const one = await start(files[0]);
  expect((await post(one, "before")).code).toBe(250);
  const empty = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
  server.sql(empty);
  server.sql(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()",
  );
  const { problem, remedy } = await one.event("database-refused");
  expect(problem).toContain("has no tables of a gateway");
  expect(remedy).toContain("restore it");
  expect((await post(one, "during")).code).toBe(451);
  expect(await one.end("SIGTERM")).toBe(0);
  expect(await refused(files[0])).toMatchObject({ code: 78, remedy });
  const relations = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
  expect(server.sql(relations)).toBe("0");
  // A gateway without a copy begins a new log.
  const two = await start(files[1]);
  expect((await post(two, "after")).code).toBe(250);
  expect(await logOf(files[1])).toHaveLength(1);
});

it("loads a copy that was deleted", async () => {
  const { far, files } = await stage();
  const [one, two] = [await start(files[0]), await start(files[1])];
  const acknowledged = new Set<string>();
  await pump(one, "first", acknowledged, (count) => count === 30);
  expect(await one.end("SIGTERM")).toBe(0);
  await pump(two, "second", acknowledged, (count) => count === 10);
  for (const end of ["", "-wal", "-shm", "-lock"]) {
    rmSync(join(dirname(files[0]), `updates.db${end}`), { force: true });
  }
  const again = await start(files[0]);
  expect(again.events.some(({ event }) => event === "copy-loaded")).toBe(true);
  const log = await oneLog(files, 40);
  expectNumbered(log);
  expect(log).toHaveLength(40);
  expect((await post(again, "third")).code).toBe(250);
  await arrived(far, acknowledged);
  expect(repeated(far)).toBe(0);
});

it("hands over one lease when a node does not want it, and all when it is restarted", async () => {
  const { far, files } = await stage();
  const one = await start(files[0]);
  const leases = ["lane:far", "dial:kx", "expiry", "repair"];
  await until(() => ["lane:far", "dial:kx"].every((lease) => holds(one, lease)));
  const two = await start(files[1]);
  const text = readFileSync(files[0], "utf8");
  const reload = async (changed: string) => {
    const before = one.events.length;
    writeFileSync(files[0], changed);
    process.kill(one.pid, "SIGHUP");
    // It listens on other ports then, as `ready` says.
    await until(() => one.events.slice(before).some(({ event }) => event === "ready"));
  };
  await reload(text.replace(/(name = "far"\n)mail = .*/, '$1accept_from = ["127.0.0.9"]'));
  await until(() => holds(two, "lane:far"), "the lane", TAKEOVER_MS);
  await reload(text);
  const sent = await post(one, "moved");
  await arrived(far, [sent.fingerprint]);
  expect([holds(two, "lane:far"), holds(two, "dial:kx")]).toEqual([true, false]);
  await one.end("SIGTERM");
  await until(() => leases.every((lease) => holds(two, lease)), "all leases", TAKEOVER_MS);
});
