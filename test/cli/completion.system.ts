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
import { OFFERS, shellWith } from "./completion.js";

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

it("fish offers the names of neighbours", async () => {
  const { file, options } = await shellWith("fish");
  for (const [line, offered] of OFFERS) {
    const ask = `source ${file}; complete -C '${line}'`;
    const text = execFileSync("fish", ["-c", ask], { ...options, encoding: "utf8" });
    const words = text.split("\n").map((one) => one.split("\t")[0] ?? "");
    const names = words.filter((word) => /^(old|other-1|third|\[local\])$/.test(word));
    expect([line, names.sort()]).toEqual([line, [...offered].sort()]);
  }
});

it("zsh offers the names of neighbours", async () => {
  const { file, options } = await shellWith("zsh");
  for (const [line, offered] of OFFERS) {
    const words = line.split(" ");
    const quoted = words.map((word) => `'${word}'`).join(" ");
    // As bashcompinit calls a function of bash.
    const ask = `autoload -U compinit; compinit -u; source ${file}
      setopt ksharrays shwordsplit; COMP_WORDS=(${quoted}); COMP_CWORD=${words.length - 1}
      _kxgw; print -l -- "\${COMPREPLY[@]}"`;
    const text = execFileSync("zsh", ["-f", "-c", ask], { ...options, encoding: "utf8" });
    // zsh itself drops what does not begin as it was typed.
    const typed = words.at(-1) ?? "";
    const names = text.split("\n").filter((name) => name !== "" && name.startsWith(typed));
    expect([line, names]).toEqual([line, offered]);
  }
});
