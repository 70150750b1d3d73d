/**
 * Mails made to hurt: poisoned keys (row 15, by KX too), lies about the size (row 29), MIME in
 * depth and breadth (row 39). Each has its answer, none costs memory or seconds, and a small update
 * of a poisoned key still passes, since a limit is on the update and never on the key so far.
 */
import { updateOf } from "../../../src/admit.js";
import { encodeArmor } from "../../../src/openpgp/armor.js";
import { encodeKey, readKeys } from "../../../src/openpgp/key.js";
import { encodePackets, type Packet, TAG } from "../../../src/openpgp/packet.js";
import { SmtpClient } from "../../support/smtp-client.js";
import { holdsWithin, pause } from "../../support/until.js";
import { Burden, cpuSeconds } from "../burden.js";
import type { Check } from "../check.js";
import { incremental, type Made, SITE_ADDRESS } from "../material.js";
import { World } from "../world.js";

const MIB = 2 ** 20;
const MOST_GROWTH_MIB = 384;
const MOST_MS = 8000;
const STREAM_MIB = 1024;
const ED25519 = [22, 9, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01, 0x01, 0x07, 0x40];
const PRIMARY = {
  tag: TAG.publicKey,
  body: Uint8Array.of(4, 0x60, 0, 0, 0, ...ED25519, ...Buffer.alloc(32, 7)),
};
const USER = { tag: TAG.userId, body: Buffer.from("Victim <victim@torture.example>") };

export const hostileMail: Check = {
  name: "hostile-mail",
  rows: [15, 29, 39],
  promise: "no key, no size and no structure of a mail costs much, and none keeps others out",
  runs: 1,
  share: 1,
  async run(context) {
    const { directory, build } = context;
    const world = await World.make({ directory, build, peer: true });
    const gateway = await world.start();
    const burden = new Burden(gateway.pid);
    const stage = new Stage(gateway.port("smtp"), gateway.pid);
    try {
      await holdsWithin(() => world.peer?.connected === true, 20_000);
      const byMail = await poisonByMail(stage);
      for (const [, one] of poisons()) world.peer?.add(one);
      const refused = () => gateway.events.filter(({ event }) => event === "update-refused").length;
      const wanted = poisons().length;
      if (!(await holdsWithin(() => refused() >= wanted, 30_000))) {
        stage.faults.push(`${refused()} of ${wanted} poisoned updates refused by KX`);
      }
      const sizes = await sizeLies(stage);
      const shapes = await mimeShapes(stage);
      await stage.expect("a small update of the victim", small(2), /^250 .*1 new/);
      const { grewMib, peakMib } = burden.end();
      if (grewMib > MOST_GROWTH_MIB) stage.faults.push(`the process grew by ${grewMib} MiB`);
      return {
        faults: stage.faults,
        figures:
          `${byMail} poisons refused by mail and ${refused()} by KX, 0 of 2 follow-ups blocked; ` +
          `${sizes}; ${shapes} MIME shapes; dearest answer ${Math.round(stage.slowest)} ms of ` +
          `processor time (${stage.slowestName}), resident at most ${peakMib} MiB (+${grewMib})`,
      };
    } finally {
      await gateway.end();
      await world.end();
    }
  },
};

/** Sends mails and holds the answers to what they have to be. */
class Stage {
  readonly faults: string[] = [];
  /** Milliseconds of processor time, which do not depend on what else the machine does. */
  slowest = 0;
  slowestName = "";
  readonly port: number;
  readonly pid: number;

  constructor(port: number, pid: number) {
    this.port = port;
    this.pid = pid;
  }

  async expect(name: string, mail: string, answer: RegExp): Promise<void> {
    const client = await SmtpClient.connect(this.port);
    const before = cpuSeconds(this.pid);
    const reply = client.deliver(mail, SITE_ADDRESS);
    const { text } = await reply.catch((error: Error) => ({ text: error.message }));
    this.note(name, (cpuSeconds(this.pid) - before) * 1000);
    if (!answer.test(text)) this.faults.push(`${name}: ${text.slice(0, 120)}`);
    client.close();
  }

  note(name: string, ms: number): void {
    if (ms > this.slowest) this.slowestName = name;
    this.slowest = Math.max(this.slowest, ms);
    if (ms > MOST_MS) this.faults.push(`${name} took ${Math.round(ms)} ms`);
  }
}

function packet(tag: number, octets: number, fill = 0x61): Packet {
  return { tag, body: Buffer.alloc(octets, fill) };
}

function signature(n: number): Packet {
  const body = Buffer.alloc(22, 4);
  body.set([4, 0x10, 22, 8, 0, 0, 0, 0, 0, 0]);
  body.writeUInt32BE(n, 14);
  return { tag: TAG.signature, body };
}

function armorOf(packets: readonly Packet[]): string {
  return encodeArmor(encodePackets([PRIMARY, ...packets]));
}

function small(n: number): string {
  return incremental([armorOf([USER, signature(n)])], `small.${n}`);
}

