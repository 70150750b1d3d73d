/**
 * Power cuts at every frame of the write-ahead log and at three torn points inside it (row 3). The
 * log is that of a gateway which was killed; how long its WAL was at each 250 is known. Each copy,
 * cut, must open as a prefix of the commits that holds all that was acknowledged by that length,
 * and pass SQLite's integrity check. Control: a gateway that acknowledges before it commits.
 */
import { copyFileSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { UpdateLog } from "../../../src/log/update-log.js";
import type { Seq } from "../../../src/update.js";
import { SmtpClient } from "../../support/smtp-client.js";
import { pause } from "../../support/until.js";
import { type Check, type Context, controlOf, goesOn } from "../check.js";
import { incremental, made, SITE_ADDRESS } from "../material.js";
import { World, type WorldOptions } from "../world.js";

const WAL_HEADER_BYTES = 32;
const FRAME_BYTES = 24 + 4096;
const MAILS = 40;
const CONTROL_CUTS = 200;
/** Bytes of a frame that are left behind the last whole one; undefined for any number. */
const TORN = [0, 11, 24, undefined] as const;

interface Acked {
  readonly hash: string;
  readonly walBytes: number;
}

interface Cuts {
  cuts: number;
  commits: number;
  readonly faults: string[];
}

export const walCut: Check = {
  name: "wal",
  rows: [3],
  promise: "the WAL cut anywhere leaves a prefix of the commits with all that was acknowledged",
  runs: 100_000,
  share: 2,
  async run(context) {
    const real = await cutEverywhere(context, "real", undefined);
    const control = await cutEverywhere(
      controlOf(context, CONTROL_CUTS),
      "control",
      "ack-before-commit",
    );
    return {
      faults: real.faults.slice(0, 5),
      figures:
        `${real.cuts} cuts of a WAL with ${real.commits} acknowledged mails, ` +
        `${real.faults.length} bad`,
      control: {
        caught: control.faults.length > 0,
        figures: `ack before commit: ${control.faults.length} of ${control.cuts} cuts lose one`,
      },
    };
  },
};

async function cutEverywhere(
  context: Context,
  name: string,
  program: string | undefined,
): Promise<Cuts> {
  const directory = join(context.directory, name);
  mkdirSync(directory);
  const options: WorldOptions = { directory, build: context.build };
  const world = await World.make(program === undefined ? options : { ...options, program });
  const mails = Math.min(MAILS, Math.max(4, Math.floor(context.runs / 25)));
  const acked = await fill(context, world, mails);
  const wal = readFileSync(`${world.log}-wal`);
  const copy = join(directory, "cut.db");
  const result: Cuts = { cuts: 0, commits: acked.length, faults: [] };
  // Spread over the whole WAL: its first frames are the tables of a new log.
  const frames = (wal.length - WAL_HEADER_BYTES) / FRAME_BYTES;
  const step = FRAME_BYTES * Math.max(1, Math.ceil((frames * TORN.length) / context.runs));
  for (let start = WAL_HEADER_BYTES; start <= wal.length; start += step) {
    if (!goesOn(context, result.cuts, 40)) break;
    for (const torn of TORN) {
      const length = start + (torn ?? 24 + Math.floor(context.random() * 4096));
      if (length > wal.length) continue;
      copyFileSync(world.log, copy);
      rmSync(`${copy}-shm`, { force: true });
      writeFileSync(`${copy}-wal`, wal.subarray(0, length));
      const fault = inspect(copy, acked, length);
      if (fault !== undefined) result.faults.push(`cut at ${length}: ${fault}`);
      result.cuts += 1;
    }
  }
  return result;
}

/** Sends mails one after the other and kills the gateway; how long the WAL was at each 250. */
async function fill(context: Context, world: World, mails: number): Promise<Acked[]> {
  const gateway = await world.start();
  const acked: Acked[] = [];
  try {
    const client = await SmtpClient.connect(gateway.port("smtp"));
    for (let n = 0; n < mails; n += 1) {
      const { update, armor } = made(context.seed, n, n % 8 === 3 ? 9000 : 200);
      const mail = incremental([armor], `wal.${n}`);
      const reply = await client.deliver(mail, SITE_ADDRESS);
      if (reply.code !== 250) throw new Error(`mail ${n}: ${reply.text}`);
      acked.push({ hash: update.hash, walBytes: statSync(`${world.log}-wal`).size });
    }
    client.close();
    await pause(100);
  } finally {
    await gateway.end("SIGKILL");
    await world.end();
  }
  return acked;
}

/** What is wrong with the log at `path`, of whose WAL `length` bytes are left. */
function inspect(path: string, acked: readonly Acked[], length: number): string | undefined {
  const due = acked.filter(({ walBytes }) => walBytes <= length);
  try {
    const log = UpdateLog.open(path);
    const entries = log.range(1 as Seq, Number.MAX_SAFE_INTEGER as Seq, acked.length + 1);
    const bodies = entries.filter(({ seq }) => log.body(seq) !== undefined).length;
    const counts = log.counts();
    log.close();
    for (const [index, { seq, hash }] of entries.entries()) {
      if (seq !== index + 1 || hash !== acked[index]?.hash) return `number ${seq} is out of order`;
    }
    if (bodies !== entries.length || counts.entries !== entries.length) return "rows are partial";
    if (entries.length < due.length) {
      return `${due.length} were acknowledged, ${entries.length} are there`;
    }
    const db = new Database(path, { readonly: true });
    const verdict = String(db.pragma("integrity_check", { simple: true }));
    db.close();
    return verdict === "ok" ? undefined : verdict;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
