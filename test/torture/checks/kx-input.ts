/**
 * A KX door that is shouted at (rows 31 and 33): bytes that never become a line, lines that mean
 * nothing, a million requests in one breath, and crowds of strangers. What may be asked is answered
 * to the last request, what makes no sense ends its own connection, and memory stays where it is.
 */

import { KxVisitor } from "../../support/kx-visitor.js";
import { holdsWithin, pause } from "../../support/until.js";
import { Burden, whileAttacked } from "../burden.js";
import { type Check, type Context, goesOn } from "../check.js";
import { type KxStage, kxStage, rudeAddress } from "../kx-stage.js";

const MIB = 2 ** 20;
const STRANGER = "127.0.0.200";
/** Requests a write; the line that is counted in their answers. */
const BURST = 1000;
const GONE = "update not available";
const MOST_GROWTH_MIB = 128;
const AT_ONCE = 20;

/** What is sent, how often, and what puts an end to it; undefined where the door has to. */
const NONSENSE: readonly (readonly [string, Buffer, number, string?])[] = [
  ["no newline", Buffer.alloc(MIB, "A"), 64],
  ["no newline in an UPDATE", Buffer.alloc(MIB, "A"), 64, "|.|"],
  ["CR only", Buffer.alloc(MIB, "\r"), 16],
  ["LF only", Buffer.alloc(MIB, "\n"), 16, ""],
  ["NUL", Buffer.alloc(MIB), 16],
  ["invalid UTF-8", Buffer.alloc(MIB, Buffer.from([0xc3, 0x28, 0x0d, 0x0a])), 16],
  ["unknown commands", Buffer.from("x000\r\nWHAT\r\n.\r\n".repeat(1000)), 1],
];

export const kxInput: Check = {
  name: "kx-input",
  rows: [31, 33],
  promise: "no input and no crowd at the KX door costs memory or keeps others out",
  runs: 1_000_000,
  share: 2,
  async run(context) {
    const stage = await kxStage(context, 2);
    const faults: string[] = [];
    const figures: string[] = [];
    try {
      for (const part of [nonsense, pipelined, strangers]) {
        const burden = new Burden(stage.gateway.pid);
        const began = performance.now();
        const told = await part(context, stage, faults);
        const seconds = (performance.now() - began) / 1000;
        const { grewMib, cpu } = burden.end();
        if (grewMib > MOST_GROWTH_MIB) faults.push(`${told}: grew by ${grewMib} MiB`);
        const cost = `${seconds.toFixed(1)} s, processor ${cpu.toFixed(1)} s, +${grewMib} MiB`;
        figures.push(`${told} (${cost})`);
      }
      const served = (await stage.peer.fetch(1))?.command === "UPDATE";
      if (!served) faults.push("the honest peer is not served any more");
    } finally {
      await stage.end();
    }
    return { faults, figures: figures.join("; ") };
  },
};

async function nonsense(_context: Context, { port, peer }: KxStage, faults: string[]) {
  let sent = 0;
  for (const [name, bytes, times, end] of NONSENSE) {
    const rude = await KxVisitor.greeted(port, rudeAddress(0));
    if (name.includes("UPDATE")) await rude.say("c000|UPDATE|x000|");
    const attack = async () => {
      for (let n = 0; n < times && !rude.isClosed; n += 1) {
        await rude.write(bytes);
        await pause(0);
        sent += bytes.length;
      }
    };
    const { unanswered } = await whileAttacked(peer, attack());
    if (unanswered > 0) faults.push(`${name}: ${unanswered} honest requests were not answered`);
    if (end !== undefined) await rude.say(`${end}c001|LIST|1|.|`);
    const isLive = () => rude.text.includes("\r\nc001\r\n");
    if (!(await holdsWithin(end === undefined ? () => rude.isClosed : isLive, 20_000))) {
      faults.push(`${name}: the connection ${end === undefined ? "goes" : "does not live"} on`);
    }
    rude.socket.destroy();
    await rude.closed;
  }
  return `${NONSENSE.length} kinds of nonsense, ${Math.round(sent / MIB)} MiB taken`;
}

async function pipelined(context: Context, { port, peer }: KxStage, faults: string[]) {
  const rude = await KxVisitor.greeted(port, rudeAddress(1), [GONE]);
  const burst = Buffer.from("d000\r\nGETUPDATE\r\n99\r\n.\r\n".repeat(BURST));
  let asked = 0;
  const attack = async () => {
    for (; goesOn(context, asked) && !rude.isClosed; asked += BURST) {
      await rude.write(burst);
      await pause(0);
    }
    await holdsWithin(() => rude.isClosed || rude.count(GONE) >= asked, 60_000);
  };
  const waits = await whileAttacked(peer, attack());
  const answered = rude.count(GONE);
  rude.socket.destroy();
  if (answered !== asked) faults.push(`${answered} of ${asked} pipelined requests were answered`);
  if (waits.unanswered > 0) faults.push(`${waits.unanswered} honest requests were not answered`);
  return `${answered} of ${asked} pipelined GETUPDATEs answered, others wait p99 ${waits.p99} ms`;
}

async function strangers(context: Context, { gateway, port, peer }: KxStage, faults: string[]) {
  const wanted = Math.max(AT_ONCE, Math.round(context.runs / 100));
  let [came, heard] = [0, 0];
  const knock = async () => {
    while (came < wanted) {
      came += 1;
      const visitor = await KxVisitor.open(port, STRANGER);
      await visitor.closed;
      heard += visitor.heardBytes;
    }
  };
  const began = performance.now();
  const crowd = Promise.all(Array.from({ length: AT_ONCE }, knock));
  const waits = await whileAttacked(peer, crowd);
  const rate = Math.round(came / ((performance.now() - began) / 1000));
  const lines = gateway.events.filter(({ event }) => event === "peer-unknown").length;
  if (heard > 0) faults.push(`strangers heard ${heard} bytes`);
  if (lines > 20) faults.push(`${lines} lines about strangers`);
  if (waits.unanswered > 0) faults.push(`${waits.unanswered} honest requests were not answered`);
  return `${came} connections of strangers, ${rate} a second, 0 bytes told, ${lines} lines`;
}
