/**
 * How many cases a test tries: some with every run of the tests, and many in the long run, which is
 * for a change of what the test is about and before a release: `LONG_RUN=1 npm test`.
 */

/** Whether this is the long run. Vitest then waits ten times longer for each test. */
export const IS_LONG = process.env.LONG_RUN === "1";

/** `usual` cases, or `long` in the long run. */
export function cases(usual: number, long: number): number {
  return IS_LONG ? long : usual;
}
