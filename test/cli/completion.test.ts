/** Completion offers the neighbours of the config, in bash; zsh and fish: completion.system.ts. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { kxgw } from "../e2e/stage.js";
import { scratch } from "../support/scratch.js";
import { OFFERS, shellWith } from "./completion.js";

it("bash offers the names of neighbours, without a gateway and without a word", async () => {
  const { file, options } = await shellWith("bash");
  for (const [line, offered] of OFFERS) {
    const words = line.split(" ");
    const quoted = words.map((word) => `'${word}'`).join(" ");
    const ask = `source ${file}; COMP_WORDS=(${quoted}); COMP_CWORD=${words.length - 1}
      _kxgw; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const text = execFileSync("bash", ["-c", `${ask} 2>&1`], { ...options, encoding: "utf8" });
    expect([line, text.split("\n").filter(Boolean)]).toEqual([line, offered]);
  }
  expect(existsSync(join(options.cwd, "made"))).toBe(false);
});

it("names come from a config only, and no config is no error", async () => {
  const directory = scratch();
  for (const args of [[], ["-c", "nowhere"], ["-c", "."]]) {
    const run = await kxgw(["completion", "neighbours", ...args], { directory });
    expect(run).toEqual({ code: 0, stdout: "", stderr: "" });
  }
});
