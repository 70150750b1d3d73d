/**
 * SKS as a legacy site of gateway B, which has gateway A behind it over KX: what A learns is found
 * in SKS over HKP, and what a user submits to SKS reaches A, through SKS's own incremental mail.
 */
import { expect, test } from "vitest";
import { freePort } from "../support/ports.js";
import { until } from "../support/until.js";
import { debianKeys, Gpg, packetCount } from "./keys.js";
import { note } from "./ledger.js";
import { Postfix } from "./postfix.js";
import { Sks } from "./sks.js";
import { eventCount, quiet, stagePerTest } from "./stage.js";

const A = "pgp-public-keys@a.kx.example.org";
const B = "pgp-public-keys@b.kx.example.org";
const SKS = "pks@sks.example.net";
const OLD = "pgp-public-keys@old.example.net";

const stage = stagePerTest();

test("SKS: our mail through its spool, its own mail to KX, no echo", async () => {
  const [portA, portB, kxPort] = [await freePort(), await freePort(), await freePort()];
  const relay = { "b.kx.example.org": `smtp:[127.0.0.1]:${portB}` };
  const pipes = { [SKS]: Sks.pipe(stage().path("sks")) };
  const postfix = stage().add(await Postfix.start(stage().path("postfix"), { relay, pipes }));
  const sks = stage().add(
    await Sks.start(stage().path("sks"), {
      // As the example in Debian's sksconf has it, quotes and all.
      from: `"PGP Key Server Administrator <${SKS}>"`,
      mailsync: [B],
      sendmail: Postfix.sendmail(stage().path("postfix")),
    }),
  );
  const b = await stage().gateway("b", [
    `[site]\naddress = "${B}"\n[smtp]\nlisten = ["127.0.0.1:${portB}"]`,
    `[outbound]\nrelay = "smtp://127.0.0.1:${postfix.port}"\nretry = "1s"`,
    `[kx]\nlisten = ["127.0.0.1:${kxPort}"]`,
    `[[peer]]\nname = "sks"\nmail = "${SKS}"\naccept_from = ["127.0.0.1"]`,
    `[[peer]]\nname = "a"\nkx = "127.0.0.1:1"`,
  ]);
  const a = await stage().gateway("a", [
    `[site]\naddress = "${A}"\n[smtp]\nlisten = ["127.0.0.1:${portA}"]`,
    '[kx]\nlisten = ["127.0.0.1:0"]\nreconnect = "1s"',
    `[[peer]]\nname = "b"\nkx = "127.0.0.1:${kxPort}"\ndial = true`,
    `[[peer]]\nname = "old"\naccept_from = ["127.0.0.1"]`,
  ]);
  await a.event("peer-connected");

  const keys = debianKeys(6, 50);
  const [mailed, submitted] = [keys.slice(0, 3), keys.slice(3)];
  for (const { armored } of mailed) await stage().post(portA, { from: OLD, to: A, armored });
  for (const { fingerprint, armored } of mailed) {
    await until(
      async () => {
        const held = await sks.get(fingerprint);
        return held !== undefined && packetCount(held) === packetCount(armored);
      },
      `SKS has ${fingerprint}`,
      30_000,
    );
  }
  const gpg = new Gpg();
  try {
    for (const { fingerprint, armored } of submitted) {
      gpg.import(armored);
      gpg.send(fingerprint, `hkp://127.0.0.1:${sks.port}`);
    }
  } finally {
    gpg.close();
  }
  await until(() => eventCount(a, "accepted") === 6, "A has what gpg sent to SKS", 30_000);
  await quiet([a, b], () => postfix.deliveries().length);

  const expected = (from: string) => [...Array(3).fill("old"), ...Array(3).fill(from)];
  expect(
    stage()
      .logged("a")
      .map(({ origin }) => origin),
  ).toEqual(expected("b"));
  expect(
    stage()
      .logged("b")
      .map(({ origin, transport }) => [origin, transport]),
  ).toEqual([...Array(3).fill(["a", "kx"]), ...Array(3).fill(["sks", "mail"])]);
  expect(sks.failed()).toEqual([]);
  const sent = postfix.deliveries().filter(({ status }) => status === "sent");
  const to = (address: string) => sent.filter((one) => one.to === address).length;
  expect({ sks: to(SKS), b: to(B) }).toEqual({ sks: 3, b: 3 });
  note("SKS beside a gateway", [
    { from: "old", to: "gateway A", road: "SMTP", what: "3 keys" },
    { from: "gateway A", to: "gateway B", road: "KX", what: "3 updates" },
    { from: "gateway B", to: "SKS", road: "Postfix, sks_add_mail", what: `${to(SKS)} mails` },
    { from: "gpg --send-keys", to: "SKS", road: "HKP", what: "3 keys" },
    { from: "SKS", to: "gateway B", road: "Postfix, mailsync", what: `${to(B)} mails` },
    { from: "gateway B", to: "gateway A", road: "KX", what: "3 updates" },
    { from: "gateway B", to: "SKS", road: "Postfix", what: "0 of its own (no echo)" },
  ]);
});
