/**
 * What a lane tells the operator of its updates: each event with the names of the update and of
 * the site. Decides nothing.
 */
import type { Clock } from "../clock.js";
import type { Diagnostics, EventName, FieldsOf } from "../diagnostics.js";
import type { Entry } from "../log/update-log.js";
import type { LaneQueue } from "./lane-queue.js";

/** The names of the update and of the site, which each report of a lane has. */
type Subject = "seq" | "hash" | "fingerprint" | "neighbour";
type LaneEvent = {
  [Event in EventName]: Subject extends keyof FieldsOf<Event> ? Event : never;
}[EventName];
/** What comes with the subject; nothing for many events. */
type More<Event extends LaneEvent> =
  Exclude<keyof FieldsOf<Event>, Subject> extends never
    ? []
    : [fields: Omit<FieldsOf<Event>, Subject>];

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

  of<Event extends LaneEvent>(event: Event, entry: Entry, ...[fields]: More<Event>): void {
    const { seq, hash, fingerprint } = entry;
    // The compiler does not see that the subject and the rest are the whole.
    const all: object = { seq, hash, fingerprint, neighbour: this.#name, ...fields };
    this.#diagnostics.report(event, all as FieldsOf<Event>);
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
