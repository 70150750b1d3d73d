/**
 * The gateway with a wall clock that jumps: each SIGUSR2 adds the next of the hours in
 * KXTORTURE_HOURS to the date. Upkeep looks every 50 ms, in place of 10 minutes, and a date counts
 * as steady after 100 ms, in place of an hour. With KXTORTURE_TRUSTING=1 upkeep believes any date,
 * which is wrong on purpose. Never shipped.
 */
import { Retention } from "../../../src/log/retention.js";
import { UPKEEP_LIMITS } from "../../../src/upkeep.js";

const HOUR_MS = 3_600_000;

const hours = (process.env.KXTORTURE_HOURS ?? "").split(",").map(Number);
const isTrusting = process.env.KXTORTURE_TRUSTING === "1";
delete process.env.KXTORTURE_HOURS;
delete process.env.KXTORTURE_TRUSTING;

const realNow = Date.now;
/** KXTORTURE_START: by how much the date is wrong from the start, in hours. */
let offsetMs = Number(process.env.KXTORTURE_START ?? 0) * HOUR_MS;
delete process.env.KXTORTURE_START;
Date.now = () => Math.round(realNow() + offsetMs);
process.on("SIGUSR2", () => {
  offsetMs += (hours.shift() ?? 0) * HOUR_MS;
  process.stderr.write(`jumped to ${offsetMs / HOUR_MS}\n`);
});
Object.assign(UPKEEP_LIMITS, {
  everyMs: 50,
  settleMs: isTrusting ? 0 : 100,
  ...(isTrusting ? { clockJumpMs: Number.POSITIVE_INFINITY } : {}),
});
if (isTrusting) {
  Retention.prototype.provenBefore = (ageMs: number, now: number) => now - ageMs;
}

await import("../../../src/main.js");
