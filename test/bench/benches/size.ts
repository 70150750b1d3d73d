/**
 * Size: a log of 1.5 million updates, a year and more at the thesis's load, beside one of ten
 * thousand: what starting, appending, looking up, listing and expiring cost in each. Both are
 * filled through the log itself. Ten updates have one key and come shuffled among those of all
 * other keys; each has three packets, the last of them new, and a body of 300 octets.
 *
 * With `--against` a checkout of an earlier log version its large log is migrated at the end.
 */
import { createHash } from "node:crypto";
import { rmSync, statSync } from "node:fs";
import { join } from "node:path";
import type { UpdateLog } from "../../../src/log/update-log.js";
import type { Fingerprint, Seq, Update, UpdateHash } from "../../../src/update.js";
import { cpuTimer } from "../../support/cpu.js";
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
import { Gateways } from "../gateways.js";
import { residentBytes } from "../processes.js";
import { openLog, openUnsafe, type Side } from "../sides.js";

const MIB = 1024 * 1024;
const DAY_MS = 24 * 60 * 60_000;
const SMALL = 10_000;
const UPDATES_OF_A_KEY = 10;

export const size: Bench = {
  name: "size",
  question: "Does a log of 1.5 million updates work like one of ten thousand?",
  run,
};

const WORK = ["append", "look-up", "LIST of 1000", "expiry"] as const;
type What = (typeof WORK)[number];
type Timings = Record<What, number>;

/** Rounds that count, and those before that warm up the code: 12,000 appends. */
const ROUNDS = 5;
const WARM_ROUNDS = 12;

/** One append, look-up, listing or expiry is a round over this. */
const IN_A_ROUND: Record<What, number> = {
  append: 1000,
  "look-up": 20_000,
  "LIST of 1000": 100,
  expiry: 3,
};

interface Sized {
  readonly file: string;
  readonly rows: number;
}

/** The logs of a side, and the values of each turn. */
interface Logs {
  readonly side: Side;
  readonly small: Sized;
  readonly large: Sized;
  readonly seconds: number[];
  readonly rss: number[];
  readonly few: Timings[];
  readonly many: Timings[];
}

async function run(context: Context): Promise<Outcome> {
  const { quick, runs, directory, say, sides } = context;
  const rows = quick ? 12_000 : 1_500_000;
  const gateways = new Gateways(context);
  const all: Logs[] = [];
  const migrated: Figure[] = [];
  try {
    for (const [n, side] of sides.entries()) {
      const small = { file: join(directory, `small-${n}.db`), rows: SMALL };
      const large = { file: join(directory, `large-${n}.db`), rows };
      all.push({ side, small, large, seconds: [], rss: [], few: [], many: [] });
      for (const one of [small, large]) await bulk(side, one);
      say(`made a log of ${rows} updates${side.label}`);
    }
    for (let turn = 0; turn <= runs; turn++) {
      // The first turn is the warm-up.
      for (const one of rotated(all, turn)) {
        const began = performance.now();
        const gateway = await gateways.startOn(one.side, one.large.file);
        const seconds = (performance.now() - began) / 1000;
        const rss = residentBytes(gateway.pid) / MIB;
        await gateways.end();
        const [few, many] = await sideBySide(
          one,
          turn,
          quick ? 1 : turn === 0 ? WARM_ROUNDS : ROUNDS,
        );
        if (turn === 0) continue;
        one.seconds.push(seconds);
        one.rss.push(rss);
        one.few.push(few);
        one.many.push(many);
        say(WORK.map((what) => `${what} ${(many[what] / few[what]).toFixed(2)}`).join(", "));
      }
    }
    const [before, ours] = [all[0], all.at(-1)];
    if (before !== undefined && ours !== undefined && before !== ours) {
      migrated.push(...(await migration(ours.side, before.large.file)));
    }
  } finally {
    await gateways.end();
    for (const { file } of all.flatMap(({ small, large }) => [small, large])) {
      for (const end of ["", "-wal", "-shm", "-lock"]) rmSync(`${file}${end}`, { force: true });
    }
  }
  const now = all.at(-1);
  const share = (what: What) => median(now === undefined ? [] : shareOf(now, what));
  return {
    input:
      `logs of ${SMALL} and ${rows} updates with bodies, ` +
      `${UPDATES_OF_A_KEY} of each key, shuffled`,
    figures: [...all.flatMap(figuresOf), ...migrated],
    goals: [
      atMost("append, large : small, at most 1.4", share("append"), 1.4),
      atMost("look-up, large : small, at most 1.5", share("look-up"), 1.5),
      atMost("LIST of 1000 within 20 % of the small log", share("LIST of 1000"), 1.2),
      atMost("expiry within 20 % of the small log", share("expiry"), 1.2),
      atMost("resident less than 200 MB", median(now?.rss ?? []), 190, " MiB"),
      atLeast("rows", rows, quick ? 1 : 1_500_000),
    ],
  };
}

