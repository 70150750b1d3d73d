/**
 * Numbers are never given twice (row 21): everything expires, the gateway restarts, more comes in,
 * a hundred times over; and even the newest row, which expiry always leaves, is taken away by hand.
 * Control: a file without the trigger that stores the last number.
 */
import { createHash } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { type Arrival, UpdateLog } from "../../../src/log/update-log.js";
import type { Fingerprint, Update, UpdateHash } from "../../../src/update.js";
import { type Check, type Context, controlOf, goesOn } from "../check.js";

const ROUNDS = 100;

export const numbers: Check = {
  name: "numbers",
  rows: [21],
  promise: "a number is never given to two updates, though all of them expired",
  runs: 1_000_000,
  share: 1,
  async run(context) {
    const real = await insertAndForget(context, "real", ROUNDS);
    const control = await insertAndForget(controlOf(context, 3000), "control", 3, true);
    return {
      faults: real.reused > 0 ? [`${real.reused} numbers were given twice`] : [],
      figures: `${real.inserted} inserts, ${real.restarts} restarts, ${real.reused} reused`,
      control: {
        caught: control.reused > 0,
        figures: `no trigger: ${control.reused} reused`,
      },
    };
  },
};

async function insertAndForget(
  context: Context,
  name: string,
  rounds: number,
  isForgetful = false,
) {
  const directory = join(context.directory, name);
  mkdirSync(directory);
  const path = join(directory, "log");
  const batch = Math.max(1, Math.min(10_000, Math.floor(context.runs / ROUNDS)));
  const result = { inserted: 0, restarts: 0, reused: 0 };
  let highest = 0;
  for (let round = 0; round < rounds && goesOn(context, result.inserted, 3); round += 1) {
    const log = UpdateLog.open(path);
    const arrivals = Array.from({ length: batch }, (_, index) => arrival(result.inserted + index));
    for (const { seq = 0 } of log.append(arrivals)) {
      if (seq <= highest) result.reused += 1;
      highest = Math.max(highest, seq);
    }
    result.inserted += batch;
    while (log.retention.expire(1e15, { retainMs: 1, rememberMs: 1 }, 10_000).more);
    log.close();
    const db = new Database(path);
    if (isForgetful) db.exec("DROP TRIGGER IF EXISTS updates_last");
    db.exec(`
      DELETE FROM bodies; DELETE FROM updates; DELETE FROM keys; DELETE FROM hashes;
      DELETE FROM dates;
      UPDATE totals SET entries = 0, bodies = 0, body_bytes = 0`);
    db.close();
    result.restarts += 1;
    await new Promise((resolve) => setImmediate(resolve));
  }
  return result;
}

function arrival(n: number): Arrival {
  const digest = createHash("sha256").update(String(n)).digest("hex");
  const update: Update = {
    hash: digest.slice(0, 32) as UpdateHash,
    digest,
    fingerprint: digest.slice(0, 40).toUpperCase() as Fingerprint,
    body: Uint8Array.of(0x99),
    selfSigned: undefined,
    packets: [],
  };
  const origin = { neighbour: undefined, transport: "kx" } as const;
  return { update, origin, trail: [], receivedAt: n };
}
