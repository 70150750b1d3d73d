/**
 * MAIL FROM and RCPT TO over a real socket: what the configuration takes, the session takes, in
 * every spelling; and nothing else is our address.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../src/clock.js";
import { parseConfig } from "../../src/config/load.js";
import { BounceIntake } from "../../src/ingress/bounce-intake.js";
import { MailIntake } from "../../src/ingress/mail-intake.js";
import { SmtpDoor } from "../../src/ingress/smtp.js";
import { GroupCommit } from "../../src/intake/group-commit.js";
import { KeyIntake } from "../../src/intake/key-intake.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { mail } from "../mail/fixtures.js";
import { SmtpClient } from "../support/smtp-client.js";
import { Recorder } from "./door.js";
import { stopped } from "./ways.js";

const SITE = "pgp_Public-keys@key_server.xn--schlssel-95a.example";
/** As long as an address may be. */
const LONGEST = `${"a".repeat(64)}@${"b".repeat(63)}.${"c".repeat(63)}.${"d".repeat(61)}`;

/** A client that has said EHLO to a door whose site is `site`. */
async function client(site: string) {
  const directory = mkdtempSync(join(tmpdir(), "kxgw-addresses-"));
  const text =
    `[site]\naddress = "${site}"\n[log]\n[smtp]\nlisten = ["127.0.0.1:0"]\n` +
    `[outbound]\nbounce = "back@${site.split("@")[1]}"\n` +
    '[[peer]]\nname = "a"\nmail = "a@xn--mnchen-3ya.example"\naccept_from = ["127.0.0.1"]\n' +
    '[[peer]]\nname = "b"\nmail = "b@b_1.example"\naccept_from = ["127.0.0.1"]\n';
  const config = parseConfig(text, "test.toml", directory, {});
  if (config.smtp === undefined) throw new Error("no smtp section");
  const log = UpdateLog.open(config.log.path);
  onTestFinished(() => {
    log.close();
    rmSync(directory, { recursive: true, force: true });
  });
  const diagnostics = new Recorder();
  const keys = new KeyIntake({
    log: log,
    appends: new GroupCommit(log),
    clock: systemClock,
    diagnostics: diagnostics,
  });
  const intake = new MailIntake({ keys, diagnostics });
  const bounces = new BounceIntake(
    { log, clock: systemClock, diagnostics },
    { bounce: config.outbound?.bounce, neighbours: config.neighbours },
  );
  const door = stopped(
    new SmtpDoor({ intake, bounces, diagnostics }, { ...config, smtp: config.smtp }),
  );
  const [endpoint] = await door.start();
  const session = await SmtpClient.greeted(endpoint?.port ?? 0);
  onTestFinished(() => void session.socket.destroy());
  /** As UTF-8, which a client that believes in SMTPUTF8 may send unasked. */
  const say = (line: string) => session.say(Buffer.from(line, "utf8").toString("latin1"));
  return { say, transact: session.transact.bind(session), log };
}

test.each([
  SITE,
  SITE.toLowerCase(),
  SITE.toUpperCase(),
  `${SITE}.`,
  '"pgp_public-keys"@key_server.xn--schlssel-95a.example',
  '"pgp_public\\-keys"@KEY_SERVER.XN--schlssel-95a.example.',
  "pgp_public-keys@key_server.schlüssel.example",
  "pgp_public-keys@key_server.SCHLÜSSEL.example",
  `@relay.example,@other.example:${SITE}`,
  "back@key_server.schlüssel.example",
  '"back"@key_server.xn--schlssel-95a.example.',
])("RCPT TO:<%s> is ours", async (recipient) => {
  const { say } = await client(SITE);
  await say("MAIL FROM:<x@y.example>");
  expect(await say(`RCPT TO:<${recipient}>`)).toMatch(/^250 /);
});

test.each([
  "pgp_public-keys@key_server.schlussel.example",
  "pgp_public-keys@key-server.schlüssel.example",
  `"${SITE}"@other.example`,
  `"pgp_public-keys@key_server"@schlüssel.example`,
  '"pgp_public-keys "@key_server.schlüssel.example',
  "pgp_public-keys@[127.0.0.1]",
])("RCPT TO:<%s> is not", async (recipient) => {
  const { say } = await client(SITE);
  await say("MAIL FROM:<x@y.example>");
  expect(await say(`RCPT TO:<${recipient}>`)).toMatch(/^550 5\.7\.1 /);
});

test.each([
  LONGEST,
  '"John Doe"@y.example',
  '"a@b>c"@y.example',
  "user.@y.example",
  "a..b@y_1.example.",
  "root@[192.0.2.1]",
  "root@[IPv6:2001:db8::1]",
  "x@münchen.example",
])("MAIL FROM:<%s> is taken", async (sender) => {
  const { say } = await client(SITE);
  expect(await say(`MAIL FROM:<${sender}> SIZE=10`)).toMatch(/^250 /);
});

test.each(["a", "a@", "@b", "a b@c", "a@b c", '"a@b', "a@b..c", "a\u200bb@c", "a@b>x"])(
  "MAIL FROM:<%s> is a syntax error",
  async (sender) => {
    const { say } = await client(SITE);
    expect(await say(`MAIL FROM:<${sender}>`)).toMatch(/^501 /);
  },
);

test("the longest address may be the site's", async () => {
  const { say } = await client(LONGEST);
  await say("MAIL FROM:<>");
  expect(await say(`RCPT TO:<${LONGEST}>`)).toMatch(/^250 /);
});

test.each([
  ["a@münchen.example", "a"],
  ["A@xn--MNCHEN-3ya.example.", "a"],
  ['"b"@B_1.example', "b"],
  ["c@b_1.example", undefined],
])("the sender %s is the neighbour %s", async (sender, name) => {
  const { transact, log } = await client(SITE);
  const latin1 = Buffer.from(sender, "utf8").toString("latin1");
  const replies = await transact(latin1, [SITE], mail("hockeypuck-shape-add"));
  expect(replies.at(-1)).toMatch(/^250 2\.0\.0 Stored 1 new/);
  expect(log.entry(1 as never)?.origin.neighbour).toBe(name);
});
