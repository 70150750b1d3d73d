/**
 * A page of docs/ as a test reads it: its blocks, and its `sh` blocks run in order in one shell,
 * each with the output that the `text` block behind it promises.
 */
import { spawn } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** What runs when somebody types kxgw. */
export const PROGRAM = join(ROOT, "dist/main.js");

export function page(name: string): string {
  return readFileSync(join(ROOT, "docs", name), "utf8");
}

/** The texts of all blocks of a kind. */
export function blocks(text: string, kind: string): string[] {
  const all = text.matchAll(new RegExp(`^\`\`\`${kind}\\n([\\s\\S]*?)^\`\`\`$`, "gm"));
  return [...all].map(([, block = ""]) => block);
}

export interface Step {
  readonly script: string;
  readonly wanted: readonly string[];
}

/** The `sh` blocks of a page, each with the lines of the `text` block that follows it. */
export function steps(text: string): Step[] {
  const all = [...text.matchAll(/^```(sh|text)\n([\s\S]*?)^```$/gm)];
  return all.flatMap(([, kind, script = ""], index) => {
    if (kind !== "sh") return [];
    const [, next, output = ""] = all[index + 1] ?? [];
    return [{ script, wanted: next === "text" ? output.trimEnd().split("\n") : [] }];
  });
}

/** Puts the built `kxgw` into the `bin` of a home directory. */
export function installIn(home: string): void {
  mkdirSync(join(home, "bin"));
  const command = join(home, "bin", "kxgw");
  writeFileSync(command, `#!/bin/sh\nexec "${process.execPath}" "${PROGRAM}" "$@"\n`);
  chmodSync(command, 0o755);
}

/**
 * Runs the steps in one bash that has `home` as its home, beginning in `cwd`, and holds what each
 * prints against what is wanted: line by line and in order, "..." standing for anything.
 */
export async function walk(
  all: readonly Step[],
  home: string,
  cwd: string,
  env: NodeJS.ProcessEnv = {},
): Promise<void> {
  const mark = (index: number) => `@@ step ${index}`;
  // Whatever fails, the gateway that a step left in the background ends with the shell.
  let script = "trap 'for pid in $(jobs -p); do kill $pid 2>/dev/null; done' EXIT\n";
  for (const [index, step] of all.entries()) script += `echo "${mark(index)}"\n${step.script}`;
  const { text, code } = await bash(script, home, cwd, env);
  expect(code, text).toBe(0);
  for (const [index, { wanted }] of all.entries()) {
    const [, after = ""] = text.split(`${mark(index)}\n`);
    const [output = ""] = after.split("@@ step ");
    let rest = output;
    for (const line of wanted) {
      const quoted = line.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replaceAll("\\.\\.\\.", ".*");
      const found = new RegExp(`^${quoted}$`, "m").exec(rest);
      expect(found, `step ${index} does not print ${line} after:\n${output}`).not.toBeNull();
      rest = rest.slice((found?.index ?? 0) + (found?.[0].length ?? 0));
    }
  }
}

/** Runs a script in bash; resolves with all that it and its children wrote, and its exit code. */
async function bash(script: string, home: string, cwd: string, more: NodeJS.ProcessEnv) {
  const path = `${join(home, "bin")}:${process.env.PATH}`;
  const env = { ...process.env, ...more, HOME: home, PATH: path };
  const child = spawn("bash", ["-euo", "pipefail", "-c", script], { cwd, env });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (bytes: Buffer) => {
      text += bytes.toString();
    });
  }
  const code = await new Promise<number>((resolve) => {
    child.once("close", (status) => resolve(status ?? -1));
  });
  return { text, code };
}
