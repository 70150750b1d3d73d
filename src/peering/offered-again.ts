/**
 * Updates that are announced to each KX peer once more, by a notice with their old number, because
 * it may have passed that number while they were withheld: those of keys whose block has ended. A
 * peer that has them does nothing.
 */
import type { Seq } from "../update.js";

/** A key that was flooded has some hundred updates. Of more, the newest are announced. */
const MOST = 1000;

export class OfferedAgain {
  #seqs: Seq[] = [];
  /** How many were dropped in front, so that positions stay valid. */
  #dropped = 0;

  add(seqs: readonly Seq[]): void {
    const known = new Set(this.#seqs);
    this.#seqs.push(...seqs.filter((seq) => !known.has(seq)));
    const excess = Math.max(0, this.#seqs.length - MOST);
    this.#seqs.splice(0, excess);
    this.#dropped += excess;
  }

  /** The position after the last one: most inputs of the exchange have nothing to announce. */
  get end(): number {
    return this.#dropped + this.#seqs.length;
  }

  /** Those from position `from` on, at most `most`, and the position after them. */
  from(from: number, most: number): { readonly seqs: readonly Seq[]; readonly next: number } {
    const start = Math.max(0, from - this.#dropped);
    const seqs = this.#seqs.slice(start, start + most);
    return { seqs, next: this.#dropped + start + seqs.length };
  }
}
