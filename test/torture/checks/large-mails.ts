/**
 * The dearest mails of the largest size, one after the other: real keys, one key with a signature
 * too many, tiny keys, bodies in base64 and quoted-printable, a head made of brackets. No turn of
 * the event loop takes long, what is too much is refused after milliseconds, and the process stays
 * small, with several of them at once as well. Control: a gateway that reads a mail in one go.
 */
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { GatewayProcess } from "../../../src/demo/process.js";
import { encodeArmor } from "../../../src/openpgp/armor.js";
import { encodePackets, type Packet, TAG, walkPackets } from "../../../src/openpgp/packet.js";
import { LONG_REPLY_MS, SmtpClient } from "../../support/smtp-client.js";
import { Burden, cpuSeconds } from "../burden.js";
import type { Check, Context } from "../check.js";
import { incremental, made, SITE_ADDRESS } from "../material.js";
import { World } from "../world.js";
import { lagOf } from "./size.js";

const MIB = 2 ** 20;
const KEYRING = "/usr/share/keyrings/debian-keyring.gpg";
/** In armor a third more: 31 MiB. */
const KEYS_BYTES = 23 * MIB;
const MOST_TURN_MS = 100;
const MOST_GROWTH_MIB = 512;
/** Of a mail whose keys are too many, after it was read. */
const MOST_TINY_MS = 2500;
const AT_ONCE = 6;

type Answer = RegExp;

export const largeMails: Check = {
  name: "large-mails",
  rows: [29],
  promise: "a mail of 32 MiB, whatever is in it, makes nobody wait and costs bounded memory",
  runs: 1,
  share: 2,
  async run(context) {
    const real = await live(context, "real", false);
    const control = await live(context, "control", true);
    return {
      faults: real.faults,
      figures:
        `${real.mails} mails of up to ${real.largest} MiB: longest turn ${told(real.worst)}; ` +
        `100,000 tiny keys refused in ${real.tinyMs} ms of processor time; ${AT_ONCE} at once: ` +
        `resident at most ${real.peakMib} MiB (+${real.grewMib})`,
      control: {
        caught: control.worst.ms > MOST_TURN_MS,
        figures: `a mail in one go: longest turn ${told(control.worst)}`,
      },
    };
  },
};

interface Worst {
  ms: number;
  name: string;
}

function told({ ms, name }: Worst): string {
  return `${Math.round(ms)} ms (${name})`;
}

async function live(context: Context, name: string, isGreedy: boolean) {
  const directory = join(context.directory, name);
  mkdirSync(directory);
  const world = await World.make({ directory, build: context.build, program: "lag-meter" });
  const gateway = world.spawn(isGreedy ? ["env", "KXTORTURE_GREEDY=1"] : []);
  const faults: string[] = [];
  const worst: Worst = { ms: 0, name: "" };
  const mails = isGreedy ? shapes().slice(0, 1) : shapes();
  let tinyMs = 0;
  try {
    await gateway.event("ready");
    const burden = new Burden(gateway.pid);
    await lagOf(gateway);
    for (const [shape, mail, answer] of mails) {
      const before = cpuSeconds(gateway.pid);
      const text = await deliver(gateway, mail);
      if (shape === TINY) tinyMs = Math.round((cpuSeconds(gateway.pid) - before) * 1000);
      const { most } = await lagOf(gateway);
      if (most > worst.ms) Object.assign(worst, { ms: most, name: shape });
      context.say(`${name}: ${shape}: turn of ${Math.round(most)} ms, ${text.slice(0, 70)}`);
      if (!answer.test(text)) faults.push(`${shape}: ${text.slice(0, 120)}`);
      if (most > MOST_TURN_MS) faults.push(`${shape}: a turn of ${Math.round(most)} ms`);
    }
    if (tinyMs > MOST_TINY_MS) faults.push(`tiny keys were refused after ${tinyMs} ms`);
    const [, first = ""] = mails[0] ?? [];
    const again = isGreedy ? [] : Array.from({ length: AT_ONCE }, () => deliver(gateway, first));
    for (const text of await Promise.all(again)) {
      if (!/^250 .* 0 new/.test(text)) faults.push(`at once: ${text.slice(0, 120)}`);
    }
    const { grewMib, peakMib } = burden.end();
    if (grewMib > MOST_GROWTH_MIB) faults.push(`the process grew by ${grewMib} MiB`);
    const largest = Math.round(Math.max(...mails.map(([, mail]) => mail.length)) / MIB);
    return { faults, worst, tinyMs, grewMib, peakMib, mails: mails.length, largest };
  } finally {
    await gateway.end("SIGKILL");
    await world.end();
  }
}

