/**
 * Work in steps (`steps.ts`) in slices of a few milliseconds, with the event loop running in
 * between: a submission of 32 MiB takes seconds to read, and nobody else is to wait for it.
 */
import { setImmediate } from "node:timers/promises";
import type { Clock } from "../clock.js";
import { SLICE_MS, type Steps } from "../steps.js";

export const SLICE_LIMITS = {
  /** How long work may go on; a program of the torture run removes the limit. */
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
