/**
 * What a lane puts on record of an update: events with the names of the update and the site, and
 * in the log what the site will not get. The lane and its bounces share one. Decides nothing.
 */
import type { Clock } from "../clock.js";
import type { Diagnostics, EventName, FieldsOf } from "../diagnostics.js";
import { TOO_MANY_REPAIRS } from "../log/repairs.js";
import type { Entry, UpdateLog } from "../log/update-log.js";
import type { Withheld } from "../policy.js";
import type { Fingerprint, Seq, UpdateHash } from "../update.js";

export interface ReportComponents {
  readonly log: Pick<UpdateLog, "lanes" | "repairs">;
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
}

/** The update that an event is about; its names are missing when the log forgot them. */
interface Subject {
  readonly seq: Seq;
  readonly hash: UpdateHash | undefined;
  readonly fingerprint?: Fingerprint;
}

/** A reply of the site: an SMTP code, undefined when there was none, and its text. */
export interface Reply {
  readonly code: number | undefined;
  readonly words: string;
}

/** The names of the update and of the site, which each report of a lane has. */
type Names = "seq" | "hash" | "fingerprint" | "neighbour";
type LaneEvent = {
  [Event in EventName]: Names extends keyof FieldsOf<Event> ? Event : never;
}[EventName];
/** What comes with the subject; nothing for many events. */
type More<Event extends LaneEvent> =
  Exclude<keyof FieldsOf<Event>, Names> extends never ? [] : [fields: Omit<FieldsOf<Event>, Names>];

export class LaneReport {
  readonly #name: string;
  readonly #components: ReportComponents;

  constructor(components: ReportComponents, name: string) {
    this.#components = components;
    this.#name = name;
  }

  of<Event extends LaneEvent>(event: Event, about: Subject, ...[fields]: More<Event>): void {
    const { seq, hash, fingerprint } = about;
    // The compiler does not see that the subject and the rest are the whole.
    const all: object = { seq, hash, fingerprint, neighbour: this.#name, ...fields };
    this.#components.diagnostics.report(event, all as FieldsOf<Event>);
  }

  /** The site took it in so many mails, or in one mail with others: `packed` of them. */
  sent(entry: Entry, mails: number, bytes: number, packed?: number): void {
    const tookMs = this.#components.clock.now() - entry.receivedAt;
    this.of("sent", entry, { mails, packed, bytes, tookMs });
  }

  /** It was passed over: the site has it, or nobody gets it any more for the `reason`. */
  passed(entry: Entry, reason: Withheld | undefined): void {
    if (reason === undefined) this.of("suppressed", entry);
    else this.of("withheld", entry, { reason });
  }

  /**
   * The site refused it for good, at once or in a bounce. Throws `Trouble` when the log cannot be
   * written; then nothing was reported.
   */
  undelivered(entry: Entry, { code, words }: Reply & { readonly code: number }): void {
    const { log, clock } = this.#components;
    const row = { code, text: words, at: clock.now() };
    log.lanes.recordUndelivered({ site: this.#name, seq: entry.seq, ...row });
    this.of("undelivered", entry, { code, words });
  }

  /** The operator gives it up for the site. Throws `Trouble` like `undelivered`. */
  skipped(entry: Entry): void {
    const { log, clock } = this.#components;
    const row = { code: 0, text: "skipped by the operator", at: clock.now() };
    log.lanes.recordUndelivered({ site: this.#name, seq: entry.seq, ...row });
    this.of("skipped", entry);
  }

  /**
   * Its body expired before the site took it: the key is to be fetched again. Throws `Trouble` like
   * `undelivered`.
   */
  expired(entry: Entry): void {
    const { log, clock } = this.#components;
    const { hash, fingerprint, origin } = entry;
    const neighbours = origin.neighbour === undefined ? [] : [origin.neighbour];
    const wanted = { fingerprint, hash, neighbours, site: this.#name, at: clock.now() };
    const isNoted = log.repairs.want({ ...wanted, why: "expired" });
    this.of("body-expired", entry);
    if (isNoted) return;
    this.of("repair-failed", entry, { why: "expired", problem: TOO_MANY_REPAIRS });
  }
}
