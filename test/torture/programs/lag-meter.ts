/**
 * The gateway with a meter of its event loop. At SIGUSR2 it writes to stderr how long its thread
 * was busy between two ticks of 5 ms since the last time, and begins anew: in processor time, which
 * does not depend on what else the machine does. Beside it how late a tick came by the clock.
 * Expiry begins at the start and not an hour later, so that a run need not wait for it.
 * KXTORTURE_GREEDY=1 removes all that is due in one go and reads a mail in one go, which is wrong
 * on purpose. Never shipped.
 */
import { readFileSync } from "node:fs";
import { SLICE_LIMITS } from "../../../src/intake/slices.js";
import { UPKEEP_LIMITS } from "../../../src/upkeep.js";
import { quantile } from "../check.js";

const TICK_MS = 5;

let busy: number[] = [];
let late: number[] = [];
let due = performance.now() + TICK_MS;
let used = threadMs();

/** Processor time of the main thread so far. */
function threadMs(): number {
  const [nanoseconds = "0"] = readFileSync(
    `/proc/self/task/${process.pid}/schedstat`,
    "latin1",
  ).split(" ");
  return Number(nanoseconds) / 1e6;
}

const tick = () => {
  const [now, usedNow] = [performance.now(), threadMs()];
  busy.push(usedNow - used);
  late.push(now - due);
  used = usedNow;
  due = now + TICK_MS;
  setTimeout(tick, TICK_MS).unref();
};
setTimeout(tick, TICK_MS).unref();
process.on("SIGUSR2", () => {
  const [p99, most] = [quantile(busy, 0.99), quantile(busy, 1)];
  process.stderr.write(`lag ${JSON.stringify({ p99, most, late: quantile(late, 1) })}\n`);
  busy = [];
  late = [];
});

Object.assign(UPKEEP_LIMITS, { settleMs: 0 });
if (process.env.KXTORTURE_GREEDY === "1") {
  Object.assign(UPKEEP_LIMITS, { batch: 1_000_000 });
  SLICE_LIMITS.ms = Number.POSITIVE_INFINITY;
}
delete process.env.KXTORTURE_GREEDY;

await import("../../../src/main.js");
