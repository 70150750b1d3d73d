/**
 * What a process costs, as the kernel counts it in /proc: CPU, memory, wake-ups. Linux only; a
 * tick of the CPU figures is 10 ms, so what is measured has to take much longer.
 */
import { readFileSync } from "node:fs";

const TICK_US = 10_000;

/** User and system time of the process so far, in microseconds. */
export function cpuUs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_US;
}

/** Resident bytes now. */
export function residentBytes(pid: number): number {
  return field(pid, "VmRSS") * 1024;
}

/** How often the process has gone to sleep so far, that is, how often it was woken. */
export function sleeps(pid: number): number {
  return field(pid, "voluntary_ctxt_switches");
}

function field(pid: number, name: string): number {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  return Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0);
}
