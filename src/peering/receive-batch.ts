/**
 * What a peer has delivered and is not in the log yet. A commit costs an fsync and writes each page
 * that it touches, however little of it is new, so that updates are stored together: as soon as
 * enough have come, when no more are on their way, or a moment after the first. Nobody was told
 * that they are here, so nothing is promised meanwhile.
 */
import type { Update } from "../update.js";

export const RECEIVE_BATCH_LIMITS = {
  /** Half of what a peer is asked for at once: it sends one half while the other is stored. */
  updates: 64,
  bytes: 1024 * 1024,
  /** Well below the 20 ms that announcements are gathered for. */
  waitMs: 5,
} as const;

/** An update that was checked. */
export interface Fetched {
  readonly update: Update;
  /** Of its armor. */
  readonly bytes: number;
}

export class ReceiveBatch {
  #all: Fetched[] = [];
  #bytes = 0;
  #since = Infinity;

  get size(): number {
    return this.#all.length;
  }

  /** When they are to be stored at the latest; Infinity when there are none. */
  get dueAt(): number {
    return this.#since + RECEIVE_BATCH_LIMITS.waitMs;
  }

  add(fetched: Fetched, now: number): void {
    if (this.#all.length === 0) this.#since = now;
    this.#all.push(fetched);
    this.#bytes += fetched.bytes;
  }

  /**
   * Whether it is time to store them, while `onTheirWay` more are; less than none, when requests
   * were given up whose updates are here.
   */
  isDue(onTheirWay: number, now: number): boolean {
    const isEnough =
      this.#all.length >= RECEIVE_BATCH_LIMITS.updates || this.#bytes >= RECEIVE_BATCH_LIMITS.bytes;
    return this.#all.length > 0 && (isEnough || onTheirWay <= 0 || now >= this.dueAt);
  }

  /** Hands them out, in the order in which they came. */
  take(): Fetched[] {
    const all = this.#all;
    this.#all = [];
    this.#bytes = 0;
    this.#since = Infinity;
    return all;
  }
}
