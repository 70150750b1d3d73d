/**
 * A rate as a value, as a token bucket: so many in a period, all of them at once or spread, and the
 * used ones come back evenly. Pure: the caller has the clock.
 */

export interface Rate {
  /** At least 1. */
  readonly count: number;
  readonly periodMs: number;
}

export class TokenBucket {
  readonly #rate: Rate;
  #tokens: number;
  #at: number;

  /** Full at `now`, in milliseconds of a clock that never goes back. */
  constructor(rate: Rate, now: number) {
    this.#rate = rate;
    this.#tokens = rate.count;
    this.#at = now;
  }

  /** Milliseconds until `amount` can be taken, 0 when it can be now. Changes nothing. */
  waitMs(now: number, amount = 1): number {
    const { count, periodMs } = this.#rate;
    const missing = amount - this.left(now);
    return missing <= 0 ? 0 : Math.ceil((missing * periodMs) / count);
  }

  /** Takes `amount`, on credit if there is not so much. */
  take(now: number, amount = 1): void {
    this.#tokens = this.left(now) - amount;
    this.#at = Math.max(this.#at, now);
  }

  /** What is there now; less than nothing when it was taken on credit. */
  left(now: number): number {
    const { count, periodMs } = this.#rate;
    return Math.min(count, this.#tokens + (Math.max(0, now - this.#at) * count) / periodMs);
  }
}
