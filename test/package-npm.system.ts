/**
 * The tarball of `npm pack`, installed as docs/install.md says, with a prefix of its own, and run
 * while the clone is out of sight: nothing that the program needs may lie there. The module for
 * SQLite is taken over from the clone, where `npm ci` compiled it in the same way, a minute earlier.
 * Needs: root, man.
 */
import { cpSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { ROOT, type Run, run } from "./e2e/stage.js";
import { scratchOfFile } from "./support/scratch.js";

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
  const commit = readFileSync(join(ROOT, "dist/commit"), "utf8").trim();
  const { code, stdout } = await kxgw("version", "--json");
  expect([code, JSON.parse(stdout)]).toEqual([
    0,
    expect.objectContaining({ kxgw: version, commit }),
  ]);
});

it("runs the demo with the keys of the package", { timeout: MINUTE }, async () => {
  const { code, stdout } = await kxgw("demo");
  expect([code, stdout]).toEqual([0, expect.stringContaining("22")]);
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
