/**
 * What lies in deploy/ and what the package ships: the example configs are ones that the program
 * accepts, the image is built from files that exist, and an installed package has all that its
 * commands need. What systemd, docker-compose and promtool say of it: deploy.system.ts.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { EXIT } from "../src/errors.js";
import { kxgw, ROOT, run } from "./e2e/stage.js";
import { scratch } from "./support/scratch.js";

const UNIT = readFileSync(join(ROOT, "deploy/kxgw.service"), "utf8");

const COMPOSED = ["a", "b", "cluster"].map((name) => `deploy/compose/${name}.toml`);

it.each(["deploy/kxgw.toml", ...COMPOSED])("%s is a config without a fault", async (file) => {
  const { code, stdout, stderr } = await kxgw(["check", "-c", join(ROOT, file)]);
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toContain("/var/lib/kxgw/updates.db");
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

it("the directory of the LMTP socket outlives the service, with one owner", () => {
  // What systemd makes of it is tried by deploy/try-systemd.sh.
  const socket = readFileSync(join(ROOT, "deploy/kxgw-lmtp.socket"), "utf8");
  expect(UNIT).toMatch(
    /^RuntimeDirectory=kxgw\nRuntimeDirectoryMode=0755\nRuntimeDirectoryPreserve=yes$/m,
  );
  expect(socket).toMatch(
    /^ExecStartPre=\/usr\/bin\/install -d -o kxgw -g kxgw -m 0755 \/run\/kxgw$/m,
  );
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

it("docker-compose.yml mounts what is there", () => {
  const text = readFileSync(join(ROOT, "docker-compose.yml"), "utf8");
  const mounted = [...text.matchAll(/^ +- (\.\/\S+?):/gm)].map(([, path = ""]) => path);
  expect(mounted).toHaveLength(11);
  for (const path of mounted) {
    expect([path, existsSync(join(ROOT, path))]).toEqual([path, true]);
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
      "share/keys/role-010908312D230C5F.asc",
    ]),
  );
  const extras = shipped.filter((path) => !/^(dist|deploy|docs|share)\//.test(path));
  expect(extras.sort()).toEqual(["LICENSE", "README.md", "package.json"]);
});
