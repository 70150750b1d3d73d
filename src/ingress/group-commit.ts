/**
 * Many waiting mails, one transaction, one fsync: what is submitted while the event loop goes round
 * once is appended together, and every submitter gets its own outcomes after the commit. When the
 * append fails nothing of the group is stored and all of them hear it. A mail alone waits for
 * nothing.
 */
import type { Appended, Arrival, UpdateLog } from "../updatelog/update-log.js";

interface Submission {
  readonly arrivals: readonly Arrival[];
  readonly resolve: (outcomes: Appended[]) => void;
  readonly reject: (error: unknown) => void;
}

export class GroupCommit {
  readonly #log: UpdateLog;
  #waiting: Submission[] = [];

  constructor(log: UpdateLog) {
    this.#log = log;
  }

  /** Appends the arrivals in one transaction with whoever else waits; rejects with `Trouble`. */
  append(arrivals: readonly Arrival[]): Promise<Appended[]> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ arrivals, resolve, reject });
      if (this.#waiting.length === 1) setImmediate(() => this.#commit());
    });
  }

  #commit(): void {
    const group = this.#waiting;
    this.#waiting = [];
    try {
      const outcomes = this.#log.append(group.flatMap(({ arrivals }) => arrivals));
      let start = 0;
      for (const { arrivals, resolve } of group) {
        resolve(outcomes.slice(start, start + arrivals.length));
        start += arrivals.length;
      }
    } catch (error) {
      for (const { reject } of group) reject(error);
    }
  }
}
