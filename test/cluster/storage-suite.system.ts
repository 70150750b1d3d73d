/**
 * The tests of the log, over PostgreSQL: those that `npm test` runs over a database in memory
 * (test/log/over-shared.ts), but three that wait for the disk ten thousand times.
 *
 * Needs: /usr/lib/postgresql.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { ROOT } from "../e2e/stage.js";
import { scratch } from "../support/scratch.js";
import { Postgres } from "../system/postgres.js";

/** A minute alone on two cores. */
const LIMIT_MS = 10 * 60_000;

interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly title: string;
      readonly status: string;
      readonly failureMessages?: readonly string[];
    }[];
  }[];
}

it("the tests of the log pass over PostgreSQL", { timeout: LIMIT_MS }, async () => {
  const server = await Postgres.start();
  onTestFinished(() => server.remove());
  const file = join(scratch(), "report.json");
  const args = ["node_modules/vitest/vitest.mjs", "run", "--project", "shared", "--maxWorkers=2"];
  const run = spawn(process.execPath, [...args, "--reporter=json", `--outputFile=${file}`], {
    cwd: ROOT,
    env: { ...process.env, STORAGE_DATABASE: server.url },
    stdio: ["ignore", "ignore", "inherit"],
  });
  onTestFinished(() => void run.kill());
  const [code] = await once(run, "exit");
  const { testResults } = JSON.parse(readFileSync(file, "utf8")) as Report;
  // A file that could not be loaded has a message and no tests.
  const broken = testResults.filter((one) => one.assertionResults.length === 0);
  expect(broken.map(({ name, message }) => `${name}: ${message}`)).toEqual([]);
  const tests = testResults.flatMap((one) => one.assertionResults);
  const failed = tests.filter(({ status }) => status === "failed");
  expect(failed.map(({ title, failureMessages }) => [title, ...(failureMessages ?? [])])).toEqual(
    [],
  );
  expect(code).toBe(0);
  expect(tests.filter(({ status }) => status === "passed").length).toBeGreaterThanOrEqual(80);
  expect(tests.filter(({ status }) => status !== "passed")).toHaveLength(3);
  // They ran there, and not in memory.
  const commits = "SELECT xact_commit FROM pg_stat_database WHERE datname = 'kxgw'";
  expect(Number(server.sql(commits))).toBeGreaterThan(2000);
});
