/**
 * A rate and its token bucket: `count` tokens in a period, taken all at once or spread out, and
 * refilled evenly. Pure: the caller passes the time.
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

  /** The bucket is full at `now`, in milliseconds of a monotonic clock. */
  constructor(rate: Rate, now: number) {
    this.#rate = rate;
    this.#tokens = rate.count;
    this.#at = now;
  }

  /** Milliseconds until `amount` can be taken; 0 if available now. Has no side effects. */
  waitMs(now: number, amount = 1): number {
    const { count, periodMs } = this.#rate;
    const missing = amount - this.left(now);
    return missing <= 0 ? 0 : Math.ceil((missing * periodMs) / count);
  }

  /** Takes `amount` tokens. The balance may become negative. */
  take(now: number, amount = 1): void {
    this.#tokens = this.left(now) - amount;
    this.#at = Math.max(this.#at, now);
  }

  /** The tokens available now. Negative after tokens were taken in advance. */
  left(now: number): number {
    const { count, periodMs } = this.#rate;
    return Math.min(count, this.#tokens + (Math.max(0, now - this.#at) * count) / periodMs);
  }
}
