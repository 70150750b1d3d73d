/**
 * Performs work in steps (`steps.ts`) in slices of a few milliseconds, and lets the event loop run
 * in between: reading a submission of 32 MiB takes seconds and must not delay others.
 */
import { setImmediate } from "node:timers/promises";
import type { Clock } from "../clock.js";
import { SLICE_MS, type Steps } from "../steps.js";

export const SLICE_LIMITS = {
  /** Length of a slice; a program of the torture run removes the limit. */
  ms: SLICE_MS as number,
};

/** Does the work; resolves with its result, rejects with what it throws. */
export async function inSlices<T>(steps: Steps<T>, clock: Pick<Clock, "monotonic">): Promise<T> {
  let end = clock.monotonic() + SLICE_LIMITS.ms;
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
    if (clock.monotonic() < end) continue;
    await setImmediate();
    end = clock.monotonic() + SLICE_LIMITS.ms;
  }
}
