/**
 * When a peer without a connection is dialled. Pure: time is an argument, milliseconds of a clock
 * that never goes back, and chance is handed in. Who dials keeps the timer.
 *
 *  1. By the schedule, which begins anew after a connection of five minutes, or one on which
 *     something moved and that ended without a fault.
 *  2. When there is news for it, but no sooner than 5 s after the attempt before (thesis 5.2). Such
 *     an attempt changes nothing in the schedule: a dead peer costs an attempt in 5 s at most.
 *  3. When it shows itself in another way while attempts fail, at most once in five minutes.
 *  4. Never before the time for which it asked us to stay away has passed.
 */
import { delayMs, type Schedule } from "../schedule.js";

export const REDIAL_LIMITS = {
  healthyMs: 5 * 60_000,
  newsMs: 5000,
  signOfLifeMs: 5 * 60_000,
  /** How early a timer of Node may fire, by a clock that counts parts of a millisecond. */
  earlyMs: 2,
} as const;

export class Redial {
  readonly #schedule: Schedule;
  readonly #random: () => number;
  #attempt = 0;
  #triedAt = -Infinity;
  /** When the schedule has the next attempt; undefined when it has none yet. */
  #plannedAt: number | undefined;
  #notBefore = -Infinity;
  /** When a sign of life last counted. */
  #aliveAt = -Infinity;

  /** `random` returns numbers in [0, 1). */
  constructor(schedule: Schedule, random: () => number) {
    this.#schedule = schedule;
    this.#random = random;
  }

  /** An attempt begins. */
  tried(now: number): void {
    this.#triedAt = now;
    // Else an attempt whose timer fired early would be made again at its time.
    if ((this.#plannedAt ?? Infinity) <= now + REDIAL_LIMITS.earlyMs) this.#plannedAt = undefined;
  }

  /** It is connected, whoever dialled. */
  connected(): void {
    this.#plannedAt = undefined;
  }

  /** Its last connection ended. `isUseful`: something moved on it, and it ended without a fault. */
  ended(openedAt: number, isUseful: boolean, now: number): void {
    if (isUseful || now - openedAt >= REDIAL_LIMITS.healthyMs) this.#attempt = 0;
  }

  /** The peer wants to be left alone for so long. */
  stayAway(ms: number, now: number): void {
    this.#notBefore = Math.max(this.#notBefore, now + ms);
  }

  /** The peer showed itself in another way. Returns whether it is to be dialled now. */
  showedLife(now: number): boolean {
    const isTooSoon = now < Math.max(this.#aliveAt + REDIAL_LIMITS.signOfLifeMs, this.#notBefore);
    if (this.#attempt === 0 || isTooSoon) return false;
    this.#aliveAt = now;
    this.#attempt = 0;
    this.#plannedAt = undefined;
    return true;
  }

  /** The operator wants it now. */
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

  /** Milliseconds until the next attempt when there is news for the peer: never a later one. */
  newsMs(now: number): number {
    const forNews = this.#triedAt + REDIAL_LIMITS.newsMs;
    const at = Math.max(Math.min(forNews, this.#plannedAt ?? forNews), this.#notBefore);
    return Math.max(0, at - now);
  }
}
