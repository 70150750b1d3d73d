/**
 * Where a peer's log begins, or the far side of a hole in it: windows of numbers are listed
 * backwards until one is empty (rules 3 and 4 of `receive-state.ts`). Says which window is next and
 * keeps what the lowest one has shown; sends nothing.
 */
import type { Listed } from "./positions.js";
import { numberAt, roundOf } from "./positions.js";

/** A search that goes back further, over a million numbers, is led astray. */
const MOST_WINDOWS = 1000;

export class BackwardSearch {
  readonly #floor: number;
  readonly #windowSize: number;
  #next: number;
  #windows = 0;
  #found: readonly Listed[] = [];

  /** From position `from` down to just above `floor`, which is -Infinity when nothing is known. */
  constructor(from: number, floor: number, windowSize: number) {
    this.#next = from;
    this.#floor = floor;
    this.#windowSize = windowSize;
  }

  /** The positions to list next, both included, all of one round. */
  get window(): { readonly low: number; readonly high: number } {
    const high = this.#next;
    const low = Math.max(high - this.#windowSize + 1, roundOf(high), this.#floor + 1);
    return { low, high };
  }

  /**
   * The window's listing, ascending. Returns undefined when there is more to search, else what the
   * lowest window that was not empty has shown: nothing at all if there was none.
   */
  listed(listed: readonly Listed[]): readonly Listed[] | undefined {
    const lowest = listed[0];
    if (lowest === undefined) return this.#found;
    const { low } = this.window;
    this.#found = listed;
    this.#windows += 1;
    this.#next = low - 1;
    // There is a number 0 only after a wrap; then the log goes on below it, at the top.
    const isStart = numberAt(low) === 0 && lowest.position > low;
    const isDone = isStart || low <= this.#floor + 1 || this.#windows >= MOST_WINDOWS;
    return isDone ? this.#found : undefined;
  }
}
