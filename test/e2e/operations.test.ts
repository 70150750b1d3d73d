/**
 * The gateway as its operator meets it: started without a config, asked for its health, ended by a
 * signal. That it can be fed as its own hint says: swaks.system.ts.
 */
import { spawn as spawnChild } from "node:child_process";
import { existsSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { freePort } from "../support/ports.js";
import { scratch } from "../support/scratch.js";
import { pause, until } from "../support/until.js";
import { PROGRAM, spawn } from "./stage.js";

const FREE = {
  KXGW_SMTP__LISTEN: "127.0.0.1:0",
  KXGW_KX__LISTEN: "127.0.0.1:0",
  KXGW_ADMIN__LISTEN: "127.0.0.1:0",
};

it("runs without a config file, on loopback, in ./data, and says how to feed it", async () => {
  const directory = scratch();
  const gateway = spawn(undefined, { directory, env: FREE });
  const ready = await gateway.event("ready");
  expect(ready.smtp).toEqual([`127.0.0.1:${gateway.port("smtp")}`]);
  expect(ready.kx).toEqual([`127.0.0.1:${gateway.port("kx")}`]);
  expect(existsSync(join(directory, "data/updates.db"))).toBe(true);

  const url = `http://127.0.0.1:${gateway.port("admin")}`;
  await until(
    () => gateway.errors.includes(`curl ${url}/status.json`),
    () => "the hint",
  );
  for (const path of ["/livez", "/readyz"]) {
    const answer = await fetch(url + path);
    expect([answer.status, await answer.text()]).toEqual([200, "ok\n"]);
  }
  expect(await gateway.status()).toMatchObject({ mode: "bridge", log: { entries: 0 } });
  expect((await fetch(`${url}/`, { method: "POST" })).status).toBe(405);
  expect((await fetch(`${url}/nowhere`)).status).toBe(404);
  expect(await gateway.end("SIGINT")).toBe(0);
  expect(gateway.events.map(({ event }) => event)).toEqual(
    expect.arrayContaining(["ready", "stopping", "stopped"]),
  );
});

it("sleeps while nothing comes", async () => {
  const gateway = spawn(undefined, { directory: scratch(), env: FREE });
  await gateway.event("ready");
  expect(await gateway.status()).toMatchObject({ mode: "bridge" });
  // How often its thread has waited. A timer of 10 ms would be 300 in that time.
  const waits = () => {
    const status = readFileSync(`/proc/${gateway.pid}/status`, "latin1");
    return Number(/^voluntary_ctxt_switches:\s+(\d+)$/m.exec(status)?.[1]);
  };
  // What follows a start: compiled code, garbage, the first look at the disk.
  await pause(3000);
  const before = waits();
  await pause(3000);
  expect(waits() - before).toBeLessThan(60);
});

it("goes on when its events are written to a full disk", async () => {
  const admin = await freePort();
  const child = spawnChild(process.execPath, [PROGRAM, "serve"], {
    cwd: scratch(),
    env: { ...process.env, ...FREE, KXGW_ADMIN__LISTEN: `127.0.0.1:${admin}` },
    stdio: ["ignore", openSync("/dev/full", "w"), "pipe"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  let errors = "";
  child.stderr?.on("data", (text: Buffer) => {
    errors += text.toString();
  });
  const isAlive = async () => (await fetch(`http://127.0.0.1:${admin}/livez`)).ok;
  await until(isAlive, () => errors);
  expect(errors).toContain("events cannot be written to stdout (ENOSPC)");
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  expect(await ended).toBe(0);
});

it("a wrong variable in the environment is a fault, named: 78", async () => {
  const gateway = spawn(undefined, { directory: scratch(), env: { KXGW_SMPT__LISTEN: "x" } });
  expect(await gateway.exited).toBe(78);
  expect(gateway.errors).toMatch(/KXGW_SMPT__LISTEN: .*did you mean KXGW_SMTP__LISTEN\?/i);
});
