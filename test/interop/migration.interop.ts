/**
 * A real onak gets a gateway beside it, with the config that `kxgw config migrate` makes of its own
 * onak.ini: the gateway takes over the address of the site, and onak's one sync site is that very
 * address. What a neighbour mails reaches onak and does not come back; what a user submits to onak
 * reaches the neighbour, once, and is not delivered to onak again. Then the lines for Postfix of
 * docs/migration.md: those that keep the mail service for users, and those of steps 1 and 2.
 */
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { createTransport } from "nodemailer";
import { expect, test } from "vitest";
import { migrateCommand } from "../../src/cli/migrate.js";
import { LegacySite } from "../../src/demo/site.js";
import { blocks, page } from "../support/page.js";
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

/** The one block of that kind in the page, with what is different here. */
function recipe(kind: string, here: Readonly<Record<string, string>>): string {
  const [block, ...more] = blocks(page("migration.md"), kind);
  if (block === undefined || more.length > 0) throw new Error(`${kind} is not one block`);
  for (const from of Object.keys(here)) expect(block, kind).toContain(from);
  return Object.entries(here).reduce((text, [from, to]) => text.replaceAll(from, to), block);
}

test("the mail service is kept: updates go to the gateway, the rest to onak", async () => {
  const old = stage().add(new LegacySite(OLD));
  const [oldPort, port, out] = [await old.start(), await freePort(), await freePort()];
  const headers = stage().path("keyserver_headers");
  const [smtp, domain] = [`127.0.0.1]:${port}`, "onak\\.example\\.net"];
  const given = { "127.0.0.1]:2525": smtp, "pks\\.example\\.org": domain };
  writeFileSync(headers, recipe("postfix-headers", given));
  const postfix = stage().add(
    await Postfix.start(stage().path("postfix"), {
      relay: { "old.example.net": `smtp:[127.0.0.1]:${oldPort}` },
      pipes: { [SITE]: Onak.pipe(stage().path("onak")) },
      main: recipe("postfix-main-users", { "/etc/postfix/keyserver_headers": headers }),
      master: recipe("postfix-master-users", { "127.0.0.1:10025": `127.0.0.1:${out}` }),
    }),
  );
  const sendmail = Postfix.sendmail(stage().path("postfix"));
  const onakSite = { address: SITE, sendmail };
  await Onak.setUp(stage().path("onak"), { ...onakSite, syncSites: [OLD] });
  const gateway = await stage().gateway("a", await migrated(port, out));
  const onak = await Onak.setUp(stage().path("onak"), { ...onakSite, syncSites: [SITE] });

  const [mine, theirs] = debianKeys(2, 80);
  if (mine === undefined || theirs === undefined) throw new Error("no keys");
  const user = createTransport({ host: "127.0.0.1", port: postfix.port, ignoreTLS: true });
  const write = async (head: string, body: string) => {
    const raw = `From: user@example.org\r\nTo: ${SITE}\r\n${head}\r\n\r\n${body}\r\n`;
    await user.sendMail({ raw, envelope: { from: "user@example.org", to: SITE } });
  };
  /** Where Postfix took the mails for the site. */
  const ways = () => {
    const all = postfix.deliveries().filter(({ to, status }) => to === SITE && status === "sent");
    return all.map(({ relay }) => (relay === "local" ? "onak" : relay.replace(/.*:/, "")));
  };
  const gatewayPort = `${port}`;

  // An update of a neighbour goes to the gateway alone, which delivers it to onak.
  await stage().post(postfix.port, { from: OLD, to: SITE, armored: theirs.armored });
  await until(() => onak.get(theirs.fingerprint) !== undefined, "onak has theirs", 30_000);
  expect(ways()).toEqual([gatewayPort]);

  // A user's ADD goes to onak alone; onak tells the gateway, and the gateway the neighbour, once.
  await write("Subject: ADD", mine.armored);
  await until(() => old.received.length === 1, "the neighbour has it", 30_000);
  await quiet([gateway], () => postfix.deliveries().length);
  expect(ways()).toEqual([gatewayPort, "onak", gatewayPort]);
  expect(onak.get(mine.fingerprint)).toBeDefined();
  expect(old.received).toHaveLength(1);
  expect(stage().logged("a")).toMatchObject([
    { fingerprint: theirs.fingerprint, origin: "old-example-net" },
    { fingerprint: mine.fingerprint },
  ]);

  // Questions stay with the keyserver; an answer to a question of the gateway comes to it.
  for (const subject of ["INDEX 0x1234", "GET 0x1234", "HELP"])
    await write(`Subject: ${subject}`, "");
  const mark = `ask.${"0".repeat(32)}.1764000000000@onak.example.net`;
  await write(`Subject: Your command, GET 0x1234\r\nIn-Reply-To: <${mark}>`, "No key.");
  await until(() => ways().length === 7, "all four are delivered", 30_000);
  expect(ways().slice(3).sort()).toEqual([gatewayPort, "onak", "onak", "onak"]);
  user.close();
  expect(postfix.queue()).toEqual([]);
  note("mail service kept", [
    {
      from: "neighbour",
      to: "gateway",
      road: "INCREMENTAL by docs/migration.md",
      what: "1 update",
    },
    { from: "user", to: "onak", road: "ADD, INDEX, GET, HELP", what: "4 mails" },
    { from: "onak", to: "gateway", road: "syncsite, its own address", what: "1 update" },
    { from: "gateway", to: "neighbour", road: "mail without header_checks", what: "1 update" },
  ]);
});

