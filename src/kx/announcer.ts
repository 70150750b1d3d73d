/**
 * Decides when new updates are announced to one peer. The state is one position and one deadline,
 * not a queue, so a slow peer costs no memory. The caller reads the lines from the log.
 *  1. Announcements are contiguous. An update that the peer itself supplied is announced to it as
 *     well (unlike thesis 3.1): a gap in the numbers would cost a LIST each time.
 *  2. At most one message is sent in 20 ms, with at most 500 lines. A single update is announced at
 *     once. A longer interval saves little, since the frame of a message is a quarter of a line; it
 *     would add its delay to each update at each gateway.
 *  3. An update from the peer itself goes with the next message, or is sent after 60 s.
 *  4. Announcements that could not be sent (the log fails, the peer does not read) are retried.
 */
const ANNOUNCER_LIMITS = {
  lines: 500,
  gatherMs: 20,
  /** How long an update from the peer itself may wait for another one. */
  echoMs: 60_000,
} as const;

/** A range of positions in our log, inclusive. */
export interface Span {
  readonly low: number;
  readonly high: number;
}

export class Announcer {
  #announced: number;
  #newest: number;
  #lastAt = -Infinity;
  #dueAt: number | undefined;
  /** Whether an update is waiting that did not come from the peer itself. */
  #hasNews = false;

  /** `announced` is the position that the greeting announced. */
  constructor(announced: number) {
    this.#announced = announced;
    this.#newest = announced;
  }

  /** The position up to which updates were announced. */
  get announced(): number {
    return this.#announced;
  }

  get hasNews(): boolean {
    return this.#hasNews;
  }

  /** The log grew to `newest`; `isEcho` means that all new entries came from this peer. */
  grew(newest: number, isEcho: boolean, now: number): void {
    if (newest <= this.#newest) return;
    this.#newest = newest;
    if (!isEcho) this.#hasNews = true;
    const { gatherMs, echoMs } = ANNOUNCER_LIMITS;
    const dueAt = isEcho ? now + echoMs : Math.max(now, this.#lastAt + gatherMs);
    this.#dueAt = Math.min(this.#dueAt ?? Infinity, dueAt);
  }

  /**
   * The positions to announce now, or undefined when nothing is due. The caller then calls `sent`
   * or `postponed`.
   */
  due(now: number): Span | undefined {
    if (this.#dueAt === undefined || now < this.#dueAt) return undefined;
    const high = Math.min(this.#newest, this.#announced + ANNOUNCER_LIMITS.lines);
    return { low: this.#announced + 1, high };
  }

  /** The positions up to `high` were written to the connection. */
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
