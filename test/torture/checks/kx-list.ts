/**
 * A KX peer that lists a log of 60,000 updates again and again, as fast as it is answered, while
 * mail comes in (issue "budgets of a peer"): a mail takes about as long as when nobody lists. An
 * honest peer that lists the whole log for the first time gets it meanwhile. Control: a gateway
 * that reads each answer in one go.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { UpdateLog } from "../../../src/log/update-log.js";
import { indexEntries } from "../../support/bulk.js";
import { KxVisitor } from "../../support/kx-visitor.js";
import { SmtpClient } from "../../support/smtp-client.js";
import { holdsWithin, pause } from "../../support/until.js";
import { type Check, type Context, quantile } from "../check.js";
import { rudeAddress } from "../kx-stage.js";
import { incremental, made, SITE_ADDRESS } from "../material.js";
import { World } from "../world.js";

const ROWS = 60_000;
const WINDOW = 1000;
/** How long mails are sent for, quiet and beside the attack. */
const SPAN_MS = 8000;
const LEAST_SPAN_MS = 2500;
/** A mail may take this many times as long as a quiet one, and so much more. */
const MOST_FACTOR = 3;
const MOST_MORE_MS = 50;

interface Waits {
  readonly mails: number;
  readonly p99: number;
  readonly most: number;
}

export const kxList: Check = {
  name: "kx-list",
  rows: [13, 35],
  promise: "a peer that lists everything again and again delays no mail",
  runs: 1,
  share: 1,
  async run(context) {
    const spanMs = context.runs > 0 && context.endsAt === Infinity ? LEAST_SPAN_MS : SPAN_MS;
    const real = await attack(context, "real", spanMs);
    const control = await attack(context, "control", spanMs, "lists-at-once");
    const faults: string[] = [];
    const limit = real.quiet.p99 * MOST_FACTOR + MOST_MORE_MS;
    if (real.beside.p99 > limit) faults.push(`mails took ${told(real.beside)}`);
    if (real.listed < ROWS) faults.push(`the honest peer was listed ${real.listed} of ${ROWS}`);
    const controlLimit = control.quiet.p99 * MOST_FACTOR + MOST_MORE_MS;
    return {
      faults,
      figures:
        `a peer repeats LIST 0- on ${ROWS} entries and gets ${Math.round(real.lines / 1000)},000 ` +
        `lines in ${(real.ms / 1000).toFixed(1)} s; a mail ${told(real.quiet)} before, ` +
        `${told(real.beside)} meanwhile; an honest first listing of all of it took ` +
        `${(real.honestMs / 1000).toFixed(1)} s beside it`,
      control: {
        caught: control.beside.p99 > controlLimit,
        figures: `listed in one go: a mail ${told(control.quiet)}, then ${told(control.beside)}`,
      },
    };
  },
};

function told({ p99, most, mails }: Waits): string {
  return `p99 ${p99} ms (at most ${most}, ${mails} mails)`;
}

async function attack(context: Context, name: string, spanMs: number, program?: string) {
  const directory = join(context.directory, name);
  mkdirSync(directory);
  const more = `[[peer]]\nname = "rude"\nkx = "${rudeAddress(0)}:1"\nvia = "kx"\n`;
  const given = program === undefined ? {} : { program };
  const world = await World.make({ directory, build: context.build, peer: true, more, ...given });
  fill(world.log);
  const gateway = await world.start();
  try {
    await holdsWithin(() => world.peer?.connected === true, 20_000);
    const quiet = await mails(context, gateway.port("smtp"), pause(spanMs), 0);
    const rude = await KxVisitor.greeted(gateway.port("kx"), rudeAddress(0), ["\r\n"]);
    let isOver = false;
    const listing = (async () => {
      // As many questions as the gateway reads; it stops reading at 1000 that wait.
      while (!isOver && !rude.isClosed) await rude.say("b000|LIST|0-|.|".repeat(50));
    })();
    const began = performance.now();
    // Beside the gateway that is wrong an honest peer would wait for minutes.
    const windows = program === undefined ? listAll(world) : Promise.resolve(0);
    const honest = windows.then((listed) => ({ listed, ms: performance.now() - began }));
    const work = Promise.all([pause(spanMs), honest]);
    const beside = await mails(context, gateway.port("smtp"), work, 1_000_000);
    const ms = performance.now() - began;
    isOver = true;
    const lines = rude.count("\r\n");
    rude.socket.destroy();
    await listing;
    const { listed, ms: honestMs } = await honest;
    return { quiet, beside, lines, ms, listed, honestMs };
  } finally {
    await gateway.end("SIGKILL");
    await world.end();
  }
}

/** A first listing as our peers make it: windows backwards, then forwards; lines of the second. */
async function listAll({ peer }: World): Promise<number> {
  let lines = 0;
  for (let low = ROWS - WINDOW + 1; low > 0; low -= WINDOW) await peer?.list(low, low + WINDOW - 1);
  for (let low = 1; low <= ROWS; low += WINDOW) {
    const answer = await peer?.list(low, low + WINDOW - 1);
    lines += answer?.command === "IHAVE" ? answer.announcements.length : 0;
  }
  return lines;
}

/** Mails one update after the other until `over`: how long each took. */
async function mails(
  context: Context,
  port: number,
  over: Promise<unknown>,
  from: number,
): Promise<Waits> {
  const client = await SmtpClient.connect(port);
  const waits: number[] = [];
  let isOver = false;
  const ended = over.finally(() => {
    isOver = true;
  });
  for (let n = from; !isOver; n += 1) {
    const mail = incremental([made(context.seed, n).armor], `list.${n}`);
    const asked = performance.now();
    const { code, text } = await client.deliver(mail, SITE_ADDRESS);
    waits.push(performance.now() - asked);
    if (code !== 250) throw new Error(text);
    await pause(5);
  }
  client.close();
  await ended;
  const [p99, most] = [quantile(waits, 0.99), quantile(waits, 1)];
  return { mails: waits.length, p99: Math.round(p99), most: Math.round(most) };
}

/** Rows of the last 25 days, of which nobody asks for the bodies. */
function fill(path: string): void {
  UpdateLog.open(path).close();
  const db = new Database(path);
  const now = Date.now();
  const stepMs = Math.floor((25 * 24 * 3_600_000) / ROWS);
  db.pragma("synchronous = OFF");
  db.transaction(() => {
    db.prepare(`
      WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
      INSERT INTO updates
        (seq, hash, digest, fingerprint, size, neighbour, transport, received_at, trail)
      SELECT i, randomblob(16), randomblob(32), randomblob(20), 1000, 'old', 'mail',
        ? - (? - i) * ?, '[]' FROM n`).run(ROWS, now, ROWS, stepMs);
    indexEntries(db);
    db.prepare("UPDATE totals SET entries = ?").run(ROWS);
  })();
  db.close();
}
