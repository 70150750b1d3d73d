/**
 * What a power cut would find (row 2): the gateway runs under strace, and before the socket write
 * of each 250 the row must have been written to the -wal file and an fdatasync of it must have come
 * back. Control: the same gateway with synchronous=NORMAL, which does not wait for the disk.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { SmtpClient } from "../../support/smtp-client.js";
import { holdsWithin } from "../../support/until.js";
import { type Check, type Context, goesOn } from "../check.js";
import { incremental, made, SITE_ADDRESS } from "../material.js";
import { World, type WorldOptions } from "../world.js";

const CALLS = "fdatasync,fsync,write,writev,pwrite64,pwritev,sendto,sendmsg";
const CONTROL_MAILS = 10;

export interface SyncOrder {
  /** 250s of the trace. */
  readonly acks: number;
  /** Of these, how many had a WAL write since the last 250 and no unsynced one. */
  readonly inOrder: number;
}

export const syncOrder: Check = {
  name: "sync",
  rows: [2],
  promise: "the WAL is on disk before each 250 is written",
  runs: 500,
  share: 1,
  async run(context) {
    const { acks, inOrder } = await traced(context, context.runs, undefined);
    const faults = inOrder === acks && acks > 0 ? [] : [`${acks - inOrder} of ${acks} too early`];
    const control = await traced(context, CONTROL_MAILS, "normal");
    const bad = control.acks - control.inOrder;
    return {
      faults,
      figures: `${inOrder} of ${acks} acknowledgements after the fdatasync of their WAL frames`,
      control: { caught: bad > 0, figures: `synchronous=NORMAL: ${bad} of ${control.acks} before` },
    };
  },
};

async function traced(
  context: Context,
  mails: number,
  lie: string | undefined,
): Promise<SyncOrder> {
  if (spawnSync("strace", ["-V"]).status !== 0) {
    throw new Error("strace is missing; this check cannot be made without it (apt install strace)");
  }
  const directory = join(context.directory, lie ?? "real");
  mkdirSync(directory);
  const options: WorldOptions = { directory, build: context.build };
  const world = await World.make(lie ? { ...options, program: "lying-sqlite" } : options);
  const trace = join(directory, "trace");
  // -D: strace is the child, so that our signals go to the gateway.
  const strace = ["strace", "-D", "-f", "-y", "-s", "32", "-e", `trace=${CALLS}`, "-o", trace];
  const environment = lie === undefined ? [] : ["env", `KXTORTURE_LIE=${lie}`];
  const gateway = world.spawn([...strace, ...environment]);
  try {
    await gateway.event("ready");
    const client = await SmtpClient.connect(gateway.port("smtp"));
    for (let n = 0; n < mails && (lie !== undefined || goesOn(context, n, 5)); n += 1) {
      const { armor } = made(context.seed, n, n * 37);
      const mail = incremental([armor], `sync.${n}`);
      const reply = await client.deliver(mail, SITE_ADDRESS);
      if (reply.code !== 250) throw new Error(`mail ${n}: ${reply.text}`);
    }
    client.close();
  } finally {
    await gateway.end();
    await world.end();
  }
  await holdsWithin(
    () => /\+\+\+ exited with/.test(readFileSync(trace, "latin1").slice(-200)),
    10_000,
  );
  return readTrace(readFileSync(trace, "latin1"));
}

/** Reads the output of `strace -f -y`; calls of several threads may be cut in two lines. */
export function readTrace(trace: string): SyncOrder {
  const underWay = new Map<string, string>();
  let written = false;
  let unsynced = false;
  let acks = 0;
  let inOrder = 0;
  for (const line of trace.split("\n")) {
    const [, thread = "", what = ""] = /^(\d+) +(.*)$/.exec(line) ?? [];
    const begun = /^<\.\.\. \w+ resumed>/.test(what) ? underWay.get(thread) : what;
    if (begun === undefined) continue;
    const isBegin = begun === what;
    const isEnd = !what.includes("<unfinished ...>");
    if (!isEnd) underWay.set(thread, what);
    if (isBegin && /^p?writev?(64)?\(\d+<[^>]*-wal>/.test(begun)) {
      written = true;
      unsynced = true;
    } else if (isEnd && /^f(data)?sync\(\d+<[^>]*-wal>/.test(begun)) {
      unsynced = false;
    } else if (isBegin && /^(write|writev|sendto|sendmsg)\(.*"250 2\.0\.0 Stored/.test(begun)) {
      acks += 1;
      if (written && !unsynced) inOrder += 1;
      written = false;
    }
  }
  return { acks, inOrder };
}
