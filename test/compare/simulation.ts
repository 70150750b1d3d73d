/**
 * The traces of simulated worlds, one line a seed: a hash of everything that `npm run simulate --
 * --seed N --trace` prints, the world's own hash, which covers every byte on a stream, and its
 * exit code. What a seed does is seen with the same command.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { RecordOptions } from "./record.js";

/** Worlds at the same time. */
const WORKERS = 2;
const TOLD_EVERY = 100;

export async function traces(checkout: string, options: RecordOptions): Promise<string[]> {
  const { seeds, from, isSmall, say } = options;
  const world = await simulator(checkout);
  const lines: string[] = [];
  let next = 0;
  const work = async () => {
    for (let index = next++; index < seeds; index = next++) {
      const seed = from + index;
      const args = ["--seed", `${seed}`, "--trace", ...(isSmall ? ["--small"] : [])];
      const { code, stdout, stderr } = await run(checkout, [...world, ...args]);
      const text = createHash("sha256").update(stdout).digest("hex").slice(0, 32);
      const own = /^\d+ events .* trace [0-9a-f]+$/m.exec(stderr)?.[0] ?? stderr.trim();
      lines[index] = `seed ${seed}: exit ${code}, ${text}, ${own}`;
      if ((index + 1) % TOLD_EVERY === 0) say(`simulation: ${index + 1} of ${seeds}`);
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, work));
  return lines;
}

/**
 * Arguments of node that run the simulator of a checkout, which is built first: the script
 * `simulate` is commands joined by `&&`, of which the last one is `node FILE`.
 */
async function simulator(checkout: string): Promise<string[]> {
  const manifest = JSON.parse(readFileSync(join(checkout, "package.json"), "utf8"));
  const script = String(manifest.scripts.simulate ?? "");
  const [, build = "", command = ""] = /^(.*) && node (\S+)$/.exec(script) ?? [];
  if (command === "") throw new Error(`the script "simulate" is not "... && node FILE": ${script}`);
  const path = `${join(checkout, "node_modules/.bin")}:${process.env.PATH}`;
  const { code, stdout, stderr } = await run(checkout, ["-c", build], "sh", path);
  if (code !== 0) throw new Error(`${build}: exit ${code}\n${stdout}${stderr}`);
  return [command];
}

function run(
  checkout: string,
  args: readonly string[],
  program = process.execPath,
  path = process.env.PATH,
): Promise<{ code: number; stdout: string; stderr: string }> {
  const options = {
    ...{ cwd: checkout, env: { ...process.env, PATH: path } },
    maxBuffer: 256 * 1024 * 1024,
  };
  return new Promise((resolve, reject) => {
    execFile(program, args, options, (error, stdout, stderr) => {
      if (error !== null && typeof error.code !== "number") reject(error);
      else resolve({ code: Number(error?.code ?? 0), stdout, stderr });
    });
  });
}
