/**
 * Catch-up: an empty gateway fetches everything that another has, over loopback. Beside it a floor
 * fetches the same from the same gateway. CPU is counted from the first `WARM_UP` updates on, so
 * neither the start nor cold code is in it; what is fetched must not make the process grow.
 */
import { join } from "node:path";
import Database from "better-sqlite3";
import { pause } from "../../support/until.js";
import {
  atLeast,
  atMost,
  type Bench,
  type Context,
  type Figure,
  median,
  type Outcome,
  ratios,
  rotated,
} from "../bench.js";
import { FloorProcess } from "../floor-process.js";
import { storedIn } from "../floors/work.js";
import { Gateways } from "../gateways.js";
import { WARM_UP } from "../mailing.js";
import { cpuUs, diskBytes, residentBytes } from "../processes.js";
import type { Side } from "../sides.js";

const MIB = 1024 * 1024;
const PATIENCE_MS = 300_000;
const LOOK_MS = 20;

export const catchUp: Bench = {
  name: "catch-up",
  question: "What does it cost an empty gateway to fetch everything, and the other to serve it?",
  run,
};

interface Measured {
  readonly fetch: number[];
  readonly bytes: number[];
  readonly serve: number[];
  readonly resident: number[];
  readonly grown: number[];
}

async function run(context: Context): Promise<Outcome> {
  const { material, quick, runs, say, sides, directory, build } = context;
  const updates = material.updates(quick ? 2000 : 30_000);
  const warmUp = quick ? 500 : WARM_UP;
  const taken = sides.map((): Measured => {
    return { fetch: [], bytes: [], serve: [], resident: [], grown: [] };
  });
  const floor: number[] = [];
  const fulls = new Gateways(context);
  const empties = new Gateways(context);
  try {
    const ports: { pid: number; port: number }[] = [];
    for (const side of sides) {
      const full = await fulls.start(side, {
        name: "full",
        updates,
        lines: [
          '[kx]\nlisten = ["127.0.0.1:0"]',
          '[[peer]]\nname = "empty"\nkx = "127.0.0.1:1"\nvia = "kx"',
        ],
      });
      ports.push({ pid: full.pid, port: full.port("kx") });
    }
    const fetchOne = async (side: Side, n: number) => {
      const [full, into] = [ports[n], taken[n]];
      if (full === undefined || into === undefined) return;
      const empty = await empties.start(side, {
        name: "empty",
        lines: [
          '[kx]\nlisten = ["127.0.0.1:0"]',
          `[[peer]]\nname = "full"\nkx = "127.0.0.1:${full.port}"\ndial = true\nvia = "kx"`,
        ],
      });
      const watched = { pids: [empty.pid], file: empties.logOf(empty), table: "updates" } as const;
      const spent = await watch(watched, { warmUp, all: updates.length }, full.pid);
      into.fetch.push(spent.cpu);
      into.bytes.push(spent.bytes / 1000);
      into.serve.push(spent.serve);
      into.resident.push(spent.resident / MIB);
      into.grown.push((100 * (spent.resident - spent.half)) / spent.half);
      await empties.end();
    };
    const fetchFloor = async () => {
      const full = ports.at(-1);
      if (full === undefined) return;
      const file = join(directory, `floor-${floor.length}.db`);
      const args = [String(full.port), String(updates.length), file];
      const process = FloorProcess.start(build, "fetch", args);
      try {
        const watched = { pids: [process.pid], file, table: "log" } as const;
        floor.push((await watch(watched, { warmUp, all: updates.length }, full.pid)).cpu);
        await process.end();
        const { rows } = storedIn(file);
        if (rows !== updates.length) throw new Error(`the floor has ${rows} rows`);
      } finally {
        process.stop();
      }
    };
    const all = [...sides.map((side, n) => () => fetchOne(side, n)), fetchFloor];
    for (let turn = 0; turn < runs; turn++) {
      for (const one of rotated(all, turn)) await one();
      const last = [...taken.map(({ fetch }) => fetch.at(-1)), floor.at(-1)];
      say(`${last.map((us) => us?.toFixed(1)).join(", ")} us`);
    }
  } finally {
    await empties.end();
    await fulls.end();
  }
  const figures = sides.flatMap(({ label }, n) => figuresOf(label, taken[n], floor));
  figures.push({ name: "CPU of fetching an update, floor", unit: "us", values: floor });
  const now = taken.at(-1);
  const before = taken.length > 1 ? taken[0] : undefined;
  if (now !== undefined && before !== undefined) {
    const share = ratios(now.fetch, before.fetch);
    figures.push({ name: "now : before, fetching", unit: "", values: share });
  }
  const share = median(ratios(floor, now?.fetch ?? [], 100));
  return {
    input: `${updates.length} updates, the first ${warmUp} as warm-up`,
    figures,
    goals: [
      atLeast("floor : ours, fetching, at least 33 %", share, 33, " %"),
      atMost("memory grows by at most 10 % in the second half", median(now?.grown ?? []), 10, " %"),
    ],
  };
}

