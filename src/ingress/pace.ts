/**
 * Enforces a minimum pace on the data that a client sends: a grace period first, then an average
 * pace, and a limit for the whole time. Works on a count of bytes, for any protocol.
 */

export interface PaceLimits {
  /** The longest time for a whole message. */
  readonly dataMs: number;
  /** How long a message may be slow before its pace counts. */
  readonly graceMs: number;
  /** Minimum average pace. */
  readonly bytesPerSecond: number;
}

/** What a `Pace` works with. */
export interface PaceComponents {
  /** Returns the bytes received so far. */
  readonly bytes: () => number;
  /** Called at most once, and not after `stop`. */
  readonly onSlow: () => void;
}

export class Pace {
  readonly #bytes: () => number;
  readonly #limits: PaceLimits;
  readonly #onSlow: () => void;
  #waitedMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor({ bytes, onSlow }: PaceComponents, limits: PaceLimits) {
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
