/**
 * Watches that what a client sends keeps moving: a grace at the start, then a pace on the whole,
 * and an end after which nothing helps. Knows a number of bytes and no protocol.
 */

export interface PaceLimits {
  /** A whole message, whatever its pace. */
  readonly dataMs: number;
  /** How long a message may stand still or start slowly before its pace counts. */
  readonly graceMs: number;
  /** The pace that a message must keep on the whole. */
  readonly bytesPerSecond: number;
}

export class Pace {
  readonly #bytes: () => number;
  readonly #limits: PaceLimits;
  readonly #onSlow: () => void;
  #waitedMs = 0;
  #timer: NodeJS.Timeout | undefined;

  /** `bytes` says how many have come so far; `onSlow` is called once, unless `stop` comes first. */
  constructor(bytes: () => number, limits: PaceLimits, onSlow: () => void) {
    this.#bytes = bytes;
    this.#limits = limits;
    this.#onSlow = onSlow;
    this.#look();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #look(): void {
    const { dataMs, graceMs, bytesPerSecond } = this.#limits;
    const earnedMs = graceMs + (this.#bytes() / bytesPerSecond) * 1000;
    const leftMs = Math.ceil(Math.min(dataMs, earnedMs) - this.#waitedMs);
    if (leftMs <= 0) return this.#onSlow();
    this.#waitedMs += leftMs;
    this.#timer = setTimeout(() => this.#look(), leftMs);
  }
}
