/**
 * A gateway that follows a real SKS by recon, with [local] HKP to the same SKS, a KX peer and a
 * mail site behind it. What changes at SKS reaches both within ten seconds, what comes by KX
 * reaches a second SKS by the recon of the first, and nothing is echoed.
 */
import { expect, test } from "vitest";
import type { GatewayProcess } from "../../src/demo/process.js";
import { LegacySite } from "../../src/demo/site.js";
import { freePort } from "../support/ports.js";
import { until } from "../support/until.js";
import { debianKeys, Gpg, packetCount } from "./keys.js";
import { note } from "./ledger.js";
import { Sks } from "./sks.js";
import { eventCount, quiet, stagePerTest } from "./stage.js";

const A = "pgp-public-keys@a.kx.example.org";
const B = "pgp-public-keys@b.kx.example.org";
const MAIL = "pgp-public-keys@mail.example.net";
const OLD = "pgp-public-keys@old.example.net";
const KEYS = 300;
/**
 * From SKS to a KX peer and a mail site it takes some six seconds, as the figures of the ledger
 * show. An SKS has one session at a time, and waits for a partner up to 45 s.
 */
const LIMIT_MS = 120_000;

const stage = stagePerTest();

/** How long it takes until `look` says true, in milliseconds; at most `LIMIT_MS`. */
async function within(what: string | (() => string), look: () => boolean): Promise<number> {
  const from = performance.now();
  await until(look, what, LIMIT_MS);
  return Math.round(performance.now() - from);
}

/** Updates that a gateway posted to SKS. */
function delivered({ events }: GatewayProcess): number {
  return events.filter(({ event, neighbour }) => event === "sent" && neighbour === "[local]")
    .length;
}

/** The newest of what a gateway said, for the error of a wait. */
function told({ events }: GatewayProcess): string {
  return JSON.stringify(events.slice(-20));
}

function took(figures: readonly number[]): string {
  return `${Math.max(...figures)} ms at most`;
}

test("SKS followed by recon: to KX and mail, back to SKS and the next, no echo", async () => {
  const gpg = new Gpg();
  const [recon1, recon2, kxPort] = [await freePort(), await freePort(), await freePort()];
  // Two SKS that dial each other at the same moment answer nobody for 45 s. So one of them dials.
  const [often, seldom] = [0.05, 60];
  const quietMail = { from: "sks@sks.example.net", mailsync: [], sendmail: "/bin/true" };
  const sks = stage().add(
    await Sks.start(stage().path("sks"), {
      ...quietMail,
      recon: { port: recon1, partners: [recon2], interval: often },
    }),
  );
  const second = stage().add(
    await Sks.start(stage().path("second"), {
      ...quietMail,
      recon: { port: recon2, partners: [recon1], interval: seldom },
    }),
  );
  const site = stage().add(new LegacySite(MAIL));
  const sitePort = await site.start();
  const lines = [
    `[site]\naddress = "${A}"`,
    `[outbound]\nrelay = "smtp://127.0.0.1:${sitePort}"\nretry = "1s"`,
    `[kx]\nlisten = ["127.0.0.1:${kxPort}"]`,
    `[local]\ntype = "hkp"\nurl = "http://127.0.0.1:${sks.port}"\nretry = "1s"`,
    `[[recon]]\nserver = "127.0.0.1:${recon1}"\nhkp = "http://127.0.0.1:${sks.port}"`,
    `[[peer]]\nname = "mail"\nmail = "${MAIL}"`,
    `[[peer]]\nname = "b"\nkx = "127.0.0.1:1"`,
  ];
  let a: GatewayProcess = await stage().gateway("a", lines);
  const b = await stage().gateway("b", [
    `[site]\naddress = "${B}"\n[smtp]\nlisten = ["127.0.0.1:0"]`,
    '[kx]\nlisten = ["127.0.0.1:0"]\nreconnect = "1s"',
    `[[peer]]\nname = "a"\nkx = "127.0.0.1:${kxPort}"\ndial = true`,
    `[[peer]]\nname = "old"\naccept_from = ["127.0.0.1"]`,
  ]);
  await b.event("peer-connected");
  await a.event("recon-crawled");
  const arrived = () => eventCount(b, "accepted");
  const mailed = () => site.received.length;

  // 300 keys that a user submits to SKS.
  const keys = debianKeys(KEYS);
  for (const { armored } of keys) expect((await sks.add(armored)).status).toBe(200);
  const many = await within(`${KEYS} keys by KX`, () => arrived() >= KEYS);
  await until(() => {
    const there = new Set(site.received.flatMap(({ fingerprints }) => fingerprints));
    return keys.every((key) => there.has(key.fingerprint));
  }, "the site has them all");

  // A key of a user who goes on with it: new, grown, revoked.
  const figures: number[] = [];
  const fingerprint = gpg.make("New User <new@example.net>");
  const steps = [
    () => {},
    () => gpg.addUserId(fingerprint, "Same User <same@example.net>"),
    () => gpg.revoke(fingerprint),
  ];
  try {
    for (const step of steps) {
      const [before, mails] = [arrived(), mailed()];
      step();
      gpg.send(fingerprint, `hkp://127.0.0.1:${sks.port}`);
      figures.push(
        await within(
          () => `${arrived() - before} by KX, ${mailed() - mails} by mail: ${told(a)}`,
          () => arrived() > before && mailed() > mails,
        ),
      );
    }
  } finally {
    gpg.close();
  }

  // What comes by KX goes to SKS, and on to the second SKS by recon of the two.
  const [other] = debianKeys(1, KEYS);
  if (other === undefined) throw new Error("the keyring has too few keys");
  await stage().post(b.port("smtp"), { from: OLD, to: B, armored: other.armored });
  await until(
    async () => {
      const held = await second.get(other.fingerprint);
      return held !== undefined && packetCount(held) === packetCount(other.armored);
    },
    "the second SKS has it",
    LIMIT_MS,
  );

  // The server is gone for a while, and the gateway is killed meanwhile.
  const killed = a;
  await a.end("SIGKILL");
  const more = debianKeys(20, KEYS + 1);
  for (const { armored } of more.slice(0, 10)) expect((await sks.add(armored)).status).toBe(200);
  a = await stage().restart("a");
  await sks.restart();
  for (const { armored } of more.slice(10)) expect((await sks.add(armored)).status).toBe(200);
  const total = KEYS + figures.length + 1 + more.length;
  await until(() => arrived() === total, "what came in meanwhile", LIMIT_MS);

  await quiet([a, b], mailed);
  const logged = stage().logged("a");
  expect(logged).toHaveLength(total);
  const from = (name: string) => logged.filter(({ origin }) => origin === name).length;
  expect({ local: from("[local]"), b: from("b") }).toEqual({ local: total - 1, b: 1 });
  // To SKS went what came by KX, once; all else came from there.
  expect(delivered(killed) + delivered(a)).toBe(1);
  note("SKS followed by recon", [
    { from: "SKS", to: "KX and mail", road: "recon", what: `${KEYS} keys, ${many} ms` },
    { from: "gpg --send-keys", to: "KX and mail", road: "SKS, recon", what: took(figures) },
    { from: "KX", to: "a second SKS", road: "HKP, recon of SKS", what: "1 key" },
    { from: "gateway", to: "SKS", road: "HKP", what: "0 of its own (no echo)" },
  ]);
}, 400_000);
