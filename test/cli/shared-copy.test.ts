/**
 * Commands at a gateway of a site that has several: the file is a copy of the log in a database.
 * No order is written into it while the gateway is stopped, and when it is damaged or deleted, it
 * is loaded from the database again.
 */
import {
  copyFileSync,
  existsSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { expect, it } from "vitest";
import { dbBackupCommand, dbCheckCommand } from "../../src/cli/db.js";
import { importCommand } from "../../src/cli/import.js";
import { logCommand } from "../../src/cli/log.js";
import { peersCommand } from "../../src/cli/peers.js";
import { queueCommand } from "../../src/cli/queue.js";
import { removalCommand } from "../../src/cli/removal.js";
import { statusCommand } from "../../src/cli/status.js";
import { Connection } from "../../src/log/connection.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { HEAD } from "../admin/gateway.js";
import { arrival, troubleOf } from "../log/material.js";
import { loadedCopy, openCopy } from "../support/copies.js";
import { MemoryShared } from "../support/memory-shared.js";
import { scratch } from "../support/scratch.js";
import { type Captured, captured } from "./captured.js";

const SHARED = '[log]\nshared = "postgres://kxgw@127.0.0.1:1/kxgw"\nnode = "one"\n';
const FAR = '[[peer]]\nname = "far"\nmail = "pgp-public-keys@far.example.net"\n';
const FPR = "4D64FEC119C2029067D6E791F8D2585B8783D481";

/** A node with three updates in its copy; it is stopped. */
function stoppedNode() {
  const directory = scratch();
  const path = join(directory, "updates.db");
  const file = join(directory, "kxgw.toml");
  writeFileSync(file, HEAD.replace("[log]\n", SHARED) + FAR);
  const { log } = loadedCopy(new MemoryShared().session(), path);
  log.append([arrival(1), arrival(2), arrival(3)]);
  log.close();
  const say = async (command: (out: Captured) => Promise<number>) => {
    const out = captured();
    return { code: await command(out), said: out.errors + out.text };
  };
  return { path, file, say };
}

const FORGET = { json: false, reason: "asked", until: undefined, allowRevocation: false };

it("orders name the cause and the running gateways, and change nothing", async () => {
  const { path, file, say } = stoppedNode();
  const given = { file, json: false };
  const queue = (verb: "retry" | "skip", ...names: string[]) =>
    say((out) => queueCommand(verb, ["far", ...names], given, out, {}));
  const removal = (verb: "block" | "unblock" | "forget") =>
    say((out) => removalCommand(verb, [FPR], { file, ...FORGET }, out, {}));
  const refused = {
    code: 69,
    said:
      `kxgw: the gateway is not running, and ${path} is a copy: log.shared is set\n` +
      "      Start the gateway and give the order again, or give it at another gateway of the " +
      "site.\n",
  };
  const orders = () => [
    ...[queue("retry", "all"), queue("retry", "1"), queue("retry"), queue("skip", "1")],
    ...[removal("block"), removal("unblock"), removal("forget")],
    say((out) => peersCommand("pause", "far", given, out, {})),
  ];
  for (const order of orders()) expect(await order).toEqual(refused);
  // What only reads works.
  expect(await say((out) => queueCommand("ls", [], given, out, {}))).toMatchObject({ code: 0 });
  // Without a copy no order makes a log of its own, which the next start would refuse.
  rmSync(path);
  for (const order of orders()) expect(await order).toEqual(refused);
  expect(existsSync(path)).toBe(false);
});

it("an import is refused, with what can be done instead", async () => {
  const { path, file, say } = stoppedNode();
  const options = { json: false, progress: false };
  const { code, said } = await say((out) => importCommand(file, [file], options, out, {}));
  expect(code).toBe(78);
  expect(said).toContain(`${path}: is a copy and takes no import: log.shared is set\n`);
  expect(said).not.toContain("--to-local");
});

/** What is said of a copy that cannot be used. */
const reload = (path: string) =>
  `Stop the gateway, delete ${path}, ${path}-wal and ${path}-shm, and start it: it loads a new ` +
  "copy from the database.";

it("a damaged copy is to be loaded again, at the start and by the commands", async () => {
  const { path, file, say } = stoppedNode();
  const bytes = readFileSync(path);
  // The first page, which has the schema, but not its header.
  writeFileSync(path, bytes.fill(0xa5, 100, 4096));
  const target = `${path}-backup`;
  const backup = { force: false, progress: false };
  const commands = [
    say(async (out) => dbCheckCommand(file, out, {})),
    say((out) => dbBackupCommand(file, target, backup, out, {})),
    say((out) => statusCommand(file, { json: false }, out, {})),
    say((out) => logCommand(file, { json: false }, out, {})),
  ];
  for (const command of commands) {
    expect(await command).toEqual({ code: 74, said: expect.stringContaining(reload(path)) });
  }
  const shared = new MemoryShared().session();
  expect(troubleOf(() => UpdateLog.open(path, { shared })).remedy).toContain(reload(path));
});

it("so is one whose damage is found while it is open", () => {
  const { path } = stoppedNode();
  const connection = Connection.open(path, { shared: new MemoryShared().session() });
  const told: string[] = [];
  connection.onDamage(({ remedy }) => told.push(remedy));
  const damage = () => {
    throw new Database.SqliteError("malformed", "SQLITE_CORRUPT");
  };
  expect(troubleOf(() => connection.read(damage)).kind).toBe("corrupt");
  expect(told).toEqual([`Check the disk (dmesg). ${reload(path)}`]);
  connection.close();
});

it("the damage that only a check finds is repaired likewise", async () => {
  const { path, file, say } = stoppedNode();
  const bytes = readFileSync(path);
  writeFileSync(path, bytes.fill(0xa5, bytes.length - 4096));
  const { code, said } = await say(async (out) => dbCheckCommand(file, out, {}));
  expect(code).toBe(74);
  expect(said).toContain(`kxgw: ${path}: the update log is damaged\n      Check the disk (dmesg)`);
  expect(said).toContain(reload(path));
});

it("so is a copy that was deleted, replaced or cut short while it is open", async () => {
  for (const harm of [rmSync, replace, (path: string) => truncateSync(path, 4096)]) {
    const { path, file, say } = stoppedNode();
    const { log } = openCopy(new MemoryShared().session(), path);
    log.checkpoint();
    log.assertInPlace();
    harm(path);
    expect(troubleOf(() => log.assertInPlace()).remedy).toBe(reload(path));
    if (!existsSync(path)) {
      const { code, said } = await say(async (out) => dbCheckCommand(file, out, {}));
      expect(code).toBe(74);
      expect(said).toMatch(/was deleted; the gateway still has the original open/);
      expect(said).toContain(reload(path));
    }
    log.close();
  }
});

it("without a copy the start makes one", async () => {
  const { path, file, say } = stoppedNode();
  rmSync(path);
  const { said } = await say(async (out) => dbCheckCommand(file, out, {}));
  expect(said).toMatch(/does not exist\n +Start the gateway once; it loads a copy from the datab/);
});

function replace(path: string): void {
  copyFileSync(path, `${path}-other`);
  renameSync(`${path}-other`, path);
}
