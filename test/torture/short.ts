/**
 * The checks of the torture run in small, for `npm test`: the same code, few runs. Each test file
 * compiles gateway and checks into a directory of its own, since what runs as a process of its own
 * must be JavaScript, and another file may be compiling at the same time.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished } from "vitest";
import { type Check, dice, type Outcome } from "./check.js";
import { projectRoot } from "./material.js";

/** Compiles src and test/torture; returns the directory that holds both. */
export function compile(name: string): string {
  const root = projectRoot();
  const build = join(root, ".torture", name);
  mkdirSync(build, { recursive: true });
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const args = [tsc, "-p", join(root, "tsconfig.torture.json"), "--outDir", build];
  execFileSync(process.execPath, args, { stdio: "inherit" });
  return build;
}

/** Runs a check and expects its promise to hold and its control to be caught. */
export async function expectHeld(check: Check, runs: number, build: string): Promise<Outcome> {
  const directory = mkdtempSync(join(tmpdir(), `kxgw-${check.name}-`));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const seed = Date.now() % 1_000_000;
  const outcome = await check.run({
    seed,
    random: dice(seed),
    runs,
    endsAt: Number.POSITIVE_INFINITY,
    directory,
    build,
    say: () => {},
  });
  expect(outcome.faults, `seed ${seed}: ${outcome.figures}`).toEqual([]);
  expect(outcome.control?.caught, outcome.control?.figures).not.toBe(false);
  return outcome;
}
