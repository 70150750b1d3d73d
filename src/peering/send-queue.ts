/**
 * The flow control of one connection: the requests of the peer that wait for an answer, and how
 * many bytes are unsent. If a peer asks faster than it reads, first a queue of numbers grows, then
 * its socket is not read, and if it reads nothing for a minute it is dropped.
 */
import type { AskedNumber } from "../kx/session.js";

export const SEND_QUEUE_LIMITS = {
  /** Above this nothing is read from the log for the peer. */
  unsentBytes: 4 * 1024 * 1024,
  /** Announcements are short and are sent up to this. */
  unsentWithNewsBytes: 8 * 1024 * 1024,
  /** A LIST as proof (`read-proof.ts`) is sent only below this, so that its answer comes soon. */
  unsentWithQuestionBytes: 256 * 1024,
  waitingRequests: 1000,
  stallMs: 60_000,
} as const;

export class SendQueue {
  #waiting: AskedNumber[] = [];
  /** Index of the first that waits; removing from the front of an array would move the rest. */
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

  /** When the connection is dropped unless bytes leave; Infinity if all bytes are sent. */
  get stallsAt(): number {
    return this.#unsentBytes > 0 ? this.#movedAt + SEND_QUEUE_LIMITS.stallMs : Infinity;
  }

  ask(asked: AskedNumber): void {
    this.#waiting.push(asked);
  }

  /** The next request to answer; undefined if there is none, or no room for an answer. */
  next(): AskedNumber | undefined {
    if (this.#unsentBytes >= SEND_QUEUE_LIMITS.unsentBytes) return undefined;
    const asked = this.#waiting[this.#first];
    if (asked !== undefined) this.#drop();
    return asked;
  }

  #drop(): void {
    this.#first += 1;
    if (this.#first >= SEND_QUEUE_LIMITS.waitingRequests || this.waiting === 0) {
      this.#waiting = this.#waiting.slice(this.#first);
      this.#first = 0;
    }
  }

  /** The next request if it is for an update and has this tag. */
  nextOf(tag: string): (AskedNumber & { readonly kind: "update" }) | undefined {
    const asked = this.#waiting[this.#first];
    if (asked?.kind !== "update" || asked.tag !== tag) return undefined;
    this.#drop();
    return asked;
  }

  sent(bytes: number, now: number): void {
    if (this.#unsentBytes === 0) this.#movedAt = now;
    this.#unsentBytes += bytes;
  }

  /** Bytes were sent; `unsentBytes` are left. */
  flushed(unsentBytes: number, now: number): void {
    this.#unsentBytes = unsentBytes;
    this.#movedAt = now;
  }
}
