/**
 * Waiting, once for all tests and runs: for a condition (`until`, `holdsWithin`, and `soon` in
 * soon.ts), for nothing to happen (`quietFor`), and the pace at which a test itself acts (`pause`).
 * A wait for a condition has a limit, and its error says what did not come.
 */

/** Below the time limit of a test (20 s), so that the error of the wait is the one that shows. */
const LIMIT_MS = 15_000;
/** Machines of CI differ by a factor of two. Longer waits are those of system tests. */
const PATIENCE = process.env.CI === undefined ? 1 : 2;
/** Looks come every 10 ms at first, then more seldom, since a look may be a program that runs. */
const LOOK_MS = { first: 10, most: 100, share: 0.05 } as const;

/**
 * Waits until `look` gives a true value, and returns that value. Looks again when `look` throws.
 * Rejects after `ms` with `what`, which is the source text of the condition unless it is given.
 */
export async function until<T>(
  look: () => T | Promise<T>,
  what: string | (() => string) = String(look),
  ms = LIMIT_MS,
): Promise<T> {
  const start = performance.now();
  for (;;) {
    let failure: unknown;
    try {
      const seen = await look();
      if (seen) return seen;
    } catch (error) {
      failure = error;
    }
    const waited = performance.now() - start;
    if (waited > (ms > LIMIT_MS ? ms * PATIENCE : ms)) {
      const text = typeof what === "string" ? what : what();
      throw new Error(`not within ${(waited / 1000).toFixed(1)} s: ${text}`, { cause: failure });
    }
    await pause(Math.min(LOOK_MS.most, LOOK_MS.first + waited * LOOK_MS.share));
  }
}

/** Waits until `holds` does; false when it did not within `ms`. For runs that judge and go on. */
export async function holdsWithin(
  holds: () => boolean | Promise<boolean>,
  ms: number,
  everyMs = 20,
): Promise<boolean> {
  const deadline = performance.now() + ms;
  for (;;) {
    if (await holds()) return true;
    if (performance.now() > deadline) return false;
    await pause(everyMs);
  }
}

/**
 * Lets time pass in which something must not happen, since an absence cannot be waited for. `_why`
 * says what would have happened by then.
 */
export function quietFor(ms: number, _why: string): Promise<void> {
  return pause(ms);
}

/** The pace of what a test or a run does itself: apart from the last mail, slower than a limit. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
