/**
 * A log of 1.5 million rows, a month of twelve times the thesis's load (row 35): 100,000 bodies
 * expire while mail comes in and a KX peer lists everything from the first number on. Nobody waits
 * long, and the WAL stays small. Control: expiry in one go. The rows are made by SQL, so that it
 * takes seconds; their keys are random bytes, which nobody reads here but the expired ones.
 */
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import type { GatewayProcess } from "../../../src/demo/process.js";
import { UpdateLog } from "../../../src/log/update-log.js";
import { indexEntries } from "../../support/bulk.js";
import { SmtpClient } from "../../support/smtp-client.js";
import { holdsWithin, pause } from "../../support/until.js";
import { type Check, type Context, goesOn } from "../check.js";
import { incremental, made, SITE_ADDRESS } from "../material.js";
import { World } from "../world.js";

const HOUR_MS = 3_600_000;
const BODY_BYTES = 1000;
/** At most so many bodies are due; of all rows, so many have one that is not. */
const MOST_DUE = 100_000;
const HELD_SHARE = 1 / 30;
const CONTROL_ROWS = 150_000;
/** All that is done here with a row; a budget that is smaller makes a smaller log. */
const ROWS_A_SECOND = 10_000;
const MOST_P99_MS = 50;
const MOST_TURN_MS = 250;
/** One answer may have 50,000 lines, if somebody wants them in one go. */
const MOST_LISTING_MS = 400;
const WINDOW = 1000;
const MOST_WINDOWS = 300;
const MOST_WAL_MIB = 64;
const LOOK_MS = 100;
const MIB = 2 ** 20;

/** Milliseconds of processor time in a turn of the event loop; `late` is by the clock. */
export interface Lag {
  readonly p99: number;
  readonly most: number;
  readonly late: number;
}

export const size: Check = {
  name: "size",
  rows: [35],
  promise: "a log of 1.5 million rows is listed, expired and written to without making others wait",
  runs: 1_500_000,
  share: 2,
  async run(context) {
    const affordable = ((context.endsAt - performance.now()) / 1000) * ROWS_A_SECOND;
    const rows = Math.min(context.runs, Math.max(CONTROL_ROWS, Math.floor(affordable)));
    const real = await live(context, "real", rows, false);
    const control = await live(context, "control", Math.min(rows, CONTROL_ROWS), true);
    const { expiring, listing } = real;
    return {
      faults: real.faults,
      figures:
        `${rows} rows made in ${real.seconds} s; ${real.due} bodies expired in ` +
        `${real.expiredIn.toFixed(1)} s while ${real.mails} mails came in: event loop ` +
        `${told(expiring)}, -wal at most ${real.walMib.toFixed(1)} MiB; ${real.windows} ` +
        `LISTs of 1000: ${told(real.windowed)}; all listed in ${real.lists} answers of 50,000: ` +
        `${told(listing)}`,
      control: {
        caught: control.expiring.most > 2 * expiring.most,
        figures: `${control.due} expired in one go: event loop ${told(control.expiring)}`,
      },
    };
  },
};

function told({ p99, most, late }: Lag): string {
  const turns = `turns of p99 ${p99.toFixed(0)} ms, at most ${most.toFixed(0)} ms`;
  return `${turns} (by the clock ${late.toFixed(0)})`;
}

async function live(context: Context, name: string, rows: number, greedy: boolean) {
  const directory = join(context.directory, name);
  mkdirSync(directory);
  const { build } = context;
  const world = await World.make({ directory, build, peer: true, program: "lag-meter" });
  const began = performance.now();
  const { due, held } = fill(world.log, rows);
  const seconds = Math.round((performance.now() - began) / 1000);
  const faults: string[] = [];
  const gateway = world.spawn(greedy ? ["env", "KXTORTURE_GREEDY=1"] : []);
  let walMib = 0;
  const timer = setInterval(() => {
    const bytes = statSync(`${world.log}-wal`, { throwIfNoEntry: false })?.size ?? 0;
    walMib = Math.max(walMib, bytes / MIB);
  }, 20);
  try {
    await gateway.event("ready");
    const startedAt = performance.now();
    // What starting takes is no lag; where all goes at once, it goes while we start.
    if (!greedy) await lagOf(gateway);
    await holdsWithin(() => world.peer?.connected === true, 20_000);
    const mails = await mailUntil(context, gateway, held);
    const left = (await bodiesIn(gateway)) - held - mails;
    if (left !== 0) faults.push(`${due - left} of ${due} bodies expired`);
    const expiredIn = (performance.now() - startedAt) / 1000;
    const expiring = await lagOf(gateway);
    const windows = greedy ? 0 : await listWindows(world, rows);
    const windowed = await lagOf(gateway);
    const lists = greedy ? 0 : await listAll(context, world, rows + mails, faults);
    const listing = await lagOf(gateway);
    if (!greedy && expiring.p99 > MOST_P99_MS) faults.push(`while expiring ${told(expiring)}`);
    if (!greedy && expiring.most > MOST_TURN_MS) faults.push(`a turn too long ${told(expiring)}`);
    if (!greedy && windowed.p99 > MOST_P99_MS) faults.push(`while listing ${told(windowed)}`);
    if (!greedy && listing.most > MOST_LISTING_MS) faults.push(`listing all ${told(listing)}`);
    if (!greedy && walMib > MOST_WAL_MIB) faults.push(`the WAL grew to ${walMib} MiB`);
    if ((await gateway.end()) !== 0) faults.push("the gateway did not end in peace");
    const lags = { expiring, windows, windowed, lists, listing };
    return { faults, seconds, due, mails, expiredIn, walMib, ...lags };
  } finally {
    clearInterval(timer);
    await gateway.end("SIGKILL");
    await world.end();
  }
}

