/**
 * A real onak gets a gateway beside it, with the config that `kxgw config migrate` makes of its own
 * onak.ini: the gateway takes over the address of the site, and onak's one sync site is that very
 * address. What a neighbour mails reaches onak and does not come back; what a user submits to onak
 * reaches the neighbour, once, and is not delivered to onak again.
 */
import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { migrateCommand } from "../../src/cli/migrate.js";
import { LegacySite } from "../../src/demo/site.js";
import { freePort } from "../support/ports.js";
import { until } from "../support/until.js";
import { NOBODY, run } from "./daemon.js";
import { debianKeys } from "./keys.js";
import { note } from "./ledger.js";
import { Onak } from "./onak.js";
import { Postfix } from "./postfix.js";
import { eventCount, quiet, stagePerTest } from "./stage.js";

const SITE = "pgp-public-keys@onak.example.net";
const OLD = "pgp-public-keys@old.example.net";

const stage = stagePerTest();

/** The lines of the migrated config, on ports of ours and with onak run as nobody. */
async function migrated(smtp: number, relay: number): Promise<string[]> {
  const output = stage().path("migrated.toml");
  const silent = { stdout: () => {}, stderr: () => {} };
  const options = { from: undefined, output, site: undefined, json: false };
  const ini = stage().path("onak", "onak.ini");
  expect(await migrateCommand([ini], options, silent)).toBe(0);
  const pipe = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
  const command = JSON.stringify([...pipe, Onak.pipe(stage().path("onak"))]);
  const text = readFileSync(output, "utf8")
    .replace('mode = "observe"', 'mode = "bridge"')
    .replace("127.0.0.1:2525", `127.0.0.1:${smtp}`)
    .replace("127.0.0.1:11373", "127.0.0.1:0")
    .replace("smtp://127.0.0.1:25", `smtp://127.0.0.1:${relay}`)
    .replace(/^command = .*$/m, `command = ${command}`)
    .replaceAll(/^# accept_from = .*$/gm, 'accept_from = ["127.0.0.1"]')
    // The stage has a log and a page of its own for it.
    .replace(/^\[log\]\n.*\n/m, "")
    .replace(/^\[admin\].*\n.*\n/m, "");
  return text.split("\n");
}

test("a migrated onak: its address is the gateway's, and nothing goes round", async () => {
  const old = stage().add(new LegacySite(OLD));
  const [oldPort, port] = [await old.start(), await freePort()];
  const sendmail = Postfix.sendmail(stage().path("postfix"));
  const onakSite = { address: SITE, sendmail };
  await Onak.setUp(stage().path("onak"), { ...onakSite, syncSites: [OLD] });
  const relay = {
    "onak.example.net": `smtp:[127.0.0.1]:${port}`,
    "old.example.net": `smtp:[127.0.0.1]:${oldPort}`,
  };
  const postfix = stage().add(await Postfix.start(stage().path("postfix"), { relay, pipes: {} }));
  const gateway = await stage().gateway("a", await migrated(port, postfix.port));
  const onak = await Onak.setUp(stage().path("onak"), { ...onakSite, syncSites: [SITE] });

  const [mine, ...theirs] = debianKeys(5, 80);
  if (mine === undefined) throw new Error("no keys");
  for (const { armored } of theirs) await stage().post(port, { from: OLD, to: SITE, armored });
  const has = (fingerprint: string) => onak.get(fingerprint) !== undefined;
  await until(() => theirs.every(({ fingerprint }) => has(fingerprint)), "onak has them", 30_000);
  await quiet([gateway], () => postfix.deliveries().length);
  expect(postfix.deliveries()).toEqual([]);
  expect(eventCount(gateway, "sent")).toBe(theirs.length);

  const mail = `From: user@example.org\nSubject: ADD\n\n${mine.armored}`;
  run(Onak.pipe(stage().path("onak")), [], { input: mail, ...NOBODY });
  await until(() => old.received.length === 1, "the neighbour has it", 30_000);
  await quiet([gateway], () => postfix.deliveries().length);
  expect(has(mine.fingerprint)).toBe(true);
  const toSites = postfix.deliveries().filter(({ to }) => to === SITE || to === OLD);
  expect(toSites.map(({ to }) => to)).toEqual([SITE, OLD]);
  const logged = stage().logged("a");
  expect(logged).toHaveLength(theirs.length + 1);
  expect(logged.at(-1)).toMatchObject({ fingerprint: mine.fingerprint });
  // To the neighbour, and not to onak, whose address it came with.
  expect(eventCount(gateway, "sent")).toBe(theirs.length + 1);
  expect(existsSync(stage().path("onak", "spool", "onak-mail.lck"))).toBe(false);
  note("migrated onak", [
    { from: "neighbour", to: "gateway", road: "SMTP", what: "4 updates" },
    { from: "gateway", to: "onak", road: "onak-mail.pl", what: "4 updates, none came back" },
    { from: "user", to: "onak", road: "ADD", what: "1 key" },
    { from: "onak", to: "gateway", road: "syncsite, its own address", what: "1 update" },
    { from: "gateway", to: "neighbour", road: "mail", what: "1 update" },
  ]);
});
