/**
 * SIGTERM under load, a second one while the first is obeyed, and SIGHUP every moment (row 42).
 * The process ends in time, with its log closed, and what was answered 250 is there. Control: a
 * gateway that answers before it commits.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { GatewayProcess } from "../../../src/demo/process.js";
import { SmtpClient } from "../../support/smtp-client.js";
import { holdsWithin, pause } from "../../support/until.js";
import { type Check, type Context, controlOf, goesOn, quantile } from "../check.js";
import { Ledger } from "../ledger.js";
import { incremental, made, SITE_ADDRESS } from "../material.js";
import { World } from "../world.js";

const CLIENTS = 4;
const MOST_EXIT_MS = 30_000;
const HUPS = 5;
/** Exit codes: in peace, and after a second signal. */
const PEACE = 0;
const IMPATIENT = 70;

export const signals: Check = {
  name: "signals",
  rows: [42],
  promise: "signals under load lose nothing that was acknowledged",
  runs: 200,
  share: 1,
  async run(context) {
    const real = await signalled(context, "real", undefined);
    const control = await signalled(controlOf(context, 5), "control", "ack-before-commit");
    const p99 = Math.round(quantile(real.exits, 0.99));
    const most = Math.round(Math.max(...real.exits));
    return {
      faults: real.faults,
      figures:
        `${real.terms} SIGTERMs, ${real.twice} of them twice, ${real.hups} SIGHUPs: ` +
        `${real.acknowledged} answered 250, ${real.lost} lost; exit after p99 ${p99} ms, ` +
        `at most ${most} ms`,
      control: {
        caught: control.lost > 0,
        figures: `ack before commit: ${control.lost} of ${control.acknowledged} lost`,
      },
    };
  },
};

async function signalled(context: Context, name: string, program: string | undefined) {
  const directory = join(context.directory, name);
  mkdirSync(directory);
  const options = { directory, build: context.build, sink: true };
  const world = await World.make(program === undefined ? options : { ...options, program });
  const ledger = new Ledger();
  const told = { terms: 0, twice: 0, hups: 0, exits: [] as number[], faults: [] as string[] };
  const next = { key: 0 };
  try {
    while (goesOn(context, told.terms)) await oneLife(context, world, ledger, told, next);
  } finally {
    await world.end();
  }
  ledger.audit(world.log, [], true);
  if (ledger.lost > 0) told.faults.push(`${ledger.lost} acknowledged updates are not there`);
  const faults = [...told.faults, ...ledger.faults].slice(0, 5);
  return { ...told, faults, lost: ledger.lost, acknowledged: ledger.acknowledged };
}

async function oneLife(
  context: Context,
  world: World,
  ledger: Ledger,
  told: { terms: number; twice: number; hups: number; exits: number[]; faults: string[] },
  next: { key: number },
): Promise<void> {
  const gateway = await world.start();
  let isOver = false;
  const feed = async () => {
    while (!isOver) {
      try {
        const client = await SmtpClient.connect(portOf(gateway));
        for (let code = 250; code === 250 && !isOver; ) {
          next.key += 1;
          const { armor, update } = made(context.seed, next.key);
          const mail = incremental([armor], `s.${next.key}`);
          ({ code } = await client.deliver(mail, SITE_ADDRESS));
          if (code === 250) ledger.answered250(update.hash);
        }
        client.close();
      } catch {
        // It was cut off; what was not answered was not promised.
        await pause(5);
      }
    }
  };
  const feeding = Promise.all(Array.from({ length: CLIENTS }, feed));
  const before = ledger.acknowledged;
  // The first one comes as soon as it listens.
  if (told.terms % 4 === 0) {
    for (let n = 0; n < HUPS; n += 1) {
      process.kill(gateway.pid, "SIGHUP");
      told.hups += 1;
      await pause(50 * context.random());
    }
  }
  await holdsWithin(() => ledger.acknowledged >= before + 20, 10_000);
  await pause(200 * context.random());
  const twice = told.terms % 3 === 2;
  told.terms += 1;
  const began = performance.now();
  const ended = gateway.end("SIGTERM");
  if (twice) {
    told.twice += 1;
    await pause(10 * context.random());
    await gateway.end("SIGTERM");
  }
  const code = await ended;
  told.exits.push(performance.now() - began);
  isOver = true;
  await feeding;
  const isGood = code === PEACE || (twice && code === IMPATIENT);
  if (!isGood) told.faults.push(`exit code ${code}: ${gateway.errors.slice(0, 200)}`);
  if ((told.exits.at(-1) ?? 0) > MOST_EXIT_MS) told.faults.push("it did not end within 30 s");
}

/** Where mail is taken now: another config may listen elsewhere. */
function portOf(gateway: GatewayProcess): number {
  const ready = gateway.events.findLast(({ event }) => event === "ready");
  return Number(/:(\d+)$/.exec(String([ready?.smtp].flat()[0]))?.[1]);
}
