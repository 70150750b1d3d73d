/** All lanes together: which neighbours have one, that none delays another, and a bounded end. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { admit } from "../../src/admit.js";
import { systemClock } from "../../src/clock.js";
import { parseConfig } from "../../src/config/load.js";
import { MailDoor } from "../../src/delivery/mail-door.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { Recorder } from "../ingress/door.js";
import { bytes, keyArmor, keyNames } from "../mail/fixtures.js";
import { Relay } from "./relay.js";

const updates = admit(keyNames.map((name) => bytes(keyArmor(name)))).updates;
const site = (name: string) => `[[peer]]\nname = "${name}"\nmail = "pgp@${name}.example"\n`;

async function open(peers: string) {
  const path = mkdtempSync(join(tmpdir(), "kxgw-egress-"));
  const relay = await Relay.start();
  const text =
    `[site]\naddress = "pgp-public-keys@kx.example.org"\ncontact = "k@example.org"\n` +
    `[log]\npath = "updates.db"\n[kx]\nlisten = ["127.0.0.1:0"]\n` +
    `[outbound]\nrelay = "${relay.url}"\nretry = "1m"\n${peers}`;
  const config = parseConfig(text, "test.toml", path, {});
  if (config.outbound === undefined) throw new Error("no outbound section");
  const log = UpdateLog.open(config.log.path);
  const diagnostics = new Recorder();
  const { outbound } = config;
  const door = new MailDoor({ log, clock: systemClock, diagnostics }, { config, outbound });
  door.start();
  onTestFinished(async () => {
    await door.stop(0);
    log.close();
    rmSync(path, { recursive: true, force: true });
  });
  const add = (count: number) => {
    for (const [index, update] of updates.slice(0, count).entries()) {
      const origin = { neighbour: undefined, transport: "kx" } as const;
      // Of different trails, so that each is a mail of its own.
      const trail = [`site${index}@far.example`];
      log.append([{ update, origin, trail, receivedAt: Date.now() }]);
    }
  };
  const sent = async (count: number) => {
    for (let i = 0; i < 1500 && diagnostics.all("sent").length < count; i += 1) await sleep(10);
    expect(diagnostics.all("sent")).toHaveLength(count);
  };
  return { relay, door, log, diagnostics, add, sent };
}

test("a site has a lane, a KX peer has none", async () => {
  const peer = `[[peer]]\nname = "new"\nkx = "127.0.0.1:1"\nvia = "kx"\n`;
  const both = `${site("both")}kx = "127.0.0.2:1"\nvia = "kx"\n`;
  const { door } = await open(site("old") + peer + both);
  expect(door.status().map(({ name }) => name)).toEqual(["old"]);
});

test("a dead and a silent site delay no other", async () => {
  const names = Array.from({ length: 20 }, (_, n) => `site${n}x`);
  const { relay, door, add, sent } = await open(names.map(site).join(""));
  relay.answer = (phase, recipient) => {
    if (phase === "rcpt" && recipient.includes("site0x")) return "451 4.2.0 Dead";
    if (phase === "dot" && recipient.includes("site1x")) return "silence";
    return undefined;
  };
  add(5);
  await sent(18 * 5);
  const status = door.status();
  expect(status.map(({ backlog }) => backlog)).toEqual([5, 5, ...Array<number>(18).fill(0)]);
  expect(status.map(({ attempt }) => attempt)).toEqual([1, ...Array<number>(19).fill(0)]);
  // One connection a site, and no more.
  expect(relay.connections).toBe(20);
});

test("going down does not wait for a relay that says nothing, and forgets nothing", async () => {
  const { relay, door, log, diagnostics, add } = await open(site("old"));
  relay.answer = (phase) => (phase === "dot" ? "silence" : undefined);
  add(1);
  await relay.until(() => relay.seen.length === 1);
  await door.stop(100);
  expect(log.lanes.get("old")).toMatchObject({ cursor: 0, attempt: 0, nextAt: 0 });
  expect(diagnostics.all("sent")).toEqual([]);
});

test("going down waits for a mail that is nearly through", async () => {
  const { relay, door, log, add } = await open(site("old"));
  add(3);
  await relay.until(() => relay.seen.length === 1);
  await door.stop();
  const { cursor } = log.lanes.get("old") ?? { cursor: 0 };
  expect(cursor).toBe(relay.taken.length);
});
