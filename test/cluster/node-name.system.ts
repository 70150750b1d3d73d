/**
 * The name of a gateway (`log.node`) has one live session. A second gateway of the name is refused
 * and changes nothing that is shown of the first; a gateway that is started again waits for the end
 * of its former session.
 *
 * Needs: /usr/lib/postgresql.
 */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { expect, it, onTestFinished } from "vitest";
import { LOCK } from "../../src/cluster/tables.js";
import { ROOT, spawn, start } from "../e2e/stage.js";
import { until } from "../support/until.js";
import { refused, stage } from "./site.js";

it("a name is of one gateway, and a restart gets it again", async () => {
  const { server, files } = await stage();
  for (const file of files) {
    writeFileSync(file, readFileSync(file, "utf8").replace("shared =", 'node = "kx1"\nshared ='));
  }
  const run = (...words: string[]) => {
    const args = [join(ROOT, "dist/main.js"), ...words, "-c", files[1]];
    return spawnSync(process.execPath, args, { encoding: "utf8" });
  };
  const one = await start(files[0]);
  await until(() => server.sql("SELECT leases FROM kxgw_nodes").includes("expiry"));
  const shown = () => server.sql("SELECT name, version, leases, started_at FROM kxgw_nodes");
  const before = shown();
  const { code, what, remedy } = await refused(files[1]);
  expect(shown()).toBe(before);
  expect(what).toMatch(/log\.node: a gateway with the name kx1 uses the database, from 127\.0/);
  expect([code, remedy]).toEqual([78, expect.stringContaining("a log.node of its own")]);
  // A check is no gateway, and a move needs that no gateway runs.
  expect(run("check", "--online").stdout).toMatch(/ok.*shared database/);
  expect(shown()).toBe(before);
  expect(run("db", "move", "--to-shared").stderr).toContain("the database is in use by kx1");
  expect(shown()).toBe(before);

  expect(await one.end("SIGKILL")).toBe(-1);
  const again = await start(files[0]);
  expect(await again.end("SIGTERM")).toBe(0);

  // A former session that the server has not ended yet.
  const former = new pg.Client(server.url);
  await former.connect();
  onTestFinished(() => former.end());
  await former.query(`SELECT pg_advisory_lock(${LOCK}) FROM (SELECT 'node:kx1' AS name) one`);
  const waiting = spawn(files[1]);
  setTimeout(() => void former.query("SELECT pg_advisory_unlock_all()"), 6000);
  await until(() => waiting.events.some(({ event }) => event === "ready"), "a start", 20_000);
  expect(await waiting.end("SIGTERM")).toBe(0);
});
