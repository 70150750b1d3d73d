/**
 * Records the results of a lane: events with the names of the update and the site, and the site's
 * exceptions in the log. A lane and its bounce handler share one instance. It makes no decisions.
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

/** The update that an event is about. Fields are undefined if the log no longer has the entry. */
interface Subject {
  readonly seq: Seq;
  readonly hash: UpdateHash | undefined;
  readonly fingerprint?: Fingerprint;
}

/** A reply of the site: its text and its SMTP code, undefined if there was no reply. */
export interface Reply {
  readonly code: number | undefined;
  readonly words: string;
}

type FinalReply = Reply & { readonly code: number };
/** How a delivery is proven. */
type Proven = Pick<Extract<Outcome, { readonly kind: "delivered" }>, "how" | "reply">;

/** Fields that name the update and the site. Every lane event has them. */
type Names = "seq" | "hash" | "fingerprint" | "neighbour";
type LaneEvent = {
  [Event in EventName]: Names extends keyof FieldsOf<Event> ? Event : never;
}[EventName];
/** The other fields of an event. Many events have none. */
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
    // The compiler cannot infer that the subject and the other fields form the complete event.
    const all: object = { seq, hash, fingerprint, neighbour: this.#name, ...fields };
    this.#components.diagnostics.report(event, all as FieldsOf<Event>);
  }

  /** The site accepted the update, in `mails` mails, or in one mail that holds `packed` updates. */
  sent(entry: Entry, mails: number, bytes: number, by: Proven, packed?: number): void {
    const tookMs = this.#components.clock.now() - entry.receivedAt;
    const { how, reply: words } = by;
    this.of("sent", entry, { mails, packed, bytes, tookMs, how, words });
  }

  /** The update was passed over: the site has it, or it is withheld from all sites for `reason`. */
  passed(entry: Entry, reason: Withheld | undefined): void {
    if (reason === undefined) this.of("suppressed", entry, { bytes: entry.size });
    else this.of("withheld", entry, { reason });
  }

  /**
   * The site refused the update permanently, at once or in a bounce. Throws `Trouble` if the log
   * cannot be written; in that case nothing was reported.
   */
  refused(entry: Entry, reason: "refused" | "returned", { code, words }: FinalReply): void {
    const tries = this.#row(entry)?.tries ?? 0;
    this.#set(entry, { state: "refused", reason, code, text: words, tries: tries + 1 });
    this.of("undelivered", entry, { code, words });
  }

  /**
   * The update failed temporarily for a reason of its own and is retried later. Throws `Trouble`
   * like `refused`.
   */
  setAside(entry: Entry, { code = 0, words }: Reply, tries: number, waitMs: number): void {
    const now = this.#components.clock.now();
    const failed = { state: "waiting", reason: "failed", nextAt: now + waitMs } as const;
    this.#set(entry, { ...failed, code, text: words, tries });
    this.of("set-aside", entry, { code, words, attempt: tries, waitMs });
  }

  /** The update is not sent because its key is blocked. Throws `Trouble` like `refused`. */
  blocked(entry: Entry): void {
    const text = "the key is blocked";
    this.#set(entry, { state: "withheld", reason: "blocked", code: 0, text });
    this.of("withheld", entry, { reason: "blocked" });
  }

  /** The operator gave up the update for this site. Throws `Trouble` like `refused`. */
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
   * The body expired before the site accepted the update. The key must be fetched again. Throws
   * `Trouble` like `refused`.
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
