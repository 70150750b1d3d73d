/**
 * docs/mail-servers.md, held to its word: Postfix, Exim and OpenSMTPD with the lines that stand
 * there, on other ports and paths, in front of a gateway. What they take gets through, they hold it
 * while the gateway is down, they turn strangers away, and they know our bounce address.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { createTransport } from "nodemailer";
import { expect, test } from "vitest";
import { blocks, page } from "../support/page.js";
import { freePort } from "../support/ports.js";
import { until } from "../support/until.js";
import { debianKeys } from "./keys.js";
import { note } from "./ledger.js";
import { Postfix } from "./postfix.js";
import { eventCount, stagePerTest } from "./stage.js";
import type { Front } from "./unpacked.js";
import { startExim, startOpenSmtpd } from "./unpacked.js";

const SITE = "pgp-public-keys@keys.example.org";
const BOUNCE = "pgp-bounces+old=1=0000000000@keys.example.org";
const OLD = "pgp-public-keys@old.example.net";

const stage = stagePerTest();

/** The one block of that kind, with paths and addresses that are here. */
function recipe(kind: string, here: Readonly<Record<string, string>> = {}): string {
  const [block, ...more] = blocks(page("mail-servers.md"), kind);
  if (block === undefined || more.length > 0) throw new Error(`${kind} is not one block`);
  const changes = { "192.0.2.0/24": "127.0.0.1", "/run/kxgw/lmtp.sock": socket(), ...here };
  return Object.entries(changes).reduce((text, [from, to]) => text.replaceAll(from, to), block);
}

function socket(): string {
  return stage().path("lmtp.sock");
}

const LMTP = () => `[smtp]\nlisten = ["lmtp:${socket()}"]\nsocket_mode = "0666"`;

/** Two mails, one of them while the gateway is down; a stranger's, a bounce, and nobody's. */
async function frontTest(front: Front, smtp: string): Promise<void> {
  const config = [
    `[site]\naddress = "${SITE}"\n${smtp}`,
    `[outbound]\nrelay = "smtp://127.0.0.1:1"\nbounce = "pgp-bounces@keys.example.org"`,
    `[[peer]]\nname = "old"\nmail = "${OLD}"\naccept_from = ["127.0.0.1"]`,
  ];
  const [one, two] = debianKeys(2);
  if (one === undefined || two === undefined) throw new Error("there are no keys");
  const post = (armored: string) => stage().post(front.port, { from: OLD, to: SITE, armored });
  const offer = async (localAddress: string, from: string, to: string) => {
    const host = { host: "127.0.0.1", port: front.port, localAddress, ignoreTLS: true };
    const transport = createTransport(host);
    const raw = `From: ${OLD}\r\nTo: ${to}\r\nSubject: returned\r\n\r\nNo such user.\r\n`;
    const outcome = await transport.sendMail({ raw, envelope: { from, to } }).then(
      () => "taken",
      (error: Error & { readonly responseCode?: number }) => `${error.responseCode}`,
    );
    transport.close();
    return outcome;
  };
  const first = await stage().gateway("a", config);
  await post(one.armored);
  await until(() => eventCount(first, "accepted") === 1, "a mail is through", 30_000);
  expect(await offer("127.0.0.9", "", BOUNCE)).toBe("taken");
  await until(() => eventCount(first, "bounce") === 1, "a bounce is through", 30_000);
  expect(await offer("127.0.0.9", OLD, SITE)).toMatch(/^5[05]/);
  await until(() => front.held() === 0, "nothing waits", 30_000);

  expect(await first.end()).toBe(0);
  await post(two.armored);
  await until(() => front.held() === 1, "the mail is held", 30_000);
  const second = await stage().restart("a");
  await until(
    () => {
      front.flush();
      return eventCount(second, "accepted") === 1;
    },
    "it is delivered",
    30_000,
  );
  await until(() => front.held() === 0, "nothing waits", 30_000);
  expect(
    stage()
      .logged("a")
      .map(({ fingerprint }) => fingerprint),
  ).toEqual([...[one.fingerprint, two.fingerprint]]);
  note("mail servers", [
    { from: "old", to: front.name, road: "SMTP", what: "2 mails and a bounce" },
    { from: front.name, to: "gateway A", road: "docs/mail-servers.md", what: "all of it" },
  ]);
}

test("Postfix by the page", async () => {
  const files = ["keyserver", "neighbours", "transport"] as const;
  const own = stage().path("recipe");
  mkdirSync(own);
  for (const name of files) writeFileSync(`${own}/${name}`, recipe(`postfix-${name}`));
  const main = recipe("postfix-main", { "/etc/postfix/": `${own}/` });
  const routes = { relay: { "keys.example.org": "error:nobody" }, pipes: {}, main };
  const postfix = stage().add(await Postfix.start(stage().path("postfix"), routes));
  const front = {
    name: "Postfix",
    port: postfix.port,
    held: () => postfix.queue().length,
    flush: () => postfix.flush(),
    log: () => postfix.log(),
    stop: () => postfix.stop(),
  };
  await frontTest(front, LMTP());
  const [delivery] = postfix.deliveries();
  expect(delivery).toMatchObject({ to: SITE, reply: "250 2.0.0 Stored 1 new, 0 known." });
});

test("Exim by the page", async () => {
  const lines = {
    acl: recipe("exim-acl"),
    router: recipe("exim-router"),
    transport: recipe("exim-transport"),
  };
  const exim = stage().add(await startExim(stage().path("exim"), lines));
  await frontTest(exim, LMTP());
});

test("OpenSMTPD by the page", async () => {
  const port = await freePort();
  const rules = recipe("opensmtpd", { "127.0.0.1:2525": `127.0.0.1:${port}` });
  const opensmtpd = stage().add(await startOpenSmtpd(stage().path("opensmtpd"), rules));
  await frontTest(opensmtpd, `[smtp]\nlisten = ["127.0.0.1:${port}"]`);
});
