/**
 * Time and chance as values that are handed in: doors and commands get a `Clock`, pure rooms get
 * numbers. Two readings, because they answer two questions: `now` is the date (retention, headers,
 * anything that outlives the process), `monotonic` never steps (timeouts, latency).
 */

export interface Clock {
  /** Wall clock, milliseconds since 1970. May step; never used for a timeout. */
  now(): number;
  /** Milliseconds from an arbitrary start, never going back. */
  monotonic(): number;
  /** A number in [0, 1). */
  random(): number;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  random: () => Math.random(),
};
