/**
 * What a lane does while its path is shut (rule 11 of `lane.ts`): it moves over the updates that
 * need no mail, and sends nothing. It stops at the first one that the site is not known to have.
 */

import type { Entry, UpdateLog } from "../log/update-log.js";
import type { Seq } from "../update.js";
import type { LaneQueue } from "./lane-queue.js";
import type { LaneReport } from "./lane-report.js";
import { doneWith, type LaneState } from "./lane-state.js";

/** What the lane lends. */
export interface Lender {
  readonly name: string;
  readonly observing: boolean;
  readonly log: UpdateLog;
  readonly queue: LaneQueue;
  readonly state: LaneState;
  readonly tell: LaneReport;
}

export class PassOver {
  readonly #lane: Lender;

  constructor(lane: Lender) {
    this.#lane = lane;
  }

  /** Moves over as much as one page; false when there is nothing to move over. */
  step(): boolean {
    const { name, log, queue, state } = this.#lane;
    const again = log.bounces.nextWaiting(name);
    if (again !== undefined && this.isDoneWith(again)) return true;
    const { cursor } = state.row;
    const [next] = queue.after(cursor, 1);
    if (next === undefined || !this.#needsNoMail(next)) return false;
    let last = next.seq;
    for (const entry of queue.after(cursor)) {
      if (!this.#needsNoMail(entry)) break;
      this.#tellOf(entry);
      last = entry.seq;
    }
    state.save(doneWith(last));
    return true;
  }

  /** Whether an update that came back needs no further mail; then it is forgotten. */
  isDoneWith(seq: Seq): boolean {
    const { name, log, queue } = this.#lane;
    const entry = log.entry(seq);
    if (entry !== undefined && !queue.skips(entry, 0)) return false;
    log.bounces.forget(name, seq);
    if (entry !== undefined) this.#lane.tell.passed(entry);
    return true;
  }

  #needsNoMail(entry: Entry): boolean {
    const { observing, queue, log } = this.#lane;
    return observing || queue.skips(entry, 0) || log.body(entry.seq) === undefined;
  }

  #tellOf(entry: Entry): void {
    const { observing, queue, tell } = this.#lane;
    if (observing || queue.skips(entry, 0)) tell.passed(entry);
    else tell.of("unfetched", entry);
  }
}
