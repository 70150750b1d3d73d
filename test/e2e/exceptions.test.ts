/**
 * A site that does not take everything, before a gateway in a process of its own: refusals in a
 * row, a mail that always fails, claims of others, a block, a skip, a forgetting and a new name.
 */

import { writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import { admit } from "../../src/admit.js";
import { encodeArmor } from "../../src/openpgp/armor.js";
import { type Packet, packetKey, readPackets, TAG } from "../../src/openpgp/packet.js";
import { Relay } from "../delivery/relay.js";
import { Signer } from "../openpgp/signer.js";
import { SmtpClient } from "../support/smtp-client.js";
import { until } from "../support/until.js";
import { type Made, made, mailOf, OLD, SITE } from "./material.js";
import { base, configFile, kxgw, start } from "./stage.js";

const FAR = "pgp-public-keys@far.example.net";

/** Whether a mail holds an update, alone or with others. */
function isHeld({ hash }: Made, raw: string): boolean {
  if (raw.includes(`<${hash}.`)) return true;
  return admit([Buffer.from(raw, "latin1")]).updates.some((update) => update.hash === hash);
}

/** With the default schedule, which begins with minutes. */
const config = (relay: Relay, name = "far") => `${base(SITE)}[outbound]
relay = "${relay.url}"
[[peer]]
name = "${name}"
mail = "${FAR}"
[[peer]]
name = "old"
mail = "${OLD}"
via = "mail"
accept_from = ["127.0.0.1"]
`;

it("what a site does not take stops nothing, and comes when it can", {
  timeout: 90_000,
}, async () => {
  const relay = await Relay.start();
  const file = configFile(config(relay));
  const keys = Array.from({ length: 16 }, (_, n) => made("exception", n + 1));
  const [stuck, blocked, skipped, gone] = keys.slice(11) as [Made, Made, Made, Made];
  const bad = keys.slice(0, 10);
  const holds = (one: Made) => isHeld(one, relay.seen.at(-1)?.raw ?? "");
  const taken = () => relay.taken.filter(({ to }) => to.includes(FAR));
  const isTaken = (one: Made) => taken().some(({ raw }) => isHeld(one, raw));
  relay.answer = (phase) => {
    if (phase !== "dot") return undefined;
    if (bad.some(holds)) return "554 5.6.0 Bad key";
    return holds(stuck) ? "451 4.3.0 Scan failed" : undefined;
  };
  let gateway = await start(file);
  const neighbour = await SmtpClient.connect(gateway.port("smtp"));
  const give = async (one: Made, trail = "") => {
    const mail = mailOf(one.armor).replace(/^Subject:/m, `${trail}Subject:`);
    expect(await neighbour.deliver(mail, { from: OLD, to: SITE })).toMatchObject({ code: 250 });
  };
  const order = async (...words: string[]) => await kxgw([...words, "-c", file]);
  const listed = async () => {
    const { stdout } = await kxgw(["queue", "ls", "-c", file, "--json"]);
    const lines = stdout.trim().split("\n").filter(Boolean);
    return lines.map((line) => JSON.parse(line) as { seq: number; state: string; reason: string });
  };

  // Ten refusals in a row, then a good one.
  const begin = performance.now();
  for (const one of keys.slice(0, 11)) await give(one);
  await relay.until(() => taken().length === 1);
  expect(isTaken(keys[10] as Made)).toBe(true);
  expect(performance.now() - begin).toBeLessThan(30_000);
  expect((await listed()).map(({ state }) => state)).toEqual(Array(10).fill("refused"));

  // A mail that always gets 451, and others of which one is blocked on its way.
  await order("block", blocked.fingerprint, "--reason", "asked");
  await give(stuck);
  expect((await order("peers", "pause", "far")).code).toBe(0);
  expect((await order("unblock", blocked.fingerprint, "--reason", "again")).code).toBe(0);
  await give(blocked);
  await order("block", blocked.fingerprint, "--reason", "asked");
  for (const one of [skipped, gone]) await give(one);
  expect((await order("forget", gone.fingerprint, "--reason", "asked")).code).toBe(0);
  expect((await order("peers", "resume", "far")).code).toBe(0);
  await relay.until(() => isTaken(skipped));
  await until(
    async () => (await listed()).length === 12,
    () => "ten refused, one set aside, one withheld",
  );
  const states = (await listed()).map(({ seq, state, reason }) => [seq, state, reason]);
  expect(states.slice(0, 1)).toEqual([[12, "waiting", "failed"]]);
  expect(states.slice(-1)).toEqual([[13, "withheld", "blocked"]]);
  expect(isTaken(gone)).toBe(false);

  // The block ends: it is sent without anybody sending it again.
  await order("unblock", blocked.fingerprint, "--reason", "settled");
  await relay.until(() => isTaken(blocked));

  // The operator gives one up, and thinks better of it.
  expect((await order("queue", "skip", "far", "12")).code).toBe(0);
  expect((await listed()).at(-1)).toMatchObject({ seq: 12, state: "withheld", reason: "skipped" });
  relay.answer = () => undefined;
  neighbour.close();
  expect(await gateway.end()).toBe(0);
  expect((await order("queue", "retry", "far", "all")).stdout).toMatch(/^far is sent 11 updates/);

  // Under another name the site gets what it did not take under the old one.
  writeFileSync(file, config(relay, "Far-Site"));
  gateway = await start(file);
  expect(await gateway.event("lane-renamed")).toMatchObject({
    neighbour: "Far-Site",
    former: "far",
  });
  await relay.until(() => [...bad, stuck].every(isTaken));
  expect(await listed()).toEqual([]);
  expect(isTaken(gone)).toBe(false);
  expect(await gateway.end()).toBe(0);
});

it("a site that is down gets what others claim that it has", async () => {
  const relay = await Relay.start();
  const file = configFile(config(relay).replace("[outbound]", '[outbound]\nretry = "1s"'));
  let isDown = true;
  relay.answer = (phase) => (phase === "greeting" && isDown ? "421 4.3.2 Down" : undefined);
  const gateway = await start(file);
  const neighbour = await SmtpClient.connect(gateway.port("smtp"));
  const claim = `X-KeyServer-Sent: ${FAR}\n`;
  const padded = Array.from({ length: 300 }, (_, n) => `X-KeyServer-Sent: pgp@a${n}.example\n`);
  const give = async (one: Made, trail: string) => {
    const mail = mailOf(one.armor).replace(/^Subject:/m, `${trail}Subject:`);
    expect(await neighbour.deliver(mail, { from: OLD, to: SITE })).toMatchObject({ code: 250 });
  };
  const [first, second, third] = [made("down", 1), made("down", 2), made("down", 3)];
  await give(first, "");
  await gateway.event("stalled");
  await give(first, claim);
  await give(second, claim);
  await give(third, padded.join(""));
  isDown = false;
  await relay.until(() => relay.taken.length > 0 && [first, second, third].every(isIn));
  function isIn(one: Made): boolean {
    return relay.taken.some(({ raw }) => isHeld(one, raw));
  }
  expect(gateway.events.filter(({ event }) => event === "suppressed")).toEqual([]);
  expect(await gateway.end()).toBe(0);
});

it("a revocation of a key that nobody knew goes again when a user id of it comes", async () => {
  const relay = await Relay.start();
  const gateway = await start(configFile(config(relay)));
  const neighbour = await SmtpClient.connect(gateway.port("smtp"));
  const owner = new Signer(77);
  const at = Math.floor(Date.now() / 1000) - 60;
  const name = owner.userId("Ann <ann@made.example>");
  const give = async (...packets: Packet[]) => {
    const mail = mailOf(Buffer.from(encodeArmor(owner.key(...packets))).toString("latin1"));
    expect(await neighbour.deliver(mail, { from: OLD, to: SITE })).toMatchObject({ code: 250 });
  };
  const revocation = owner.over(owner.primary, { at, type: 0x20 });
  await give(revocation);
  await gateway.event("undelivered");
  const isNamed = (raw: string) => {
    const [update] = admit([Buffer.from(raw, "latin1")]).updates;
    const tags = update === undefined ? [] : readPackets(update.body).map(({ tag }) => tag);
    return tags.includes(TAG.userId);
  };
  expect(relay.taken.map(({ raw }) => isNamed(raw))).toEqual([false]);
  await give(name, owner.over(name, { at: at - 1000 }));
  await relay.until(() => relay.taken.length === 3);
  expect(relay.taken.map(({ raw }) => isNamed(raw))).toEqual([false, true, true]);
  // What waited goes before what is new.
  const held = relay.taken.map(({ raw }) => {
    const [update] = admit([Buffer.from(raw, "latin1")]).updates;
    return update === undefined ? [] : readPackets(update.body).map(packetKey);
  });
  expect(held[1]).toContain(packetKey(revocation));
  expect(held[2]).not.toContain(packetKey(revocation));
  neighbour.close();
  expect(await gateway.end()).toBe(0);
});
