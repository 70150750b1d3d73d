/**
 * Whether a peer still has the log that our cursor refers to. A peer that lost its log starts a new
 * one with the same numbers. This can happen during a connection, or while a dead connection of the
 * peer is still open here. KX/1.0 has no name for a log, so a log is recognised by one number and
 * the hash at it; with KX/1.1 the name decides first. This class is the state of that check. Rules
 * 2, 8 and 9 of `receive-state.ts` say when it starts and what is listed.
 */
import type { UpdateHash } from "../update.js";

export class LogIdentity {
  #state: "known" | "contradicted" | "asked" = "known";
  #needsProof = false;

  /** Nothing contradicts it; the cursor may move. */
  get isKnown(): boolean {
    return this.#state === "known";
  }

  /** An announcement or a listing does not match what is known of the log. */
  get isContradicted(): boolean {
    return this.#state === "contradicted";
  }

  /** The number that identifies the log has to be listed, or is being listed. */
  get isAsked(): boolean {
    return this.#state === "asked";
  }

  /** Whether a listing without the number proves that the log is another one. */
  get needsProof(): boolean {
    return this.#needsProof;
  }

  /** Notes a contradiction. The caller starts the check, by `ask`, when it is due. */
  contradict(): void {
    if (this.#state === "known") this.#state = "contradicted";
    this.#needsProof = true;
  }

  /** Starts the check. With `needsProof`, a number that is not listed means another log. */
  ask(needsProof: boolean): void {
    this.#state = "asked";
    this.#needsProof ||= needsProof;
  }

  /** Ends the check: `shown` was listed where `expected` was. Returns true for the same log. */
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