/** What it costs to bring a log to the version of a side; nothing if it has that version. */
async function migration(side: Side, file: string): Promise<Figure[]> {
  const bytesOf = (path: string) => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  const before = bytesOf(file) / MIB;
  const [cpuMs, began] = [cpuTimer(), performance.now()];
  const told: number[] = [];
  let [beside, isDone] = [0, false];
  const log = await openLog(side, file, (one) => {
    told.push(performance.now());
    beside = Math.max(beside, bytesOf(`${file}-wal`) / MIB);
    isDone ||= one.isDone;
  });
  const [cpu, elapsed] = [cpuMs() / 1000, (performance.now() - began) / 1000];
  log.close();
  if (!isDone) return [];
  const silent = told.map((at, n) => (at - (told[n - 1] ?? at)) / 1000);
  const one = (name: string, unit: string, value: number) => ({ name, unit, values: [value] });
  return [
    one("migration, CPU", "s", cpu),
    one("migration, elapsed", "s", elapsed),
    one("migration, longest part", "s", Math.max(...silent)),
    one("migration, beside the log", "MiB", beside),
    one("migration, log before", "MiB", before),
    one("migration, log after", "MiB", bytesOf(file) / MIB),
  ];
}

function shareOf({ few, many }: Logs, what: What): readonly number[] {
  return ratios(
    many.map((one) => one[what]),
    few.map((one) => one[what]),
  );
}

function figuresOf(logs: Logs): Figure[] {
  const { side, seconds, rss, few, many } = logs;
  const { label } = side;
  const us = (timings: readonly Timings[], what: What = "append") =>
    timings.map((one) => one[what]);
  return [
    ...WORK.map((what) => {
      return { name: `${what}, large : small${label}`, unit: "", values: shareOf(logs, what) };
    }),
    { name: `CPU of an append, large log${label}`, unit: "us", values: us(many) },
    { name: `CPU of an append, small log${label}`, unit: "us", values: us(few) },
    { name: `CPU of an expiry of 100, large log${label}`, unit: "us", values: us(many, "expiry") },
    { name: `CPU of an expiry of 100, small log${label}`, unit: "us", values: us(few, "expiry") },
    { name: `start until it listens, node included${label}`, unit: "s", values: seconds },
    { name: `resident after the start${label}`, unit: "MiB", values: rss },
  ];
}

/**
 * Microseconds of CPU for one of each kind of work in both logs, which are open side by side and
 * take turns, so that what else the machine does hits both. A kind's first round, which fills the
 * caches, does not count.
 */
