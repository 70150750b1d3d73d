/**
 * What a lane puts on record of an update: events with the names of the update and the site, and
 * in the log the exceptions of the site. The lane and its bounces share one. Decides nothing.
 */
import type { Clock } from "../clock.js";
import type { Diagnostics, EventName, FieldsOf } from "../diagnostics.js";
import type { Exception, NewException } from "../log/exceptions.js";
import { TOO_MANY_REPAIRS } from "../log/repairs.js";
import type { Entry, UpdateLog } from "../log/update-log.js";
import type { Withheld } from "../policy.js";
import type { Fingerprint, Seq, UpdateHash } from "../update.js";
import type { Outcome } from "./relay.js";

export interface ReportComponents {
  readonly log: Pick<UpdateLog, "exceptions" | "repairs">;
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

type FinalReply = Reply & { readonly code: number };
/** How a delivery is known. */
type Proven = Pick<Extract<Outcome, { readonly kind: "delivered" }>, "how" | "reply">;

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
  sent(entry: Entry, mails: number, bytes: number, by: Proven, packed?: number): void {
    const tookMs = this.#components.clock.now() - entry.receivedAt;
    const { how, reply: words } = by;
    this.of("sent", entry, { mails, packed, bytes, tookMs, how, words });
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
  refused(entry: Entry, reason: "refused" | "returned", { code, words }: FinalReply): void {
    const tries = this.#row(entry)?.tries ?? 0;
    this.#set(entry, { state: "refused", reason, code, text: words, tries: tries + 1 });
    this.of("undelivered", entry, { code, words });
  }

  /** It failed for now, for itself, and is tried again later. Throws `Trouble` like `refused`. */
  setAside(entry: Entry, { code = 0, words }: Reply, tries: number, waitMs: number): void {
    const now = this.#components.clock.now();
    const failed = { state: "waiting", reason: "failed", nextAt: now + waitMs } as const;
    this.#set(entry, { ...failed, code, text: words, tries });
    this.of("set-aside", entry, { code, words, attempt: tries, waitMs });
  }

  /** It is not sent: its key is blocked. Throws `Trouble` like `refused`. */
  blocked(entry: Entry): void {
    const text = "the key is blocked";
    this.#set(entry, { state: "withheld", reason: "blocked", code: 0, text });
    this.of("withheld", entry, { reason: "blocked" });
  }

  /** The operator gives it up for the site. Throws `Trouble` like `refused`. */
  skipped(entry: Entry): void {
    const text = "skipped by the operator";
    this.#set(entry, { state: "withheld", reason: "skipped", code: 0, text });
    this.of("skipped", entry);
  }

  #row({ seq }: Entry): Exception | undefined {
    return this.#components.log.exceptions.get(this.#name, seq);
  }

  #set(
    { seq, fingerprint }: Entry,
    row: Omit<NewException, "site" | "seq" | "at" | "fingerprint">,
  ) {
    const { log, clock, diagnostics } = this.#components;
    const about = { site: this.#name, seq, fingerprint, at: clock.now() };
    const dropped = log.exceptions.set({ ...about, ...row });
    if (dropped > 0) {
      diagnostics.report("exceptions-dropped", { neighbour: this.#name, updates: dropped });
    }
  }

  /**
   * Its body expired before the site took it: the key is to be fetched again. Throws `Trouble` like
   * `refused`.
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
