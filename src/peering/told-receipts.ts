/**
 * What the receipts of a peer (KX/1.1) say of our log on one connection: up to which number it has
 * settled all, and which of these updates it does not hold. Of updates from before the connection
 * only those are known that were served on it: earlier receipts named those that it does not hold.
 */
import type { Seq } from "../update.js";

/** Ranges of updates that a peer does not hold. Of updates below the oldest nothing is known. */
const MOST_RANGES = 1000;
/** Served updates without a receipt; a receipt comes a second after they are stored. */
const MOST_SERVED = 10_000;

export class ToldReceipts {
  /** Number of our log up to which the peer has settled all; undefined before a receipt. */
  #done: number | undefined;
  /** Of updates above this number, up to `done`, it is known whether the peer holds them. */
  #after: number;
  #declined: { readonly low: number; high: number }[] = [];
  /** Updates from before the connection that were served on it and that no receipt covers yet. */
  readonly #served = new Set<Seq>();

  /** `newest`: the number of our newest update at the greeting. */
  constructor(newest: number) {
    this.#after = newest;
  }

  get done(): number | undefined {
    return this.#done;
  }

  /** An update was sent to the peer. */
  served(seq: Seq): void {
    if (seq > this.#after || seq <= (this.#done ?? 0)) return;
    this.#served.add(seq);
    const [oldest] = this.#served;
    if (this.#served.size > MOST_SERVED && oldest !== undefined) this.#served.delete(oldest);
  }

  /**
   * The peer has settled all up to `done`. Calls `held` for the updates that it holds by this
   * receipt, only the last `most` of them.
   */
  take(done: number, isDeclined: (seq: Seq) => boolean, most: number, held: (seq: Seq) => void) {
    for (const seq of this.#served) {
      if (seq > done) continue;
      this.#served.delete(seq);
      if (!isDeclined(seq)) held(seq);
    }
    const first = Math.max((this.#done ?? 0) + 1, this.#after + 1);
    const noted = Math.max(first, done - most + 1);
    if (noted > first) {
      this.#declined = [];
      this.#after = noted - 1;
    }
    for (let number = noted; number <= done; number++) {
      const seq = number as Seq;
      if (isDeclined(seq)) this.#decline(number);
      else held(seq);
    }
    this.#done = done;
  }

  #decline(number: number): void {
    const last = this.#declined.at(-1);
    if (last !== undefined && last.high + 1 === number) last.high = number;
    else this.#declined.push({ low: number, high: number });
    if (this.#declined.length <= MOST_RANGES) return;
    this.#after = this.#declined.shift()?.high ?? this.#after;
  }

  /** What the receipts say of an update; undefined for nothing. */
  of(seq: Seq): "held" | "declined" | undefined {
    if (this.#done === undefined || seq > this.#done || seq <= this.#after) return undefined;
    const isDeclined = this.#declined.some(({ low, high }) => low <= seq && seq <= high);
    return isDeclined ? "declined" : "held";
  }
}
