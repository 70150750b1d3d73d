/**
 * The last 24 hours of a counter: 24 buckets of a clock hour each. It has no
 * clock; the time is an argument. An hour before the oldest bucket, as after the
 * clock was set back, is not counted.
 */

export const HOUR_MS = 3_600_000;
export const HOURS = 24;

export interface Amount {
  readonly count: number;
  readonly bytes: number;
}

export class Hours {
  readonly #buckets = Array.from({ length: HOURS }, () => ({ count: 0, bytes: 0 }));
  #newest = 0;

  /** Adds to the hour that holds `at`, milliseconds since 1970. */
  add(at: number, { count, bytes }: Amount): void {
    const hour = this.#advance(at);
    if (hour <= this.#newest - HOURS) return;
    const bucket = this.#buckets[hour % HOURS];
    if (bucket === undefined) return;
    bucket.count += count;
    bucket.bytes += bytes;
  }

  /** The hour that holds `at` and the 23 before it, oldest first. */
  series(at: number): Amount[] {
    const last = Math.max(this.#advance(at), this.#newest);
    return Array.from({ length: HOURS }, (_, index) => {
      const bucket = this.#buckets[(last - HOURS + 1 + index) % HOURS];
      return { count: bucket?.count ?? 0, bytes: bucket?.bytes ?? 0 };
    });
  }

  /** Empties the buckets of hours that have begun since the last call; returns the hour of `at`. */
  #advance(at: number): number {
    const hour = Math.floor(at / HOUR_MS);
    const passed = Math.min(hour - this.#newest, HOURS);
    for (let index = 0; index < passed; index++) {
      this.#buckets[(hour - index) % HOURS] = { count: 0, bytes: 0 };
    }
    this.#newest = Math.max(this.#newest, hour);
    return hour;
  }
}
