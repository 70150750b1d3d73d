/**
 * Whether the log that a peer shows is still the one that our cursor belongs to. A peer that lost
 * its log begins a new one under the same numbers, and may do so while we are connected or while a
 * dead connection of it is still open here. KX gives a log no name, so that a log is recognised by
 * one number of it and the hash that stood there. This file keeps the state of the question; what
 * raises it and what is listed is rules 2 and 8 of `receive-state.ts`. Pure.
 */
import type { UpdateHash } from "../update.js";

export class LogIdentity {
  #state: "known" | "contradicted" | "asked" = "known";
  /** Whether a listing that does not show the number at all proves another log. */
  #needsProof = false;

  /** Nothing speaks against it: the cursor may move. */
  get isKnown(): boolean {
    return this.#state === "known";
  }

  /** Something was announced or listed that does not fit what we hold. */
  get isContradicted(): boolean {
    return this.#state === "contradicted";
  }

  /** The number by which the log is recognised is to be listed, or is being listed. */
  get isAsked(): boolean {
    return this.#state === "asked";
  }

  /** Something does not fit; the question is asked when its time has come. */
  contradict(): void {
    if (this.#state === "known") this.#state = "contradicted";
    this.#needsProof = true;
  }

  /** From now on the answer is wanted; with `needsProof`, "not listed" means another log. */
  ask(needsProof: boolean): void {
    this.#state = "asked";
    this.#needsProof ||= needsProof;
  }

  /** What was listed where `expected` stood; true when it is the same log. Ends the question. */
  judge(expected: UpdateHash, shown: UpdateHash | undefined): boolean {
    const isSame = shown === undefined ? !this.#needsProof : shown === expected;
    this.settle();
    return isSame;
  }

  settle(): void {
    this.#state = "known";
    this.#needsProof = false;
  }
}
