/**
 * Repair from a real keyserver: a KX peer announces updates that it no longer has, and a gateway
 * fetches their keys from SKS over HKP, each whole; what SKS has not got is told as lost.
 */
import { expect, test } from "vitest";
import { admit } from "../../src/admit.js";
import { KxScript } from "../support/kx-script.js";
import { until } from "../support/until.js";
import { debianKeys, packetCount } from "./keys.js";
import { note } from "./ledger.js";
import { Sks } from "./sks.js";
import { eventCount, stagePerTest } from "./stage.js";

const SITE = "pgp-public-keys@a.kx.example.org";
const HELD = 20;

const stage = stagePerTest();

test("SKS gives the keys of updates that a KX peer has lost", async () => {
  const site = { from: "pks@sks.example.net", mailsync: [], sendmail: "/bin/false" };
  const sks = stage().add(await Sks.start(stage().path("sks"), site));
  const keys = debianKeys(HELD + 1, 300);
  for (const { armored } of keys.slice(0, HELD)) expect((await sks.add(armored)).ok).toBe(true);
  const gateway = await stage().gateway("a", [
    `[site]\naddress = "${SITE}"\n[kx]\nlisten = ["127.0.0.1:0"]`,
    '[[peer]]\nname = "forgetful"\nkx = "127.0.0.3:1"',
    `repair = "hkp://127.0.0.1:${sks.port}"`,
  ]);
  const peer = await KxScript.greeted(gateway.port("kx"), "127.0.0.3");
  for (const [index, { fingerprint }] of keys.entries()) {
    peer.announce(index + 1, { fingerprint, hash: String(index).padStart(32, "f") });
  }
  await until(
    () => {
      for (const { tag, command, lines } of peer.inbox.splice(0)) {
        if (command !== "GETUPDATE") continue;
        for (const number of lines)
          peer.send("ERROR", tag, "500", `${number} update not available`);
      }
      return eventCount(gateway, "repaired") + eventCount(gateway, "repair-failed") > HELD;
    },
    "everything is fetched or given up",
    30_000,
  );
  expect(eventCount(gateway, "repaired")).toBe(HELD);
  const failed = gateway.events.find(({ event }) => event === "repair-failed");
  expect(failed).toMatchObject({
    fingerprint: keys[HELD]?.fingerprint,
    problem: "forgetful: does not have it",
  });
  const logged = stage().logged("a");
  expect(logged.map(({ fingerprint }) => fingerprint).sort()).toEqual(
    keys
      .slice(0, HELD)
      .map(({ fingerprint }) => fingerprint)
      .sort(),
  );
  expect(new Set(logged.map(({ transport }) => transport))).toEqual(new Set(["repair"]));
  for (const { fingerprint, armored } of keys.slice(0, HELD)) {
    const held = (await sks.get(fingerprint)) ?? "";
    expect(packetCount(held)).toBe(packetCount(armored));
    const [update] = admit([Buffer.from(held, "latin1")]).updates;
    expect(logged.find((one) => one.fingerprint === fingerprint)?.hash).toBe(update?.hash);
  }
  note("repair from SKS", [
    { from: "a KX peer", to: "gateway A", road: "KX", what: `${HELD + 1} lost updates` },
    { from: "SKS", to: "gateway A", road: "HKP get", what: `${HELD} keys, 1 not there` },
  ]);
});
