/**
 * What the operator of a cluster is told by two real gateways on one PostgreSQL: both nodes with
 * their leases, a neighbour that the other one serves, and the database that goes away.
 *
 * Needs: /usr/lib/postgresql.
 */
import { expect, it, onTestFinished } from "vitest";
import { statusSchema } from "../../src/status/schema.js";
import type { Status } from "../../src/status/status.js";
import { SITE } from "../e2e/material.js";
import { base, configFile, kxgw, start } from "../e2e/stage.js";
import { until } from "../support/until.js";
import { Postgres } from "../system/postgres.js";

async function statusOf(file: string): Promise<Status> {
  const { stdout } = await kxgw(["status", "--json", "-c", file]);
  return JSON.parse(stdout) as Status;
}

/** The status once `isSo` of it. */
async function statusWhen(file: string, what: string, isSo: (status: Status) => boolean) {
  let status = await statusOf(file);
  await until(async () => {
    status = await statusOf(file);
    return isSo(status);
  }, what);
  return status;
}

it("shows nodes, leases and the database", async () => {
  const server = await Postgres.start();
  onTestFinished(() => server.remove());
  const [one, two] = ["kx1", "kx2"].map((node) => {
    const log = `shared = "${server.url}"\nnode = "${node}"\n[smtp]`;
    const outbound = '[outbound]\nrelay = "smtp://127.0.0.1:1"\n';
    const peer = '[[peer]]\nname = "far"\nmail = "pgp-public-keys@far.example.net"\n';
    const kx = '[kx]\nlisten = []\n[[peer]]\nname = "newks"\nkx = "127.0.0.1:1"\ndial = true\n';
    return configFile(`${base(SITE).replace("[smtp]", log)}${outbound}${kx}${peer}`);
  }) as [string, string];
  await start(one);
  await statusWhen(one, "the lease of the lane", ({ cluster }) => {
    return cluster?.leases.some(({ lease, here }) => lease === "lane:far" && here) === true;
  });
  await start(two);
  const shown = await statusWhen(two, "both nodes, and a holder of each lease", ({ cluster }) => {
    return cluster?.nodes.length === 2 && cluster.leases.every(({ node }) => node !== null);
  });
  expect(statusSchema.parse(shown)).toEqual(shown);
  expect(shown.cluster).toMatchObject({
    node: "kx2",
    database: { up: true, problem: null, server: expect.stringContaining("PostgreSQL") },
    nodes: [
      { node: "kx1", here: false, up: true, address: "127.0.0.1", behind: 0 },
      { node: "kx2", here: true, up: true, address: "127.0.0.1", leases: [] },
    ],
  });
  expect(shown.cluster?.leases).toContainEqual({ lease: "lane:far", node: "kx1", here: false });
  const far = shown.neighbours.find(({ name }) => name === "far");
  expect([far?.label, far?.words]).toEqual(["elsewhere", "kx1 sends to it"]);
  const pause = await kxgw(["peers", "pause", "far", "-c", two]);
  expect([pause.code, pause.stderr]).toEqual([69, "kx1 sends to far. Give the order there.\n"]);

  for (const order of ["reconcile", "backfill"]) {
    const { code, stderr } = await kxgw([order, "newks", "-c", two]);
    const words = "kx1 has the KX connection with newks. Give the order there.\n";
    expect([order, code, stderr]).toEqual([order, 69, words]);
  }

  await server.stop();
  const isUp = ({ cluster }: Status) => cluster?.database.up === true;
  const away = await statusWhen(two, "the database is away", (now) => !isUp(now));
  expect(away.verdict).toMatchObject({ state: "bad", words: expect.stringMatching(/^The shared/) });
  expect(away.cluster?.leases).toEqual([]);
  const health = await kxgw(["health", "-c", two]);
  expect([health.code, health.stdout + health.stderr]).toEqual([
    69,
    expect.stringContaining("database: away for"),
  ]);
  const { code, stdout } = await kxgw(["doctor", "-c", two]);
  expect([code, stdout]).toEqual([69, expect.stringContaining("The shared database is not used")]);

  await server.restart();
  const back = await statusWhen(two, "the database is back", isUp);
  expect(back.verdict.words).not.toContain("Error");
});
