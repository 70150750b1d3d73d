/**
 * KX clients that ask and never read (row 32): each may hold 4 MiB of answers and what the kernel
 * takes, nothing of theirs is produced beyond that, others are served, and after a minute without
 * a byte moving they are cut off. Control: the same clients reading get a multiple of that.
 */

import { KxVisitor } from "../../support/kx-visitor.js";
import { holdsWithin, pause } from "../../support/until.js";
import { Burden, tcpOf, whileAttacked } from "../burden.js";
import type { Check, Context } from "../check.js";
import { type KxStage, kxStage, rudeAddress } from "../kx-stage.js";

const ADDRESSES = 5;
const PER_ADDRESS = 4;
/** So that 1000 answers are 80 MB. */
const FILLER = 60_000;
const MOST_MIB_A_CLIENT = 12;
const STALL_MS = 60_000;
const ASKS = `d000|GETUPDATE|${"1|".repeat(200)}.|d001|LIST|-|.|`;

export const kxSlow: Check = {
  name: "kx-slow",
  rows: [32],
  promise: "clients that never read cost 4 MiB each and are cut off after a minute",
  runs: 2,
  share: 2,
  async run(context) {
    const stage = await kxStage(context, ADDRESSES, FILLER);
    try {
      return await stall(context, stage);
    } finally {
      await stage.end();
    }
  },
};

async function stall(context: Context, { gateway, peer, port }: KxStage) {
  const faults: string[] = [];
  const reader = await KxVisitor.greeted(port, rudeAddress(0));
  await ask(reader);
  await holdsWithin(() => reader.heardBytes > 50e6, 60_000);
  const control = reader.heardBytes;
  reader.socket.destroy();
  await reader.closed;
  const before = await whileAttacked(peer, pause(1000));
  const burden = new Burden(gateway.pid);
  const clients = await Promise.all(
    Array.from({ length: ADDRESSES * PER_ADDRESS }, async (_, n) => {
      const rude = await KxVisitor.greeted(port, rudeAddress(Math.floor(n / PER_ADDRESS)));
      rude.socket.pause();
      return rude;
    }),
  );
  const began = performance.now();
  for (const client of clients) void ask(client);
  const during = await whileAttacked(peer, pause(3000));
  // The minute is waited for in a long run; npm test has it with a clock of its own.
  const waits = context.runs > 1 && context.endsAt - performance.now() > STALL_MS;
  const open = () => connectionsOf(gateway.pid, port) - 1;
  if (waits) await holdsWithin(() => open() === 0, STALL_MS + 15_000, 200);
  const seconds = Math.round((performance.now() - began) / 1000);
  const left = open();
  const { grewMib } = burden.end();
  const each = grewMib / clients.length;
  for (const client of clients) client.socket.destroy();
  if (each > MOST_MIB_A_CLIENT) faults.push(`each client costs ${each.toFixed(1)} MiB`);
  if (during.unanswered > 0) faults.push(`${during.unanswered} honest requests were not answered`);
  if (waits && left > 0) faults.push(`${left} clients are still there after ${seconds} s`);
  return {
    faults,
    figures:
      `${clients.length} clients, each asked for 80 MB: resident +${grewMib} MiB, ` +
      `${each.toFixed(1)} a client; an honest peer's GETUPDATE p99 ${before.p99} ms before, ` +
      `${during.p99} ms meanwhile; ` +
      (waits ? `all cut off after ${seconds} s` : "too short to see them cut off (needs 75 s)"),
    control: {
      caught: control > 50e6,
      figures: `one that reads got ${Math.round(control / 1e6)} MB`,
    },
  };
}

async function ask(client: KxVisitor): Promise<void> {
  for (let n = 0; n < 5; n += 1) await client.say(ASKS);
}

/** Established connections of a process at its own port, as /proc shows them. */
function connectionsOf(pid: number, port: number): number {
  const local = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return tcpOf(pid).filter(([at, state]) => at.endsWith(local) && state === "01").length;
}
