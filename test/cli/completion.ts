/** A shell with the built program on its path, its completion script, and a config beside it. */
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { kxgw, PROGRAM } from "../e2e/stage.js";
import { scratch } from "../support/scratch.js";

/** A config with a fault, which has names all the same; the last one is none. */
export const CONFIG = `[[peer]]
name = "old"
[[peer]]
name = "other-1"
[[peer]]
name = "$(touch made)"
[local]
type = "nonsense"
`;

export async function shellWith(shell: string) {
  const directory = scratch();
  const { stdout } = await kxgw(["completion", shell]);
  const file = join(directory, `kxgw.${shell}`);
  writeFileSync(file, stdout);
  mkdirSync(join(directory, "bin"));
  const program = join(directory, "bin/kxgw");
  writeFileSync(program, `#!/bin/sh\nexec "${process.execPath}" "${PROGRAM}" "$@"\n`);
  chmodSync(program, 0o755);
  writeFileSync(join(directory, "kxgw.toml"), CONFIG);
  writeFileSync(join(directory, "elsewhere"), '[[peer]]\nname = "third"\n');
  // A file that the pattern [local] matches. The compgen of zsh expands it whatever is set.
  if (shell !== "zsh") writeFileSync(join(directory, "l"), "");
  const path = `${join(directory, "bin")}:${process.env.PATH}`;
  return {
    file,
    options: { cwd: directory, env: { ...process.env, HOME: directory, PATH: path } },
  };
}

/** What is typed, and what is offered. */
export const OFFERS: readonly (readonly [line: string, offered: readonly string[]])[] = [
  ["kxgw peers show ", ["old", "other-1", "[local]"]],
  ["kxgw peers test ot", ["other-1"]],
  ["kxgw queue ls ", ["old", "other-1", "[local]"]],
  ["kxgw queue retry o", ["old", "other-1"]],
  ["kxgw backfill ol", ["old"]],
  ["kxgw backfill -c elsewhere ", ["third"]],
  ["kxgw queue ls -c nowhere ", []],
];
