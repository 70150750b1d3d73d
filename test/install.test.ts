/**
 * docs/install.md, run: every `sh` block in order, in one shell, exactly as it stands, but for the
 * ports, which are exchanged for free ones. Each `text` block behind it has to come out, line by
 * line and in order, "..." standing for anything.
 */
import { spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it, onTestFinished } from "vitest";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const PAGE = readFileSync(join(ROOT, "docs/install.md"), "utf8");
const PORTS = ["2525", "9627", "11373"];

interface Step {
  readonly script: string;
  readonly wanted: readonly string[];
}

/** The blocks of the page, each script with the output that follows it. */
function steps(): Step[] {
  const blocks = [...PAGE.matchAll(/^```(sh|text)\n([\s\S]*?)^```$/gm)];
  return blocks.flatMap(([, kind, script = ""], index) => {
    if (kind !== "sh") return [];
    const [, next, output = ""] = blocks[index + 1] ?? [];
    return [{ script, wanted: next === "text" ? output.trimEnd().split("\n") : [] }];
  });
}

async function freePort(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return String(port);
}

/** Runs a script in bash; resolves with all that it and its children wrote, and its exit code. */
async function bash(script: string, home: string) {
  const env = { ...process.env, HOME: home, PATH: `${join(home, "bin")}:${process.env.PATH}` };
  const child = spawn("bash", ["-euo", "pipefail", "-c", script], { cwd: ROOT, env });
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

it("docs/install.md works as it is written", { timeout: 60_000 }, async () => {
  const home = mkdtempSync(join(tmpdir(), "kxgw-install-"));
  onTestFinished(() => rmSync(home, { recursive: true, force: true }));
  mkdirSync(join(home, "bin"));
  const command = join(home, "bin", "kxgw");
  writeFileSync(command, `#!/bin/sh\nexec "${process.execPath}" "${ROOT}dist/main.js" "$@"\n`);
  chmodSync(command, 0o755);

  const all = steps();
  expect(all.length).toBeGreaterThanOrEqual(6);
  const mark = (index: number) => `@@ step ${index}`;
  // Whatever fails, the gateway that a step left in the background ends with the shell.
  let script = "trap 'jobs -p | xargs -r kill 2>/dev/null' EXIT\n";
  for (const [index, step] of all.entries()) script += `echo "${mark(index)}"\n${step.script}`;
  for (const documented of PORTS) {
    expect(PAGE, documented).toContain(documented === "11373" ? "kxgw init" : documented);
    const free = await freePort();
    script = script.replaceAll(`127.0.0.1:${documented}`, `127.0.0.1:${free}`);
    const flag = { "2525": "--smtp", "9627": "--admin", "11373": "--kx" }[documented];
    script = script.replace("kxgw init ", `kxgw init ${flag} 127.0.0.1:${free} `);
  }
  const { text, code } = await bash(script, home);
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
});
