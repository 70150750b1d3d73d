/**
 * What strace sees of a path: processes started, programs executed in them, and how often somebody
 * waited for the disk. Traced programs are slow, so this is a run of its own whose CPU nobody
 * reads. A thread is no process.
 */
import { readFileSync } from "node:fs";

export interface Calls {
  readonly processes: number;
  readonly programs: number;
  readonly fsyncs: number;
}

const WANTED = "trace=fork,vfork,clone,clone3,execve,fsync,fdatasync,sync_file_range";

/** Puts before a program what traces it and its children into `file`; signals go to it (-D). */
export function traceInto(file: string): string[] {
  return ["strace", "-D", "-f", "-qq", "-e", WANTED, "-e", "signal=none", "-o", file];
}

/** What was called so far; several files add up. */
export function callsIn(files: readonly string[]): Calls {
  const lines = files.flatMap((file) => readFileSync(file, "latin1").split("\n"));
  return {
    processes: lines.filter((line) => isCall(line, "v?fork|clone3?") && !isThread(line)).length,
    programs: lines.filter((line) => /\bexecve\b.* = 0$/.test(line)).length,
    fsyncs: lines.filter((line) => isCall(line, "fsync|fdatasync|sync_file_range")).length,
  };
}

/** The line on which a call begins; a call that was interrupted has a second one. */
function isCall(line: string, names: string): boolean {
  return new RegExp(`^\\d+ +(${names})\\(`).test(line);
}

function isThread(line: string): boolean {
  return line.includes("CLONE_THREAD");
}
