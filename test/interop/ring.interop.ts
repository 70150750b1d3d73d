/**
 * The mixed network: onak, gateway A, KX, gateway B and SKS in a row. A hundred real keys are
 * handed in, half of them at either end as that server takes them. Each must be everywhere, come
 * into each log once and over each road once, and then nothing may move any more.
 *
 * INTEROP_QUIET_S is how long "nothing moves" is watched: 60 seconds unless it says otherwise.
 */
import { expect, test } from "vitest";
import { freePort } from "../support/ports.js";
import { until } from "../support/until.js";
import { debianKeys, packetCount } from "./keys.js";
import { note } from "./ledger.js";
import { Onak } from "./onak.js";
import { Postfix } from "./postfix.js";
import { Sks } from "./sks.js";
import { eventCount, quiet, stagePerTest } from "./stage.js";

const A = "pgp-public-keys@a.kx.example.org";
const B = "pgp-public-keys@b.kx.example.org";
const ONAK = "pgp-public-keys@onak.example.net";
const SKS = "pks@sks.example.net";
const USER = "somebody@users.example.net";
const HALF = 50;
const QUIET_S = Number(process.env.INTEROP_QUIET_S ?? 60);

const stage = stagePerTest();

test(`onak, A, KX, B, SKS: ${2 * HALF} keys from both ends`, { timeout: 600_000 }, async () => {
  const [portA, portB, kxPort] = [await freePort(), await freePort(), await freePort()];
  const sendmail = Postfix.sendmail(stage().path("postfix"));
  const onak = await Onak.setUp(stage().path("onak"), { address: ONAK, syncSites: [A], sendmail });
  const relay = {
    "a.kx.example.org": `smtp:[127.0.0.1]:${portA}`,
    "b.kx.example.org": `smtp:[127.0.0.1]:${portB}`,
  };
  const pipes = {
    [ONAK]: Onak.pipe(stage().path("onak")),
    [SKS]: Sks.pipe(stage().path("sks")),
  };
  const postfix = stage().add(await Postfix.start(stage().path("postfix"), { relay, pipes }));
  const site = { from: `"${SKS}"`, mailsync: [B], sendmail };
  const sks = stage().add(await Sks.start(stage().path("sks"), site));
  const config = (address: string, port: number, kx: string) =>
    `[site]\naddress = "${address}"\n[smtp]\nlisten = ["127.0.0.1:${port}"]
[outbound]\nrelay = "smtp://127.0.0.1:${postfix.port}"\nretry = "1s"
[kx]\nlisten = ["127.0.0.1:${kx}"]\nreconnect = "1s"`;
  const b = await stage().gateway("b", [
    config(B, portB, String(kxPort)),
    `[[peer]]\nname = "sks"\nmail = "${SKS}"\naccept_from = ["127.0.0.1"]`,
    '[[peer]]\nname = "a"\nkx = "127.0.0.1:1"',
  ]);
  const a = await stage().gateway("a", [
    config(A, portA, "0"),
    `[[peer]]\nname = "onak"\nmail = "${ONAK}"\naccept_from = ["127.0.0.1"]`,
    `[[peer]]\nname = "b"\nkx = "127.0.0.1:${kxPort}"\ndial = true`,
  ]);
  await a.event("peer-connected");

  const keys = debianKeys(2 * HALF, 100);
  const fingerprints = keys.map(({ fingerprint }) => fingerprint).sort();
  const startedAt = performance.now();
  const [atOnak, atSks] = [keys.slice(0, HALF), keys.slice(HALF)];
  const handIn = async () => {
    for (const { armored } of atOnak) {
      await stage().post(postfix.port, { from: USER, to: ONAK, armored });
    }
  };
  await Promise.all([handIn(), submitAll(sks, atSks)]);
  const accepted = () => eventCount(a, "accepted") + eventCount(b, "accepted");
  await until(() => accepted() === 4 * HALF, "both gateways have all", 300_000);
  await until(() => postfix.queue().length === 0, "the queue is empty", 120_000);
  const everywhere = `${2 * HALF} keys are in SKS`;
  const inSks = async () => {
    const held = await Promise.all(keys.map(({ fingerprint }) => sks.get(fingerprint)));
    return held.every((armored) => armored !== undefined);
  };
  await until(inSks, everywhere, 120_000);
  const tookS = (performance.now() - startedAt) / 1000;
  await quiet([a, b], () => postfix.deliveries().length, QUIET_S * 1000);

  for (const { fingerprint, armored } of keys) {
    expect(packetCount(onak.get(fingerprint) ?? ""), fingerprint).toBe(packetCount(armored));
    expect(packetCount((await sks.get(fingerprint)) ?? ""), fingerprint).toBe(packetCount(armored));
  }
  const logs = { a: stage().logged("a"), b: stage().logged("b") };
  for (const log of [logs.a, logs.b]) {
    expect(log.map(({ fingerprint }) => fingerprint).sort()).toEqual(fingerprints);
  }
  const hashes = (log: typeof logs.a) => log.map(({ hash }) => hash).sort();
  expect(hashes(logs.a)).toEqual(hashes(logs.b));
  expect(sks.failed()).toEqual([]);
  const deliveries = postfix.deliveries();
  const to = (address: string) => deliveries.filter((one) => one.to === address).length;
  const counts = { onak: to(ONAK), a: to(A), b: to(B), sks: to(SKS) };
  // Into onak what was handed in there and what A sends on; out of it the former only.
  expect(counts).toEqual({ onak: 2 * HALF, a: HALF, b: HALF, sks: HALF });
  const name = "mixed ring";
  note(name, [
    { from: "user", to: "onak", road: "Postfix, alias pipe", what: `${HALF} keys` },
    { from: "user", to: "SKS", road: "HKP", what: `${HALF} keys` },
    { from: "onak", to: "gateway A", road: "Postfix", what: `${counts.a} mails` },
    { from: "SKS", to: "gateway B", road: "Postfix, mailsync", what: `${counts.b} mails` },
    { from: "gateway A", to: "gateway B", road: "KX", what: `${HALF} updates` },
    { from: "gateway B", to: "gateway A", road: "KX", what: `${HALF} updates` },
    { from: "gateway A", to: "onak", road: "Postfix, alias pipe", what: `${HALF} mails` },
    { from: "gateway B", to: "SKS", road: "Postfix, sks_add_mail", what: `${counts.sks} mails` },
    {
      from: "all",
      to: "all",
      road: "",
      what: `${2 * HALF} keys at 4 servers in ${tookS.toFixed(0)} s, then ${QUIET_S} s of silence`,
    },
  ]);
});

async function submitAll(sks: Sks, keys: readonly { readonly armored: string }[]): Promise<void> {
  for (const { armored } of keys) {
    const { status } = await sks.add(armored);
    expect(status).toBe(200);
  }
}
