/**
 * Updates that a peer delivered and that are to be stored together. A commit costs an fsync and
 * writes each page that it touches, however little of it is new. A batch is therefore due when it
 * is full, when no more updates are expected, or a moment after its first update. No other peer is
 * told of these updates before they are stored, so the wait breaks no promise.
 */
import type { Arrival } from "../log/update-log.js";
import type { AnnouncedName, Named, Update } from "../update.js";

export const RECEIVE_BATCH_LIMITS = {
  /** Half of the requests that a peer gets at once: it sends one half while the other is stored. */
  updates: 64,
  bytes: 1024 * 1024,
  /** Well below the 20 ms that announcements are gathered for. */
  waitMs: 5,
} as const;

/** An update that was checked. */
export interface Fetched {
  /** What was announced and asked for. */
  readonly announced: AnnouncedName;
  /** Both names of it. */
  readonly name: Named;
  /** What is to be appended; its hash is another one where policy dropped packets. */
  readonly update: Update;
  readonly cutFrom: Arrival["cutFrom"];
  /** Size of the body as it came. */
  readonly bytes: number;
}

export class ReceiveBatch {
  #all: Fetched[] = [];
  #bytes = 0;
  #since = Infinity;

  get size(): number {
    return this.#all.length;
  }

  /** When the batch is due at the latest; Infinity if it is empty. */
  get dueAt(): number {
    return this.#since + RECEIVE_BATCH_LIMITS.waitMs;
  }

  add(fetched: Fetched, now: number): void {
    if (this.#all.length === 0) this.#since = now;
    this.#all.push(fetched);
    this.#bytes += fetched.bytes;
  }

  /**
   * The store before it is over, and the wait of the batch starts now. Otherwise a batch that began
   * during a long commit would be stored at once, with the few updates that came before it.
   */
  restart(now: number): void {
    if (this.#all.length > 0) this.#since = now;
  }

  /**
   * Whether the batch is due while `onTheirWay` more updates are expected. The number is negative
   * if updates are here whose requests were given up.
   */
  isDue(onTheirWay: number, now: number): boolean {
    const isEnough =
      this.#all.length >= RECEIVE_BATCH_LIMITS.updates || this.#bytes >= RECEIVE_BATCH_LIMITS.bytes;
    return this.#all.length > 0 && (isEnough || onTheirWay <= 0 || now >= this.dueAt);
  }

  /** Empties the batch and returns its updates in the order of arrival. */
  take(): Fetched[] {
    const all = this.#all;
    this.#all = [];
    this.#bytes = 0;
    this.#since = Infinity;
    return all;
  }
}
