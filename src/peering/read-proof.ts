/**
 * Finds out, for one connection, which of the served updates the peer has read. KX has no receipt
 * for an UPDATE, and bytes that were sent may be in a buffer of a host that is gone. But a peer
 * reads in order: one that answers a LIST sent after an UPDATE has read the UPDATE. It may not have
 * stored it yet; then it asks for it again. Pure: counts LISTs of any purpose, and says when
 * another one is wanted.
 *
 * Known limits: a peer that could not store what it read asks again, and counts as having it all
 * the same. A LIST that is not answered ends the proof on its connection; updates that are unproven
 * may be mailed as well.
 */
import type { Seq } from "../update.js";

export const PROOF_LIMITS = {
  /** A LIST and its answer have some 200 bytes; a body has more. */
  askEveryMs: 200,
  /** Updates that wait for proof; above that the oldest are forgotten. */
  unproven: 10_000,
} as const;

export class ReadProof {
  /** LISTs sent, and LISTs answered. */
  #asked = 0;
  #answered = 0;
  #askedAt = -Infinity;
  /** Updates served, each with the LIST whose answer proves it; oldest first. */
  #served: { readonly seq: Seq; readonly list: number }[] = [];

  /** An UPDATE was sent. */
  served(seq: Seq): void {
    this.#served.push({ seq, list: this.#asked + 1 });
    if (this.#served.length > 2 * PROOF_LIMITS.unproven) {
      this.#served = this.#served.slice(-PROOF_LIMITS.unproven);
    }
  }

  /** A LIST was sent. */
  asked(now: number): void {
    this.#asked += 1;
    this.#askedAt = now;
  }

  /** A LIST was answered; returns the updates that this proves, each once. */
  answered(): Seq[] {
    this.#answered += 1;
    const isProven = ({ list }: { readonly list: number }) => list <= this.#answered;
    const proven = this.#served.filter(isProven);
    if (proven.length > 0) this.#served = this.#served.filter((one) => !isProven(one));
    return proven.map(({ seq }) => seq);
  }

  /** When another LIST is wanted, for updates that no open LIST will prove; Infinity for never. */
  nextAt(): number {
    const last = this.#served.at(-1);
    const isWanted = last !== undefined && last.list > this.#asked;
    if (!isWanted || this.#asked > this.#answered) return Infinity;
    return this.#askedAt + PROOF_LIMITS.askEveryMs;
  }
}
