/**
 * Long work that can be interrupted: a generator that yields wherever it may rest and returns its
 * result. Pure code does its work in steps; the caller decides whether to run it in one go
 * (`finish`) or to let the event loop run in between (`intake/slices.ts`, `peering/checks.ts`). A
 * step is a millisecond or less.
 */

/** Work in steps with a result of type `T`. */
export type Steps<T> = Generator<undefined, T, undefined>;

/** How long work may go on before others get their turn, in milliseconds. */
export const SLICE_MS = 10;

/** Does the work in one go. */
export function finish<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}
