/**
 * The only thing in a simulated world that makes time pass: events by (time, tie, id). The tie is
 * thrown, so that what happens at one instant happens in any order and in the same one for the same
 * seed. Times are whole milliseconds since the world began; nothing here is a promise.
 */

export interface Event {
  readonly time: number;
  readonly what: string;
  run(): void;
  /** Set by whoever does not want it to happen any more. */
  isCancelled: boolean;
}

interface Entry extends Event {
  readonly tie: number;
  readonly id: number;
}

export class EventQueue {
  readonly #heap: Entry[] = [];
  readonly #tie: () => number;
  #lastId = 0;
  #now = 0;

  /** `tie` returns numbers in [0, 1). */
  constructor(tie: () => number) {
    this.#tie = tie;
  }

  get now(): number {
    return this.#now;
  }

  get size(): number {
    return this.#heap.length;
  }

  /** `run` happens at `time`, or now if that is past; `what` is for the trace. */
  at(time: number, what: string, run: () => void): Event {
    this.#lastId += 1;
    const due = Math.max(this.#now, Math.ceil(time));
    const entry = { time: due, tie: this.#tie(), id: this.#lastId, what, run, isCancelled: false };
    this.#heap.push(entry);
    this.#up(this.#heap.length - 1);
    return entry;
  }

  after(delay: number, what: string, run: () => void): Event {
    return this.at(this.#now + delay, what, run);
  }

  /** The next event up to `until` that is wanted; time passes up to it, or else to `until`. */
  next(until: number): Event | undefined {
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined || first.time > until) {
        this.#now = Math.max(this.#now, until);
        return undefined;
      }
      this.#take();
      if (first.isCancelled) continue;
      this.#now = first.time;
      return first;
    }
  }

  #take(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    this.#heap[0] = last;
    this.#down(0);
  }

  #up(start: number): void {
    let at = start;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (!this.#swapIfEarlier(at, above)) return;
      at = above;
    }
  }

  #down(start: number): void {
    let at = start;
    for (;;) {
      const left = 2 * at + 1;
      const right = left + 1;
      const heap = this.#heap;
      const [a, b] = [heap[left], heap[right]];
      if (a === undefined) return;
      const least = b !== undefined && isBefore(b, a) ? right : left;
      if (!this.#swapIfEarlier(least, at)) return;
      at = least;
    }
  }

  #swapIfEarlier(at: number, above: number): boolean {
    const [lower, upper] = [this.#heap[at], this.#heap[above]];
    if (lower === undefined || upper === undefined || !isBefore(lower, upper)) return false;
    this.#heap[at] = upper;
    this.#heap[above] = lower;
    return true;
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.time - b.time < 0 || (a.time === b.time && (a.tie - b.tie || a.id - b.id) < 0);
}
