/**
 * A machine that starts with a wrong date, by days and by a year, ahead and behind: by faketime
 * where it is installed, else by the program's own clock. Mail comes in and is refused by the site
 * meanwhile, a SIGHUP and a restart lie in between, and then the date is right again (row 40).
 * Nothing loses its body, and no retry waits for the wrong date. Control: upkeep that believes it.
 */
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { GatewayProcess } from "../../../src/demo/process.js";
import { UpdateLog } from "../../../src/log/update-log.js";
import type { Seq } from "../../../src/update.js";
import { holdsWithin, pause } from "../../support/until.js";
import { type Check, type Context, controlOf, goesOn } from "../check.js";
import { incremental, made } from "../material.js";
import { World } from "../world.js";

/** Debian's faketime, of whatever architecture; undefined where it is not installed. */
const FAKETIME = readdirSync("/usr/lib")
  .map((name) => join("/usr/lib", name, "faketime/libfaketime.so.1"))
  .find(existsSync);
/** How wrong the date is at the start, in hours. */
const STARTS = [200, -200, 8760, -8760];
const CONTROL_STARTS = [8760];
const MAILS = 3;
/** Upkeep looks every 50 ms, and a date is steady after 100 ms. */
const ROUNDS_MS = 600;
/** A retry is due after a second; the date says otherwise. */
const RESUME_MS = 30_000;

export const wrongStarts: Check = {
  name: "wrong-starts",
  rows: [40],
  promise: "a date that is wrong at the start loses no update and holds up no mail",
  runs: 10,
  share: 0.7,
  async run(context) {
    const real = await life(context, "real", false, STARTS);
    const control = await life(controlOf(context, 1), "control", true, CONTROL_STARTS);
    const by = FAKETIME !== undefined ? "faketime" : "the program's clock";
    return {
      faults: real.faults,
      figures:
        `${real.starts} starts with a date wrong by 200 h or a year (${by}), each with a SIGHUP ` +
        `and a restart: ${real.acknowledged} acknowledged, ${real.lost} without a body, ` +
        `${real.mailed} mailed, longest stay of a refused mail ` +
        `${(real.longestMs / 1000).toFixed(1)} s`,
      control: {
        caught: control.lost > 0,
        figures: `the date is believed: ${control.lost} of ${control.acknowledged} gone`,
      },
    };
  },
};

async function life(context: Context, name: string, trusting: boolean, starts: readonly number[]) {
  const directory = join(context.directory, name);
  mkdirSync(directory);
  const { build } = context;
  const world = await World.make({ directory, build, sink: true, program: "jumping-clock" });
  const { sink } = world;
  if (sink === undefined) throw new Error("a world without a site");
  const told = { starts: 0, acknowledged: 0, longestMs: 0, faults: [] as string[] };
  const begin = async (hours: number): Promise<GatewayProcess> => {
    const trust = trusting ? ["KXTORTURE_TRUSTING=1"] : [];
    const gateway = world.spawn([...wrongBy(hours), ...trust]);
    await gateway.event("ready");
    return gateway;
  };
  const receive = async (gateway: GatewayProcess) => {
    for (let n = 0; n < MAILS; n += 1) {
      told.acknowledged += 1;
      const { armor } = made(context.seed, told.acknowledged);
      const reply = await world.mail(gateway, incremental([armor], `start.${told.acknowledged}`));
      if (reply.code !== 250) throw new Error(reply.text);
    }
  };
  try {
    for (let run = 0; goesOn(context, run); run += 1) {
      for (const hours of starts) {
        const right = await begin(0);
        await receive(right);
        await holdsWithin(() => sink.received.size >= told.acknowledged, RESUME_MS);
        await right.end();
        // Twice, since a date that was wrong before may pass for evidence.
        for (const refusal of [undefined, "451 4.3.2 Later."]) {
          told.starts += 1;
          const wrong = await begin(hours);
          const refused = sink.refused;
          sink.refusal = refusal;
          await receive(wrong);
          if (refusal !== undefined) await holdsWithin(() => sink.refused > refused, RESUME_MS);
          process.kill(wrong.pid, "SIGHUP");
          const isReady = ({ event }: { readonly event: string }) => event === "ready";
          await holdsWithin(() => wrong.events.filter(isReady).length === 2, RESUME_MS);
          await receive(wrong);
          await pause(ROUNDS_MS);
          await wrong.end();
        }
        const corrected = await begin(0);
        sink.refusal = undefined;
        const began = performance.now();
        await receive(corrected);
        const came = await holdsWithin(() => sink.received.size >= told.acknowledged, RESUME_MS);
        told.longestMs = Math.max(told.longestMs, performance.now() - began);
        if (!came && !trusting)
          told.faults.push(`after a start off by ${hours} h mail was held up`);
        await pause(ROUNDS_MS);
        await corrected.end();
      }
    }
    const lost = withoutBody(world, told.acknowledged);
    if (lost > 0) told.faults.push(`${lost} updates have lost their bodies`);
    return { ...told, lost, mailed: sink.received.size };
  } finally {
    await world.end();
  }
}

/** The command that runs a program with a date that is so many hours off. */
function wrongBy(hours: number): string[] {
  if (FAKETIME === undefined) return ["env", `KXTORTURE_START=${hours}`];
  // The monotonic clock of a machine is never wrong.
  const env = ["FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1"];
  const by = `FAKETIME=${hours < 0 ? "" : "+"}${hours * 3600}s`;
  return ["env", `LD_PRELOAD=${FAKETIME}`, by, ...env];
}

/** How many of the updates that were acknowledged have no body, or are not in the log. */
function withoutBody(world: World, acknowledged: number): number {
  const log = UpdateLog.open(world.log, { readonly: true });
  const entries = log.range(1 as Seq, Number.MAX_SAFE_INTEGER as Seq, 100_000);
  const kept = entries.filter(({ seq }) => log.body(seq) !== undefined).length;
  log.close();
  return acknowledged - kept;
}
