/**
 * Where a lane stands, as it is kept in the log, and how long it has to wait: for a retry that is
 * put off, or for the operator who paused it. A pause is a retry that never comes, so that it
 * outlives a restart. Knows nothing of what is delivered.
 */

import type { Clock } from "../clock.js";
import type { LaneRow } from "../log/lanes.js";
import type { UpdateLog } from "../log/update-log.js";
import { delayMs, type Schedule } from "../schedule.js";
import type { Seq } from "../update.js";
import type { Wakeup } from "./wakeup.js";

/** `nextAt` of a lane that the operator paused: it outlives a restart, and no clock gets there. */
export const PAUSED_AT = 8_640_000_000_000_000;

export class LaneState {
  readonly #name: string;
  readonly #retry: Schedule;
  readonly #log: UpdateLog;
  readonly #clock: Clock;
  readonly #wakeup: Wakeup;
  #row: LaneRow;
  #isPaused: boolean;
  /** False from a failure of the log on, until the row is stored again. */
  #isStored = true;
  #stopping = false;

  /** Reads the stored state, or makes one. `wakeup` is rung by every order. Throws `Trouble`. */
  constructor(name: string, retry: Schedule, log: UpdateLog, clock: Clock, wakeup: Wakeup) {
    this.#name = name;
    this.#retry = retry;
    this.#log = log;
    this.#clock = clock;
    this.#wakeup = wakeup;
    this.#row = log.lanes.open(name);
    this.#isPaused = this.#row.nextAt === PAUSED_AT;
    // A retry that is further away than any was put off by a clock that was ahead.
    const latest = clock.now() + this.#longestMs();
    if (!this.#isPaused && this.#row.nextAt > latest) this.save({ nextAt: latest });
  }

  get row(): LaneRow {
    return this.#row;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Changes the row and stores it. Throws `Trouble`; the row is changed nevertheless. */
  save(change: Partial<LaneRow>): void {
    this.note(change);
    this.#log.lanes.save(this.#name, this.#row);
    this.#isStored = true;
  }

  /** Changes the row; the next `save` stores it. */
  note(change: Partial<LaneRow>): void {
    const held = this.#isPaused ? { nextAt: PAUSED_AT } : {};
    this.#row = { ...this.#row, ...change, ...held };
  }

  /** The log failed: the row may not be in it. */
  lost(): void {
    this.#isStored = false;
  }

  /** Stores a row that was lost, else a mail would go out again for as long as the disk is full. */
  makeGood(): void {
    if (!this.#isStored) this.save({});
  }

  pause(): void {
    this.#isPaused = true;
    this.save({});
  }

  /** Ends a pause, and whatever else is waited for. */
  resume(): void {
    this.#isPaused = false;
    this.save({ nextAt: 0 });
    this.#wakeup.ring();
  }

  /** Waits until nothing is put off or paused any more, until `isVain` after a ring, or stopped. */
  async wait(isVain: () => boolean): Promise<void> {
    while (this.#row.nextAt !== 0 && !this.#stopping && !isVain()) {
      if (this.#isPaused) await this.#wakeup.wait(undefined);
      else await this.#waitUntil(this.#row.nextAt, isVain);
    }
  }

  /** Waits until it is `nextAt`, or until an order of the operator's changed that. */
  async #waitUntil(nextAt: number, isVain: () => boolean): Promise<void> {
    // Bounded by the longest delay of the schedule, in case the clock was set back meanwhile.
    const wait = Math.min(nextAt - this.#clock.now(), this.#longestMs());
    const until = this.#clock.monotonic() + wait;
    while (this.#row.nextAt === nextAt && !this.#stopping && !isVain()) {
      const wait = until - this.#clock.monotonic();
      // From here on nothing is put off: else nobody would wake the lane when the log grows.
      if (wait <= 0) this.note({ nextAt: 0 });
      else await this.#wakeup.wait(wait);
    }
  }

  /** The longest delay of the schedule. */
  #longestMs(): number {
    return delayMs([Math.max(...this.#retry)], 0, 1);
  }

  /** Ends every wait for good. */
  stopWaiting(): void {
    this.#stopping = true;
    this.#wakeup.ring();
  }
}

/** The lane's position after an entry that needs nothing more, with no retry pending. */
export function doneWith(seq: Seq): Partial<LaneRow> {
  return { cursor: seq, part: 0, attempt: 0, nextAt: 0 };
}
