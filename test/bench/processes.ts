/**
 * What a process costs, as the kernel counts it in /proc: CPU of all its threads in nanoseconds,
 * bytes for the disk, memory, wake-ups. Linux only. The client of a bench is another process, so
 * nothing of it is counted. What a tracer has to count, fsyncs, is in `fsyncs.ts`.
 */
import { readdirSync, readFileSync } from "node:fs";

/**
 * User and system time of the process so far, in microseconds. A thread that has ended is not in
 * it; Node keeps its threads. The kernel adds a slice when it ends: the last 4 ms may be missing.
 */
export function cpuUs(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  return threads.reduce((sum, thread) => {
    const text = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "latin1");
    return sum + Number(text.split(" ", 1)[0]) / 1000;
  }, 0);
}

/**
 * Bytes that the process caused to be written to a disk so far: whole pages of files, each as often
 * as it was changed since it was last written. Sockets and pipes are not in it.
 */
export function diskBytes(pid: number): number {
  const text = readFileSync(`/proc/${pid}/io`, "latin1");
  return Number(/^write_bytes: (\d+)/m.exec(text)?.[1]);
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

/** CPU and bytes of a process since a moment, for each of `count` things. */
export function meter(pid: number): (count: number) => { cpu: number; bytes: number } {
  const [cpu, bytes] = [cpuUs(pid), diskBytes(pid)];
  return (count) => ({
    cpu: (cpuUs(pid) - cpu) / count,
    bytes: (diskBytes(pid) - bytes) / count,
  });
}
