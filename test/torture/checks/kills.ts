/**
 * kill -9 at random moments while mail comes in, KX comes in and mail goes out; every tenth time
 * before the gateway is ready (rows 1 and 22). After each kill: every update that was answered 250,
 * reported as accepted or announced to a peer is in the log, under its number, numbers without
 * gaps. At the end every update has left for the site, repeated at most once a kill, and the log
 * holds all that the KX peer has. Control: a gateway that acknowledges before it commits.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { GatewayProcess } from "../../../src/demo/process.js";
import { SmtpClient } from "../../support/smtp-client.js";
import { holdsWithin, pause } from "../../support/until.js";
import { type Check, type Context, goesOn, quantile } from "../check.js";
import { Ledger } from "../ledger.js";
import { incremental, made, SITE_ADDRESS } from "../material.js";
import { World } from "../world.js";

const CLIENTS = 3;
/** After it is ready; in the first tenth of a second little is on its way yet. */
const LONGEST_RUN_MS = 350;
/** Updates that the KX peer may have and the log not yet, so that a slow machine can keep up. */
const AHEAD = 40;
/** At the end, without any progress; the backlog of a thousand kills takes minutes. */
const STALL_MS = 30_000;
const CONTROL_KILLS = 12;

interface EventCounters {
  kills: number;
  mostRepeats: number;
  readonly startMs: number[];
}

export const kills: Check = {
  name: "kill",
  rows: [1, 22],
  promise: "kill -9 while receiving and sending: nothing acknowledged is lost",
  runs: 1000,
  share: 8,
  async run(context) {
    const { directory, build } = context;
    const world = await World.make({ directory, build, peer: true, sink: true });
    const ledger = new Ledger();
    const counters: EventCounters = { kills: 0, mostRepeats: 0, startMs: [] };
    const faults: string[] = [];
    try {
      const n = { next: 0 };
      while (goesOn(context, counters.kills, 3)) {
        await killOnce(context, world, ledger, counters, n);
        if (ledger.lost + ledger.faults.length > 0) break;
        if (counters.kills % 50 === 0) context.say(`${counters.kills} kills, ${ledger.kept} rows`);
      }
      const repeats = world.sink?.repeats ?? 0;
      faults.push(...(await settle(world, ledger)), ...ledger.faults.slice(0, 5));
      counters.mostRepeats = Math.max(counters.mostRepeats, (world.sink?.repeats ?? 0) - repeats);
      if (ledger.lost > 0) faults.push(`${ledger.lost} promised updates are not there`);
      if (counters.mostRepeats > 1) faults.push(`${counters.mostRepeats} repeats after one kill`);
    } finally {
      await world.end();
    }
    const control = await loseSome(context);
    const p99 = Math.round(quantile(counters.startMs, 0.99));
    return {
      faults,
      figures:
        `${counters.kills} kills; ${ledger.acknowledged} answered 250, ` +
        `${ledger.promised} promised in all, ${ledger.lost} lost, ` +
        `${ledger.kept} rows without a gap; ` +
        `${world.sink?.received.size ?? 0} updates mailed, ${world.sink?.repeats ?? 0} repeated ` +
        `(at most ${counters.mostRepeats} a kill); restart p99 ${p99} ms`,
      control: {
        caught: control.lost > 0,
        figures: `ack before commit: ${control.lost} lost in ${control.kills} kills`,
      },
    };
  },
};

async function killOnce(
  context: Context,
  world: World,
  ledger: Ledger,
  counters: EventCounters,
  n: { next: number },
): Promise<void> {
  const { random, seed } = context;
  const repeatsBefore = world.sink?.repeats ?? 0;
  const startedAt = performance.now();
  const gateway = world.spawn();
  const early = random() < 0.1;
  if (early) await pause(random() * 400);
  else {
    await gateway.event("ready");
    counters.startMs.push(performance.now() - startedAt);
    const load = { on: true };
    const workers = Array.from({ length: CLIENTS }, () => sendMails(gateway, ledger, seed, n));
    workers.push(offerUpdates(world, ledger, seed, n, load));
    await pause(random() * LONGEST_RUN_MS);
    await gateway.end("SIGKILL");
    load.on = false;
    await Promise.all(workers);
  }
  await gateway.end("SIGKILL");
  counters.kills += 1;
  for (const { event, hash } of gateway.events) {
    if (event === "accepted" || event === "duplicate") ledger.reported(String(hash));
  }
  ledger.audit(world.log, world.peer?.heard.splice(0) ?? []);
  const repeats = (world.sink?.repeats ?? 0) - repeatsBefore;
  counters.mostRepeats = Math.max(counters.mostRepeats, repeats);
}

