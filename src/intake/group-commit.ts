/**
 * The append port over the update log. Batches that are submitted within a moment are appended in
 * one transaction, with one fsync, and each submitter gets its own outcomes after the commit. When
 * the append fails, nothing of the group is stored and each submitter gets the error.
 *
 * A batch alone does not wait. If the last group held several batches, the next one waits a
 * millisecond for more: a dozen busy connections would otherwise be stored by threes, and each
 * commit writes the pages of the log's indexes anew.
 *
 * A batch that is too large for one transaction is stored in several, with batches of others in
 * between; its outcomes come after the last. When one of them fails, what was stored before stays.
 * The submitter gets the error and submits all of it again, and the log knows that part then.
 *
 * What duplicates add to trails is written within a second, or when the log is closed.
 */
import { Trouble } from "../errors.js";
import type { AppendPort, Batch } from "../log/append-port.js";
import type { Appended, Arrival, UpdateLog } from "../log/update-log.js";

interface Submission extends Batch {
  readonly resolve: (outcomes: Appended[]) => void;
  readonly reject: (error: unknown) => void;
}

const GROUP_LIMITS = {
  /** How long a group waits for more; a client in the same network needs less for a command. */
  waitMs: 1,
  submissions: 100,
  /** Packets in one transaction. Each is a row; so many take some tens of milliseconds. */
  packets: 2000,
  /** How long additions to trails are gathered: what a kill may lose. */
  settleMs: 1000,
} as const;

/** What group commit needs of the log. */
export interface GroupLog extends Pick<UpdateLog, "append"> {
  readonly trails: Pick<UpdateLog["trails"], "gathered" | "settle">;
}

export class GroupCommit implements AppendPort {
  readonly #log: GroupLog;
  #waiting: Submission[] = [];
  /** Number of packets in the batches that wait. */
  #packets = 0;
  /** Whether the last group held several batches: more than one sender is at work. */
  #areMany = false;
  #timer: NodeJS.Timeout | undefined;
  #settling: NodeJS.Timeout | undefined;

  constructor(log: GroupLog) {
    this.#log = log;
  }

  async submit({ arrivals, cursor }: Batch): Promise<Appended[]> {
    const outcomes: Appended[] = [];
    const all = [...pieces(arrivals)];
    for (const [index, piece] of all.entries()) {
      const isLast = index === all.length - 1;
      outcomes.push(...(await this.#submitPiece(piece, isLast ? cursor : undefined)));
    }
    return outcomes;
  }

  #submitPiece(arrivals: readonly Arrival[], cursor: Batch["cursor"]): Promise<Appended[]> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ arrivals, cursor, resolve, reject });
      this.#packets += weightOf(arrivals);
      const isFull = this.#packets >= GROUP_LIMITS.packets;
      if (this.#waiting.length === 1) setImmediate(() => this.#gather());
      else if (isFull || this.#waiting.length >= GROUP_LIMITS.submissions) this.#commit();
    });
  }

  #gather(): void {
    // A full group was committed before this.
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
      const arrivals = group.flatMap((one) => one.arrivals);
      const moves = group.flatMap(({ cursor }) => cursor ?? []);
      const outcomes = this.#log.append(arrivals, ...moves);
      let start = 0;
      for (const { arrivals, resolve } of group) {
        resolve(outcomes.slice(start, start + arrivals.length));
        start += arrivals.length;
      }
    } catch (error) {
      for (const { reject } of group) reject(error);
    }
    this.#settleSoon();
  }

  #settleSoon(): void {
    if (this.#settling !== undefined || this.#log.trails.gathered === 0) return;
    this.#settling = setTimeout(() => this.#settle(), GROUP_LIMITS.settleMs);
    // The log settles when it is closed.
    this.#settling.unref();
  }

  #settle(): void {
    this.#settling = undefined;
    try {
      this.#log.trails.settle();
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      // They stay gathered, and the next append tries again.
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
  // The packets of a held update are not looked at.
  return arrivals.reduce((sum, { update }) => sum + (update.isHeld ? 1 : update.packets.length), 0);
}
