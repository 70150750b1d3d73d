/**
 * Size: a log of 1.5 million updates, a year and more at the thesis's load, beside one of ten
 * thousand: what starting, appending, looking up, listing and expiring cost in each. The large one
 * is made by SQL in bulk; its rows are of the usual shape, their bodies 300 octets of noise.
 */
import { createHash } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { UpdateLog } from "../../../src/log/update-log.js";
import type { Fingerprint, Seq, Update, UpdateHash } from "../../../src/update.js";
import { indexEntries } from "../../support/bulk.js";
import { cpuTimer } from "../../support/cpu.js";
import { atLeast, atMost, type Bench, type Context, median, type Outcome } from "../bench.js";
import { Gateways } from "../gateways.js";
import { residentBytes } from "../processes.js";

const MIB = 1024 * 1024;
const DAY_MS = 24 * 60 * 60_000;
const SMALL = 10_000;

export const size: Bench = {
  name: "size",
  question: "Does a log of 1.5 million updates work like one of ten thousand?",
  run,
};

const WORK = ["append", "look-up", "LIST of 1000", "expiry"] as const;
type Timings = Record<(typeof WORK)[number], number>;

/** Rounds that count. */
const ROUNDS = 5;

interface Sized {
  readonly file: string;
  readonly rows: number;
}

async function run(context: Context): Promise<Outcome> {
  const { quick, runs, directory, say } = context;
  const rows = quick ? 50_000 : 1_500_000;
  const [small, large] = [join(directory, "small.db"), join(directory, "large.db")];
  bulk(small, SMALL);
  bulk(large, rows);
  say(`made a log of ${rows} updates`);
  const gateways = new Gateways(context);
  const started = { seconds: [] as number[], rss: [] as number[] };
  const ratios = new Map(WORK.map((what) => [what, [] as number[]]));
  try {
    for (let turn = 0; turn < runs; turn++) {
      const began = performance.now();
      const gateway = await gateways.startOn(large);
      started.seconds.push((performance.now() - began) / 1000);
      started.rss.push(residentBytes(gateway.pid) / MIB);
      await gateways.end();
      const [few, many] = sideBySide({ file: small, rows: SMALL }, { file: large, rows }, turn);
      say(WORK.map((what) => `${what} ${(many[what] / few[what]).toFixed(2)}`).join(", "));
      for (const [what, values] of ratios) values.push(many[what] / few[what]);
    }
  } finally {
    await gateways.end();
    for (const file of [small, large]) {
      for (const end of ["", "-wal", "-shm", "-lock"]) rmSync(`${file}${end}`, { force: true });
    }
  }
  return {
    input: `logs of ${SMALL} and ${rows} updates with bodies`,
    figures: [
      { name: "start until it listens, node included", unit: "s", values: started.seconds },
      { name: "resident after the start", unit: "MiB", values: started.rss },
      ...WORK.map((what) => ({
        name: `${what}, large : small`,
        unit: "",
        values: ratios.get(what) ?? [],
      })),
    ],
    goals: [
      atMost("it starts in less than 1 s", median(started.seconds), 1, " s"),
      atMost("resident less than 200 MB", median(started.rss), 190, " MiB"),
      ...WORK.map((what) => {
        return atMost(`${what} within 20 % of the small log`, median(ratios.get(what) ?? []), 1.2);
      }),
      atLeast("rows", rows, quick ? 1 : 1_500_000),
    ],
  };
}

/**
 * Milliseconds of CPU for the same work on both logs, which are open side by side and take turns,
 * so that what else the machine does hits both. A kind's first round, which fills the caches, does
 * not count.
 */
function sideBySide(small: Sized, large: Sized, turn: number): [few: Timings, many: Timings] {
  const both = [small, large].map(({ file, rows }) => ({
    log: UpdateLog.open(file),
    rows,
    spent: { append: 0, "look-up": 0, "LIST of 1000": 0, expiry: 0 },
  }));
  for (const what of WORK) {
    for (let round = 0; round <= ROUNDS; round++) {
      for (const { log, rows, spent } of both) {
        const cpuMs = cpuTimer();
        DOING[what](log, rows, turn * (ROUNDS + 1) + round);
        if (round > 0) spent[what] += cpuMs();
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
const DOING: Record<(typeof WORK)[number], Work> = {
  append: (log, _, round) => {
    const from = 10_000_000 + round * 1000;
    const origin = { neighbour: "old", transport: "mail" } as const;
    for (let n = 0; n < 1000; n += 10) {
      const batch = Array.from({ length: 10 }, (_, m) => numbered(from + n + m));
      log.append(batch.map((update) => ({ update, origin, trail: [], receivedAt: Date.now() })));
    }
  },
  "look-up": (log, rows, round) => {
    for (let n = 0; n < 20_000; n++) {
      log.has(numbered(spread(round * 20_000 + n, rows), false).hash);
    }
  },
  "LIST of 1000": (log, rows, round) => {
    for (let n = 0; n < 100; n++) {
      const low = Math.min(spread(round * 100 + n, rows), rows - 1000);
      log.range(low as Seq, (low + 999) as Seq, 1000);
    }
  },
  expiry: (log) => {
    const limits = { retainMs: DAY_MS, rememberMs: 400 * DAY_MS };
    for (let n = 0; n < 3; n++) log.retention.expire(Date.now(), limits, 100);
  },
};

/** The n-th update; a look-up needs its name alone. */
function numbered(n: number, withBody = true): Update {
  const hash = createHash("md5").update(`row ${n}`).digest();
  return {
    hash: hash.toString("hex") as UpdateHash,
    digest: Buffer.concat([hash, hash]).toString("hex"),
    fingerprint: `${hash.toString("hex")}01234567`.toUpperCase() as Fingerprint,
    body: withBody ? Buffer.alloc(300, n & 0xff) : Buffer.of(),
    selfSigned: undefined,
    packets: [],
  };
}

/** A log file of that many rows, all of them received two days ago. */
function bulk(file: string, rows: number): void {
  UpdateLog.open(file).close();
  const db = new Database(file);
  db.pragma("synchronous = OFF");
  db.pragma("cache_size = -200000");
  db.function("name", { deterministic: true }, (n) => {
    return createHash("md5").update(`row ${n}`).digest();
  });
  db.exec(`
    BEGIN;
    INSERT INTO updates (seq, hash, digest, fingerprint, size, neighbour, transport, received_at,
                         message_id, trail)
      SELECT n, h, CAST(h || h AS BLOB), CAST(h || x'01234567' AS BLOB), 300, 'old', 'mail',
             ${Date.now() - 2 * DAY_MS}, NULL,
             '["pgp-public-keys@old.example.net"]'
      FROM (SELECT n, name(n) AS h FROM
        (WITH RECURSIVE counter (n) AS
          (SELECT 1 UNION ALL SELECT n + 1 FROM counter WHERE n < ${rows}) SELECT n FROM counter));
    INSERT INTO bodies (seq, received_at, body)
      SELECT seq, received_at, randomblob(300) FROM updates;
    UPDATE totals SET entries = ${rows}, bodies = ${rows}, body_bytes = ${rows * 300};`);
  indexEntries(db);
  db.exec("COMMIT");
  db.pragma("wal_checkpoint(TRUNCATE)");
  db.close();
}
