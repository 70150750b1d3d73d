/**
 * What lies in deploy/ and what the package ships: the example configs are ones that the program
 * accepts, the unit is one that systemd accepts, the image is built from files that exist, and an
 * installed package has all that its commands need.
 */
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { EXIT } from "../src/errors.js";
import { kxgw, ROOT, run, scratch } from "./e2e/stage.js";

const UNIT = readFileSync(join(ROOT, "deploy/kxgw.service"), "utf8");

it.each(["deploy/kxgw.toml", "deploy/compose/a.toml", "deploy/compose/b.toml"])(
  "%s is a config without a fault",
  async (file) => {
    const { code, stdout, stderr } = await kxgw(["check", "-c", join(ROOT, file)]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toContain("/var/lib/kxgw/updates.db");
  },
);

it("the unit says nothing that systemd does not understand", async () => {
  if (!existsSync("/usr/bin/systemd-analyze")) {
    process.stderr.write("systemd-analyze is not installed: deploy/kxgw.service is unverified\n");
    return;
  }
  const directory = scratch();
  const program = join(directory, "kxgw");
  writeFileSync(program, "#!/bin/sh\n");
  chmodSync(program, 0o755);
  const verify = async (text: string) => {
    const unit = join(directory, "kxgw.service");
    writeFileSync(unit, text.replaceAll("/usr/bin/kxgw", program));
    return await run("/usr/bin/systemd-analyze", ["verify", unit]);
  };
  expect(await verify(UNIT)).toEqual({ code: 0, stdout: "", stderr: "" });
  // It exits with 0 whatever it finds, so its words are what counts.
  const broken = await verify(UNIT.replace("NoNewPrivileges", "NoNewPrivilege"));
  expect(broken.stderr).toContain("Unknown key");
});

it("the unit does not restart what a restart cannot cure", () => {
  expect(UNIT).toContain(`RestartPreventExitStatus=${EXIT.usage} ${EXIT.config}\n`);
  expect(UNIT).toContain("Restart=on-failure\n");
});

it("the image is built from files that are here and that its ignore file lets through", () => {
  const dockerfile = readFileSync(join(ROOT, "deploy/Dockerfile"), "utf8");
  const allowed = readFileSync(join(ROOT, "deploy/Dockerfile.dockerignore"), "utf8").split("\n");
  const sources = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(
    ([, paths = ""]) => paths.split(" "),
  );
  expect(sources.length).toBeGreaterThan(4);
  for (const source of sources) {
    expect([source, existsSync(join(ROOT, source))]).toEqual([source, true]);
    expect(allowed).toContain(`!${source}`);
  }
});

it("the package ships what its commands need", async () => {
  const args = ["pack", "--dry-run", "--json", "--ignore-scripts"];
  const { code, stdout } = await run("npm", args, { directory: ROOT });
  expect(code).toBe(0);
  const [{ files }] = JSON.parse(stdout) as [{ files: { path: string }[] }];
  const shipped = files.map(({ path }) => path);
  expect(shipped).toEqual(
    expect.arrayContaining([
      ...["package.json", "README.md", "LICENSE", "dist/main.js", "dist/cli/serve.js"],
      ...["deploy/kxgw.service", "deploy/kxgw.toml", "docs/architecture.md"],
      "test/fixtures/keys/role-010908312D230C5F.asc",
    ]),
  );
  const extras = shipped.filter((path) => !/^(dist|deploy|docs|test\/fixtures\/keys)\//.test(path));
  expect(extras.sort()).toEqual(["LICENSE", "README.md", "package.json"]);
});
