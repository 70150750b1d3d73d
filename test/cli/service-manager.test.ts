/** What systemd is told of a migration: before it blocks the process, with enough time for it. */
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ServiceManager } from "../../src/cli/service-manager.js";
import { scratch } from "../support/scratch.js";

/** A `systemd-notify` that writes its arguments to a file, or fails. */
function notifier(body: string) {
  const directory = scratch();
  const program = join(directory, "systemd-notify");
  writeFileSync(program, `#!/bin/sh\n${body}\n`);
  chmodSync(program, 0o755);
  const reports: unknown[] = [];
  const diagnostics = { report: (name: string, fields: object) => reports.push([name, fields]) };
  const env = { PATH: `${directory}:${process.env.PATH}`, SAID: join(directory, "said") };
  return { diagnostics, env, reports, said: env.SAID };
}

test("a migration extends the start by its size, before the call returns", () => {
  const { diagnostics, env, reports, said } = notifier('printf "%s\\n" "$@" > "$SAID"');
  new ServiceManager({ diagnostics }, env).migrating("migrating 890.0 MB", 890e6);
  expect(existsSync(said)).toBe(false);
  const manager = new ServiceManager({ diagnostics }, { ...env, NOTIFY_SOCKET: "/x" });
  manager.migrating("migrating 890.0 MB", 890e6);
  const lines = readFileSync(said, "utf8").trim().split("\n");
  expect(lines).toEqual(["STATUS=migrating 890.0 MB", "EXTEND_TIMEOUT_USEC=1070000000"]);
  expect(reports).toEqual([]);
});

test("a message that cannot be sent is reported and stops nothing", () => {
  const { diagnostics, env, reports } = notifier("echo no socket >&2; exit 1");
  const manager = new ServiceManager({ diagnostics }, { ...env, NOTIFY_SOCKET: "/x" });
  manager.migrating("migrating", 1);
  manager.migrating("migrating", 1);
  expect(reports).toEqual([["notify-failed", { problem: "no socket" }]]);
});
