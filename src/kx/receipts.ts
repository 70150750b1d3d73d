/**
 * Receipts (DONE) for a peer of KX/1.1: how far its log has been read. A DONE has the highest
 * number up to which all is settled, and the numbers up to it that were settled without the update
 * (declined by policy, or lost). There is one `Receipts` for each peer, since the numbers are those
 * of its log.
 *
 *  1. A DONE is sent when the receive cursor has moved, at most once a second.
 *  2. A number without its update is told once, with the first DONE that passes it. A DONE has at
 *     most 1000 ranges of such numbers. If there are more, it goes only as far as those.
 *     If more than 5000 wait, they become one range, which may have updates that we hold.
 *  3. The first DONE of a connection says where we are. Of updates that are older than the
 *     connection the peer concludes nothing, since a DONE before may have been lost.
 */
import type { NumberRange, Receipt } from "./messages.js";
import { MAX_NUMBER } from "./messages.js";

export const RECEIPT_LIMITS = {
  everyMs: 1000,
  /** As many as a LIST may have. */
  ranges: 1000,
  numbers: 5000,
} as const;

/** Numbers wrap, and half of them are ahead of any number. How far `number` is behind `other`. */
function behind(number: number, other: number): number {
  return (other - number + MAX_NUMBER + 1) % (MAX_NUMBER + 1);
}

function isUpTo(number: number, other: number): boolean {
  return behind(number, other) <= MAX_NUMBER / 2;
}

export class Receipts {
  #isOn = false;
  #cursor: number | undefined;
  /** The number of the last DONE on the connection in use. */
  #told: number | undefined;
  /** Numbers that were settled without their update and not told yet, in no order. */
  readonly #without = new Set<number>();
  /** The range that they have become. Of the updates that we hold in it nothing is claimed. */
  #wide: { low: number; high: number } | undefined;
  #lastAt = -Infinity;

  /**
   * Another connection is used, on which nothing was told; `isOn` if receipts are sent on it. It
   * may be one that was in use within the last second, so the time of the last receipt counts on.
   */
  begin(isOn: boolean): void {
    this.#isOn = isOn;
    this.#told = undefined;
    if (!isOn) this.#clear();
  }

  #clear(): void {
    this.#without.clear();
    this.#wide = undefined;
  }

  /** The receive cursor is at `cursor`; undefined if it was dropped. */
  moved(cursor: number | undefined): void {
    this.#cursor = cursor;
    if (cursor === undefined) this.#clear();
  }

  /** A number was settled, and we do not hold its update. */
  without(number: number): void {
    if (!this.#isOn) return;
    if (this.#wide !== undefined) return this.#widen(this.#wide, number);
    this.#without.add(number);
    if (this.#without.size <= RECEIPT_LIMITS.numbers) return;
    const wide = { low: number, high: number };
    for (const one of this.#without) this.#widen(wide, one);
    this.#without.clear();
    this.#wide = wide;
  }

  #widen(wide: { low: number; high: number }, number: number): void {
    if (!isUpTo(wide.low, number)) wide.low = number;
    else if (!isUpTo(number, wide.high)) wide.high = number;
  }

  /** The receipt to send now; it counts as sent. */
  due(now: number): Receipt | undefined {
    if (now < this.nextAt() || this.#cursor === undefined) return undefined;
    const { number, without } = this.#passed(this.#cursor);
    this.#told = number;
    this.#lastAt = now;
    return { number, without };
  }

  /** How far the receipt goes, and its ranges, which count as told. */
  #passed(cursor: number): Receipt {
    const wide = this.#wide;
    if (wide !== undefined) {
      if (!isUpTo(wide.low, cursor)) return { number: cursor, without: [] };
      const { low } = wide;
      const high = isUpTo(wide.high, cursor) ? wide.high : cursor;
      if (high === wide.high) this.#wide = undefined;
      else wide.low = (cursor + 1) % (MAX_NUMBER + 1);
      const wrapped = [
        { low, high: MAX_NUMBER },
        { low: 0, high },
      ];
      return { number: cursor, without: low <= high ? [{ low, high }] : wrapped };
    }
    const passed = [...this.#without].filter((number) => isUpTo(number, cursor));
    passed.sort((a, b) => behind(b, cursor) - behind(a, cursor));
    const ranges: { low: number; high: number }[] = [];
    for (const one of passed) {
      const last = ranges.at(-1);
      if (last !== undefined && last.high + 1 === one) last.high = one;
      else if (ranges.length < RECEIPT_LIMITS.ranges) ranges.push({ low: one, high: one });
      else return { number: last?.high ?? cursor, without: ranges };
      this.#without.delete(one);
    }
    return { number: cursor, without: ranges };
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
