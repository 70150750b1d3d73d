/**
 * Times that the operator sets, as values: retry schedules ("1m, 5m*2, 1h" is a list of delays,
 * one for each attempt) and quiet hours. The functions read no clock and draw no random number:
 * both are arguments, so that a test or a simulation controls them.
 */

const DAY_MS = 24 * 3_600_000;

/** Delays in milliseconds, one an attempt; the last one repeats. Never empty. */
export type Schedule = readonly [number, ...number[]];

/** Up to this share of a delay is added at random, so that many waiters do not return as one. */
const JITTER = 0.2;

/**
 * Delay in milliseconds before attempt `attempt` (0 is the first retry).
 * `random` is a number in [0, 1).
 */
export function delayMs(schedule: Schedule, attempt: number, random: number): number {
  const base = schedule[Math.min(attempt, schedule.length - 1)] ?? schedule[0];
  return Math.round(base * (1 + JITTER * random));
}

/** A part of the day in UTC, in milliseconds after midnight; it may include midnight. */
export interface QuietHours {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Milliseconds until the quiet hours end, 0 outside of them. `date` is the wall clock, UTC. */
export function quietFor({ fromMs, toMs }: QuietHours, date: number): number {
  const time = ((date % DAY_MS) + DAY_MS) % DAY_MS;
  const isQuiet = fromMs <= toMs ? time >= fromMs && time < toMs : time >= fromMs || time < toMs;
  return isQuiet ? (toMs - time + DAY_MS) % DAY_MS : 0;
}
