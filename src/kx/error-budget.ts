/**
 * How much one connection may go wrong (rules 5 and 6 of `smtp-session.ts`): how many ERRORs we may
 * still send this minute, and how many bad messages the peer has left. Counts, and says nothing.
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
  isSpentBy(): boolean {
    this.#badMessages += 1;
    return this.#badMessages >= ERROR_LIMITS.badMessages;
  }

  /** Whether one more ERROR may leave; then it is counted. */
  maySend(now: number): boolean {
    if (now - this.#windowAt >= 60_000) {
      this.#windowAt = now;
      this.#sentInWindow = 0;
    }
    this.#sentInWindow += 1;
    return this.#sentInWindow <= ERROR_LIMITS.errorsPerMinute;
  }
}
