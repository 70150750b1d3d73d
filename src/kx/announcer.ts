/**
 * When one peer hears of our new updates: one integer and one deadline, no queue. The peer's
 * position in our log is all there is to remember, so a slow peer costs nothing (design of KX/1.0,
 * "Announce contiguous ranges to everybody"). Pure; whoever owns it reads the lines from the log.
 *
 *  1. Announcements are contiguous. Leaving out what the peer itself supplied (thesis 3.1, "to all
 *     other neighbours") would show as a gap in the numbers and cost a LIST each time.
 *  2. The first line goes at once when nothing was announced for a second, else 200 ms later, with
 *     at most 500 lines in a message: a burst of news becomes few messages.
 *  3. What the peer gave us causes no message. It rides with the next one, or goes after 60 s.
 */
export const ANNOUNCER_LIMITS = {
  lines: 500,
  idleMs: 1000,
  gatherMs: 200,
  /** How long the peer's own update may wait for company. */
  echoMs: 60_000,
} as const;

export class Announcer {
  #announced: number;
  #newest: number;
  #lastAt: number;
  #dueAt: number | undefined;

  /** `announced` is the position that the greeting told the peer. */
  constructor(announced: number, now: number) {
    this.#announced = announced;
    this.#newest = announced;
    this.#lastAt = now - ANNOUNCER_LIMITS.idleMs;
  }

  /** The log grew to `newest`; `isEcho` says that all of it came from this very peer. */
  grew(newest: number, isEcho: boolean, now: number): void {
    if (newest <= this.#newest) return;
    this.#newest = newest;
    const { idleMs, gatherMs, echoMs } = ANNOUNCER_LIMITS;
    const idle = now - this.#lastAt >= idleMs;
    const dueAt = isEcho ? now + echoMs : idle ? now : this.#lastAt + gatherMs;
    this.#dueAt = Math.min(this.#dueAt ?? Infinity, Math.max(dueAt, now));
  }

  /** The positions to announce now, inclusive, or undefined when it is not yet time. */
  due(now: number): { readonly low: number; readonly high: number } | undefined {
    if (this.#dueAt === undefined || now < this.#dueAt) return undefined;
    const low = this.#announced + 1;
    const high = Math.min(this.#newest, this.#announced + ANNOUNCER_LIMITS.lines);
    this.#announced = high;
    this.#lastAt = now;
    this.#dueAt = high < this.#newest ? now + ANNOUNCER_LIMITS.gatherMs : undefined;
    return { low, high };
  }

  nextAt(): number | undefined {
    return this.#dueAt;
  }
}
