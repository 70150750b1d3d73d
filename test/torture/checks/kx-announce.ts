/**
 * One peer announces a million updates as fast as it can and delivers none (row 13). What is
 * tracked of it has a cap, the others are served as before, and what an honest peer has comes in.
 */

import { KxVisitor } from "../../support/kx-visitor.js";
import { holdsWithin, pause } from "../../support/until.js";
import { Burden, type Waits, whileAttacked } from "../burden.js";
import { type Check, type Context, goesOn } from "../check.js";
import { type KxStage, kxStage, rudeAddress } from "../kx-stage.js";
import { made } from "../material.js";

const LINES = 500;
const QUIET_MS = 1000;
const MOST_GROWTH_MIB = 128;
const MOST_WAIT_MS = 2000;

export const kxAnnounce: Check = {
  name: "kx-announce",
  rows: [13],
  promise: "a million announcements of one peer cost little, and others nothing",
  runs: 1_000_000,
  share: 1,
  async run(context) {
    const stage = await kxStage(context, 1);
    try {
      return await flood(context, stage);
    } finally {
      await stage.end();
    }
  },
};

async function flood(context: Context, { gateway, peer, port }: KxStage) {
  const faults: string[] = [];
  const before = await whileAttacked(peer, pause(QUIET_MS));
  const burden = new Burden(gateway.pid);
  const began = performance.now();
  const state = { said: 0 };
  const during = await whileAttacked(peer, announce(context, port, state));
  const seconds = (performance.now() - began) / 1000;
  const { update, armor } = made(context.seed, 1);
  peer.add({ update, armor });
  const stored = () => gateway.events.some(({ hash }) => hash === update.hash);
  const came = await holdsWithin(stored, 20_000);
  const { grewMib, cpu } = burden.end();
  if (!came) faults.push("what the honest peer announced did not come in");
  if (during.unanswered > 0) faults.push(`${during.unanswered} requests were not answered`);
  if (grewMib > MOST_GROWTH_MIB) faults.push(`the process grew by ${grewMib} MiB`);
  if (during.p99 > before.p99 + MOST_WAIT_MS) faults.push(`others waited ${told(during)}`);
  return {
    faults,
    figures:
      `${state.said} announcements in ${seconds.toFixed(1)} s (${cpu.toFixed(1)} s of processor ` +
      `time); resident +${grewMib} MiB; an honest peer's GETUPDATE ${told(before)} before, ` +
      `${told(during)} meanwhile`,
  };
}

async function announce(context: Context, port: number, state: { said: number }): Promise<void> {
  const rude = await KxVisitor.greeted(port, rudeAddress(0));
  while (goesOn(context, state.said) && !rude.isClosed) {
    const lines = Array.from({ length: LINES }, (_, n) => {
      const number = state.said + n + 1;
      const name = number.toString(16).padStart(32, "0");
      return `${number} ${name.toUpperCase()}ABCDEF01 ${name}`;
    });
    await rude.say(`b000|IHAVE|NOTIFY|${lines.join("|")}|.|`);
    state.said += LINES;
    // The honest peer is played in this process too.
    await pause(0);
  }
  // The end of it has arrived when a LIST behind it is answered.
  await rude.say("b001|LIST|1|.|");
  await holdsWithin(() => rude.isClosed || rude.text.includes("\r\nb001\r\n"), 60_000);
  rude.socket.destroy();
}

function told({ p99, most }: Waits): string {
  return `p99 ${p99} ms (at most ${most})`;
}
