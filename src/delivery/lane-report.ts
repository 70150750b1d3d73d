/**
 * What a lane tells the operator of its updates: each event with the names of the update and of
 * the site. Decides nothing.
 */
import type { Clock } from "../clock.js";
import type { Diagnostics, EventName, Fields } from "../diagnostics.js";
import type { Entry } from "../log/update-log.js";
import type { LaneQueue } from "./lane-queue.js";

export class LaneReport {
  readonly #name: string;
  readonly #queue: LaneQueue;
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;

  constructor(name: string, queue: LaneQueue, clock: Clock, diagnostics: Diagnostics) {
    this.#name = name;
    this.#queue = queue;
    this.#clock = clock;
    this.#diagnostics = diagnostics;
  }

  of(event: EventName, { seq, hash, fingerprint }: Entry, fields: Fields = {}): void {
    const subject = { seq, hash, fingerprint, neighbour: this.#name };
    this.#diagnostics.report(event, { ...subject, ...fields });
  }

  /** The site took it, in so many mails, or together with others: `packed` of them. */
  sent(entry: Entry, mails: number, bytes: number, packed?: number): void {
    const tookMs = this.#clock.now() - entry.receivedAt;
    this.of("sent", entry, { mails, packed, bytes, tookMs });
  }

  /** It was passed over: the site has it, or nobody gets it any more. */
  passed(entry: Entry): void {
    const reason = this.#queue.withholds(entry);
    if (reason === undefined) this.of("suppressed", entry);
    else this.of("withheld", entry, { reason });
  }
}
