/**
 * UPDATEs while they are checked. A small one is checked at once. One of 8 MiB takes a quarter of a
 * second, so it is checked in slices, and the event loop runs in between. Further updates of the
 * same peer wait behind it, and peers take turns. It has no connections and no log.
 */
import type { AdmittedAnnounced } from "../admit.js";
import { Refusal } from "../errors.js";
import { SLICE_MS, type Steps } from "../steps.js";
import type { AnnouncedName } from "../update.js";

interface Unchecked {
  readonly peer: string;
  readonly announced: AnnouncedName;
  /** Size of the body as it came. */
  readonly bytes: number;
  readonly steps: Steps<AdmittedAnnounced>;
}

/** A checked UPDATE: what is to be appended of it, or why it is refused. */
export interface Check extends Unchecked {
  readonly outcome: AdmittedAnnounced | Refusal;
}

export class Checks {
  readonly #monotonic: () => number;
  /** By peer, in order of arrival; the peer whose turn is next comes first. */
  readonly #waiting = new Map<string, Unchecked[]>();
  #dueAt = Infinity;

  /** `monotonic` reads a clock, which is needed during the work. */
  constructor(monotonic: () => number) {
    this.#monotonic = monotonic;
  }

  /** When `goOn` is due; Infinity if nothing waits. */
  get dueAt(): number {
    return this.#dueAt;
  }

  isBusy(peer: string): boolean {
    return this.#waiting.has(peer);
  }

  /** Starts a check; returns it if it is done at once. */
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

  /** Works for one slice; returns the checks that are done, those of each peer in order. */
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

  /** Undefined if the check is not done by `end`. */
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
