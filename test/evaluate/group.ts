/**
 * A control group (cgroup v2) for the processes of one path: the kernel adds up the CPU of all that
 * ever were in it, ended ones included, and of nobody else, however loaded the machine is. Bytes
 * written come from /proc/PID/io of those that live, which hold what their ended children wrote.
 * Only what is written to a file system on a disk is counted there. Needs root.
 */
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { holdsWithin } from "../support/until.js";

/** Tenths of a second in which a process that was told to end does so. */
const PATIENCE_MS = 5000;

export interface Usage {
  /** User and system time, microseconds. */
  readonly cpuUs: number;
  /** What was handed to the disk, bytes. */
  readonly writtenBytes: number;
}

export class ProcessGroup {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Throws when the machine has no cgroup v2 that we may write to. */
  static create(name: string): ProcessGroup {
    const directory = join(mountPoint(), `kxgw-evaluate-${process.pid}-${name}`);
    mkdirSync(directory);
    return new ProcessGroup(directory);
  }

  /** What `start` starts belongs to the group; we are in it ourselves for that long. */
  async enter<T>(start: () => Promise<T>): Promise<T> {
    const own = readFileSync("/proc/self/cgroup", "latin1");
    const home = /^0::(.*)$/m.exec(own)?.[1] ?? "/";
    this.#adopt(this.#directory);
    try {
      return await start();
    } finally {
      this.#adopt(join(mountPoint(), home));
    }
  }

  usage(): Usage {
    const stat = readFileSync(join(this.#directory, "cpu.stat"), "latin1");
    const written = this.#pids().map((pid) => writtenBytes(pid));
    return {
      cpuUs: Number(/^usage_usec (\d+)$/m.exec(stat)?.[1]),
      writtenBytes: written.reduce((sum, one) => sum + one, 0),
    };
  }

  /** Removes the group; what still runs in it has been told to end, and is killed after a while. */
  async remove(): Promise<void> {
    await holdsWithin(() => this.#pids().length === 0, PATIENCE_MS, 100);
    for (const pid of this.#pids()) process.kill(Number(pid), "SIGKILL");
    await holdsWithin(() => this.#pids().length === 0, PATIENCE_MS, 100);
    rmdirSync(this.#directory);
  }

  #pids(): string[] {
    const text = readFileSync(join(this.#directory, "cgroup.procs"), "latin1");
    return text.split("\n").filter((line) => line !== "");
  }

  #adopt(directory: string): void {
    writeFileSync(join(directory, "cgroup.procs"), String(process.pid));
  }
}

/** Where cgroup v2 is mounted. Throws when it is not. */
export function mountPoint(): string {
  const mounts = readFileSync("/proc/self/mounts", "latin1");
  const path = /^\S+ (\S+) cgroup2 /m.exec(mounts)?.[1];
  if (path === undefined) throw new Error("cgroup v2 is not mounted");
  return path;
}

/** 0 for a process that has just ended: its parent has its bytes. */
function writtenBytes(pid: string): number {
  try {
    const io = readFileSync(`/proc/${pid}/io`, "latin1");
    return Number(/^write_bytes: (\d+)$/m.exec(io)?.[1]);
  } catch {
    return 0;
  }
}
