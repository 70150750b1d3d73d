/**
 * What XFORWARD says holds for one mail: a mail server keeps its LMTP session and sends the next
 * mail without it. Every way in which one mail ends and another begins, over a real Unix socket.
 */
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import { SMTP_LIMITS } from "../../src/ingress/limits.js";
import { SmtpDoor } from "../../src/ingress/smtp.js";
import { SmtpClient } from "../support/smtp-client.js";
import { bench, fixture, SITE, stopped } from "./ways.js";

const PKS = "pgp-public-keys@pks.example.net";
/** In accept_from of "pks", and in nobody's. */
const NEIGHBOUR = "192.0.2.1";
const STRANGER = "198.51.100.1";
/** Names no neighbour as its author. */
const ANONYMOUS = fixture("sks-new-eddsa.eml");
/** Names "pks" in its trail. */
const NAMED = fixture("pksd-delta.eml");

async function open(limits: Partial<typeof SMTP_LIMITS> = {}) {
  const beside = bench(() => '[smtp]\nlisten = ["127.0.0.1:0", "lmtp:lmtp.sock"]\n');
  const { config, directory, intake, bounces, diagnostics } = beside;
  if (config.smtp === undefined) throw new Error("no smtp section");
  const all = { ...SMTP_LIMITS, closeMs: 500, ...limits };
  const door = stopped(
    new SmtpDoor({ intake, bounces, diagnostics }, { ...config, smtp: config.smtp, limits: all }),
  );
  const [endpoint] = await door.start();
  const dial = async () => {
    const client = await SmtpClient.openSocket(join(directory, "lmtp.sock"));
    onTestFinished(() => void client.socket.destroy());
    await client.answer();
    await client.say("LHLO mx.example");
    return client;
  };
  return { ...beside, port: endpoint?.port ?? 0, dial };
}

/** The reply that settles a mail of `sender`. */
async function settle(
  client: SmtpClient,
  raw: Uint8Array,
  sender = "x@y.example",
): Promise<string> {
  const mail = await client.say(`MAIL FROM:<${sender}>`);
  if (!mail.startsWith("250")) return mail;
  const recipient = await client.say(`RCPT TO:<${SITE}>`);
  if (!recipient.startsWith("250")) return recipient;
  await client.say("DATA");
  return await client.message(raw);
}

/** How a mail ends before another one begins in the same session. */
const ENDS: readonly [string, (client: SmtpClient) => Promise<unknown>][] = [
  ["a message", async (client) => expect(await settle(client, ANONYMOUS)).toMatch(/^250/)],
  ["a message that is refused", (client) => settle(client, Buffer.from("Subject: x\n\n"))],
  ["RSET", (client) => client.say("RSET")],
  [
    "RSET in the transaction",
    async (client) => {
      await client.say(`MAIL FROM:<${PKS}>`);
      await client.say(`RCPT TO:<${SITE}>`);
      await client.say("RSET");
    },
  ],
  ["LHLO", (client) => client.say("LHLO mx.example")],
];

describe("the address of one mail", () => {
  test.each(ENDS)("ends with %s: a neighbour's vouches for no other mail", async (_, end) => {
    const { dial, entries } = await open();
    const client = await dial();
    expect(await client.say(`XFORWARD ADDR=${NEIGHBOUR}`)).toMatch(/^250/);
    await end(client);
    const before = entries().length;
    expect(await settle(client, ANONYMOUS)).toMatch(/^550 5\.7\.1 The mail names no neighbour/);
    expect(entries()).toHaveLength(before);
  });

  test.each(ENDS.slice(2))("ends with %s: a stranger's shuts nobody out", async (_, end) => {
    const { dial } = await open();
    const client = await dial();
    expect(await client.say(`XFORWARD ADDR=${STRANGER}`)).toMatch(/^250/);
    expect(await client.say(`MAIL FROM:<${PKS}>`)).toMatch(/^550 5\.7\.1 This address/);
    await end(client);
    expect(await settle(client, NAMED)).toMatch(/^250 2\.0\.0 Stored 1 new/);
  });

  test("holds after a sender that was refused, as the mail goes on", async () => {
    const { dial } = await open();
    const client = await dial();
    await client.say(`XFORWARD ADDR=${STRANGER}`);
    for (const sender of [PKS, "x@y.example", PKS]) {
      expect(await client.say(`MAIL FROM:<${sender}>`)).toMatch(/^550 5\.7\.1/);
    }
  });

  test.each([
    ["is taken back by [UNAVAILABLE]", ["ADDR=192.0.2.1", "ADDR=[UNAVAILABLE]"], false],
    ["may be told in pieces", ["NAME=a.example PORT=25", "ADDR=192.0.2.1", "PROTO=ESMTP"], true],
    ["is the last one that was told", ["ADDR=198.51.100.1", "ADDR=192.0.2.1"], true],
    ["stays when a later command is refused", ["ADDR=192.0.2.1", "ADDR=1.2.3", "X=1", ""], true],
    ["may be mapped into IPv6", ["ADDR=IPv6:::ffff:192.0.2.1"], true],
    ["of this host is none", ["ADDR=127.0.0.1"], false],
    ["of this host, mapped into IPv6, is none", ["ADDR=IPv6:::ffff:127.0.0.1"], false],
  ])("%s", async (_, commands, isNeighbour) => {
    const { dial } = await open();
    const client = await dial();
    for (const command of commands) await client.say(`XFORWARD ${command}`);
    const words = isNeighbour ? /^250 2\.0\.0 Stored 1/ : /^550 5\.7\.1 The mail names no/;
    expect(await settle(client, ANONYMOUS)).toMatch(words);
  });

  test("a refused XFORWARD keeps nothing over the end of its mail", async () => {
    const { dial } = await open();
    const client = await dial();
    await client.say(`XFORWARD ADDR=${NEIGHBOUR}`);
    expect(await client.say("XFORWARD ADDR=1.2.3")).toMatch(/^501/);
    await client.say("RSET");
    expect(await settle(client, ANONYMOUS)).toMatch(/^550 5\.7\.1 The mail names no neighbour/);
  });
});

