/**
 * The tarball of `npm pack`, installed as docs/install.md says, with a prefix of its own, and run
 * while the clone is out of sight: nothing that the program needs may lie there. The module for
 * SQLite is taken over from the clone, where `npm ci` compiled it in the same way, a minute
 * earlier. And what a build says of its commit.
 * Needs: root, man, git.
 */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { ROOT, type Run, run } from "./e2e/stage.js";
import { scratch, scratchOfFile } from "./support/scratch.js";

const MINUTE = 60_000;
const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
const work = scratchOfFile();
const prefix = join(work, "prefix");
const home = join(prefix, "lib/node_modules/kx-gateway");

/** The installed kxgw, in a name space where the clone is an empty directory. */
function kxgw(...args: string[]): Promise<Run> {
  const script = 'mount -t tmpfs none "$1" && cd / && shift && exec "$@"';
  const program = ["sh", "-c", script, "sh", ROOT, join(prefix, "bin/kxgw")];
  return run("unshare", ["--mount", "--propagation", "private", ...program, ...args]);
}

beforeAll(async () => {
  // dist/ is built already; what else npm would run is of no use here.
  const pack = ["pack", "--ignore-scripts", "--pack-destination", work];
  expect(await run("npm", pack, { directory: ROOT })).toMatchObject({ code: 0 });
  const tarball = join(work, `kx-gateway-${version}.tgz`);
  const install = ["install", "-g", "--ignore-scripts", "--prefer-offline", "--prefix", prefix];
  const { code, stderr } = await run("npm", [...install, tarball], { directory: work });
  expect([code, stderr]).toEqual([0, expect.any(String)]);
  const compiled = "node_modules/better-sqlite3/build/Release/better_sqlite3.node";
  cpSync(join(ROOT, compiled), join(home, compiled));
}, 3 * MINUTE);

it("says its version and the commit that it was built from", async () => {
  const file = join(ROOT, "dist/commit");
  const commit = existsSync(file) ? readFileSync(file, "utf8").trim() : "none";
  const { code, stdout } = await kxgw("version", "--json");
  expect([code, JSON.parse(stdout)]).toEqual([
    0,
    expect.objectContaining({ kxgw: version, commit }),
  ]);
});

it("runs the demo with the keys of the package", { timeout: MINUTE }, async () => {
  const { code, stdout } = await kxgw("demo");
  expect([code, stdout]).toEqual([0, expect.stringContaining("22 of 22 arrived complete")]);
});

it("has man pages where man looks, completion, and an example that passes the check", async () => {
  for (const page of ["kxgw.1", "kxgw.toml.5", "kxgw-serve.8"]) {
    const [, name = "", section = ""] = /^(.*)\.(\d)$/.exec(page) ?? [];
    const args = ["-M", join(prefix, "share/man"), "-w", section, name];
    const { code, stdout } = await run("man", args);
    expect([page, code, stdout]).toEqual([page, 0, expect.stringContaining(page)]);
  }
  expect((await kxgw("completion", "bash")).stdout).toContain("-F _kxgw kxgw");
  const { code, stdout } = await kxgw("check", "-c", join(home, "deploy/kxgw.toml"));
  expect([code, stdout]).toEqual([0, expect.stringContaining("mode      observe")]);
});

it("a build says the commit that it was made from, one without git says none", async () => {
  const place = scratch();
  for (const part of ["deploy/stamp.mjs", "package.json", "dist"]) {
    cpSync(join(ROOT, part), join(place, part), { recursive: true });
  }
  symlinkSync(join(ROOT, "node_modules"), join(place, "node_modules"));
  const git = (...args: string[]) =>
    execFileSync("git", ["-c", "user.name=a", "-c", "user.email=a@b.example", ...args], {
      cwd: place,
      encoding: "utf8",
    }).trim();
  const says = async (environment: NodeJS.ProcessEnv = {}) => {
    rmSync(join(place, "dist/commit"), { force: true });
    const env = { ...process.env, KXGW_COMMIT: "", ...environment };
    execFileSync(process.execPath, ["deploy/stamp.mjs", "dist"], { cwd: place, env });
    const { stdout } = await run(join(place, "dist/main.js"), ["version", "--json"]);
    return JSON.parse(stdout).commit;
  };
  expect(await says()).toBe("none");
  expect(await says({ KXGW_COMMIT: "0123456789ab" })).toBe("0123456789ab");
  git("init", "-q");
  git("add", "package.json");
  git("commit", "-q", "-m", "first");
  git("tag", "v1.0.0");
  const commit = git("rev-parse", "--short=12", "HEAD");
  expect(await says()).toBe(commit);
  writeFileSync(join(place, "package.json"), `${readFileSync(join(ROOT, "package.json"))}\n`);
  expect(await says()).toBe(`${commit}-dirty`);
});
