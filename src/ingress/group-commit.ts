/**
 * Many waiting mails, one transaction, one fsync: what is submitted within a moment is appended
 * together, and every submitter gets its own outcomes after the commit. When the append fails
 * nothing of the group is stored and all of them hear it.
 *
 * A mail alone waits for nothing. Where several came together, more are waited for: without it a
 * dozen busy connections are stored by threes, and each commit writes the pages of the log's
 * indexes anew.
 */
import type { Appended, Arrival, UpdateLog } from "../updatelog/update-log.js";

interface Submission {
  readonly arrivals: readonly Arrival[];
  readonly resolve: (outcomes: Appended[]) => void;
  readonly reject: (error: unknown) => void;
}

const GROUP_LIMITS = {
  /** How long a group waits for more; a client nearby takes less for its next command. */
  waitMs: 1,
  submissions: 100,
} as const;

export class GroupCommit {
  readonly #log: UpdateLog;
  #waiting: Submission[] = [];
  /** Whether the last group had several in it, so that more than one sender is at work. */
  #areMany = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(log: UpdateLog) {
    this.#log = log;
  }

  /** Appends the arrivals in one transaction with whoever else waits; rejects with `Trouble`. */
  append(arrivals: readonly Arrival[]): Promise<Appended[]> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ arrivals, resolve, reject });
      if (this.#waiting.length === 1) setImmediate(() => this.#gather());
      else if (this.#waiting.length >= GROUP_LIMITS.submissions) this.#commit();
    });
  }

  #gather(): void {
    // A full group did not wait for this.
    if (this.#waiting.length === 0) return;
    if (this.#waiting.length === 1 && !this.#areMany) return this.#commit();
    this.#timer ??= setTimeout(() => this.#commit(), GROUP_LIMITS.waitMs);
  }

  #commit(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const group = this.#waiting;
    this.#waiting = [];
    this.#areMany = group.length > 1;
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
