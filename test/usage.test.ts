/** The tools under test/ explain themselves, and refuse what they do not know before they run. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const { scripts } = JSON.parse(readFileSync("package.json", "utf8")) as {
  readonly scripts: Readonly<Record<string, string>>;
};
/** Each script of package.json that runs a tool, and the compiled tool. */
const TOOLS = Object.entries(scripts).flatMap(([name, line]) => {
  const [, path] = /node \.torture\/\w+\/(test\/\S+\.js)$/.exec(line) ?? [];
  return path === undefined ? [] : [[name, path] as const];
});

// Below the repository, whose fixtures the tools look for upwards.
mkdirSync(".torture", { recursive: true });
const built = mkdtempSync(resolve(".torture", "usage-"));
beforeAll(() => {
  // noCheck: the types are checked elsewhere.
  const tsc = resolve("node_modules/.bin/tsc");
  execFileSync(tsc, ["-p", "tsconfig.torture.json", "--outDir", built]);
}, 120_000);
afterAll(() => rmSync(built, { recursive: true }));

const run = (path: string, ...args: string[]) =>
  spawnSync(process.execPath, [join(built, path), ...args], { encoding: "utf8", timeout: 60_000 });

it("all seven are looked at", () => {
  expect(TOOLS.map(([name]) => name).sort()).toEqual([
    ...["bench", "compare", "evaluate", "fuzz", "simulate", "simulate:network", "torture"],
  ]);
});

describe.each(TOOLS)("npm run %s", (name, path) => {
  it.each(["--help", "-h"])("%s prints help and exits 0", (flag) => {
    const { status, stdout, stderr } = run(path, flag);
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(new RegExp(`^npm run ${name} `));
    // Every option that the tool has is told.
    const source = readFileSync(path.replace(/\.js$/, ".ts"), "utf8");
    const options = [...source.matchAll(/^ +"?([a-z-]+)"?: \{ type: "/gm)].map(([, one]) => one);
    expect(options.length).toBeGreaterThan(2);
    for (const option of options) expect(stdout, option).toContain(`--${option}`);
  });

  it("an option that is not there exits 64, with the help", () => {
    const { status, stderr } = run(path, "--colour");
    expect(status).toBe(64);
    expect(stderr).toContain("'--colour'");
    expect(stderr).toContain(`npm run ${name} `);
  });
});
