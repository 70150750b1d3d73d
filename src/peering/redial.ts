/**
 * When a peer without a connection is dialled. Pure: time is an argument, milliseconds of a
 * monotonic clock, and random numbers are handed in. The caller keeps the timer.
 *
 *  1. By the schedule, which starts again after a connection of five minutes, or after one on which
 *     something was exchanged and that ended without a fault.
 *  2. When there is news for it, but at least 5 s after the last attempt (thesis 5.2). Such an
 *     attempt does not change the schedule.
 *  3. When the peer is heard from in another way while attempts fail, at most once in five minutes.
 *  4. Never within the time for which the peer asked not to be dialled.
 */
import { delayMs, type Schedule } from "../schedule.js";

export const REDIAL_LIMITS = {
  healthyMs: 5 * 60_000,
  newsMs: 5000,
  signOfLifeMs: 5 * 60_000,
  /** How early a timer of Node may fire, by a clock with fractions of a millisecond. */
  earlyMs: 2,
} as const;

export class Redial {
  readonly #schedule: Schedule;
  readonly #random: () => number;
  #attempt = 0;
  #triedAt = -Infinity;
  /** When the schedule plans the next attempt; undefined if none is planned. */
  #plannedAt: number | undefined;
  #notBefore = -Infinity;
  /** When rule 3 last applied. */
  #aliveAt = -Infinity;

  /** `random` returns numbers in [0, 1). */
  constructor(schedule: Schedule, random: () => number) {
    this.#schedule = schedule;
    this.#random = random;
  }

  /** An attempt starts. */
  tried(now: number): void {
    this.#triedAt = now;
    // Without this, an attempt whose timer fired early would be repeated at the planned time.
    if ((this.#plannedAt ?? Infinity) <= now + REDIAL_LIMITS.earlyMs) this.#plannedAt = undefined;
  }

  /** The peer is connected, whichever side dialled. */
  connected(): void {
    this.#plannedAt = undefined;
  }

  /** The last connection ended. `isUseful`: something was exchanged, and no fault ended it. */
  ended(openedAt: number, isUseful: boolean, now: number): void {
    if (isUseful || now - openedAt >= REDIAL_LIMITS.healthyMs) this.#attempt = 0;
  }

  /** The peer asked not to be dialled for `ms`. */
  stayAway(ms: number, now: number): void {
    this.#notBefore = Math.max(this.#notBefore, now + ms);
  }

  /** The peer was heard from in another way. Returns whether it is to be dialled now. */
  showedLife(now: number): boolean {
    const isTooSoon = now < Math.max(this.#aliveAt + REDIAL_LIMITS.signOfLifeMs, this.#notBefore);
    if (this.#attempt === 0 || isTooSoon) return false;
    this.#aliveAt = now;
    this.#attempt = 0;
    this.#plannedAt = undefined;
    return true;
  }

  /** The operator orders an attempt: the schedule starts again, and rule 4 no longer applies. */
  forget(): void {
    this.#attempt = 0;
    this.#plannedAt = undefined;
    this.#notBefore = -Infinity;
  }

  /** Milliseconds until the next attempt, after one that failed or a connection that ended. */
  laterMs(hasNews: boolean, now: number): number {
    if (this.#plannedAt === undefined || this.#plannedAt < now) {
      this.#plannedAt = now + delayMs(this.#schedule, this.#attempt, this.#random());
      this.#attempt += 1;
    }
    const at = Math.max(this.#plannedAt, this.#notBefore);
    return hasNews ? this.newsMs(now) : at - now;
  }

  /** Milliseconds until the next attempt if there is news; not later than by the schedule. */
  newsMs(now: number): number {
    const forNews = this.#triedAt + REDIAL_LIMITS.newsMs;
    const at = Math.max(Math.min(forNews, this.#plannedAt ?? forNews), this.#notBefore);
    return Math.max(0, at - now);
  }
}
