/**
 * How much may go wrong on one connection (rules 5 and 6 of `session.ts`): how many ERRORs we may
 * still send this minute, and how many bad messages the peer may still send. It counts; the session
 * acts.
 */
export const ERROR_LIMITS = { badMessages: 10, errorsPerMinute: 20 } as const;

/** What we tell the peer: `tag` is the offending message's, undefined for NOTIFY. */
export interface Fault {
  readonly tag?: string | undefined;
  readonly code: number;
  readonly text: string;
}

export class ErrorBudget {
  #badMessages = 0;
  #windowAt = -Infinity;
  #sentInWindow = 0;

  /** Counts a bad message; true when it was one too many. */
  countBadMessage(): boolean {
    this.#badMessages += 1;
    return this.#badMessages >= ERROR_LIMITS.badMessages;
  }

  /** Takes one ERROR from the minute's share; false when it has none left. */
  takeError(now: number): boolean {
    if (now - this.#windowAt >= 60_000) {
      this.#windowAt = now;
      this.#sentInWindow = 0;
    }
    this.#sentInWindow += 1;
    return this.#sentInWindow <= ERROR_LIMITS.errorsPerMinute;
  }
}
