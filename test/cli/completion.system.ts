/**
 * The completion scripts in the shells that they are for; bash is in first-steps.test.ts.
 * Needs: zsh, fish.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { kxgw } from "../e2e/stage.js";
import { scratch } from "../support/scratch.js";

async function script(shell: string): Promise<string> {
  const { code, stdout } = await kxgw(["completion", shell]);
  expect(code).toBe(0);
  const file = join(scratch(), `kxgw.${shell}`);
  writeFileSync(file, stdout);
  return file;
}

it.each(["zsh", "fish"])("%s accepts its script", async (shell) => {
  const checked = spawnSync(shell, ["-n", await script(shell)], { encoding: "utf8" });
  expect(checked.stderr).toBe("");
  expect(checked.status).toBe(0);
});

it("fish offers the verbs of a command", async () => {
  const file = await script("fish");
  const ask = `source ${file}; complete -C 'kxgw queue '`;
  const env = { ...process.env, HOME: dirname(file) };
  const offered = execFileSync("fish", ["-c", ask], { encoding: "utf8", env });
  const words = offered.split("\n").map((line) => line.split("\t")[0]);
  expect(words).toEqual(expect.arrayContaining(["ls", "show", "retry", "skip"]));
  expect(words).not.toContain("peers");
});
