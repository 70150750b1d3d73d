/**
 * CPU time of this process since a moment, in milliseconds: what a computation costs, whoever else
 * uses the machine. Ask twice: `const cpuMs = cpuTimer(); work(); cpuMs()`.
 */
import { readFileSync } from "node:fs";

export function cpuTimer(): () => number {
  const before = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  };
}

/**
 * Measures how long the thread that runs the event loop is busy without a pause, in processor time,
 * as `test/torture/programs/lag-meter.ts` does: `most()` is the longest time so far, in
 * milliseconds.
 */
export function stallMeter(): { most(): number; stop(): void } {
  const file = `/proc/self/task/${process.pid}/schedstat`;
  const threadMs = () => Number(readFileSync(file, "latin1").split(" ")[0]) / 1e6;
  let [most, before] = [0, threadMs()];
  const timer = setInterval(() => {
    const now = threadMs();
    most = Math.max(most, now - before);
    before = now;
  }, 5);
  return { most: () => most, stop: () => clearInterval(timer) };
}
