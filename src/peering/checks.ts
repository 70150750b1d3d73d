/**
 * UPDATEs while they are checked. A small one is checked at once. One of 8 MiB takes a quarter of a
 * second, so that it is checked in slices with the event loop running in between; what the same
 * peer delivers after it waits behind it, and peers take turns. Knows no connections and no log.
 */
import { Refusal } from "../errors.js";
import { SLICE_MS, type Steps } from "../steps.js";
import type { Update, UpdateHash } from "../update.js";

interface Unchecked {
  readonly peer: string;
  readonly hash: UpdateHash;
  /** Of its armor. */
  readonly bytes: number;
  readonly steps: Steps<Update>;
}

/** An UPDATE that was checked: the update, or what is wrong with it. */
export interface Check extends Unchecked {
  readonly outcome: Update | Refusal;
}

export class Checks {
  readonly #monotonic: () => number;
  /** By peer, in the order in which they came; the peer whose turn is next comes first. */
  readonly #waiting = new Map<string, Unchecked[]>();
  #dueAt = Infinity;

  /** `monotonic` reads the clock while the work goes on. */
  constructor(monotonic: () => number) {
    this.#monotonic = monotonic;
  }

  /** When `goOn` is due; Infinity when there is nothing to check. */
  get dueAt(): number {
    return this.#dueAt;
  }

  isBusy(peer: string): boolean {
    return this.#waiting.has(peer);
  }

  /** Begins a check; returns it if it is done. */
  begin(check: Unchecked): Check[] {
    const queue = this.#waiting.get(check.peer);
    if (queue !== undefined) {
      queue.push(check);
      return [];
    }
    const done = this.#work(check, this.#monotonic() + SLICE_MS);
    if (done !== undefined) return [done];
    this.#waiting.set(check.peer, [check]);
    this.#dueAt = this.#monotonic();
    return [];
  }

  /** Goes on for a slice; returns what is done, of each peer in its order. */
  goOn(): Check[] {
    const found: Check[] = [];
    const end = this.#monotonic() + SLICE_MS;
    for (;;) {
      const [next] = this.#waiting;
      if (next === undefined) break;
      const [peer, queue] = next;
      const [check] = queue;
      const done = check && this.#work(check, end);
      if (done !== undefined) {
        found.push(done);
        queue.shift();
      }
      this.#waiting.delete(peer);
      if (queue.length > 0) this.#waiting.set(peer, queue);
      if (done === undefined || this.#monotonic() >= end) break;
    }
    this.#dueAt = this.#waiting.size === 0 ? Infinity : this.#monotonic();
    return found;
  }

  /** Undefined when it is not done by `end`. */
  #work(check: Unchecked, end: number): Check | undefined {
    try {
      for (;;) {
        const { done, value } = check.steps.next();
        if (done === true) return { ...check, outcome: value };
        if (this.#monotonic() >= end) return undefined;
      }
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return { ...check, outcome: error };
    }
  }
}
