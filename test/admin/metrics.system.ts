/**
 * Prometheus' own tool on what is ours: its linter finds nothing to say of /metrics, the alert
 * rules pass their tests, and the example of a scrape config is one.
 * Needs: promtool.
 */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { scratch } from "../support/scratch.js";
import { clustered, preparedDoor, preparedSources } from "./prepared.js";

const RULES = fileURLToPath(new URL("../../deploy/prometheus/", import.meta.url));

function promtool(args: readonly string[], input = "") {
  const { status, stdout, stderr } = spawnSync("promtool", args, {
    ...{ cwd: RULES, input, encoding: "utf8" },
  });
  return { status, text: stdout + stderr };
}

it("the metrics please its linter", async () => {
  const base = await preparedDoor(clustered(preparedSources().sources));
  const text = await (await fetch(`${base}/metrics`)).text();
  const ours = text.split("\n").filter((line) => / kxgw_|^kxgw_/.test(line));
  expect(ours.length).toBeGreaterThan(100);
  expect(promtool(["check", "metrics"], `${ours.join("\n")}\n`)).toEqual({ status: 0, text: "" });
  const wrong = "# HELP kxgw_x x\n# TYPE kxgw_x counter\nkxgw_x 1\n";
  expect(promtool(["check", "metrics"], wrong).text).toContain("_total");
});

it("Prometheus' parser of OpenMetrics reads all of it", async () => {
  const base = await preparedDoor(preparedSources().sources);
  const headers = { accept: "application/openmetrics-text;version=1.0.0" };
  const text = await (await fetch(`${base}/metrics`, { headers })).text();
  // To make blocks of it, each sample needs a time.
  const timed = text.replaceAll(/^([^#\n].*)$/gm, "$1 1795417689");
  const read = (input: string) => {
    const directory = scratch();
    writeFileSync(join(directory, "metrics"), input);
    const args = ["tsdb", "create-blocks-from", "openmetrics", "metrics", "data"];
    return spawnSync("promtool", args, { cwd: directory, encoding: "utf8" });
  };
  const { status, stdout, stderr } = read(timed);
  expect([status, stderr]).toEqual([0, ""]);
  expect(stdout).toContain("NUM SERIES");
  expect(read(timed.replace("# EOF\n", "")).stderr).toContain("EOF");
});

it.each([
  ["the alert rules pass their tests", ["test", "rules", "alerts.test.yml"]],
  ["the scrape config is one", ["check", "config", "scrape.yml"]],
])("%s", (_, args) => {
  expect(promtool(args)).toEqual({ status: 0, text: expect.stringContaining("SUCCESS") });
});
