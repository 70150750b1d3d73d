/**
 * `kxgw demo` from a package as npm would install it: what it counts, that it leaves nothing behind
 * however it ends, and that it fails, with the reason, when something is missing.
 */
import { spawn } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { demoCommand } from "../../src/cli/demo.js";
import { REAL_KEYS } from "../e2e/material.js";
import { ROOT } from "../e2e/stage.js";
import { mergedHashes } from "../e2e/world.js";
import { scratch, scratchOfFile } from "../support/scratch.js";
import { until } from "../support/until.js";
import { captured } from "./captured.js";

const installed = scratchOfFile();

/** What "files" of package.json ships, with the dependencies in their place. */
function install(directory: string): void {
  const { files } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  for (const path of ["package.json", ...files]) {
    mkdirSync(join(directory, path, ".."), { recursive: true });
    cpSync(join(ROOT, path), join(directory, path), { recursive: true });
  }
  symlinkSync(join(ROOT, "node_modules"), join(directory, "node_modules"));
}

install(installed);

/** Runs the demo of a package with a temporary directory of its own. */
function demo(directory: string, args: readonly string[] = []) {
  const temporary = scratch();
  const child = spawn(process.execPath, [join(directory, "dist/main.js"), "demo", ...args], {
    env: { ...process.env, TMPDIR: temporary },
  });
  const said = { stdout: "", stderr: "" };
  child.stdout.on("data", (text: Buffer) => {
    said.stdout += text.toString();
  });
  child.stderr.on("data", (text: Buffer) => {
    said.stderr += text.toString();
  });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  return { child, said, ended, left: () => readdirSync(temporary) };
}

/** Processes that have this directory in their command line. */
function processesIn(directory: string): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
        return line.includes(directory) ? [line] : [];
      } catch {
        return [];
      }
    });
}

/** A copy of the package in which a text of the program reads otherwise, wherever it stands. */
function broken(from: string | RegExp, to: string): string {
  const directory = scratch();
  install(directory);
  const program = join(directory, "dist");
  let changes = 0;
  for (const file of readdirSync(program, { recursive: true, encoding: "utf8" })) {
    if (!file.endsWith(".js")) continue;
    const text = readFileSync(join(program, file), "utf8");
    const changed = text.replace(from, to);
    if (changed === text) continue;
    changes += 1;
    writeFileSync(join(program, file), changed);
  }
  if (changes === 0) throw new Error(`the program does not say ${from}`);
  return directory;
}

describe("kxgw demo", () => {
  it("brings every key across whole, once, and says so", async () => {
    const { said, ended, left } = demo(installed, ["--json"]);
    expect(await ended).toBe(0);
    const journey = JSON.parse(said.stdout);
    expect(journey).toMatchObject({
      keys: REAL_KEYS.length,
      arrived: REAL_KEYS.length,
      hashes: Object.fromEntries(mergedHashes(REAL_KEYS)),
      mailsOut: REAL_KEYS.length,
      duplicatesOffered: REAL_KEYS.length,
      duplicatesSuppressed: REAL_KEYS.length,
      mailsAfterDuplicates: 0,
    });
    expect(journey.mailBytesIn).toBeGreaterThan(100_000);
    expect(journey.mailBytesOut).toBeGreaterThan(100_000);
    // Octets of KX/1.1: packets are not armored.
    expect(journey.kxBytes).toBeGreaterThan(80_000);
    expect(journey.milliseconds.median).toBeGreaterThan(0);
    expect(said.stderr).toMatch(/^starting [\s\S]*\n {2}22 of 22 arrived at \S+\n/);
    expect(left()).toEqual([]);
    expect(processesIn(installed)).toEqual([]);
  });

  it("stopped on the way it leaves nothing behind either", async () => {
    for (const [after, code] of [["SIGINT", 130] as const, ["SIGTERM", 143] as const]) {
      const { child, said, ended, left } = demo(installed);
      await until(
        () => processesIn(installed).length >= 3,
        () => "a gateway of the demo",
      );
      child.kill(after);
      expect(await ended).toBe(code);
      expect(said.stderr).toContain(`kxgw demo: stopped by ${after}\n`);
      expect(said.stdout).toBe("");
      expect(left()).toEqual([]);
      expect(processesIn(installed)).toEqual([]);
    }
  });

  it("fails with the reason when a key is lost on the way", async () => {
    // The lane passes the fifth update by, as if the site had it.
    const lossy = broken(" has(site, { seq, origin }) {", "$& if (seq === 5) return true;");
    const tour = join(lossy, "dist/demo/local-demo.js");
    const patient = readFileSync(tour, "utf8");
    writeFileSync(tour, patient.replace("PATIENCE_MS = 10_000", "PATIENCE_MS = 1500"));
    const { said, ended, left } = demo(lossy);
    expect(await ended).toBe(70);
    expect(said.stderr).toMatch(/kxgw demo: a key did not arrive complete at \S+: [0-9A-F]{40}\n$/);
    expect(said.stdout).toBe("");
    expect(left()).toEqual([]);
    expect(processesIn(lossy)).toEqual([]);
  });

  it("fails with the reason when duplicates come through, and when nothing starts", async () => {
    const forgetful = broken('report("duplicate"', 'report("suppressed"');
    const first = demo(forgetful);
    expect(await first.ended).toBe(70);
    expect(first.said.stderr).toMatch(/of 22 duplicates 0 were suppressed and 0 mails went out/);

    const late = 'throw new Error("stone dead");$&';
    const dead = broken(/^export async function serveCommand/m, late);
    const second = demo(dead);
    expect(await second.ended).toBe(70);
    expect(second.said.stderr).toContain("the gateway ended with 70");
    expect(second.said.stderr).toContain("stone dead");
    expect([first.left(), second.left()]).toEqual([[], []]);
  });
});

it.each([
  [["--smtp=127.0.0.1:1"], "must be given together"],
  [["--smtp=x", "--site=a@b.example", "--keyserver=http://h"], '--smtp: "x" has no address'],
  [["--smtp=h:1", "--site=a", "--keyserver=h"], "--site: "],
])("says what is wrong with the stations %s", async (args, words) => {
  const out = captured();
  const { smtp, site, keyserver } = Object.fromEntries(
    args.map((one) => one.replace("--", "").split("=")),
  );
  const json = false;
  expect(await demoCommand({ json, smtp, site, keyserver }, out)).toBe(64);
  expect(out.errors).toContain(words);
});
