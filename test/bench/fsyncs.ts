/**
 * Counts the fsyncs of a gateway. The kernel counts none in /proc, so strace does: a filter in the
 * kernel stops the process at fsync and fdatasync only. Such a gateway's CPU is never measured; its
 * fsyncs are counted in a run of its own.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";

/** The command that the gateway runs under, which notes each call in `file`. */
export function counting(file: string): string[] {
  return ["strace", "-D", "-f", "--seccomp-bpf", "-qq", "-e", "trace=fsync,fdatasync", "-o", file];
}

/** How many fsyncs were begun so far. */
export function fsyncsIn(file: string): number {
  const text = existsSync(file) ? readFileSync(file, "latin1") : "";
  return text.match(/ f(data)?sync\(/g)?.length ?? 0;
}

/** Whether they can be counted here. */
export function canCount(): boolean {
  return (
    spawnSync("strace", ["--seccomp-bpf", "-f", "-qq", "-e", "trace=none", "true"]).status === 0
  );
}
