/**
 * Postfix as the mail exchanger in front of the gateway, which it reaches by a transport map or an
 * alias: what it takes gets through, and while the gateway is down it holds all of it.
 */
import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { freePort } from "../support/ports.js";
import { until } from "../support/until.js";
import { run } from "./daemon.js";
import { debianKeys } from "./keys.js";
import { note } from "./ledger.js";
import { Postfix } from "./postfix.js";
import { eventCount, stagePerTest } from "./stage.js";

const SITE = "pgp-public-keys@a.kx.example.org";
const OLD = "pgp-public-keys@old.example.net";

/** How Postfix's log names the transports. */
const ROADS: Readonly<Record<string, string>> = { "127.0.0.1": "SMTP", local: "alias pipe" };
/** Ten mails through an alias pipe are ten starts of Node, which took 30 s beside other tests. */
const PATIENCE_MS = 90_000;

const stage = stagePerTest();

test("Postfix in front of the gateway, over SMTP", async () => {
  const port = await freePort();
  const relay = { "a.kx.example.org": `smtp:[127.0.0.1]:${port}` };
  const postfix = stage().add(await Postfix.start(stage().path("postfix"), { relay, pipes: {} }));
  const config = [
    `[site]\naddress = "${SITE}"`,
    `[smtp]\nlisten = ["127.0.0.1:${port}"]`,
    `[[peer]]\nname = "old"\nmail = "${OLD}"\naccept_from = ["127.0.0.1"]`,
  ];
  await frontTest("front MX, SMTP", postfix, config);
});

test("Postfix in front of the gateway, over LMTP on a Unix socket", async () => {
  const socket = stage().path("lmtp.sock");
  const relay = { "a.kx.example.org": `lmtp:unix:${socket}` };
  const postfix = stage().add(await Postfix.start(stage().path("postfix"), { relay, pipes: {} }));
  const config = [
    `[site]\naddress = "${SITE}"`,
    `[smtp]\nlisten = ["lmtp:${socket}"]\nsocket_mode = "0666"`,
    `[[peer]]\nname = "old"\nmail = "${OLD}"`,
  ];
  await frontTest("front MX, LMTP", postfix, config);
});

/** XFORWARD is sent, and one LMTP session is kept for many mails. */
const CACHING = `
recipient_delimiter = +
lmtp_send_xforward_command = yes
lmtp_connection_cache_on_demand = yes
lmtp_destination_concurrency_limit = 1
`;

/**
 * Mails of a neighbour and of a spammer over SMTP, each followed by one that a keyserver on the
 * host hands to sendmail, of which Postfix tells no address. All of them wait for the gateway, so
 * that Postfix delivers them one behind the other in cached sessions.
 */
test("Postfix's cached LMTP sessions: each mail is judged by its own address", async () => {
  const socket = stage().path("lmtp.sock");
  const relay = { "a.kx.example.org": `lmtp:unix:${socket}` };
  const routes = { relay, pipes: {}, main: CACHING };
  const postfix = stage().add(await Postfix.start(stage().path("postfix"), routes));
  const local = "pgp-public-keys@local.example.net";
  const keys = debianKeys(30);
  const armor = (index: number) => keys[index]?.armored ?? "";
  const sendmail = (raw: Buffer) => {
    const program = Postfix.sendmail(stage().path("postfix"));
    run(program, ["-t", "-oi", "-fmailer-daemon"], { input: raw.toString().replaceAll("\r", "") });
  };
  for (let i = 0; i < 10; i += 1) {
    const over = { from: OLD, to: SITE, armored: armor(i) };
    await stage().post(postfix.port, { ...over, localAddress: "127.0.0.2" });
    sendmail(stage().incremental(local, SITE, armor(10 + i)));
    const spam = { from: "x@spam.example", to: SITE, armored: armor(20 + i) };
    await stage().post(postfix.port, { ...spam, localAddress: "127.0.0.9" });
    sendmail(stage().incremental("x@nobody.example", SITE, armor(20 + i)));
  }
  await until(() => postfix.queue().length === 40, "Postfix holds them", PATIENCE_MS);
  const gateway = await stage().gateway("a", [
    `[site]\naddress = "${SITE}"`,
    `[smtp]\nlisten = ["lmtp:${socket}"]\nsocket_mode = "0666"`,
    `[[peer]]\nname = "old"\nmail = "${OLD}"\naccept_from = ["127.0.0.2"]`,
    `[[peer]]\nname = "local"\nmail = "${local}"`,
  ]);
  await until(
    () => {
      postfix.flush();
      return eventCount(gateway, "accepted") + eventCount(gateway, "mail-refused") >= 40;
    },
    "Postfix has delivered them",
    PATIENCE_MS,
  );
  const origin = new Map(
    stage()
      .logged("a")
      .map((one) => [one.fingerprint, one.origin]),
  );
  const credited = keys.map(({ fingerprint }) => origin.get(fingerprint));
  const of = (name: string | undefined) => Array.from({ length: 10 }, () => name);
  expect(credited).toEqual([...of("old"), ...of("local"), ...of(undefined)]);
  // Postfix delivered some of them in a session that another mail had before.
  const reused = [...postfix.log().matchAll(/relay=.* conn_use=(\d+)/g)].map(([, uses]) => uses);
  expect(reused.length).toBeGreaterThan(10);
  const refused = `${eventCount(gateway, "mail-refused")} of 20 refused`;
  note("front MX, cached LMTP sessions", [
    {
      from: "old, local",
      to: "Postfix",
      road: "SMTP, sendmail",
      what: "20 mails, and 20 of nobody",
    },
    {
      from: "Postfix",
      to: "gateway A",
      road: "LMTP, Unix socket",
      what: `20 credited to whom they are from, ${refused}; ${reused.length} over a kept session`,
    },
  ]);
});

