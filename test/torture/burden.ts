/**
 * What an attack costs the gateway and those who share it: resident memory and processor time of
 * its process, read from /proc, and how long an honest KX peer waits for an answer meanwhile.
 */
import { readFileSync } from "node:fs";
import type { KxPeer } from "../support/kx-peer.js";
import { pause } from "../support/until.js";
import { quantile } from "./check.js";

const LOOK_MS = 20;
const TICKS_A_SECOND = 100;

export function residentMib(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) / 1024;
}

/** Processor time of a process so far, in seconds. */
export function cpuSeconds(pid: number): number {
  const [, rest = ""] = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ");
  const fields = rest.split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND;
}

/** Watches a process from the moment of its making until `end`. */
export class Burden {
  readonly #pid: number;
  readonly #before: number;
  readonly #cpuBefore: number;
  readonly #timer: NodeJS.Timeout;
  #peak: number;

  constructor(pid: number) {
    this.#pid = pid;
    this.#before = residentMib(pid);
    this.#cpuBefore = cpuSeconds(pid);
    this.#peak = this.#before;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  /** MiB that the process grew by at most, and the seconds of processor time that it used. */
  end(): { readonly grewMib: number; readonly peakMib: number; readonly cpu: number } {
    clearInterval(this.#timer);
    this.#look();
    const cpu = cpuSeconds(this.#pid) - this.#cpuBefore;
    return { grewMib: Math.round(this.#peak - this.#before), peakMib: Math.round(this.#peak), cpu };
  }

  #look(): void {
    this.#peak = Math.max(this.#peak, residentMib(this.#pid));
  }
}

/** How long an honest peer waits for its GETUPDATE, one after the other, while `attack` lasts. */
export async function whileAttacked(peer: KxPeer, attack: Promise<unknown>): Promise<Waits> {
  const waits: number[] = [];
  let isOver = false;
  const over = attack.finally(() => {
    isOver = true;
  });
  let unanswered = 0;
  while (!isOver) {
    const asked = performance.now();
    if ((await peer.fetch(1))?.command !== "UPDATE") unanswered += 1;
    waits.push(performance.now() - asked);
    await pause(5);
  }
  await over;
  const p99 = Math.round(quantile(waits, 0.99));
  return { p99, most: Math.round(Math.max(0, ...waits)), unanswered };
}

/** Milliseconds. */
export interface Waits {
  readonly p99: number;
  readonly most: number;
  readonly unanswered: number;
}

/** Local address and state of each TCP socket in the network of a process. */
export function tcpOf(pid: number): (readonly [local: string, state: string])[] {
  const lines = readFileSync(`/proc/${pid}/net/tcp`, "latin1").trim().split("\n").slice(1);
  return lines.map((line) => {
    const [, local = "", , state = ""] = line.trim().split(/\s+/);
    return [local, state] as const;
  });
}