const GATEWAY = (smtp: string, peer: string) => [
  `[site]\naddress = "${SITE}"\n[smtp]\n${smtp}`,
  `[[peer]]\nname = "old"\nmail = "${OLD}"\n${peer}`,
];

test("step 1: the alias gives each mail to the keyserver and to the gateway", async () => {
  const lmtp = stage().path("lmtp.sock");
  const config = stage().path("a.toml");
  // Postfix runs the commands of an alias by a user who may not write to this directory.
  const pksd = stage().path("taken");
  writeFileSync(pksd, "", { mode: 0o666 });
  const alias = recipe("postfix-aliases", {
    "/usr/local/pks/bin/pks-mail.sh /etc/pks/pksd.conf": `cat >> ${pksd}`,
    "/usr/bin/kxgw": `${process.execPath} ${resolve("dist/main.js")}`,
    "/etc/kxgw/kxgw.toml": config,
  });
  const [, commands = ""] = /^pgp-public-keys: "\|(.*)"$/s.exec(alias.trim()) ?? [];
  const pipes = { [SITE]: commands };
  const postfix = stage().add(await Postfix.start(stage().path("postfix"), { relay: {}, pipes }));
  chmodSync(pksd, 0o666);
  const gateway = await stage().gateway("a", [
    'mode = "observe"',
    ...GATEWAY(`listen = ["lmtp:${lmtp}"]\nsocket_mode = "0666"`, ""),
  ]);
  const [key] = debianKeys(1, 80);
  if (key === undefined) throw new Error("no keys");
  await stage().post(postfix.port, { from: OLD, to: SITE, armored: key.armored });
  await until(() => eventCount(gateway, "accepted") === 1, "the gateway has a copy", 30_000);
  await until(() => postfix.queue().length === 0, "Postfix has delivered", 30_000);
  expect(readFileSync(pksd, "latin1")).toMatch(/^Subject: INCREMENTAL$/im);
  expect(postfix.deliveries().map(({ relay, status }) => [relay, status])).toEqual([
    ...[
      ["local", "sent"],
      ["local", "sent"],
    ],
  ]);
  // A user's question is pksd's; the gateway refuses its copy, and the user is not told so.
  const user = createTransport({ host: "127.0.0.1", port: postfix.port, ignoreTLS: true });
  const raw = "From: user@example.org\r\nSubject: HELP\r\n\r\n";
  await user.sendMail({ raw, envelope: { from: "user@example.org", to: SITE } });
  user.close();
  await until(() => eventCount(gateway, "mail-refused") === 1, "the copy is refused", 30_000);
  await until(() => postfix.deliveries().length === 4, "both have it", 30_000);
  expect(postfix.queue()).toEqual([]);
  expect(postfix.deliveries().map(({ to, status }) => [to, status])).toEqual(
    Array.from({ length: 4 }, () => [SITE, "sent"]),
  );
  expect(readFileSync(pksd, "latin1")).toMatch(/^Subject: HELP$/m);
  note("step 1", [{ from: "Postfix", to: "both", road: "alias of docs/migration.md", what: "1" }]);
});

test("step 2, the first way: neighbours reach the gateway, a user's ADD is refused", async () => {
  const [port, own] = [await freePort(), stage().path("keyservers")];
  const site = { "pgp-public-keys@pks.example.org": SITE };
  writeFileSync(own, recipe("postfix-keyservers", { "192.0.2.0/24": "127.0.0.1/32" }));
  const transport = stage().path("transport");
  const at = { ...site, "127.0.0.1]:2525": `127.0.0.1]:${port}` };
  writeFileSync(transport, recipe("postfix-transport", at));
  const main = recipe("postfix-main", { ...site, "/etc/postfix/keyservers": own });
  const relay = { "onak.example.net": "error:nobody" };
  const more = `${main}transport_maps = texthash:${transport}\n`;
  const postfix = stage().add(
    await Postfix.start(stage().path("postfix"), { relay, pipes: {}, main: more }),
  );
  const listen = `listen = ["127.0.0.1:${port}"]`;
  const gateway = await stage().gateway("a", GATEWAY(listen, 'accept_from = ["127.0.0.1"]'));
  const [key, add] = debianKeys(2, 80);
  if (key === undefined || add === undefined) throw new Error("no keys");
  await stage().post(postfix.port, { from: OLD, to: SITE, armored: key.armored });
  await until(() => eventCount(gateway, "accepted") === 1, "the gateway has it", 30_000);
  const host = { host: "127.0.0.1", port: postfix.port, localAddress: "127.0.0.9" };
  const user = createTransport({ ...host, ignoreTLS: true });
  for (const subject of ["ADD", "GET 0x1234"]) {
    const raw = `From: user@example.org\r\nSubject: ${subject}\r\n\r\n${add.armored}`;
    const sent = user.sendMail({ raw, envelope: { from: "user@example.org", to: SITE } });
    await expect(sent, subject).rejects.toThrow(/554 5\.7\.1/);
  }
  user.close();
  expect(eventCount(gateway, "accepted")).toBe(1);
  note("step 2", [{ from: "neighbour", to: "gateway", road: "transport", what: "1 update" }]);
});
