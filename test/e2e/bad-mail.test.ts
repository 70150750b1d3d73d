/**
 * Bad input by mail against a live gateway: each gets its answer on the wire, stops nothing that
 * comes after it on the same connection, and leaves no trace in the log. A secret key leaves none
 * anywhere: not in the database, not in its WAL, not in what the gateway says.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { generateKey, type PrivateKey, readPrivateKey } from "openpgp";
import { expect, it } from "vitest";
import type { GatewayProcess } from "../../src/demo/process.js";
import { encodeArmor } from "../../src/openpgp/armor.js";
import { SmtpClient } from "../support/smtp-client.js";
import { made, mailOf, OLD, SITE } from "./material.js";
import { base, configFile, logOf, start } from "./stage.js";

const CONFIG = `${base(SITE, 'max_size = "64KiB"')}[[peer]]
name = "old"
mail = "${OLD}"
accept_from = ["127.0.0.1"]
`;

const ENVELOPE = { from: OLD, to: SITE };
const KEY = made("bad mail", 1);
const SECRET = await secretKey();

async function secretKey() {
  const { privateKey: armored } = await generateKey({
    userIDs: [{ name: "Secret", email: "secret@made.example" }],
    format: "armored",
  });
  const key: PrivateKey = await readPrivateKey({ armoredKey: armored });
  const binary = key.write();
  return { armored, binary };
}

/** Octets of the text with one of the base64 letters in the middle of the armor changed. */
function damaged(armor: string): string {
  const lines = armor.split("\n");
  const middle = Math.floor(lines.length / 2);
  const line = lines[middle] ?? "";
  lines[middle] = `${line.startsWith("A") ? "B" : "A"}${line.slice(1)}`;
  return lines.join("\n");
}

/** Each bad mail, what is answered, and what the operator reads of it. */
const BAD: readonly (readonly [string, string, number, RegExp, string])[] = [
  ["no key", mailOf("There is no key here.\n"), 550, /^5\.6\.0 .*no /i, "no-key"],
  [
    "wrong CRC",
    mailOf(KEY.armor.replace(/\n=.{4}\n/, "\n=AAAA\n")),
    550,
    /^5\.6\.0 .*checksum/,
    "bad-crc",
  ],
  ["a letter changed", mailOf(damaged(KEY.armor)), 550, /^5\.6\.0 .*checksum/, "bad-crc"],
  ["armor without its end", mailOf(KEY.armor.slice(0, 200)), 550, /^5\.6\.0 /, "bad-armor"],
  ["noise in the armor", mailOf(KEY.armor.replace("\nm", "\n!!")), 550, /^5\.6\.0 /, "bad-armor"],
  [
    "half a packet",
    mailOf(encodeArmor(Buffer.from("99010d04", "hex"))),
    550,
    /^5\.6\.0 /,
    "bad-packet",
  ],
  ["a secret key", mailOf(SECRET.armored), 550, /^5\.6\.0 .*secret/i, "secret-key"],
  ["one in disguise", mailOf(encodeArmor(SECRET.binary)), 550, /^5\.6\.0 .*secret/i, "secret-key"],
  ["too large", mailOf(made("large", 1, 60_000).armor), 552, /^5\.3\.4 /, "too-large"],
  ["another subject", mailOf(KEY.armor, "Hello"), 550, /^5\.6\.0 /, "bad-mail"],
];

function good(n: number) {
  return made("good after bad", n);
}

it("answers each, takes the good mail that follows, and stores no bad one", async () => {
  const file = configFile(CONFIG);
  const gateway = await start(file);
  const client = await SmtpClient.connect(gateway.port("smtp"));
  for (const [index, [name, mail, code, text]] of BAD.entries()) {
    const reply = await client.deliver(mail, ENVELOPE);
    expect([name, reply.code]).toEqual([name, code]);
    expect(reply.text.slice("550 ".length)).toMatch(text);
    expect((await client.deliver(mailOf(good(index).armor), ENVELOPE)).code).toBe(250);
  }
  expect(await hashes(file)).toEqual(BAD.map((_, index) => good(index).hash));
  expectNoSecret(file, gateway);
  expect(await gateway.end()).toBe(0);
  expectNoSecret(file, gateway);
  const refused = gateway.events.filter(({ event }) => event === "mail-refused");
  expect(refused.map(({ reason }) => reason)).toEqual(BAD.map(([, , , , reason]) => reason));
  expect(refused.filter(({ neighbour }) => neighbour !== "old")).toEqual([]);
});