async function sideBySide(
  { side, small, large }: Logs,
  turn: number,
  rounds: number,
): Promise<[few: Timings, many: Timings]> {
  const both: { log: UpdateLog; rows: number; spent: Timings }[] = [];
  for (const { file, rows } of [small, large]) {
    const log = await openLog(side, file);
    both.push({ log, rows, spent: { append: 0, "look-up": 0, "LIST of 1000": 0, expiry: 0 } });
  }
  for (const what of WORK) {
    for (let round = 0; round <= rounds; round++) {
      for (const { log, rows, spent } of both) {
        const cpuMs = cpuTimer();
        DOING[what](log, rows, turn * (WARM_ROUNDS + 1) + round);
        if (round > 0) spent[what] += (1000 * cpuMs()) / rounds / IN_A_ROUND[what];
      }
    }
  }
  for (const { log } of both) log.close();
  const [few, many] = both.map(({ spent }) => spent);
  if (few === undefined || many === undefined) throw new Error("two logs");
  return [few, many];
}

const spread = (n: number, rows: number) => 1 + ((n * 7919) % rows);

type Work = (log: UpdateLog, rows: number, round: number) => void;

/** One round of each kind of work. */
const DOING: Record<What, Work> = {
  append: (log, rows, round) => {
    const from = rows + 1 + round * IN_A_ROUND.append;
    const origin = { neighbour: "old", transport: "mail" } as const;
    for (let n = 0; n < IN_A_ROUND.append; n += 10) {
      const batch = Array.from({ length: 10 }, (_, m) => numbered(from + n + m, rows));
      log.append(batch.map((update) => ({ update, origin, trail: [], receivedAt: Date.now() })));
    }
  },
  "look-up": (log, rows, round) => {
    for (let n = 0; n < IN_A_ROUND["look-up"]; n++) {
      const row = spread(round * IN_A_ROUND["look-up"] + n, rows);
      if (!log.has(hashOf(row).toString("hex") as UpdateHash)) throw new Error(`no row ${row}`);
    }
  },
  "LIST of 1000": (log, rows, round) => {
    for (let n = 0; n < IN_A_ROUND["LIST of 1000"]; n++) {
      const low = Math.min(spread(round * 100 + n, rows), rows - 1000);
      const { length } = log.range(low as Seq, (low + 999) as Seq, 1000);
      if (length !== 1000) throw new Error(`${length} lines`);
    }
  },
  expiry: (log) => {
    const limits = { retainMs: DAY_MS, rememberMs: 400 * DAY_MS };
    for (let n = 0; n < IN_A_ROUND.expiry; n++) log.retention.expire(Date.now(), limits, 100);
  },
};

function hashOf(n: number): Buffer {
  return createHash("md5").update(`row ${n}`).digest();
}

/** The n-th update, of a key that it shares with others of a log of `rows`. */
function numbered(n: number, rows: number): Update {
  const hash = hashOf(n);
  const key = hash.readUInt32LE(0) % (rows / UPDATES_OF_A_KEY);
  const name = createHash("sha256").update(`key ${key}`).digest();
  return {
    hash: hash.toString("hex") as UpdateHash,
    digest: Buffer.concat([hash, hash]).toString("hex"),
    fingerprint: name.toString("hex", 0, 20).toUpperCase() as Fingerprint,
    body: Buffer.alloc(300, n & 0xff),
    selfSigned: undefined,
    packets: [name.subarray(0, 16), name.subarray(16), Buffer.from(hash).reverse()],
  };
}

/** Rows that are appended at once; a commit of a large log writes most of its pages. */
const AT_ONCE = 100_000;

/** A log file of that many rows, all of them received two days ago. */
async function bulk(side: Side, { file, rows }: Sized): Promise<void> {
  const log = await openUnsafe(side, file);
  const origin = { neighbour: "old", transport: "mail" } as const;
  const trail = ["pgp-public-keys@old.example.net"];
  const receivedAt = Date.now() - 2 * DAY_MS;
  for (let from = 1; from <= rows; from += AT_ONCE) {
    const count = Math.min(AT_ONCE, rows - from + 1);
    log.append(
      Array.from({ length: count }, (_, n) => {
        return { update: numbered(from + n, rows), origin, trail, receivedAt };
      }),
    );
  }
  log.close();
}
