/**
 * Searches the start of a peer's log, or the upper end of a hole in it: windows of numbers are
 * listed backwards until one is empty (rules 3 and 4 of `receive-state.ts`). This class computes
 * the next window and keeps the entries of the lowest one. The caller sends the LIST.
 */
import type { Listed } from "./positions.js";
import { numberAt, roundOf } from "./positions.js";

/** A search over more than a million numbers is stopped: the answers are forged. */
const MOST_WINDOWS = 1000;

export class BackwardSearch {
  readonly #floor: number;
  readonly #windowSize: number;
  #next: number;
  #windows = 0;
  #found: readonly Listed[] = [];

  /** Searches from `from` down to just above `floor`; -Infinity for no known lower bound. */
  constructor(from: number, floor: number, windowSize: number) {
    this.#next = from;
    this.#floor = floor;
    this.#windowSize = windowSize;
  }

  /** The positions to list next, inclusive. All are in one round. */
  get window(): { readonly low: number; readonly high: number } {
    const high = this.#next;
    const low = Math.max(high - this.#windowSize + 1, roundOf(high), this.#floor + 1);
    return { low, high };
  }

  /**
   * Takes the listing of the window, in ascending order. Returns undefined when the search goes on,
   * otherwise the entries of the lowest window that was not empty, or [] when all were empty.
   */
  listed(listed: readonly Listed[]): readonly Listed[] | undefined {
    const lowest = listed[0];
    if (lowest === undefined) return this.#found;
    const { low } = this.window;
    this.#found = listed;
    this.#windows += 1;
    this.#next = low - 1;
    // A number 0 exists only after a wrap. The log then continues below it, at 2^31-1.
    const isStart = numberAt(low) === 0 && lowest.position > low;
    const isDone = isStart || low <= this.#floor + 1 || this.#windows >= MOST_WINDOWS;
    return isDone ? this.#found : undefined;
  }
}
