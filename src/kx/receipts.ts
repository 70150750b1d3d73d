/**
 * Receipts (DONE) for a peer of KX/1.1: how far its log has been read. A DONE has the highest
 * number up to which all is settled, and the numbers up to it that were settled without the update
 * (declined by policy, or lost). There is one `Receipts` for each peer, since the numbers are those
 * of its log.
 *
 *  1. A DONE is sent when the receive cursor has moved, at most once a second.
 *  2. A number without its update is told once, with the first DONE that passes it. A DONE has at
 *     most 1000 ranges of such numbers. If there are more, it goes only as far as those.
 *  3. The first DONE of a connection says where we are. Of updates that are older than the
 *     connection the peer concludes nothing, since a DONE before may have been lost.
 */
import type { NumberRange, Receipt } from "./messages.js";
import { MAX_NUMBER } from "./messages.js";

export const RECEIPT_LIMITS = {
  everyMs: 1000,
  /** As many as a LIST may have. */
  ranges: 1000,
} as const;

export class Receipts {
  #isOn = false;
  #cursor: number | undefined;
  /** The number of the last DONE on the connection in use. */
  #told: number | undefined;
  /** Numbers that were settled without their update and not told yet, in no order. */
  readonly #without = new Set<number>();
  #lastAt = -Infinity;

  /**
   * Another connection is used, on which nothing was told; `isOn` if receipts are sent on it. It
   * may be one that was in use within the last second, so the time of the last receipt counts on.
   */
  begin(isOn: boolean): void {
    this.#isOn = isOn;
    this.#told = undefined;
    if (!isOn) this.#without.clear();
  }

  /** The receive cursor is at `cursor`; undefined if it was dropped. */
  moved(cursor: number | undefined): void {
    this.#cursor = cursor;
    if (cursor === undefined) this.#without.clear();
  }

  /** A number was settled, and we do not hold its update. */
  without(number: number): void {
    if (this.#isOn) this.#without.add(number);
  }

  /** The receipt to send now; it counts as sent. */
  due(now: number): Receipt | undefined {
    if (now < this.nextAt() || this.#cursor === undefined) return undefined;
    const cursor = this.#cursor;
    // Numbers wrap, and half of them are ahead of the cursor.
    const behind = (number: number) => (cursor - number + MAX_NUMBER + 1) % (MAX_NUMBER + 1);
    const passed = [...this.#without].filter((number) => behind(number) <= MAX_NUMBER / 2);
    passed.sort((a, b) => behind(b) - behind(a));
    const ranges: { low: number; high: number }[] = [];
    let number = cursor;
    for (const one of passed) {
      const last = ranges.at(-1);
      if (last !== undefined && last.high + 1 === one) last.high = one;
      else if (ranges.length < RECEIPT_LIMITS.ranges) ranges.push({ low: one, high: one });
      else {
        number = last?.high ?? cursor;
        break;
      }
      this.#without.delete(one);
    }
    this.#told = number;
    this.#lastAt = now;
    return { number, without: ranges };
  }

  /** When the next receipt is due; Infinity for never. */
  nextAt(): number {
    if (!this.#isOn || this.#cursor === undefined || this.#cursor === this.#told) return Infinity;
    return this.#lastAt + RECEIPT_LIMITS.everyMs;
  }
}

/** Whether a range of a receipt has the number. */
export function hasNumber(ranges: readonly NumberRange[], number: number): boolean {
  return ranges.some(({ low = 0, high = MAX_NUMBER }) => low <= number && number <= high);
}
