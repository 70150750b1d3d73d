/**
 * `expect.poll` with the patience that a loaded machine needs: a condition that will hold is waited
 * for up to 15 s, looked at every 20 ms.
 */
import { expect } from "vitest";

export function soon<T>(look: () => T) {
  return expect.poll(look, { timeout: 15_000, interval: 20 });
}
