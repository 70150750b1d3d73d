/**
 * The last 30 days of a counter by clock hours; hours without a count take no room. It has no
 * clock; the time is an argument. An hour before the oldest one, as after the clock was set back,
 * is not counted.
 */
import type { CounterHour } from "../log/counter-rows.js";

export const HOUR_MS = 3_600_000;
/** Default length of a series, in hours. */
export const HOURS = 24;
/** Hours that are kept. */
export const KEPT_HOURS = 30 * 24;

export interface Amount {
  readonly count: number;
  readonly bytes: number;
}

/** The clock hour of a time in milliseconds since 1970. */
export function hourOf(at: number): number {
  return Math.floor(at / HOUR_MS);
}

export class Hours {
  /** By the hour since 1970. */
  readonly #amounts = new Map<number, { count: number; bytes: number }>();
  #newest = 0;
  /** Hours that changed since `saved`. */
  readonly #changed = new Set<number>();

  /** Adds to the hour that holds `at`, milliseconds since 1970. */
  add(at: number, amount: Amount): void {
    const hour = this.#put(hourOf(at), amount);
    if (hour !== undefined) this.#changed.add(hour);
  }

  /** Takes over what was stored of an hour. */
  restore({ hour, count, bytes }: CounterHour): void {
    this.#put(hour, { count, bytes });
  }

  #put(hour: number, { count, bytes }: Amount): number | undefined {
    if (hour <= this.#newest - KEPT_HOURS) return undefined;
    if (hour > this.#newest) this.#advance(hour);
    const known = this.#amounts.get(hour);
    if (known === undefined) this.#amounts.set(hour, { count, bytes });
    else {
      known.count += count;
      known.bytes += bytes;
    }
    return hour;
  }

  /** The hour that holds `at` and those before it, `hours` in all, oldest first. */
  series(at: number, hours = HOURS): Amount[] {
    const last = Math.max(hourOf(at), this.#newest);
    return Array.from({ length: hours }, (_, index) => {
      const amount = this.#amounts.get(last - hours + 1 + index);
      return { count: amount?.count ?? 0, bytes: amount?.bytes ?? 0 };
    });
  }

  /** What changed since `saved`. */
  changes(): CounterHour[] {
    return [...this.#changed].flatMap((hour) => {
      const amount = this.#amounts.get(hour);
      return amount === undefined ? [] : [{ hour, ...amount }];
    });
  }

  saved(): void {
    this.#changed.clear();
  }

  #advance(hour: number): void {
    this.#newest = hour;
    for (const known of this.#amounts.keys()) {
      if (known <= hour - KEPT_HOURS) this.#amounts.delete(known);
    }
  }
}