async function deliver(gateway: GatewayProcess, mail: string): Promise<string> {
  const client = await SmtpClient.connect(gateway.port("smtp"), undefined, LONG_REPLY_MS);
  try {
    return (await client.deliver(mail, SITE_ADDRESS)).text;
  } catch (error) {
    return String(error);
  } finally {
    client.close();
  }
}

const TINY = "100,000 tiny keys";

function shapes(): (readonly [name: string, mail: string, answer: Answer])[] {
  const ring = encodeArmor(realKeys(KEYS_BYTES));
  const part = encodeArmor(realKeys(KEYS_BYTES / 2));
  const tiny = Array.from({ length: 100_000 }, (_, n) => primary(n));
  const [first] = tiny;
  const user = { tag: TAG.userId, body: Buffer.from("Large <large@torture.example>") };
  const key = (count: number, octets: number) =>
    encodeArmor(
      encodePackets([
        ...(first === undefined ? [] : [first]),
        user,
        ...Array.from({ length: count }, (_, n) => signature(n, octets)),
      ]),
    );
  const taken = /^250 .*Stored 0 new, [1-9]/;
  const stored = /^250 .*Stored [1-9]/;
  const tooLarge = /^552 5\.3\.4 /;
  const encoded = (encoding: string, body: string) =>
    incremental([], "x").replace(/\r\n$/, `\r\nContent-Transfer-Encoding: ${encoding}\r\n\r\n`) +
    body;
  return [
    ["real keys", incremental([ring], "ring"), stored],
    ["real keys again", incremental([ring], "ring"), /^250 .*Stored 0 new/],
    ["one key of 100,000 signatures", incremental([key(100_000, 60)], "sigs"), tooLarge],
    ["one key of 9,990 signatures", incremental([key(9990, 60)], "most"), stored],
    [TINY, incremental([encodeArmor(encodePackets(tiny))], "tiny"), tooLarge],
    ["base64", encoded("base64", wrapped(Buffer.from(part).toString("base64"))), taken],
    ["quoted-printable", encoded("quoted-printable", printable(part)), taken],
    [
      "quoted-printable of no escapes",
      encoded("quoted-printable", `${"=".repeat(30 * MIB)}\r\n`),
      /^550 /,
    ],
    ["a head of brackets", brackets(part), taken],
    ["text without end", incremental(["x".repeat(76).concat("\n").repeat(400_000)], "x"), /^550 /],
    ["one line", incremental(["A".repeat(30 * MIB), ""], "x"), /^550 /],
  ];
}

function primary(n: number): Packet {
  const body = Buffer.alloc(6 + 11 + 2 + 33, 7);
  body.set([4, 0x60, 0, 0, 0, 22, 10, 0x2b, 6, 1, 4, 1, 0xda, 0x47, 0x0f, 1, 1, 1, 7, 0x40]);
  body.writeUInt32BE(n, body.length - 4);
  return { tag: TAG.publicKey, body };
}

function signature(n: number, octets: number): Packet {
  const body = Buffer.alloc(octets, 4);
  body.set([4, 0x10, 22, 8, 0, 0, 0, 0, 0, 0]);
  // In no order, which costs most.
  body.writeUInt32BE(Math.imul(n, 0x9e3779b1) >>> 0, 14);
  return { tag: TAG.signature, body };
}

/** So much of Debian's keyring, in whole keys; made ones without it. */
function realKeys(bytes: number): Uint8Array {
  const ring = existsSync(KEYRING) ? readFileSync(KEYRING) : madeKeys();
  let end = 0;
  for (const { packet, offset } of walkPackets(ring)) {
    if (offset > bytes) break;
    if (packet.tag === TAG.publicKey) end = offset;
  }
  return ring.subarray(0, end);
}

function madeKeys(): Buffer {
  return Buffer.concat(
    Array.from({ length: 6000 }, (_, n) => Buffer.from(made(35, n, 4000).update.body)),
  );
}

function wrapped(text: string): string {
  return `${text.replaceAll(/.{76}/g, "$&\r\n")}\r\n`;
}

function printable(text: string): string {
  return text.replaceAll("=", "=3D").replaceAll("\n", "\r\n").replaceAll("A", "=41");
}

function brackets(armor: string): string {
  const head = `To: ${"(".repeat(50_000)}\r\nCc: ${"a:b@c.example;".repeat(4000)}\r\n`;
  const type = "Content-Type: multipart/mixed; boundary=b\r\n";
  const text = `--b\r\n\r\n${armor.replaceAll("\n", "\r\n")}\r\n--b--\r\n`;
  return `From: k@old.example.net\r\nSubject: incremental\r\n${head}${type}\r\n${text}`;
}
