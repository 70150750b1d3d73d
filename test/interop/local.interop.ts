/**
 * The keyserver beside the gateway: real SKS by its messages directory and by HKP, real onak by its
 * mail script. What comes in at the gateway is found in the keyserver, whole.
 */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { until } from "../support/until.js";
import { run } from "./daemon.js";
import { debianKeys, packetCount, packetsOf, type RealKey } from "./keys.js";
import { note } from "./ledger.js";
import { Onak } from "./onak.js";
import { Sks } from "./sks.js";
import { eventCount, stagePerTest } from "./stage.js";

const SITE = "pgp-public-keys@a.kx.example.org";
const LOCAL = "pgp-public-keys@ks.example.org";
const OLD = "pgp-public-keys@old.example.net";

const stage = stagePerTest();

/** A gateway with `local` beside it, fed with five keys, until `get` finds each of them whole. */
async function feed(
  local: string,
  get: (fingerprint: string) => Promise<string | undefined>,
): Promise<void> {
  const keys = debianKeys(5, 60);
  const gateway = await stage().gateway("a", [
    `[site]\naddress = "${SITE}"\n[smtp]\nlisten = ["127.0.0.1:0"]`,
    `[local]\naddress = "${LOCAL}"\nretry = "1s"\n${local}`,
    `[[peer]]\nname = "old"\nmail = "${OLD}"\naccept_from = ["127.0.0.1"]`,
  ]);
  for (const { armored } of keys) {
    await stage().post(gateway.port("smtp"), { from: OLD, to: SITE, armored });
  }
  for (const key of keys) {
    await until(
      async () => isWhole(key, await get(key.fingerprint)),
      `${key.fingerprint} is there`,
      30_000,
    );
  }
  await until(() => eventCount(gateway, "sent") === keys.length, "all of it is sent", 30_000);
  expect(eventCount(gateway, "retry") + eventCount(gateway, "undelivered")).toBe(0);
}

function isWhole(key: RealKey, armored: string | undefined): boolean {
  return armored !== undefined && packetCount(armored) === packetCount(key.armored);
}

async function startSks(): Promise<Sks> {
  const site = { from: LOCAL, mailsync: [], sendmail: "/bin/false" };
  return stage().add(await Sks.start(stage().path("sks"), site));
}

test("SKS by its messages directory", async () => {
  const sks = await startSks();
  const messages = Sks.messages(stage().path("sks"));
  await feed(`type = "sks"\ndirectory = "${messages}"`, (fingerprint) => sks.get(fingerprint));
  expect(sks.failed()).toEqual([]);
  note("local SKS", [{ from: "gateway A", to: "SKS", road: "messages/*.ready", what: "5 keys" }]);
});

test("SKS by HKP", async () => {
  const sks = await startSks();
  const url = `http://127.0.0.1:${sks.port}`;
  await feed(`type = "hkp"\nurl = "${url}"`, (fingerprint) => sks.get(fingerprint));
  note("local SKS", [{ from: "gateway A", to: "SKS", road: "HKP", what: "5 keys" }]);
});

test("kxgw demo through a gateway that runs, to SKS behind it", async () => {
  const sks = await startSks();
  const url = `http://127.0.0.1:${sks.port}`;
  const gateway = await stage().gateway("a", [
    `[site]\naddress = "${SITE}"\n[smtp]\nlisten = ["127.0.0.1:0"]`,
    `[local]\ntype = "hkp"\nurl = "${url}"`,
    `[[peer]]\nname = "old"\naccept_from = ["127.0.0.1"]`,
  ]);
  const stations = [`--smtp=127.0.0.1:${gateway.port("smtp")}`, `--site=${SITE}`];
  const args = ["dist/main.js", "demo", "--json", ...stations, `--keyserver=${url}`];
  const first = JSON.parse(run(process.execPath, args));
  expect(first).toMatchObject({ keys: 22, news: 22, duplicatesKnown: 22 });
  const again = JSON.parse(run(process.execPath, args));
  expect(again).toMatchObject({ keys: 22, news: 0, duplicatesKnown: 22 });
  note("local SKS", [{ from: "kxgw demo", to: "SKS", road: "SMTP, HKP", what: "22 keys" }]);
});

test.each(["sks", "hkp"])("SKS by %s: a revocation beside a version 5 subkey", async (type) => {
  const sks = await startSks();
  const [messages, url] = [Sks.messages(stage().path("sks")), `http://127.0.0.1:${sks.port}`];
  const gateway = await stage().gateway("a", [
    `[site]\naddress = "${SITE}"\n[smtp]\nlisten = ["127.0.0.1:0"]`,
    `[local]\naddress = "${LOCAL}"\nretry = "1s"\ntype = "${type}"`,
    type === "sks" ? `directory = "${messages}"` : `url = "${url}"`,
    `[[peer]]\nname = "old"\nmail = "${OLD}"\naccept_from = ["127.0.0.1"]`,
  ]);
  const mail = readFileSync("test/fixtures/cases/v4-key-with-v5-subkey-and-revocation.eml");
  const armored = mail.toString("latin1").slice(mail.indexOf("-----BEGIN"));
  await stage().post(gateway.port("smtp"), { from: OLD, to: SITE, armored });
  // What SKS never takes is recorded as refused; the rest is delivered.
  await until(() => eventCount(gateway, "undelivered") === 1, "the rest is refused", 30_000);
  const fingerprint = "6D25DDF2DADEE1E18FC2C80EA37A4779542E0265";
  let tags: string[] = [];
  await until(
    async () => {
      const held = await sks.get(fingerprint);
      tags = packetsOf(held ?? "").map(({ tag, body }) => (tag === 2 ? `2/${body[1]}` : `${tag}`));
      return tags.includes("2/32");
    },
    "SKS has the revocation",
    30_000,
  );
  // Everything but the odd subkey, which SKS refuses alone.
  expect(tags).toEqual(["6", "2/32", "13", "2/19"]);
});

test("onak by its mail script", async () => {
  const site = { address: LOCAL, syncSites: [], sendmail: "/bin/false" };
  const onak = await Onak.setUp(stage().path("onak"), site);
  // As nobody, whose database it is; a gateway runs as the keyserver's user or with sudo.
  const pipe = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
  const command = JSON.stringify([...pipe, Onak.pipe(stage().path("onak"))]);
  await feed(`type = "command"\ncommand = ${command}`, async (fingerprint) =>
    onak.get(fingerprint),
  );
  note("local onak", [{ from: "gateway A", to: "onak", road: "onak-mail.pl", what: "5 keys" }]);
});
