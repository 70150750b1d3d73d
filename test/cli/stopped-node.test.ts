/**
 * Commands at a stopped gateway of a site that has several: the file is a copy of the log in a
 * database, so that no order is written into it.
 */
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { importCommand } from "../../src/cli/import.js";
import { peersCommand } from "../../src/cli/peers.js";
import { queueCommand } from "../../src/cli/queue.js";
import { removalCommand } from "../../src/cli/removal.js";
import { HEAD } from "../admin/gateway.js";
import { arrival } from "../log/material.js";
import { loadedCopy } from "../support/copies.js";
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
