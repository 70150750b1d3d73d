/** The built program on a real terminal, made by script(1), which every Debian has. */
import { spawn } from "node:child_process";
import { stripVTControlCharacters } from "node:util";
import { onTestFinished } from "vitest";
import { PROGRAM } from "../e2e/stage.js";

export interface Size {
  readonly rows: number;
  readonly columns: number;
}

/**
 * Runs `kxgw` there. Each answer is typed when its pattern is on the screen after the last answer.
 * Resolves with the exit code, all that was written, and the answers that were not typed.
 */
export async function onTerminal(
  args: readonly string[],
  directory: string,
  answers: readonly (readonly [RegExp, string])[],
  { rows, columns }: Size = { rows: 24, columns: 100 },
) {
  const words = [process.execPath, PROGRAM, ...args].map((word) => `'${word}'`).join(" ");
  const line = `stty rows ${rows} cols ${columns}; exec ${words}`;
  const child = spawn("script", ["-qec", line, "/dev/null"], {
    ...{ cwd: directory, env: { ...process.env, TERM: "xterm", SHELL: "/bin/sh" } },
  });
  onTestFinished(() => void child.kill());
  const left = [...answers];
  let raw = "";
  let screen = "";
  child.stdout.on("data", (bytes: Buffer) => {
    raw += bytes.toString();
    screen += stripVTControlCharacters(bytes.toString());
    const [next] = left;
    if (next === undefined || !next[0].test(screen)) return;
    left.shift();
    screen = "";
    child.stdin.write(next[1]);
  });
  const code = await new Promise((resolve) => child.once("close", resolve));
  return { code, raw, left };
}
