/**
 * What one connection proves: that the peer has read what we served. KX has no receipt for an
 * UPDATE, and bytes that left may be in a buffer of a host that is gone. But a peer reads in order:
 * who answers a LIST that was sent after an UPDATE has read the UPDATE, and one of our kind has
 * stored it. Pure; counts LISTs of whatever purpose, and says when one more is wanted.
 *
 * Known limits: a peer that could not store what it read asks again, and counts as having it all
 * the same. A LIST that gets no answer ends the proving on its connection; what is left unproven
 * costs a repeat, should it ever be mailed.
 */
import type { Seq } from "../update.js";

export const PROOF_LIMITS = {
  /** A question has some 200 bytes with its answer; bodies have more. */
  askEveryMs: 200,
  /** Updates that wait for their proof; the oldest are forgotten. */
  unproven: 10_000,
} as const;

export class ReadProof {
  /** LISTs that were sent, and those of them that were answered. */
  #asked = 0;
  #answered = 0;
  #askedAt = -Infinity;
  /** What was served, and the LIST whose answer proves it, oldest first. */
  #served: { readonly seq: Seq; readonly list: number }[] = [];

  /** An UPDATE is on its way. */
  served(seq: Seq): void {
    this.#served.push({ seq, list: this.#asked + 1 });
    if (this.#served.length > 2 * PROOF_LIMITS.unproven) {
      this.#served = this.#served.slice(-PROOF_LIMITS.unproven);
    }
  }

  /** A LIST is on its way. */
  asked(now: number): void {
    this.#asked += 1;
    this.#askedAt = now;
  }

  /** A LIST was answered: what the peer has read by now, each told once. */
  answered(): Seq[] {
    this.#answered += 1;
    const isProven = ({ list }: { readonly list: number }) => list <= this.#answered;
    const proven = this.#served.filter(isProven);
    if (proven.length > 0) this.#served = this.#served.filter((one) => !isProven(one));
    return proven.map(({ seq }) => seq);
  }

  /** When a LIST is wanted for what no LIST that is out will prove; Infinity for not at all. */
  nextAt(): number {
    const last = this.#served.at(-1);
    const isWanted = last !== undefined && last.list > this.#asked;
    if (!isWanted || this.#asked > this.#answered) return Infinity;
    return this.#askedAt + PROOF_LIMITS.askEveryMs;
  }
}
