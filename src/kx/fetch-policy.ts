/**
 * When a peer may be asked for what can wait (thesis 3.1: "at a later time, for example when the
 * network load is lower"): outside of its quiet hours, and as long as its byte budget has something
 * left. Pure: the monotonic time and the date are arguments. What cannot wait is the tracker's rule
 * 10; what a request will cost is its estimate, and what came is told here afterwards.
 */
import { type Rate, TokenBucket } from "../rate.js";
import { type QuietHours, quietFor } from "../schedule.js";

/** What the operator wants of one peer. */
export interface FetchPolicy {
  /** Bytes of armored updates in a time: so many at once, and then as they come back. */
  readonly rate: Rate | undefined;
  readonly quietHours: QuietHours | undefined;
}

export type Holding = "quiet-hours" | "fetch-rate";

/** The fetch policy of one peer, with the budget that is spent. */
export class Budget {
  readonly #quietHours: QuietHours | undefined;
  readonly #bucket: TokenBucket | undefined;
  /** The most that may be owed: with more, one catch-up would keep us from asking for days. */
  readonly #credit: number;

  /** A budget begins full, also after a restart. */
  constructor({ rate, quietHours }: FetchPolicy) {
    this.#quietHours = quietHours;
    this.#bucket = rate && new TokenBucket(rate, -Infinity);
    this.#credit = rate?.count ?? 0;
  }

  /** So many bytes came, in time or late; at most what one period brings is owed for them. */
  took(bytes: number, now: number): void {
    const left = this.#bucket?.left(now) ?? 0;
    this.#bucket?.take(now, Math.min(bytes, left + this.#credit));
  }

  /**
   * What keeps us from asking while answers of `expectedBytes` are on their way, and for how long
   * as far as that can be said; undefined when nothing does. `date` is the wall clock, UTC.
   */
  holding(
    expectedBytes: number,
    now: number,
    date: number,
  ): { readonly why: Holding; readonly waitMs: number } | undefined {
    const quietMs = this.#quietHours === undefined ? 0 : quietFor(this.#quietHours, date);
    if (quietMs > 0) return { why: "quiet-hours", waitMs: quietMs };
    const waitMs = this.#bucket?.waitMs(now, expectedBytes + 1) ?? 0;
    return waitMs > 0 ? { why: "fetch-rate", waitMs } : undefined;
  }
}
