/**
 * When updates may be requested from a peer (thesis 3.1: "at a later time, for example when the
 * network load is lower"): outside its quiet hours, and while its byte budget lasts. The monotonic
 * time and the date are arguments. Rule 10 of `fetch-tracker.ts` says which updates are requested
 * regardless. The tracker estimates the size of an answer before a request and reports the real
 * size here afterwards.
 */
import { type Rate, TokenBucket } from "../rate.js";
import { type QuietHours, quietFor } from "../schedule.js";

/** The configured limits for fetching from one peer. */
export interface FetchPolicy {
  /** Bytes of armored updates in a period, as a token bucket. */
  readonly rate: Rate | undefined;
  readonly quietHours: QuietHours | undefined;
}

export type Holding = "quiet-hours" | "fetch-rate";

/** The fetch policy of one peer, with the state of its byte budget. */
export class Budget {
  readonly #quietHours: QuietHours | undefined;
  readonly #bucket: TokenBucket | undefined;
  /** Upper bound of the debt. With more, one catch-up would stop requests for days. */
  readonly #credit: number;

  /** A budget starts full, also after a restart. */
  constructor({ rate, quietHours }: FetchPolicy) {
    this.#quietHours = quietHours;
    this.#bucket = rate && new TokenBucket(rate, -Infinity);
    this.#credit = rate?.count ?? 0;
  }

  /** Takes received bytes off the budget. The debt is at most the amount of one period. */
  took(bytes: number, now: number): void {
    const left = this.#bucket?.left(now) ?? 0;
    this.#bucket?.take(now, Math.min(bytes, left + this.#credit));
  }

  /**
   * Why nothing may be requested now, and for how long as far as it is known; undefined when
   * requests are allowed. `expectedBytes` is the expected size of the answers that are still to
   * come. `date` is the wall clock, UTC.
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
