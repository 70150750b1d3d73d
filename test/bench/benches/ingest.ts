/**
 * Ingest: new updates as incremental mails, each answered after the commit; over 16 connections and
 * one at a time. Beside it a floor that does the least that such a mail needs, a bare smtp-server,
 * and a Postfix that queues and discards: the same client, the same mails, by turns.
 */
import { join } from "node:path";
import { TAIL_LIMIT } from "../../../src/log/gathering.js";
import { Postfix } from "../../interop/postfix.js";
import {
  atLeast,
  atMost,
  type Bench,
  type Context,
  type Figure,
  type Goal,
  median,
  type Outcome,
  ratios,
  rotated,
} from "../bench.js";
import { FloorProcess } from "../floor-process.js";
import { storedIn } from "../floors/work.js";
import { Gateways, OLD } from "../gateways.js";
import { CONNECTIONS, deliverAll, WARM_UP } from "../mailing.js";
import { mailOf } from "../material.js";
import { meter } from "../processes.js";

export const ingest: Bench = {
  name: "ingest",
  question: "What does a new update by mail cost, durably, beside the least that it can cost?",
  run,
};

/** As many lone mails as entries are gathered: each turn has one settling in it. */
const SIZES = { warmUp: WARM_UP, busy: 4000, lone: TAIL_LIMIT };
const QUICK = { warmUp: 200, busy: 200, lone: 40 };

/** A process that takes mails, and what a mail cost it in each turn. */
interface Target {
  readonly name: string;
  readonly pid: number;
  readonly port: number;
  readonly taken: Record<"busy" | "busyBytes" | "lone" | "loneBytes" | "rate", number[]>;
}

async function run(context: Context): Promise<Outcome> {
  const { material, quick, runs, say, directory, build, sides } = context;
  const { warmUp, busy, lone } = quick ? QUICK : SIZES;
  const mails = material
    .updates(warmUp + runs * (busy + lone))
    .map((update, n) => mailOf(update, `ingest.${n}`));
  const turns = Math.floor((mails.length - warmUp) / (busy + lone));
  if (turns < 1) throw new Error(`${mails.length} updates are not enough for one turn`);
  const file = join(directory, "floor.db");
  const gateways = new Gateways(context);
  const bare = FloorProcess.start(build, "bare-smtp");
  const floor = FloorProcess.start(build, "ingest", [file]);
  const postfix = await startPostfix(join(directory, "postfix"), say);
  try {
    const ours: Target[] = [];
    for (const side of sides) {
      const lines = [`[[peer]]\nname = "old"\nmail = "${OLD}"\naccept_from = ["127.0.0.1"]`];
      const gateway = await gateways.start(side, { name: "ingest", lines });
      ours.push(target(`ours${side.label}`, gateway.pid, gateway.port("smtp")));
    }
    const floors = [
      target("floor", floor.pid, await floor.port()),
      target("bare smtp-server", bare.pid, await bare.port()),
    ];
    const targets = [...ours, ...floors];
    for (const { port } of targets) await deliverAll(port, mails.slice(0, warmUp));
    const rates: number[] = [];
    for (let turn = 0; turn < turns; turn++) {
      const from = warmUp + turn * (busy + lone);
      const many = mails.slice(from, from + busy);
      const few = mails.slice(from + busy, from + busy + lone);
      for (const one of rotated(targets, turn)) await measure(one, many, few);
      if (postfix !== undefined) rates.push(await deliverAll(postfix.port, many));
      say(targets.map(({ name, taken }) => `${name} ${taken.busy.at(-1)?.toFixed(0)}`).join(", "));
    }
    await floor.end();
    const stored = storedIn(file);
    const sent = warmUp + turns * (busy + lone);
    if (stored.rows !== sent) throw new Error(`the floor has ${stored.rows} rows of ${sent}`);
    const without =
      postfix === undefined ? "; without Postfix, which needs root and its package" : "";
    return {
      input:
        `${warmUp} mails as warm-up; a turn is ${busy} mails over ${CONNECTIONS} connections ` +
        `and ${lone} one at a time${without}`,
      figures: figuresOf(ours, floors, rates),
      goals: goalsOf(ours, floors),
    };
  } finally {
    for (const one of [bare, floor]) one.stop();
    await gateways.end();
    await postfix?.stop();
  }
}

function target(name: string, pid: number, port: number): Target {
  const taken = { busy: [], busyBytes: [], lone: [], loneBytes: [], rate: [] };
  return { name, pid, port, taken };
}

async function measure(one: Target, many: readonly string[], few: readonly string[]) {
  const { pid, port, taken } = one;
  const ofMany = meter(pid);
  taken.rate.push(await deliverAll(port, many));
  const busy = ofMany(many.length);
  const ofFew = meter(pid);
  await deliverAll(port, few, 1);
  const lone = ofFew(few.length);
  taken.busy.push(busy.cpu);
  taken.busyBytes.push(busy.bytes);
  taken.lone.push(lone.cpu);
  taken.loneBytes.push(lone.bytes);
}

function figuresOf(ours: readonly Target[], floors: readonly Target[], postfix: number[]) {
  const figures: Figure[] = [];
  const add = (name: string, unit: string, values: readonly number[]) => {
    if (values.length > 0) figures.push({ name, unit, values });
  };
  const kB = (values: readonly number[]) => values.map((bytes) => bytes / 1000);
  for (const one of ours) {
    for (const floor of floors) {
      const share = ratios(floor.taken.busy, one.taken.busy, 100);
      add(`${floor.name} : ${one.name}, ${CONNECTIONS} connections`, "%", share);
    }
  }
  for (const { name, taken } of [...ours, ...floors]) {
    add(`CPU of a mail over ${CONNECTIONS} connections, ${name}`, "us", taken.busy);
    add(`CPU of a lone mail, ${name}`, "us", taken.lone);
    if (taken.busyBytes.every((bytes) => bytes === 0)) continue;
    add(`written for a mail over ${CONNECTIONS} connections, ${name}`, "kB", kB(taken.busyBytes));
    add(`written for a lone mail, ${name}`, "kB", kB(taken.loneBytes));
  }
  const now = ours.at(-1);
  const before = ours.length > 1 ? ours[0] : undefined;
  if (now !== undefined && before !== undefined) {
    add("now : before, CPU of a mail", "", ratios(now.taken.busy, before.taken.busy));
    add("now : before, CPU of a lone mail", "", ratios(now.taken.lone, before.taken.lone));
  }
  if (now !== undefined) add("rate, ours : Postfix", "times", ratios(now.taken.rate, postfix));
  return figures;
}

function goalsOf(ours: readonly Target[], [floor]: readonly Target[]): Goal[] {
  const now = ours.at(-1);
  if (now === undefined || floor === undefined) return [];
  const share = median(ratios(floor.taken.busy, now.taken.busy, 100));
  const lone = median(now.taken.loneBytes) / 1000;
  const busy = median(now.taken.busyBytes) / 1000;
  return [
    atLeast("floor : ours, warm, over 16 connections, at least 50 %", share, 50, " %"),
    atMost("at most 24 kB written for a lone new update", lone, 24, " kB"),
    atMost("at most 11 kB over 16 connections", busy, 11, " kB"),
  ];
}

async function startPostfix(
  directory: string,
  say: (text: string) => void,
): Promise<Postfix | undefined> {
  try {
    return await Postfix.start(directory, { relay: { "kx.example.org": "discard:" }, pipes: {} });
  } catch (error) {
    say(`no Postfix: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}