it("takes the good keys of a mail that holds a secret one, and says what it left out", async () => {
  const file = configFile(CONFIG);
  const gateway = await start(file);
  const client = await SmtpClient.connect(gateway.port("smtp"));
  const blocks = [good(1).armor, SECRET.armored, good(2).armor, encodeArmor(SECRET.binary)];
  const reply = await client.deliver(mailOf(blocks.join("\n")), ENVELOPE);
  expect([reply.code, reply.text]).toEqual([250, "250 2.0.0 Stored 2 new, 0 known."]);
  expect(await hashes(file)).toEqual([good(1).hash, good(2).hash]);
  expectNoSecret(file, gateway);
  await gateway.end();
  const left = gateway.events.filter(({ event }) => event === "key-refused");
  expect(left.map(({ reason }) => reason)).toEqual(["secret-key", "secret-key"]);
});

it("knows who may write, and to whom", async () => {
  const file = configFile(CONFIG);
  const gateway = await start(file);
  const port = gateway.port("smtp");
  const stranger = await SmtpClient.connect(port, "127.0.0.9");
  const answers = [
    await stranger.deliver(mailOf(KEY.armor), ENVELOPE),
    await (await SmtpClient.connect(port)).deliver(mailOf(KEY.armor), {
      from: OLD,
      to: "postmaster@elsewhere.example",
    }),
    await (await SmtpClient.connect(port, "127.0.0.9")).deliver(mailOf(KEY.armor), {
      from: "",
      to: SITE,
    }),
    await (await SmtpClient.connect(port)).deliver("", { ...ENVELOPE, parameters: "SIZE=65537" }),
  ];
  expect(answers.map(({ code, text }) => [code, text.slice(4, 10)])).toEqual([
    [550, "5.7.1 "],
    [550, "5.7.1 "],
    [550, "5.7.1 "],
    [552, expect.stringContaining("5.3.4")],
  ]);
  expect(await hashes(file)).toEqual([]);
  const neighbour = await SmtpClient.connect(port);
  expect((await neighbour.deliver(mailOf(KEY.armor), ENVELOPE)).code).toBe(250);
  expect(await hashes(file)).toEqual([KEY.hash]);
  await gateway.end();
  const refused = gateway.events.filter(({ event }) => event === "mail-refused");
  expect(refused.map(({ reason }) => reason)).toEqual([
    "unknown-sender",
    "unknown-recipient",
    "unknown-sender",
  ]);
});

async function hashes(file: string): Promise<string[]> {
  return (await logOf(file)).map(({ hash }) => hash);
}

/** Neither the secret's octets nor its armor are in the gateway's files or words. */
function expectNoSecret(file: string, gateway: GatewayProcess): void {
  const octets = Buffer.from(SECRET.binary);
  // From behind the public part of the first packet on: 32 octets that only the secret key has.
  const secret = octets.subarray(46, 78);
  const base64 = SECRET.armored.split("\n").slice(3, 6);
  const files = ["updates.db", "updates.db-wal"].map((name) => readOr(join(file, "..", name)));
  const words = Buffer.from(gateway.output + gateway.errors);
  expect(Buffer.from(SECRET.binary).includes(secret)).toBe(true);
  for (const bytes of [...files, words]) {
    expect(bytes.includes(secret)).toBe(false);
    for (const line of base64) expect(bytes.includes(line)).toBe(false);
    expect(bytes.includes("secret@made.example")).toBe(false);
  }
  // The same search finds what is there.
  const [database = Buffer.alloc(0), wal = Buffer.alloc(0)] = files;
  expect(Buffer.concat([database, wal]).includes("good after bad 1 <")).toBe(true);
}

function readOr(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch {
    return Buffer.alloc(0);
  }
}
