/**
 * The files of the log deleted or replaced under a running gateway: it notices with the next mail
 * or within three seconds, takes nothing more, says what to do, and goes on when they are back. A
 * second gateway does not get the log, with or without a lock file.
 */
import { copyFileSync, existsSync, mkdirSync, renameSync, rmSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { GatewayProcess } from "../../src/demo/process.js";
import { EXIT } from "../../src/errors.js";
import { inspectLog } from "../../src/log/inspect.js";
import { SmtpClient } from "../support/smtp-client.js";
import { until } from "../support/until.js";
import { incremental, made, SITE_ADDRESS } from "../torture/material.js";
import { base, configFile, kxgw, spawn, start } from "./stage.js";

const PEER = '[[peer]]\nname = "old"\naccept_from = ["127.0.0.1"]\n';

async function stage() {
  const file = configFile(base(SITE_ADDRESS) + PEER);
  const log = join(file, "../updates.db");
  const gateway = await start(file);
  return { file, log, gateway };
}

async function mail(gateway: GatewayProcess, n: number): Promise<string> {
  const client = await SmtpClient.connect(gateway.port("smtp"));
  try {
    const { text } = await client.deliver(incremental([made(3, n).armor], `${n}`), SITE_ADDRESS);
    return text;
  } finally {
    client.close();
  }
}

async function ready(gateway: GatewayProcess): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${gateway.port("admin")}/readyz`);
  return `${answer.status} ${await answer.text()}`;
}

const HAPPENINGS: Record<string, readonly [(log: string) => void, RegExp]> = {
  "the log is deleted": [(log) => rmSync(log), /updates\.db: was deleted/],
  "the log is moved away": [(log) => renameSync(log, `${log}.old`), /updates\.db: was deleted/],
  "a copy is moved over the log": [
    (log) => {
      copyFileSync(log, `${log}.copy`);
      renameSync(`${log}.copy`, log);
    },
    /updates\.db: was replaced/,
  ],
  "the WAL is deleted": [(log) => rmSync(`${log}-wal`), /updates\.db-wal: was deleted or replaced/],
  "all files are deleted": [
    (log) => {
      for (const end of ["", "-wal", "-shm", "-lock"]) rmSync(log + end, { force: true });
    },
    /updates\.db: was deleted/,
  ],
  "its directory is moved away": [
    (log) => renameSync(join(log, ".."), `${join(log, "..")}.below`),
    /updates\.db: was deleted/,
  ],
  "it is emptied": [(log) => truncateSync(log), /updates\.db: was overwritten or cut short/],
  "another directory covers it": [
    (log) => {
      renameSync(join(log, ".."), `${join(log, "..")}.below`);
      mkdirSync(join(log, ".."));
    },
    /updates\.db: was deleted/,
  ],
};

describe.each(Object.entries(HAPPENINGS))("%s", (_, [happen, words]) => {
  it("and nothing more is acknowledged, by mail or by /readyz", async () => {
    const { gateway, log } = await stage();
    expect(await mail(gateway, 1)).toMatch(/^250 /);
    expect(await ready(gateway)).toBe("200 ok\n");
    happen(log);
    expect(await mail(gateway, 2)).toMatch(/^4\d\d /);
    expect(await ready(gateway)).toMatch(/^503 not ready/);
    expect(await ready(gateway)).toMatch(words);
    const { problem, remedy } = await gateway.event("log-replaced");
    expect(problem).toMatch(words);
    expect(remedy).toMatch(/[Rr]estart|start it/);
    rmSync(`${join(log, "..")}.below`, { recursive: true, force: true });
  });
});

describe("files that come back", () => {
  it("are written again, and hold all that was acknowledged", async () => {
    const { gateway, log } = await stage();
    expect(await mail(gateway, 1)).toMatch(/^250 /);
    renameSync(log, `${log}.old`);
    expect(await mail(gateway, 2)).toMatch(/^4\d\d /);
    renameSync(`${log}.old`, log);
    expect(await mail(gateway, 2)).toMatch(/^250 /);
    expect(await ready(gateway)).toBe("200 ok\n");
    await gateway.end();
    expect(inspectLog(log)).toMatchObject({ problems: [], entries: 2 });
  });

  it("without their WAL hold all that was acknowledged, after a kill too", async () => {
    const { file, gateway, log } = await stage();
    for (let n = 1; n <= 5; n += 1) expect(await mail(gateway, n)).toMatch(/^250 /);
    rmSync(`${log}-wal`);
    expect(await mail(gateway, 6)).toMatch(/^4\d\d /);
    await gateway.end("SIGKILL");
    const next = await start(file);
    expect(await mail(next, 6)).toMatch(/^250 /);
    await next.end();
    expect(inspectLog(log)).toMatchObject({ problems: [], entries: 6 });
  });
});

describe("a lock file that is deleted", () => {
  it("keeps a second gateway out, and is made again", async () => {
    const { file, gateway, log } = await stage();
    expect(await mail(gateway, 1)).toMatch(/^250 /);
    for (let n = 0; n < 2; n += 1) {
      await until(
        () => existsSync(`${log}-lock`),
        () => "the lock file",
      );
      rmSync(`${log}-lock`);
      const second = spawn(file);
      expect(await second.exited).toBe(EXIT.unavailable);
      expect(second.errors).toMatch(/another process has this log open|another kxgw serves/);
    }
    expect(await mail(gateway, 2)).toMatch(/^250 /);
    expect(existsSync(`${log}-lock`)).toBe(true);
    const third = spawn(file);
    expect(await third.exited).toBe(EXIT.unavailable);
    expect(third.errors).toContain("another kxgw serves this log");
    expect(await ready(gateway)).toBe("200 ok\n");
  });

  it("is made again by a gateway that has nothing to write", async () => {
    const { gateway, log } = await stage();
    rmSync(`${log}-lock`);
    await until(
      () => existsSync(`${log}-lock`),
      () => "the lock file",
    );
    expect(await ready(gateway)).toBe("200 ok\n");
  });

  it("of a gateway that is down keeps nobody out", async () => {
    const { file, gateway, log } = await stage();
    await gateway.end();
    rmSync(`${log}-lock`);
    const next = await start(file);
    expect(await mail(next, 1)).toMatch(/^250 /);
    expect((await kxgw(["db", "check", "-c", file])).code).toBe(0);
  });
});
