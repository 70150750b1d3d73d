/**
 * What lies in deploy/, judged by the programs that it is for: systemd accepts the units and finds
 * them as tight as the docs say, docker-compose.yml fits its schema, promtool takes its config.
 * Needs: systemd-analyze, systemd-sysusers, docker-compose, promtool.
 */
import { chmodSync, cpSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, it } from "vitest";
import { ROOT, run } from "./e2e/stage.js";
import { scratch } from "./support/scratch.js";

const UNITS = ["kxgw.service", "kxgw-smtp.socket", "kxgw-lmtp.socket"];
/** What `systemd-analyze security` of systemd 252 says of it, as docs/security.md does. */
const EXPOSURE = 1.3;

/** The units in a directory, with a program that is there. */
function installed(change: (text: string) => string = (text) => text): string[] {
  const directory = scratch();
  const program = join(directory, "kxgw");
  writeFileSync(program, "#!/bin/sh\n");
  chmodSync(program, 0o755);
  return UNITS.map((name) => {
    const text = readFileSync(join(ROOT, "deploy", name), "utf8");
    writeFileSync(join(directory, name), change(text).replaceAll("/usr/bin/kxgw", program));
    return join(directory, name);
  });
}

it("the units say nothing that systemd does not understand", async () => {
  const units = installed();
  // The man pages that the units name are not installed here; the test of the package has them.
  const verify = (files: readonly string[]) =>
    run("systemd-analyze", ["--man=no", "verify", ...files]);
  expect(await verify(units)).toEqual({ code: 0, stdout: "", stderr: "" });
  // It exits with 0 whatever it finds, so its words are what counts.
  const broken = installed((text) => text.replace("NoNewPrivileges", "NoNewPrivilege"));
  expect((await verify(broken)).stderr).toContain("Unknown key");
});

it("the unit is as tight as the docs say", async () => {
  const [unit = ""] = installed();
  const args = ["security", "--offline=yes", "--no-pager", `--threshold=${EXPOSURE * 10}`, unit];
  const { code, stdout } = await run("systemd-analyze", args);
  expect([code, stdout.slice(stdout.indexOf("Overall"))]).toEqual([
    0,
    expect.stringContaining(`kxgw.service: ${EXPOSURE} `),
  ]);
  expect(readFileSync(join(ROOT, "docs/security.md"), "utf8")).toContain(
    `exposure of ${EXPOSURE} `,
  );
});

it("makes its user", async () => {
  const file = join(ROOT, "deploy/kxgw.sysusers");
  const args = [`--root=${scratch()}`, "--dry-run", file];
  const { code, stdout, stderr } = await run("systemd-sysusers", args);
  expect(code).toBe(0);
  expect(stdout + stderr).toContain("Creating user 'kxgw' (KX gateway)");
});

it("docker-compose.yml fits its schema", { timeout: 60_000 }, async () => {
  const text = readFileSync(join(ROOT, "docker-compose.yml"), "utf8");
  // Without it, services of a profile are not looked at.
  const all = ["--profile", "cluster"];
  const check = (file: string) => run("docker-compose", ["-f", file, ...all, "config", "-q"]);
  expect(await check(join(ROOT, "docker-compose.yml"))).toMatchObject({ code: 0, stderr: "" });
  const broken = join(scratch(), "docker-compose.yml");
  writeFileSync(broken, text.replace("healthcheck:", "healthchek:"));
  expect((await check(broken)).stderr).toContain("Unsupported config option");
  writeFileSync(broken, text.replace('profiles: ["cluster"]', "profiles: cluster"));
  expect((await check(broken)).stderr).toContain("services.postgres.profiles");
});

it("Prometheus of docker-compose.yml takes its config, with the alerts beside it", async () => {
  const directory = scratch();
  for (const file of ["compose/prometheus.yml", "prometheus/alerts.yml"]) {
    cpSync(join(ROOT, "deploy", file), join(directory, basename(file)));
  }
  const args = ["check", "config", join(directory, "prometheus.yml")];
  const { code, stdout } = await run("promtool", args);
  expect([code, stdout]).toEqual([0, expect.stringContaining("1 rule files found")]);
});