function figuresOf(label: string, taken: Measured | undefined, floor: number[]): Figure[] {
  if (taken === undefined) return [];
  const { fetch, bytes, serve, resident, grown } = taken;
  return [
    { name: `floor : ours, fetching${label}`, unit: "%", values: ratios(floor, fetch, 100) },
    { name: `CPU of fetching an update${label}`, unit: "us", values: fetch },
    { name: `written for an update${label}`, unit: "kB", values: bytes },
    { name: `CPU of serving an update${label}`, unit: "us", values: serve },
    { name: `resident at the end, fetching side${label}`, unit: "MiB", values: resident },
    { name: `grown in the second half${label}`, unit: "%", values: grown },
  ];
}

export interface Watched {
  /** Processes whose CPU is counted together; memory and octets are those of the first. */
  readonly pids: readonly [number, ...number[]];
  readonly file: string;
  readonly table: "updates" | "log";
}

/** What each update cost after the warm-up; the rows are read from the file, beside the process. */
export async function watch(
  { pids, file, table }: Watched,
  { warmUp, all }: { readonly warmUp: number; readonly all: number },
  server: number,
) {
  const [first] = pids;
  const sample = (rows: number) => {
    const cpu = pids.reduce((sum, one) => sum + cpuUs(one), 0);
    const at = performance.now();
    return { rows, cpu, bytes: diskBytes(first), serve: cpuUs(server), at };
  };
  const at = performance.now();
  let warm: ReturnType<typeof sample> | undefined;
  let last = sample(0);
  let [half, resident] = [0, 0];
  for (let rows = 0; rows < all; rows = rowsOf(file, table)) {
    if (performance.now() - at > PATIENCE_MS) throw new Error(`only ${rows} updates were fetched`);
    if (rows >= warmUp) {
      last = sample(rows);
      warm ??= last;
    }
    resident = residentBytes(first);
    if (half === 0 && rows > all / 2) half = resident;
    await pause(LOOK_MS);
  }
  const count = last.rows - (warm?.rows ?? 0);
  if (warm === undefined || count < (all - warmUp) / 2) throw new Error("too fast to be measured");
  return {
    cpu: (last.cpu - warm.cpu) / count,
    bytes: (last.bytes - warm.bytes) / count,
    serve: (last.serve - warm.serve) / count,
    rate: (1000 * count) / (last.at - warm.at),
    resident,
    half,
  };
}

function rowsOf(file: string, table: Watched["table"]): number {
  try {
    const db = new Database(file, { readonly: true, fileMustExist: true });
    try {
      return Number(db.prepare(`SELECT max(seq) FROM ${table}`).pluck().get() ?? 0);
    } finally {
      db.close();
    }
  } catch {
    // Not made yet.
    return 0;
  }
}
