/**
 * onak as a legacy site between two gateways: B mails it an update through an alias pipe, onak
 * stores it and forwards what was new to it to A, with the trail grown by B and itself, and nothing
 * to B. A passes it on to a third site, where the trail can be read, and nothing back.
 */
import { expect, test } from "vitest";
import { LegacySite } from "../../src/demo/site.js";
import { freePort } from "../support/ports.js";
import { until } from "../support/until.js";
import { debianKeys, firstVersion, packetCount } from "./keys.js";
import { note } from "./ledger.js";
import { Onak } from "./onak.js";
import { Postfix } from "./postfix.js";
import { eventCount, quiet, stagePerTest } from "./stage.js";

const A = "pgp-public-keys@a.kx.example.org";
const B = "pgp-public-keys@b.kx.example.org";
const ONAK = "pgp-public-keys@onak.example.net";
const OLD = "pgp-public-keys@old.example.net";
const WATCHER = "pgp-public-keys@watcher.example.net";

const stage = stagePerTest();

test("an update through onak: stored, the delta forwarded, the trail grown, no echo", async () => {
  const watcher = stage().add(new LegacySite(WATCHER));
  const [watcherPort, portA, portB] = [await watcher.start(), await freePort(), await freePort()];
  const sendmail = Postfix.sendmail(stage().path("postfix"));
  const onak = await Onak.setUp(stage().path("onak"), {
    ...{ address: ONAK, syncSites: [A, B], sendmail },
  });
  const relay = {
    "a.kx.example.org": `smtp:[127.0.0.1]:${portA}`,
    "b.kx.example.org": `smtp:[127.0.0.1]:${portB}`,
    "watcher.example.net": `smtp:[127.0.0.1]:${watcherPort}`,
  };
  const pipes = { [ONAK]: Onak.pipe(stage().path("onak")) };
  const postfix = stage().add(await Postfix.start(stage().path("postfix"), { relay, pipes }));
  const outbound = `[outbound]\nrelay = "smtp://127.0.0.1:${postfix.port}"\nretry = "1s"`;
  const a = await stage().gateway("a", [
    `[site]\naddress = "${A}"\n[smtp]\nlisten = ["127.0.0.1:${portA}"]\n${outbound}`,
    `bounce = "pgp-bounces@a.kx.example.org"`,
    `[[peer]]\nname = "onak"\nmail = "${ONAK}"\naccept_from = ["127.0.0.1"]`,
    `[[peer]]\nname = "watcher"\nmail = "${WATCHER}"`,
  ]);
  const b = await stage().gateway("b", [
    `[site]\naddress = "${B}"\n[smtp]\nlisten = ["127.0.0.1:${portB}"]\n${outbound}`,
    `bounce = "pgp-bounces@b.kx.example.org"`,
    // Else B would cut the second mail down to what onak makes of it, and onak's delta not show.
    `[policy]\nforward = "whole"`,
    `[[peer]]\nname = "onak"\nmail = "${ONAK}"\naccept_from = ["127.0.0.1"]`,
    // Has only its address, for the trail; nothing is new to it.
    `[[peer]]\nname = "old"\nmail = "${OLD}"\naccept_from = ["127.0.0.1"]`,
  ]);
  const keys = debianKeys(5, 40);
  const firsts = keys.map((key) => ({ ...key, armored: firstVersion(key) }));
  for (const { armored } of firsts) await stage().post(portB, { from: OLD, to: B, armored });
  await until(
    () => eventCount(a, "accepted") === 5,
    "A has the first versions, by way of onak",
    30_000,
  );
  for (const { armored } of keys) await stage().post(portB, { from: OLD, to: B, armored });
  await until(() => eventCount(a, "accepted") === 10, "A has the rest", 30_000);
  await until(() => watcher.received.length >= 10, "the watcher has all of it", 30_000);
  await quiet([a, b], () => postfix.deliveries().length);

  for (const { fingerprint, armored } of keys) {
    const stored = onak.get(fingerprint);
    expect(stored, fingerprint).toBeDefined();
    expect(packetCount(stored ?? "")).toBe(packetCount(armored));
  }
  const [logA, logB] = [stage().logged("a"), stage().logged("b")];
  expect(logB.map(({ origin }) => origin)).toEqual(Array(10).fill("old"));
  expect(logA.map(({ origin }) => origin)).toEqual(Array(10).fill("onak"));
  // The second mail of a key holds what was new to onak only, and its primary key.
  for (const { fingerprint } of keys) {
    const sizes = (log: typeof logA) =>
      log.filter((entry) => entry.fingerprint === fingerprint).map(({ size }) => size);
    const [[, delta = 0], [, whole = 0]] = [sizes(logA), sizes(logB)];
    expect(delta).toBeGreaterThan(0);
    expect(delta).toBeLessThan(whole);
  }
  for (const { trail } of watcher.received) {
    expect([...trail].sort()).toEqual([A, B, OLD, ONAK].sort());
  }
  const sent = postfix.deliveries().filter(({ status }) => status === "sent");
  const to = (address: string) => sent.filter((one) => one.to === address).length;
  expect({ a: to(A), b: to(B), onak: to(ONAK), watcher: to(WATCHER) }).toEqual({
    ...{ a: 10, b: 0, onak: 10, watcher: 10 },
  });
  expect(eventCount(a, "sent") + eventCount(b, "sent")).toBe(20);
  note("onak between two gateways", [
    { from: "old", to: "gateway B", road: "SMTP", what: "10 updates of 5 keys" },
    { from: "gateway B", to: "onak", road: "Postfix, alias pipe", what: `${to(ONAK)} mails` },
    { from: "onak", to: "gateway A", road: "Postfix", what: `${to(A)} deltas, trail old, B, onak` },
    { from: "onak", to: "gateway B", road: "Postfix", what: `${to(B)} (no echo)` },
    { from: "gateway A", to: "watcher", road: "Postfix", what: `${to(WATCHER)} mails` },
    { from: "gateway A", to: "onak", road: "Postfix", what: "0 (in the trail)" },
  ]);
});
