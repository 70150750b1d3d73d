/**
 * The control socket: there with and without [admin], for the gateway's user alone, and back after
 * a crash left its file behind.
 */

import { existsSync, renameSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { controlPath } from "../../src/admin/admin-door.js";
import { scratch } from "../support/scratch.js";
import { control, FEEDER, HEAD, startGateway } from "./gateway.js";

const NO_ADMIN = HEAD.replace(/\[admin\]\nlisten.*\n/, "");

describe("the control socket", () => {
  it("answers without [admin], and is the user's alone", async () => {
    const { logPath, gateway, stop } = await startGateway(NO_ADMIN + FEEDER);
    expect(gateway.listening.admin).toBeUndefined();
    expect(statSync(controlPath(logPath)).mode & 0o777).toBe(0o600);
    expect(await control(logPath, "/livez")).toEqual({ code: 200, body: "ok\n" });
    const status = JSON.parse((await control(logPath, "/status.json")).body);
    expect(status.neighbours[0].mail).toBe("pgp-public-keys@pks.example.net");
    await stop();
    expect(existsSync(controlPath(logPath))).toBe(false);
  });

  it("replaces what a crash left behind, a socket or a file", async () => {
    const directory = scratch();
    writeFileSync(join(directory, "updates.db-control"), "left over");
    const first = await startGateway(HEAD, { directory });
    expect((await control(first.logPath, "/livez")).code).toBe(200);
    await first.stop();
    // A server removes its own file when it closes; a killed one leaves it, as here.
    const dead = createServer().listen(join(directory, "dead"));
    await new Promise((resolve) => dead.once("listening", resolve));
    renameSync(join(directory, "dead"), controlPath(first.logPath));
    await new Promise((resolve) => dead.close(resolve));
    expect(statSync(controlPath(first.logPath)).isSocket()).toBe(true);
    const second = await startGateway(HEAD, { directory });
    expect((await control(second.logPath, "/livez")).code).toBe(200);
  });

  it("is done without where the path is too long, and says so", async () => {
    const config = HEAD.replace("[log]", `[log]\npath = "${"x".repeat(90)}.db"`);
    const { reports, base } = await startGateway(config);
    const told = reports.find(({ event }) => event === "no-control");
    expect(told?.fields.problem).toMatch(/is too long for the path of a socket/);
    expect((await fetch(`${base}/livez`)).status).toBe(200);
  });

  it("takes orders only there, and says what it does not know", async () => {
    const { logPath, base } = await startGateway(HEAD + FEEDER);
    expect((await fetch(`${base}/peers/old/pause`, { method: "POST" })).status).toBe(405);
    expect((await control(logPath, "/peers/old/fly", "POST")).code).toBe(404);
    expect((await control(logPath, "/peers/old/pause/more", "POST")).code).toBe(404);
    expect((await control(logPath, "/status.json", "DELETE")).code).toBe(405);
  });
});
