/**
 * The flow control of one connection: what the peer has asked for and not got, and how much of what
 * we said is unsent. A peer that asks faster than it reads fills a queue of numbers, not our
 * memory, then its socket is not read, and when it takes nothing at all it is dropped.
 */
import type { AskedNumber } from "../kx/session.js";

export const SEND_QUEUE_LIMITS = {
  /** Nothing is read from the log for a peer while so much is unsent. */
  unsentBytes: 4 * 1024 * 1024,
  /** Announcements are short and may overtake bodies, up to here. */
  unsentWithNewsBytes: 8 * 1024 * 1024,
  /** A question is asked when no more than this is ahead of it, so that its answer is soon here. */
  unsentWithQuestionBytes: 256 * 1024,
  waitingRequests: 1000,
  stallMs: 60_000,
} as const;

export class SendQueue {
  #waiting: AskedNumber[] = [];
  /** Index of the first one that still waits: taking from the front of an array moves the rest. */
  #first = 0;
  #unsentBytes = 0;
  #movedAt: number;

  constructor(now: number) {
    this.#movedAt = now;
  }

  get waiting(): number {
    return this.#waiting.length - this.#first;
  }

  /** Whether the socket should not be read for now. */
  get isCongested(): boolean {
    return this.waiting >= SEND_QUEUE_LIMITS.waitingRequests;
  }

  get takesNews(): boolean {
    return this.#unsentBytes < SEND_QUEUE_LIMITS.unsentWithNewsBytes;
  }

  get isNearlyEmpty(): boolean {
    return this.#unsentBytes < SEND_QUEUE_LIMITS.unsentWithQuestionBytes;
  }

  /** When the connection is to be dropped unless something moves; Infinity when all is sent. */
  get stallsAt(): number {
    return this.#unsentBytes > 0 ? this.#movedAt + SEND_QUEUE_LIMITS.stallMs : Infinity;
  }

  ask(asked: AskedNumber): void {
    this.#waiting.push(asked);
  }

  /** The next request to answer, or undefined while there is none or no room for its answer. */
  next(): AskedNumber | undefined {
    if (this.#unsentBytes >= SEND_QUEUE_LIMITS.unsentBytes) return undefined;
    const asked = this.#waiting[this.#first];
    if (asked === undefined) return undefined;
    this.#first += 1;
    if (this.#first >= SEND_QUEUE_LIMITS.waitingRequests || this.waiting === 0) {
      this.#waiting = this.#waiting.slice(this.#first);
      this.#first = 0;
    }
    return asked;
  }

  sent(bytes: number, now: number): void {
    if (this.#unsentBytes === 0) this.#movedAt = now;
    this.#unsentBytes += bytes;
  }

  /** Some of it left; so much is still unsent. */
  flushed(unsentBytes: number, now: number): void {
    this.#unsentBytes = unsentBytes;
    this.#movedAt = now;
  }
}
