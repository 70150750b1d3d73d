/** All lanes together: which neighbours have one, that none delays another, and a bounded end. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import { admit } from "../../src/admit.js";
import { systemClock } from "../../src/clock.js";
import { parseConfig } from "../../src/config/load.js";
import { MailDoor } from "../../src/delivery/mail-door.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { encodeArmor, readArmor } from "../../src/openpgp/armor.js";
import { packetKey, readPackets } from "../../src/openpgp/packet.js";
import { Recorder } from "../ingress/door.js";
import { bytes, keyArmor, keyNames, mail } from "../mail/fixtures.js";
import { claim } from "../openpgp/material.js";
import { Signer } from "../openpgp/signer.js";
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

describe("a revocation of a key of which no user id is known", () => {
  const [revocation] = admit([mail("onak-revocation-2-no-user-id")]).updates;

  async function send(kind: string) {
    const line = kind === "" ? "" : `kind = "${kind}"\n`;
    const { relay, door, log, diagnostics } = await open(site("old") + line);
    if (revocation === undefined) throw new Error("no update");
    const origin = { neighbour: undefined, transport: "kx" } as const;
    log.append([{ update: revocation, origin, trail: [], receivedAt: Date.now() }]);
    for (let i = 0; i < 1500 && (door.status()[0]?.backlog ?? 0) > 0; i += 1) await sleep(10);
    const undelivered = diagnostics.all("undelivered").map(({ words }) => words);
    const hashes = relay.taken.flatMap(({ raw }) => admit([bytes(raw)]).updates);
    return {
      sent: diagnostics.all("sent").length,
      undelivered,
      hashes: hashes.map(({ hash }) => hash),
    };
  }

  test.each(["sks", "gateway"])("is sent to one that needs none: %s", async (kind) => {
    expect(await send(kind)).toEqual({ sent: 1, undelivered: [], hashes: [revocation?.hash] });
  });

  test.each(["pksd", "onak", "hockeypuck"])(
    "is not sent to one that needs one: %s",
    async (kind) => {
      const words = `not sent: no user id of this key is known, and a ${kind} needs one`;
      expect(await send(kind)).toEqual({ sent: 0, undelivered: [words], hashes: [] });
    },
  );

  test("is sent where the kind is not known, and does not count as delivered", async () => {
    const words = "sent without a user id, since none of this key is known; pksd and onak need one";
    expect(await send("")).toEqual({
      sent: 0,
      undelivered: [words],
      hashes: [revocation?.hash],
    });
  });
});

test("a gateway gets the bare update, a pksd what it would delete otherwise", async () => {
  const kinds = ["gateway", "sks", "onak", "pksd", "hockeypuck"];
  const peers = kinds.map((kind) => `${site(kind)}kind = "${kind}"\n`).join("");
  const { relay, log, diagnostics } = await open(peers + site("unknown"));
  const ann = new Signer(1);
  const [name, subkey] = [ann.userId("Ann"), ann.subkey(1)];
  const at = 1_700_000_000;
  const [own, binding] = [ann.over(name, { at }), ann.over(subkey, { at })];
  const theirs = claim(0x10, at + 1, "2".repeat(16));
  const [whole, news] = [ann.key(name, own, subkey, binding), ann.key(name, theirs)].map(
    (packets) => admit([bytes(encodeArmor(packets))]).updates[0],
  );
  if (whole === undefined || news === undefined) throw new Error("no update");
  const origin = { neighbour: undefined, transport: "kx" } as const;
  const sites = [...kinds, "unknown"].map((kind) => `pgp@${kind}.example`);
  log.append([{ update: whole, origin, trail: sites, receivedAt: Date.now() }]);
  log.append([{ update: news, origin, trail: [], receivedAt: Date.now() }]);
  const all = sites.length;
  for (let i = 0; i < 1500 && diagnostics.all("sent").length < all; i += 1) await sleep(10);
  const names = new Map(
    Object.entries({ primary: ann.primary, name, own, subkey, binding, theirs }).map(
      ([word, packet]) => [packetKey(packet), word],
    ),
  );
  const held = relay.taken.map(({ to, raw }) => {
    const [block] = readArmor(bytes(raw));
    if (block === undefined || block instanceof Error) throw new Error("no armor");
    const words = readPackets(block.data).map((packet) => names.get(packetKey(packet)) ?? "?");
    return [to.join(), words.sort().join(" ")];
  });
  expect(Object.fromEntries(held)).toEqual({
    "pgp@gateway.example": "name primary theirs",
    "pgp@sks.example": "name primary theirs",
    "pgp@onak.example": "name primary theirs",
    "pgp@pksd.example": "binding name primary subkey theirs",
    "pgp@hockeypuck.example": "name own primary theirs",
    "pgp@unknown.example": "binding name own primary subkey theirs",
  });
});
