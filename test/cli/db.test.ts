/** `kxgw db`: what is printed and which exit code it comes with. */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { dbBackupCommand, dbCheckCommand } from "../../src/cli/db.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { arrival } from "../log/material.js";
import { scratch } from "../support/scratch.js";

function stage() {
  const directory = scratch();
  const config = join(directory, "kxgw.toml");
  const path = join(directory, "updates.db");
  writeFileSync(config, '[site]\naddress = "pks@kx.example.org"\n[log]\npath = "updates.db"\n');
  const log = UpdateLog.open(path);
  log.append(Array.from({ length: 100 }, (_, n) => arrival(n)));
  const said = { out: "", err: "" };
  const output = {
    stdout: (text: string) => {
      said.out += text;
    },
    stderr: (text: string) => {
      said.err += text;
    },
  };
  return { config, path, log, said, output, target: join(directory, "copy.db") };
}

test("check finds a log sound beside its gateway, and damage in a file", () => {
  const { config, path, log, said, output } = stage();
  expect(dbCheckCommand(config, output, {})).toBe(0);
  expect(said.out).toBe(
    `${path}: ok\n  newest    100\n  entries   100\n  bodies    100 (0.0 MiB)\n`,
  );
  log.close();
  const bytes = readFileSync(path);
  writeFileSync(path, bytes.fill(0xa5, bytes.length - 4096));
  expect(dbCheckCommand(config, output, {})).toBe(74);
  expect(said.err).toMatch(/kxgw: .*: the update log is damaged\n +Stop the gateway, .*backup/);
});

test("backup makes a copy, and then refuses to replace it without --force", async () => {
  const { config, log, said, output, target } = stage();
  const backup = (force: boolean, progress = false) =>
    dbBackupCommand(config, target, { force, progress }, output, {});
  expect(await backup(false)).toBe(0);
  expect(said).toEqual({ out: expect.stringContaining(`${target}: ok\n`), err: "" });
  expect(await backup(false)).toBe(74);
  expect(said.err).toMatch(/exists already\n +Give the copy another name, or use --force/);
  expect(await backup(true, true)).toBe(0);
  expect(said.err).toMatch(/\r\d+ % of /);
  log.close();
});

test("a log that is not there, or a config that is none", async () => {
  const { config, path, log, said, output, target } = stage();
  log.close();
  rmSync(path);
  expect(dbCheckCommand(config, output, {})).toBe(74);
  expect(said.err).toMatch(/does not exist\n.*Start the gateway once/);
  writeFileSync(config, "x");
  expect(dbCheckCommand(config, output, {})).toBe(78);
  expect(await dbBackupCommand(config, target, { force: true, progress: false }, output, {})).toBe(
    78,
  );
  expect(existsSync(target)).toBe(false);
});
