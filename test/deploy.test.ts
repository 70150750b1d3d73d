/**
 * What lies in deploy/ and what the package ships: the example configs are ones that the program
 * accepts, the unit is one that systemd accepts, the image is built from files that exist, and an
 * installed package has all that its commands need.
 */
import { chmodSync, cpSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, it } from "vitest";
import { EXIT } from "../src/errors.js";
import { kxgw, ROOT, run, scratch } from "./e2e/stage.js";

const UNITS = ["kxgw.service", "kxgw-smtp.socket", "kxgw-lmtp.socket"];
const UNIT = readFileSync(join(ROOT, "deploy/kxgw.service"), "utf8");
/** What `systemd-analyze security` of systemd 252 says of it, as docs/install.md does. */
const EXPOSURE = 1.3;

it.each(["deploy/kxgw.toml", "deploy/compose/a.toml", "deploy/compose/b.toml"])(
  "%s is a config without a fault",
  async (file) => {
    const { code, stdout, stderr } = await kxgw(["check", "-c", join(ROOT, file)]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toContain("/var/lib/kxgw/updates.db");
  },
);

/** The units in a directory, with a program that is there; undefined where there is no systemd. */
function installed(change: (text: string) => string = (text) => text): string[] | undefined {
  if (!existsSync("/usr/bin/systemd-analyze")) {
    process.stderr.write("systemd-analyze is not installed: the units are unverified\n");
    return undefined;
  }
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
  if (units === undefined) return;
  const verify = (files: readonly string[]) =>
    run("/usr/bin/systemd-analyze", ["verify", ...files]);
  expect(await verify(units)).toEqual({ code: 0, stdout: "", stderr: "" });
  // It exits with 0 whatever it finds, so its words are what counts.
  const broken = installed((text) => text.replace("NoNewPrivileges", "NoNewPrivilege")) ?? [];
  expect((await verify(broken)).stderr).toContain("Unknown key");
});

it("the unit is as tight as the docs say", async () => {
  const [unit = ""] = installed() ?? [];
  if (unit === "") return;
  const args = ["security", "--offline=yes", "--no-pager", `--threshold=${EXPOSURE * 10}`, unit];
  const { code, stdout } = await run("/usr/bin/systemd-analyze", args);
  expect([code, stdout.slice(stdout.indexOf("Overall"))]).toEqual([
    0,
    expect.stringContaining(`kxgw.service: ${EXPOSURE} `),
  ]);
  expect(readFileSync(join(ROOT, "docs/install.md"), "utf8")).toContain(`score of ${EXPOSURE}`);
});

it("makes its user", async () => {
  const file = join(ROOT, "deploy/kxgw.sysusers");
  if (!existsSync("/usr/bin/systemd-sysusers")) {
    process.stderr.write("systemd-sysusers is not installed: deploy/kxgw.sysusers is unverified\n");
    return;
  }
  const args = [`--root=${scratch()}`, "--dry-run", file];
  const { code, stdout, stderr } = await run("/usr/bin/systemd-sysusers", args);
  expect(code).toBe(0);
  expect(stdout + stderr).toContain("Creating user 'kxgw' (KX gateway)");
});

it("the sockets are those that the config names", async () => {
  const listen = ["kxgw-smtp.socket", "kxgw-lmtp.socket"].map((name) => {
    const text = readFileSync(join(ROOT, "deploy", name), "utf8");
    const says = /^# {3}listen = \[(.*)\]$/m.exec(text)?.[1] ?? "";
    const fits = says.startsWith('"systemd:')
      ? `"systemd:${/^FileDescriptorName=(.*)$/m.exec(text)?.[1]}"`
      : `"lmtp:${/^ListenStream=(.*)$/m.exec(text)?.[1]}"`;
    expect([name, says]).toEqual([name, fits]);
    return says;
  });
  const file = join(scratch(), "kxgw.toml");
  const head = '[site]\naddress = "a@b.example"\n[log]\n[smtp]\n';
  writeFileSync(file, `${head}listen = [${listen.join(", ")}]\n`);
  const { code, stdout } = await kxgw(["check", "-c", file]);
  expect([code, stdout]).toEqual([0, expect.stringContaining("systemd:smtp, /run/kxgw/lmtp.sock")]);
  expect(await kxgw(["check", "-q", "-c", file])).toEqual({ code: 0, stdout: "", stderr: "" });
});

it("the unit does not restart what a restart cannot cure", () => {
  expect(UNIT).toContain(`RestartPreventExitStatus=${EXIT.usage} ${EXIT.config}\n`);
  expect(UNIT).toContain("Restart=on-failure\n");
});

it.each(["deploy/Dockerfile", "deploy/legacy/Dockerfile"])(
  "%s copies files that are here and that its ignore file lets through",
  (file) => {
    const dockerfile = readFileSync(join(ROOT, file), "utf8");
    const allowed = readFileSync(join(ROOT, `${file}.dockerignore`), "utf8")
      .split("\n")
      .flatMap((line) => (line.startsWith("!") ? [line.slice(1)] : []));
    const sources = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(
      ([, paths = ""]) => paths.split(" "),
    );
    expect(sources.length).toBeGreaterThan(4);
    for (const source of sources) {
      expect([source, existsSync(join(ROOT, source))]).toEqual([source, true]);
      const isLet = allowed.some((path) => `${source}/`.startsWith(`${path}/`));
      expect([source, isLet]).toEqual([source, true]);
    }
  },
);

it("docker-compose.yml fits its schema, and mounts what is there", {
  timeout: 60_000,
}, async () => {
  const text = readFileSync(join(ROOT, "docker-compose.yml"), "utf8");
  const mounted = [...text.matchAll(/^ +- (\.\/\S+?):/gm)].map(([, path = ""]) => path);
  expect(mounted).toHaveLength(6);
  for (const path of mounted) {
    expect([path, existsSync(join(ROOT, path))]).toEqual([path, true]);
  }
  if (!existsSync("/usr/bin/docker-compose")) {
    process.stderr.write("docker-compose is not installed: docker-compose.yml is unverified\n");
    return;
  }
  const check = (file: string) => run("/usr/bin/docker-compose", ["-f", file, "config", "-q"]);
  expect(await check(join(ROOT, "docker-compose.yml"))).toMatchObject({ code: 0, stderr: "" });
  const broken = join(scratch(), "docker-compose.yml");
  writeFileSync(broken, text.replace("healthcheck:", "healthchek:"));
  expect((await check(broken)).stderr).toContain("Unsupported config option");
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