/** What policy or framing has to refuse; those that are keys may be announced by KX as well. */
function poisons(): (readonly [string, Made])[] {
  const many = Array.from({ length: 150_000 }, (_, n) => signature(n));
  const kinds: [string, Packet[]][] = [
    ["150,000 signatures", [USER, ...many]],
    ["a user id of 2 KiB and one", [packet(TAG.userId, 2049)]],
    ["a user id of 8 KiB and one", [packet(TAG.userId, 8193)]],
    ["an attribute of 4 MiB alone", [packet(TAG.userAttribute, 4 * MIB)]],
  ];
  return kinds.map(([name, packets]) => {
    const [key] = readKeys(encodePackets([PRIMARY, ...packets]));
    if (key === undefined || key instanceof Error) throw new Error(`${name}: this is no key`);
    return [name, { update: updateOf(key), armor: encodeArmor(encodeKey(key)) }] as const;
  });
}

async function poisonByMail(stage: Stage): Promise<number> {
  const claim = Buffer.from([0xcd, 0xff, 0xff, 0xff, 0xff, 0xff, 0x61, 0x61]);
  const mails = [
    ...poisons().map(([name, { armor }]) => [name, armor] as const),
    ["an attribute of 16 MiB alone", armorOf([packet(TAG.userAttribute, 16 * MIB)])] as const,
    [
      "a packet that claims 4 GiB",
      encodeArmor(Buffer.concat([encodePackets([PRIMARY]), claim])),
    ] as const,
  ];
  for (const [name, armor] of mails) {
    await stage.expect(name, incremental([armor], "poison"), /^55[02] |connection ended|EPIPE/);
  }
  await stage.expect("a small update after that", small(1), /^250 .*1 new/);
  return mails.length;
}

async function sizeLies(stage: Stage): Promise<string> {
  const client = await SmtpClient.connect(stage.port);
  const declared = await client.command(`MAIL FROM:<k@old.example.net> SIZE=${33 * MIB}`);
  if (declared.code !== 552) stage.faults.push(`SIZE=33 MiB was answered ${declared.text}`);
  client.close();
  const lines = `${"x".repeat(70)}\r\n`.repeat(Math.ceil((33 * MIB) / 72));
  await stage.expect("33 MiB undeclared", `Subject: x\r\n\r\n${lines}`, /^552 /);
  const dots = "..\r\n".repeat((2 * MIB) / 4 - 64);
  const before = cpuSeconds(stage.pid);
  await stage.expect("2 MiB of dots", `Subject: x\r\n\r\n${dots}`, /^55[02] /);
  const cpu = (cpuSeconds(stage.pid) - before) / 2;
  const streamed = await stream(stage);
  return `1 GiB stream ended after ${streamed} MiB; lines of dots ${cpu.toFixed(2)} s a MiB`;
}

/** A mail declared as 10 bytes that has no end; how many MiB of it were taken. */
async function stream(stage: Stage): Promise<number> {
  const client = await SmtpClient.connect(stage.port);
  await client.command("MAIL FROM:<k@old.example.net> SIZE=10");
  await client.command(`RCPT TO:<${SITE_ADDRESS}>`);
  await client.command("DATA");
  const piece = `${"x".repeat(1022)}\r\n`.repeat(1024);
  let answered = false;
  const answer = client
    .reply()
    .catch(() => undefined)
    .then(() => {
      answered = true;
    });
  let sent = 0;
  for (; sent < STREAM_MIB && !answered; sent += 1) {
    client.write(piece);
    await pause(1);
  }
  if (!answered) stage.faults.push("a mail of 1 GiB was taken");
  client.close();
  await answer;
  return sent;
}

async function mimeShapes(stage: Stage): Promise<number> {
  const { armor } = { armor: armorOf([USER, signature(99)]) };
  const text = `Content-Type: text/plain\r\n\r\n${armor}`;
  const nested = (depth: number) => {
    const levels = Array.from(
      { length: depth },
      (_, n) => `Content-Type: multipart/mixed; boundary=b${n}\r\n\r\n--b${n}\r\n`,
    );
    return `${levels.join("")}${text}`;
  };
  const parts = (body: string) => `Content-Type: multipart/mixed; boundary=b\r\n\r\n${body}`;
  const shapes: readonly (readonly [string, string])[] = [
    ["multipart 999 deep", nested(999)],
    ["multipart 1001 deep", nested(1001)],
    ["multipart 5000 deep", nested(5000)],
    ["40,000 header lines", `${"X-A: b\r\n".repeat(40_000)}\r\n${armor}`],
    ["30,000 addresses", `To: ${"a@b.example, ".repeat(30_000)}c@d.example\r\n${parts(text)}`],
    ["50,000 brackets", `To: ${"(".repeat(50_000)}\r\n${parts(text)}`],
    ["5,000 groups", `To: ${"a:b@c.example;".repeat(5000)}\r\n${parts(text)}`],
    ["2,000 parts", parts(`--b\r\n${text}\r\n`.repeat(2000))],
    ["50,000 boundaries", parts("--b\r\n".repeat(50_000))],
  ];
  for (const [name, shape] of shapes) {
    const mail = `From: k@old.example.net\r\nSubject: incremental\r\n${shape}`;
    await stage.expect(name, mail.replaceAll(/\r?\n/g, "\r\n"), /^(250|55[02]) /);
  }
  return shapes.length;
}
