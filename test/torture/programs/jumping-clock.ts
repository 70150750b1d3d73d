/**
 * The gateway with a wall clock that jumps: each SIGUSR2 adds the next of the hours in
 * KXTORTURE_HOURS to the date. Upkeep looks every 50 ms, in place of 10 minutes, and with
 * KXTORTURE_TRUSTING=1 it believes any date, which is wrong on purpose. Never shipped.
 */
import { UPKEEP_LIMITS } from "../../../src/upkeep.js";

const HOUR_MS = 3_600_000;

const hours = (process.env.KXTORTURE_HOURS ?? "").split(",").map(Number);
const isTrusting = process.env.KXTORTURE_TRUSTING === "1";
delete process.env.KXTORTURE_HOURS;
delete process.env.KXTORTURE_TRUSTING;

const realNow = Date.now;
let offsetMs = 0;
Date.now = () => Math.round(realNow() + offsetMs);
process.on("SIGUSR2", () => {
  offsetMs += (hours.shift() ?? 0) * HOUR_MS;
  process.stderr.write(`jumped to ${offsetMs / HOUR_MS}\n`);
});
Object.assign(UPKEEP_LIMITS, {
  everyMs: 50,
  ...(isTrusting ? { clockJumpMs: Number.POSITIVE_INFINITY } : {}),
});

await import("../../../src/main.js");
