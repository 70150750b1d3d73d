/**
 * When one peer hears of our new updates: one integer and one deadline, no queue, so that a slow
 * peer costs nothing. Pure; whoever owns it reads the lines from the log and says what was sent.
 *
 *  1. Announcements are contiguous. Leaving out what the peer itself supplied (thesis 3.1, "to all
 *     other neighbours") would show as a gap in the numbers and cost a LIST each time.
 *  2. At most one message in 20 ms, with at most 500 lines: alone an update goes at once, and a
 *     burst becomes few messages. The frame of a message is a quarter of a line, so that longer
 *     gathering would save little; the design's 200 ms were most of the time that a mail was on
 *     its way through two gateways under load.
 *  3. What the peer gave us causes no message. It rides with the next one, or goes after 60 s.
 *  4. What could not be sent (a log in trouble, a peer that does not read) is due again later.
 */
export const ANNOUNCER_LIMITS = {
  lines: 500,
  gatherMs: 20,
  /** How long the peer's own update may wait for company. */
  echoMs: 60_000,
} as const;

/** Positions in our log, both included. */
export interface Span {
  readonly low: number;
  readonly high: number;
}

export class Announcer {
  #announced: number;
  #newest: number;
  #lastAt = -Infinity;
  #dueAt: number | undefined;
  /** Whether something waits that did not come from the peer itself. */
  #hasNews = false;

  /** `announced` is the position that the greeting told the peer. */
  constructor(announced: number) {
    this.#announced = announced;
    this.#newest = announced;
  }

  /** The position up to which the peer was told. */
  get announced(): number {
    return this.#announced;
  }

  get hasNews(): boolean {
    return this.#hasNews;
  }

  /** The log grew to `newest`; `isEcho` says that all of it came from this very peer. */
  grew(newest: number, isEcho: boolean, now: number): void {
    if (newest <= this.#newest) return;
    this.#newest = newest;
    if (!isEcho) this.#hasNews = true;
    const { gatherMs, echoMs } = ANNOUNCER_LIMITS;
    const dueAt = isEcho ? now + echoMs : Math.max(now, this.#lastAt + gatherMs);
    this.#dueAt = Math.min(this.#dueAt ?? Infinity, dueAt);
  }

  /** What to announce now, or undefined when it is not yet time; then `sent` or `postponed`. */
  due(now: number): Span | undefined {
    if (this.#dueAt === undefined || now < this.#dueAt) return undefined;
    const high = Math.min(this.#newest, this.#announced + ANNOUNCER_LIMITS.lines);
    return { low: this.#announced + 1, high };
  }

  /** The positions up to `high` are on their way. */
  sent(high: number, now: number): void {
    this.#announced = high;
    this.#lastAt = now;
    if (high >= this.#newest) this.#hasNews = false;
    this.#dueAt = high < this.#newest ? now + ANNOUNCER_LIMITS.gatherMs : undefined;
  }

  postponed(until: number): void {
    if (this.#dueAt !== undefined) this.#dueAt = Math.max(this.#dueAt, until);
  }

  nextAt(): number | undefined {
    return this.#dueAt;
  }
}