test("a client's HELO of XFORWARD is not the name of the mail server", async () => {
  const { dial } = await open();
  const client = await dial();
  // Postfix writes this before a mail that was handed in on its own host.
  const local = "PROTO=[UNAVAILABLE] HELO=[UNAVAILABLE] IDENT=4B1C SOURCE=LOCAL";
  expect(await client.say(`XFORWARD ${local}`)).toMatch(/^250/);
  expect(await settle(client, NAMED)).toMatch(/^250 2\.0\.0 Stored 1 new/);
  await client.say("XFORWARD HELO=a.example NAME=b.example");
  expect(await client.say("LHLO mx.example")).not.toMatch(/[ab]\.example/);
});

test("sessions over the socket take no slots of strangers, whoever they forward for", async () => {
  const { dial, port } = await open({ strangers: 2, perStranger: 2 });
  for (let i = 0; i < 5; i += 1) {
    const client = await dial();
    expect(await client.say("XFORWARD ADDR=127.0.0.9")).toMatch(/^250/);
  }
  for (let i = 0; i < 2; i += 1) {
    const stranger = await SmtpClient.open(port, "127.0.0.9");
    onTestFinished(() => void stranger.socket.destroy());
    expect(await stranger.answer()).toMatch(/^220/);
  }
});

test("nor does TCP take slots of the socket", async () => {
  const { dial, port } = await open({ sessions: 2 });
  for (const expected of [/^220/, /^220/, /^421 4\.7\.0/]) {
    const client = await SmtpClient.open(port, "127.0.0.2");
    onTestFinished(() => void client.socket.destroy());
    expect(await client.answer()).toMatch(expected);
  }
  expect(await settle(await dial(), NAMED)).toMatch(/^250/);
});

test("XFORWARD is refused over TCP", async () => {
  const { port } = await open();
  const client = await SmtpClient.greeted(port, "127.0.0.9");
  onTestFinished(() => void client.socket.destroy());
  expect(client.heard).not.toContain("XFORWARD");
  expect(await client.say(`XFORWARD ADDR=${NEIGHBOUR}`)).toMatch(/^550/);
  expect(await client.say(`MAIL FROM:<${PKS}>`)).toMatch(/^550 5\.7\.1/);
});

/**
 * A model of one session: the address is the last one told since the last mail ended. Each mail of
 * a random session is judged as a session of its own would judge it.
 */
test("whatever a session says, each mail is judged by its own XFORWARD", async () => {
  const { dial } = await open();
  const told = fc.constantFrom(
    ...["ADDR=192.0.2.1", "ADDR=198.51.100.1", "ADDR=[UNAVAILABLE]", "ADDR=bad", "ADDR=127.0.0.1"],
    ...["NAME=[UNAVAILABLE] HELO=[UNAVAILABLE]", "HELO=x+20y", "ADDR=+31", "SOURCE=LOCAL"],
    ...["ADDR=192.0.2.1 ADDR=198.51.100.1", "ADDR", "ADDR=192.0.2.1 NAME=a+0D+0Ab"],
  );
  const step = fc.oneof(
    { weight: 3, arbitrary: told.map((text) => `XFORWARD ${text}`) },
    { weight: 2, arbitrary: fc.constant("mail") },
    { weight: 1, arbitrary: fc.constantFrom("RSET", "LHLO a.example", "NOOP", "VRFY a", "MAIL x") },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const client = await dial();
      let address: string | undefined;
      for (const line of steps) {
        if (line === "mail") {
          const reply = await settle(client, ANONYMOUS);
          if (address === NEIGHBOUR) expect(reply).toMatch(/^250/);
          else
            expect(reply).toMatch(address === STRANGER ? /^550 5\.7\.1 This/ : /^550 5\.7\.1 The/);
          // A mail whose sender was refused has not begun.
          if (address !== STRANGER) address = undefined;
          continue;
        }
        const isTaken = (await client.say(line)).startsWith("250");
        if (/^(RSET|LHLO)/.test(line)) address = undefined;
        const [, first] = /^XFORWARD.*?ADDR=(\S+)/.exec(line) ?? [];
        if (!isTaken || first === undefined) continue;
        address = /^[\d.]+$/.test(first) && first !== "127.0.0.1" ? first : undefined;
      }
      client.socket.destroy();
    }),
    { numRuns: 60 },
  );
});
