/**
 * A wall clock that jumps by an hour, by three days and by more than a week, forwards and back,
 * while mail comes in, goes out and is refused for a while by the site (row 40). Nothing expires by
 * a wrong date, nothing waits for one, and the operator is told. Control: upkeep that believes it.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { GatewayProcess } from "../../../src/demo/process.js";
import { UpdateLog } from "../../../src/log/update-log.js";
import type { Seq } from "../../../src/update.js";
import { SmtpClient } from "../../support/smtp-client.js";
import { holdsWithin, pause } from "../../support/until.js";
import { type Check, type Context, controlOf, goesOn } from "../check.js";
import { incremental, made, SITE_ADDRESS } from "../material.js";
import { World } from "../world.js";

/**
 * Each is followed by its way back. What comes in while the date is further behind than bodies are
 * kept is old when the date is right again, so there is no jump of -200.
 */
const JUMPS = [1, -1, 72, -72, 200];
const CONTROL_JUMPS = [200];
const MAILS = 5;
/** A retry is due after a second; the date says otherwise. */
const RESUME_MS = 30_000;

export const clockJumps: Check = {
  name: "clock-jumps",
  rows: [40],
  promise: "a clock that jumps loses no update and holds up no mail",
  runs: 30,
  share: 0.7,
  async run(context) {
    const real = await jump(context, "real", false, JUMPS);
    const control = await jump(controlOf(context, 1), "control", true, CONTROL_JUMPS);
    return {
      faults: real.faults,
      figures:
        `${real.jumps} jumps of +-1, +-72, +200 h and back: ${real.acknowledged} acknowledged, ` +
        `${real.lost} without a body, ${real.mailed} mailed, longest stay of a refused mail ` +
        `${(real.longestMs / 1000).toFixed(1)} s, ${real.alarms} alarms`,
      control: {
        caught: control.lost > 0,
        figures: `the date is believed: ${control.lost} of ${control.acknowledged} gone`,
      },
    };
  },
};

async function jump(context: Context, name: string, trusting: boolean, jumps: readonly number[]) {
  const directory = join(context.directory, name);
  mkdirSync(directory);
  const { build } = context;
  const world = await World.make({ directory, build, sink: true, program: "jumping-clock" });
  const round = jumps.flatMap((hours) => [hours, -hours]);
  const env = [`KXTORTURE_HOURS=${Array(context.runs).fill(round.join(",")).join(",")}`];
  if (trusting) env.push("KXTORTURE_TRUSTING=1");
  const gateway = world.spawn(["env", ...env]);
  const told = { jumps: 0, acknowledged: 0, longestMs: 0, faults: [] as string[] };
  try {
    await gateway.event("ready");
    const client = await SmtpClient.connect(gateway.port("smtp"));
    await receive(context, client, told);
    for (let run = 0; goesOn(context, run); run += 1) {
      for (const _ of jumps) await thereAndBack(context, world, gateway, client, told);
    }
    client.close();
    const mailed = () => world.sink?.received.size ?? 0;
    await holdsWithin(() => mailed() >= told.acknowledged, RESUME_MS);
    if (!trusting && mailed() < told.acknowledged) told.faults.push("not every update was mailed");
    await gateway.end();
    const lost = withoutBody(world);
    if (lost > 0) told.faults.push(`${lost} updates have lost their bodies`);
    const alarms = gateway.events.filter(({ event }) => event === "clock-jumped").length;
    return { ...told, lost, mailed: mailed(), alarms };
  } finally {
    await gateway.end("SIGKILL");
    await world.end();
  }
}

/** One jump with the site refusing, mail in, the way back, and mail in again. */
async function thereAndBack(
  context: Context,
  world: World,
  gateway: GatewayProcess,
  client: SmtpClient,
  told: { jumps: number; acknowledged: number; longestMs: number; faults: string[] },
): Promise<void> {
  const { sink } = world;
  if (sink === undefined) return;
  const mail = () => receive(context, client, told);
  await step(gateway, told);
  const refusedBefore = sink.refused;
  sink.refusal = "451 4.3.2 Later.";
  await mail();
  await holdsWithin(() => sink.refused > refusedBefore, 10_000);
  // Retries are put off by the date of now, which is about to be another.
  await step(gateway, told);
  sink.refusal = undefined;
  const began = performance.now();
  await mail();
  const came = await holdsWithin(() => sink.received.size >= told.acknowledged, RESUME_MS);
  told.longestMs = Math.max(told.longestMs, performance.now() - began);
  if (!came) told.faults.push(`after jump ${told.jumps} mail was held up`);
  await pause(100);
}

async function receive(
  context: Context,
  client: SmtpClient,
  told: { acknowledged: number },
): Promise<void> {
  for (let n = 0; n < MAILS; n += 1) {
    told.acknowledged += 1;
    const { armor } = made(context.seed, told.acknowledged);
    const text = incremental([armor], `jump.${told.acknowledged}`);
    const reply = await client.deliver(text, SITE_ADDRESS);
    if (reply.code !== 250) throw new Error(reply.text);
  }
}

async function step(gateway: GatewayProcess, told: { jumps: number }): Promise<void> {
  told.jumps += 1;
  process.kill(gateway.pid, "SIGUSR2");
  const jumps = () => gateway.errors.split("jumped to").length - 1;
  await holdsWithin(() => jumps() >= told.jumps, 10_000);
}

function withoutBody(world: World): number {
  const log = UpdateLog.open(world.log, { readonly: true });
  const entries = log.range(1 as Seq, Number.MAX_SAFE_INTEGER as Seq, 100_000);
  const gone = entries.filter(({ seq }) => log.body(seq) === undefined).length;
  log.close();
  return gone;
}