/** One client: mail after mail on one connection, some with two keys, until the gateway is gone. */
async function sendMails(
  gateway: GatewayProcess,
  ledger: Ledger,
  seed: number,
  n: { next: number },
): Promise<void> {
  let client: SmtpClient | undefined;
  try {
    client = await SmtpClient.connect(gateway.port("smtp"));
    for (;;) {
      n.next += 1;
      const first = made(seed, n.next, (n.next * 397) % 5000);
      const keys = n.next % 7 === 0 ? [first, made(seed, 1e9 + n.next)] : [first];
      const armor = keys.map((key) => key.armor);
      const mail = incremental(armor, `${seed}.${n.next}`);
      const reply = await client.deliver(mail, SITE_ADDRESS);
      if (reply.code !== 250) continue;
      for (const { update } of keys) ledger.answered250(update.hash);
    }
  } catch {
    // Killed in the middle of it: nothing was promised, and the sender would try again.
  } finally {
    client?.close();
  }
}

async function offerUpdates(
  world: World,
  ledger: Ledger,
  seed: number,
  n: { next: number },
  load: { readonly on: boolean },
): Promise<void> {
  const { peer } = world;
  while (load.on && peer !== undefined) {
    const waiting = peer.updates.filter(({ update }) => !ledger.holds(update.hash)).length;
    if (waiting < AHEAD) {
      n.next += 1;
      peer.add(made(seed, n.next, (n.next * 131) % 3000));
    }
    await pause(4);
  }
}

/** Lets the gateway finish in peace, and says what is missing then. */
async function settle(world: World, ledger: Ledger): Promise<string[]> {
  const { peer, sink } = world;
  const gateway = await world.start();
  const faults: string[] = [];
  const fetched = () => {
    ledger.audit(world.log, []);
    return peer?.updates.every(({ update }) => ledger.holds(update.hash)) ?? true;
  };
  if (!(await settled(fetched, () => ledger.kept)))
    faults.push("not all that the peer has is here");
  const sent = () => sink === undefined || sink.received.size >= ledger.kept;
  if (!(await settled(sent, () => sink?.received.size ?? 0))) {
    faults.push(`${sink?.received.size} of ${ledger.kept} updates were mailed`);
  }
  const code = await gateway.end();
  if (code !== 0) faults.push(`SIGTERM ended with ${code}`);
  ledger.audit(world.log, [], true);
  const mailed = sink?.hashes();
  const unsent = [...(mailed ?? [])].filter((hash) => !ledger.holds(hash)).length;
  if (unsent > 0) faults.push(`${unsent} mails hold updates that the log does not have`);
  return faults;
}

/** Waits until `holds` does, for as long as `count` still grows. */
async function settled(holds: () => boolean, count: () => number): Promise<boolean> {
  for (;;) {
    const before = count();
    if (await holdsWithin(holds, STALL_MS, 100)) return true;
    if (count() === before) return false;
  }
}

async function loseSome(context: Context): Promise<{ lost: number; kills: number }> {
  const directory = join(context.directory, "control");
  mkdirSync(directory);
  const { build } = context;
  const world = await World.make({ directory, build, program: "ack-before-commit" });
  const ledger = new Ledger();
  const counters: EventCounters = { kills: 0, mostRepeats: 0, startMs: [] };
  try {
    const n = { next: 0 };
    while (counters.kills < CONTROL_KILLS && ledger.lost === 0) {
      await killOnce(context, world, ledger, counters, n);
    }
  } finally {
    await world.end();
  }
  return { lost: ledger.lost, kills: counters.kills };
}
