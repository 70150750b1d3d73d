/** A program that cannot even be started, in a process of its own (of dist/) that has no room. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const MODULE = new URL("../../dist/delivery/local-program.js", import.meta.url).href;

const SCRIPT = `
import { openSync } from "node:fs";
import { Program } from ${JSON.stringify(MODULE)};
const program = new Program();
const before = await program.run(["true"], Buffer.from("x"));
try { for (;;) openSync("/dev/null"); } catch {}
console.log(JSON.stringify([before, await program.run(["true"], Buffer.from("x"))]));
`;

test("no file descriptor left for its pipes: tried again later, and nobody falls over", () => {
  const command = 'ulimit -n 80 && exec "$0" --input-type=module --eval "$1"';
  const ended = spawnSync("/bin/sh", ["-c", command, process.execPath, SCRIPT], {
    cwd: fileURLToPath(new URL("../..", import.meta.url)),
    encoding: "utf8",
    timeout: 20_000,
  });
  expect(ended.stderr).toBe("");
  expect(JSON.parse(ended.stdout)).toEqual([
    { kind: "delivered", how: "exited", reply: "" },
    { kind: "temporary", about: "neighbour", words: expect.stringContaining("EMFILE") },
  ]);
});