test("two aliases that lead to one LMTP recipient", async () => {
  const socket = stage().path("lmtp.sock");
  const relay = { "a.kx.example.org": `lmtp:unix:${socket}` };
  const names = ["one@a.kx.example.org", "two@a.kx.example.org"];
  const aliases = names.map((name) => `{ ${name} = ${SITE} }`).join(", ");
  const main = `${CACHING}virtual_alias_maps = inline:{ ${aliases} }\n`;
  const routes = { relay, pipes: {}, main };
  const postfix = stage().add(await Postfix.start(stage().path("postfix"), routes));
  const gateway = await stage().gateway("a", [
    `[site]\naddress = "${SITE}"`,
    `[smtp]\nlisten = ["lmtp:${socket}"]\nsocket_mode = "0666"`,
    `[[peer]]\nname = "old"\nmail = "${OLD}"`,
  ]);
  const keys = debianKeys(3);
  for (const { armored } of keys) {
    await stage().post(postfix.port, { from: OLD, to: names, armored });
  }
  await until(
    () => eventCount(gateway, "accepted") === keys.length,
    "all are through",
    PATIENCE_MS,
  );
  await until(() => postfix.waiting() === 0, "the queue is empty", PATIENCE_MS);
  const deliveries = postfix.deliveries();
  expect(deliveries.map(({ reply }) => reply)).toEqual(
    Array.from({ length: 6 }, () => "250 2.0.0 Stored 1 new, 0 known."),
  );
  expect(eventCount(gateway, "duplicate")).toBe(0);
});

/** The far gateway carries two keys of three. Postfix returns the third one as a bounce. */
test("a key that a gateway declines, reported by Postfix as a bounce of that update", async () => {
  const far = "pgp-public-keys@b.kx.example.org";
  const [near, beyond] = [await freePort(), await freePort()];
  const relay = {
    "a.kx.example.org": `smtp:[127.0.0.1]:${near}`,
    "b.kx.example.org": `smtp:[127.0.0.1]:${beyond}`,
  };
  const routes = { relay, pipes: {}, main: "recipient_delimiter = +\n" };
  const postfix = stage().add(await Postfix.start(stage().path("postfix"), routes));
  const keys = debianKeys(3);
  const [first, declined, last] = keys.map(({ fingerprint }) => fingerprint);
  writeFileSync(stage().path("keys.txt"), `${first}\n${last}\n`);
  const there = await stage().gateway("b", [
    `[site]\naddress = "${far}"`,
    `[smtp]\nlisten = ["127.0.0.1:${beyond}"]`,
    `[policy]\ncarry = "${stage().path("keys.txt")}"`,
    `[[peer]]\nname = "near"\nmail = "${SITE}"\naccept_from = ["127.0.0.1"]`,
  ]);
  const here = await stage().gateway("a", [
    `[site]\naddress = "${SITE}"`,
    `[smtp]\nlisten = ["127.0.0.1:${near}"]`,
    `[outbound]\nrelay = "smtp://127.0.0.1:${postfix.port}"`,
    'bounce = "pgp-bounces@a.kx.example.org"',
    `[[peer]]\nname = "old"\nmail = "${OLD}"\naccept_from = ["127.0.0.2"]`,
    `[[peer]]\nname = "far"\nmail = "${far}"\naccept_from = ["127.0.0.1"]`,
  ]);
  for (const { armored } of keys) {
    await stage().post(near, { from: OLD, to: SITE, armored, localAddress: "127.0.0.2" });
    await until(() => {
      const judged = eventCount(there, "accepted") + eventCount(there, "mail-refused");
      return judged === eventCount(here, "accepted");
    }, "the far gateway has judged it");
  }
  await until(() => eventCount(here, "bounce") === 1, "the bounce is back");
  const bounce = here.events.find(({ event }) => event === "bounce");
  expect(bounce).toMatchObject({ neighbour: "far", reason: "update", status: "5.7.1" });
  expect(bounce?.words).toMatch(/550 5\.7\.1 Content declined by policy\. /);
  const hash = stage()
    .logged("a")
    .find(({ fingerprint }) => fingerprint === declined)?.hash;
  expect(bounce?.hash).toBe(hash);
  expect(
    stage()
      .logged("b")
      .map(({ fingerprint }) => fingerprint),
  ).toEqual([first, last]);
});

