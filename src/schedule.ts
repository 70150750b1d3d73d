/**
 * Retry schedules as values: the operator's "1m, 5m*2, 1h" is a list of delays, and whoever waits
 * asks for the delay of the n-th attempt. Knows no clock and draws no random number itself, so a
 * test or a simulation owns both.
 */

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