/** Rows over 25 days, the last of them with bodies; returns how many bodies are due and not. */
function fill(path: string, rows: number): { readonly due: number; readonly held: number } {
  UpdateLog.open(path).close();
  const db = new Database(path);
  const due = Math.min(MOST_DUE, Math.round(rows / 2));
  const held = Math.round(rows * HELD_SHARE);
  const now = Date.now();
  const [oldest, youngest] = [now - 25 * 24 * HOUR_MS, now - 97 * HOUR_MS];
  // An age is proven by the entries since: those that are not due fill the days up to now.
  const keptMs = 95 * HOUR_MS;
  db.pragma("synchronous = OFF");
  db.pragma("cache_size = -400000");
  db.transaction(() => {
    db.prepare(`
      WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
      INSERT INTO updates
        (seq, hash, digest, fingerprint, size, neighbour, transport, received_at, trail)
      SELECT i, randomblob(16), randomblob(32), randomblob(20), ?, 'old', 'mail',
        CASE WHEN i > ? THEN ? + (i - ?) * ? ELSE ? + i * ? END, '[]' FROM n`).run(
      ...[rows, BODY_BYTES, rows - held],
      ...[now - keptMs, rows - held, Math.floor(keptMs / held), oldest],
      Math.floor((youngest - oldest) / rows),
    );
    db.prepare(`
      INSERT INTO bodies (seq, received_at, body)
      SELECT seq, received_at, randomblob(?) FROM updates WHERE seq > ?`).run(
      BODY_BYTES,
      rows - held - due,
    );
    indexEntries(db);
    const bodies = due + held;
    db.prepare("UPDATE totals SET entries = ?, bodies = ?, body_bytes = ?").run(
      ...[rows, bodies, bodies * BODY_BYTES],
    );
  })();
  db.close();
  return { due, held };
}

/** Bodies in the log, as the status has them. */
async function bodiesIn(gateway: GatewayProcess): Promise<number> {
  const { log } = (await gateway.status()) as { log: { bodies: number } };
  return log.bodies;
}

/** Mails one update after the other until what was due has expired; how many. */
async function mailUntil(context: Context, gateway: GatewayProcess, held: number): Promise<number> {
  const client = await SmtpClient.connect(gateway.port("smtp"));
  const endsAt = performance.now() + 120_000;
  let mails = 0;
  let isOver = false;
  const look = async () => {
    isOver = (await bodiesIn(gateway)) <= held + mails;
    if (!isOver && performance.now() < endsAt) setTimeout(look, LOOK_MS);
  };
  void look();
  while (!isOver && performance.now() < endsAt) {
    mails += 1;
    const mail = incremental([made(context.seed, mails).armor], `size.${mails}`);
    const { code, text } = await client.deliver(mail, SITE_ADDRESS);
    if (code !== 250) throw new Error(text);
  }
  client.close();
  return mails;
}

/** As our own peers ask: a thousand numbers at a time; returns how often. */
async function listWindows({ peer }: World, rows: number): Promise<number> {
  const windows = Math.min(MOST_WINDOWS, Math.ceil(rows / WINDOW));
  for (let n = 0; n < windows; n += 1) await peer?.list(n * WINDOW + 1, (n + 1) * WINDOW);
  return windows;
}

/** Asks for everything from the first number on, as often as the answers are not the last. */
async function listAll(
  context: Context,
  { peer }: World,
  newest: number,
  faults: string[],
): Promise<number> {
  let [next, lists] = [1, 0];
  while (next <= newest && goesOn({ ...context, runs: Infinity }, lists, 5)) {
    const answer = await peer?.list(next, newest);
    const announced = answer?.command === "IHAVE" ? answer.announcements : [];
    const last = announced.at(-1);
    if (announced[0]?.number !== next || last === undefined) {
      faults.push(`LIST ${next}- was answered with ${announced.length} lines`);
      break;
    }
    lists += 1;
    next = last.number + 1;
  }
  return lists;
}

export async function lagOf(gateway: GatewayProcess): Promise<Lag> {
  const before = gateway.errors.length;
  process.kill(gateway.pid, "SIGUSR2");
  const told = () => /lag (\{.*\})\n/.exec(gateway.errors.slice(before))?.[1];
  await holdsWithin(() => told() !== undefined, 20_000);
  await pause(0);
  return JSON.parse(told() ?? "{}") as Lag;
}
