/**
 * A rate as a value: so many in a period, all of them at once if one likes, and then as they come
 * back, evenly. Pure; whoever waits owns the clock.
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

  /** Milliseconds until one can be taken, 0 when it can be now. */
  waitMs(now: number): number {
    this.#fill(now);
    const { count, periodMs } = this.#rate;
    return this.#tokens >= 1 ? 0 : Math.ceil(((1 - this.#tokens) * periodMs) / count);
  }

  /** Takes one, on credit if there is none. */
  take(now: number): void {
    this.#fill(now);
    this.#tokens -= 1;
  }

  #fill(now: number): void {
    const { count, periodMs } = this.#rate;
    const earned = (Math.max(0, now - this.#at) * count) / periodMs;
    this.#tokens = Math.min(count, this.#tokens + earned);
    this.#at = Math.max(this.#at, now);
  }
}