test("kxgw ingest in an alias pipe of Postfix", async () => {
  const command = `${process.execPath} ${resolve("dist/main.js")} ingest`;
  const pipes = { [SITE]: `${command} -c ${stage().path("a.toml")}` };
  const postfix = stage().add(await Postfix.start(stage().path("postfix"), { relay: {}, pipes }));
  const config = [
    `[site]\naddress = "${SITE}"`,
    `[smtp]\nlisten = ["lmtp:${stage().path("lmtp.sock")}"]\nsocket_mode = "0666"`,
    `[[peer]]\nname = "old"\nmail = "${OLD}"`,
  ];
  await frontTest("alias pipe, kxgw ingest", postfix, config);
});

async function frontTest(name: string, postfix: Postfix, config: readonly string[]): Promise<void> {
  const keys = debianKeys(30);
  const post = async (from: number, to: number) => {
    for (const { armored } of keys.slice(from, to)) {
      await stage().post(postfix.port, { from: OLD, to: SITE, armored });
    }
  };
  const first = await stage().gateway("a", config);
  await post(0, 10);
  await until(() => eventCount(first, "accepted") === 10, "ten mails are through", PATIENCE_MS);
  await until(() => postfix.queue().length === 0, "the queue is empty", PATIENCE_MS);
  const [delivery] = postfix.deliveries();
  expect(delivery).toMatchObject({ to: SITE, status: "sent" });
  expect(delivery?.reply).toMatch(/^(250 2\.0\.0 Stored 1 new|delivered to command)/);

  expect(await first.end()).toBe(0);
  await post(10, 20);
  await until(
    () => {
      const held = postfix.queue();
      return held.length === 10 && held.every(({ reason }) => reason !== "");
    },
    "Postfix holds ten mails",
    PATIENCE_MS,
  );
  expect(stage().logged("a")).toHaveLength(10);
  const second = await stage().restart("a");
  postfix.flush();
  await until(
    () => postfix.queue().length === 0,
    "Postfix has delivered what it held",
    PATIENCE_MS,
  );
  await until(() => eventCount(second, "accepted") === 10, "all of it was new", PATIENCE_MS);

  await post(20, 25);
  expect(await second.end("SIGKILL")).not.toBe(0);
  await post(25, 30);
  const third = await stage().restart("a");
  postfix.flush();
  await until(
    () => {
      postfix.flush();
      return postfix.queue().length === 0;
    },
    "nothing is lost by a kill either",
    PATIENCE_MS,
  );
  const logged = stage().logged("a");
  expect(logged.map(({ fingerprint }) => fingerprint).sort()).toEqual(
    keys.map(({ fingerprint }) => fingerprint).sort(),
  );
  expect(await third.end()).toBe(0);

  const deliveries = postfix.deliveries();
  const count = (status: string) => deliveries.filter((one) => one.status === status).length;
  const road = deliveries[0]?.relay.replace(/\[.*/s, "") ?? "";
  note(name, [
    { from: "old", to: "Postfix", road: "SMTP", what: "30 mails" },
    {
      from: "Postfix",
      to: "gateway A",
      road: ROADS[road] ?? "LMTP, Unix socket",
      what: `${count("sent")} delivered, ${count("deferred")} attempts put off while A was down`,
    },
    { from: "gateway A", to: "its log", road: "", what: `${logged.length} updates of 30` },
  ]);
}
