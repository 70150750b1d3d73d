/**
 * Many waiting mails, one transaction, one fsync: what is submitted within a moment is appended
 * together, and every submitter gets its own outcomes after the commit. When the append fails
 * nothing of the group is stored and all of them hear it.
 *
 * A mail alone waits for nothing. Where several came together, more are waited for: without it a
 * dozen busy connections are stored by threes, and each commit writes the pages of the log's
 * indexes anew.
 *
 * What is too much for one transaction is stored in several, with others' mails in between, and
 * answered after the last. When one of them fails what was stored before stays: the sender hears of
 * a failure, sends all of it again, and that is known then.
 */
import type { Appended, Arrival, UpdateLog } from "../log/update-log.js";

interface Submission {
  readonly arrivals: readonly Arrival[];
  readonly resolve: (outcomes: Appended[]) => void;
  readonly reject: (error: unknown) => void;
}

const GROUP_LIMITS = {
  /** How long a group waits for more; a client nearby takes less for its next command. */
  waitMs: 1,
  submissions: 100,
  /** Packets in one transaction, each of which is a row: some tens of milliseconds. */
  packets: 2000,
} as const;

export class GroupCommit {
  readonly #log: UpdateLog;
  #waiting: Submission[] = [];
  /** Packets of those that wait. */
  #packets = 0;
  /** Whether the last group had several in it, so that more than one sender is at work. */
  #areMany = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(log: UpdateLog) {
    this.#log = log;
  }

  /** Appends the arrivals together with whoever else waits; rejects with `Trouble`. */
  async append(arrivals: readonly Arrival[]): Promise<Appended[]> {
    const outcomes: Appended[] = [];
    for (const piece of pieces(arrivals)) outcomes.push(...(await this.#appendPiece(piece)));
    return outcomes;
  }

  #appendPiece(arrivals: readonly Arrival[]): Promise<Appended[]> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ arrivals, resolve, reject });
      this.#packets += weightOf(arrivals);
      const isFull = this.#packets >= GROUP_LIMITS.packets;
      if (this.#waiting.length === 1) setImmediate(() => this.#gather());
      else if (isFull || this.#waiting.length >= GROUP_LIMITS.submissions) this.#commit();
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
    this.#packets = 0;
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

/** Cut so that each piece, unless it is a single update, is within the packets of a transaction. */
function* pieces(arrivals: readonly Arrival[]): Generator<readonly Arrival[]> {
  let start = 0;
  let packets = 0;
  for (const [index, arrival] of arrivals.entries()) {
    const more = weightOf([arrival]);
    if (index > start && packets + more > GROUP_LIMITS.packets) {
      yield arrivals.slice(start, index);
      start = index;
      packets = 0;
    }
    packets += more;
  }
  yield arrivals.slice(start);
}

function weightOf(arrivals: readonly Arrival[]): number {
  return arrivals.reduce((sum, { update }) => sum + update.packets.length, 0);
}
