/**
 * Handles mails that a site's mail system accepted and returned later. Ingress parses the bounces
 * and records them in the log. A returned update was not delivered: it becomes an exception
 * (`log/exceptions.ts`) and is sent again on its own. The lane pauses before it sends more.
 *
 * 1. A bounce that refuses the update's content is treated as an immediate refusal.
 * 2. If the mail held several updates, the faulty one is unknown: each is sent again, alone.
 * 3. Any other bounce is a failure of the site. The lane waits by the schedule, longer each time
 *    the update returns, and retries with that update first.
 * 4. Retries are bounded. An update is refused at its third return if updates sent after it have
 *    not returned, and after `MAX_TRIES` attempts in any case.
 */

import type { Clock } from "../clock.js";
import type { Bounce } from "../log/bounces.js";
import { EXCEPTION_LIMITS } from "../log/exceptions.js";
import type { Entry, UpdateLog } from "../log/update-log.js";
import { delayMs, type Schedule } from "../schedule.js";
import type { Seq } from "../update.js";
import type { LaneReport } from "./lane-report.js";

/** Rule 4. The default schedule spreads these attempts over nearly three days. */
export const MAX_TRIES = 20;
const MAX_TRIES_ALONE = 3;

/** A pause of the lane and its reason. */
export interface Pause {
  /** Milliseconds since 1970. */
  readonly until: number;
  readonly words: string;
}

export interface BounceComponents {
  readonly log: Pick<UpdateLog, "bounces" | "entry" | "exceptions" | "range">;
  readonly clock: Clock;
  readonly report: LaneReport;
}

export class BounceHandler {
  readonly #site: string;
  readonly #retry: Schedule;
  readonly #log: BounceComponents["log"];
  readonly #clock: Clock;
  readonly #report: LaneReport;

  constructor(
    { log, clock, report }: BounceComponents,
    { name, retry }: { readonly name: string; readonly retry: Schedule },
  ) {
    this.#site = name;
    this.#retry = retry;
    this.#log = log;
    this.#clock = clock;
    this.#report = report;
  }

  /**
   * Processes every new bounce; the lane's cursor is at `cursor`. Returns the pause that the lane
   * must make, or undefined.
   */
  absorb(cursor: number): Pause | undefined {
    let pause: Pause | undefined;
    for (;;) {
      const bounce = this.#log.bounces.fresh(this.#site);
      if (bounce === undefined) return pause;
      const next = this.#judge(bounce, cursor);
      if (pause === undefined || (next?.until ?? 0) > pause.until) pause = next;
    }
  }

  #judge(bounce: Bounce, cursor: number): Pause | undefined {
    const { seq, first } = bounce;
    const { bounces, exceptions } = this.#log;
    if (first < seq) {
      const tries = exceptions.back(this.#site, seq)?.tries ?? 0;
      this.#putBack(bounce, this.#numbers(first, seq), cursor);
      return bounce.about === "site" ? this.#pause(bounce, tries) : undefined;
    }
    const entry = this.#log.entry(seq);
    const back = exceptions.back(this.#site, seq);
    const isWaiting = back?.waiting === true;
    if (entry === undefined || this.#isGivenUp(seq) || isWaiting) {
      // Too late, or a second report about the same mail or about another part of the same update.
      bounces.dismiss(bounce);
    } else if (bounce.about === "update" || this.#isHopeless(bounce, cursor)) {
      bounces.dismiss(bounce, () => this.#report.refused(entry, "returned", wordsOf(bounce)));
    } else {
      this.#putBack(bounce, [seq], cursor);
      return this.#pause(bounce, back?.tries ?? 0);
    }
    return undefined;
  }

  #putBack(bounce: Bounce, seqs: readonly Seq[], cursor: number): void {
    const { bounces, exceptions } = this.#log;
    bounces.dismiss(bounce, () => {
      for (const seq of seqs) exceptions.cameBack(this.#site, seq, bounce, cursor);
    });
  }

  /** Rule 4. */
  #isHopeless({ seq }: Bounce, cursor: number): boolean {
    const { exceptions } = this.#log;
    const { tries, lastAt, cursor: stood } = exceptions.back(this.#site, seq) ?? NEVER;
    if (tries + 1 >= MAX_TRIES) return true;
    if (tries === 0) {
      return exceptions.counts(this.#site).waiting >= EXCEPTION_LIMITS.waiting;
    }
    const haveOthersLeft = cursor > stood;
    const haveOthersReturned = exceptions.latestBeside(this.#site, seq) > lastAt;
    return tries + 1 >= MAX_TRIES_ALONE && haveOthersLeft && !haveOthersReturned;
  }

  /** Whether the update is already refused or withheld. */
  #isGivenUp(seq: Seq): boolean {
    const state = this.#log.exceptions.get(this.#site, seq)?.state;
    return state === "refused" || state === "withheld";
  }

  #numbers(first: Seq, last: Seq): Seq[] {
    const entries = this.#log.range(first, last, EXCEPTION_LIMITS.waiting);
    // Updates received from the site were not in the mail. Trail claims of other sites do not count
    // any more.
    const sent = entries.filter(({ origin }) => origin.neighbour !== this.#site);
    return sent.map(({ seq }) => seq).filter((seq) => !this.#isGivenUp(seq));
  }

  #pause({ seq, code, text: words }: Bounce, tries: number): Pause {
    const waitMs = delayMs(this.#retry, tries, this.#clock.random());
    const entry: Pick<Entry, "hash"> | undefined = this.#log.entry(seq);
    const subject = { seq, hash: entry?.hash };
    this.#report.of("retry", subject, { code, words, attempt: tries + 1, waitMs });
    return { until: this.#clock.now() + waitMs, words };
  }
}

const NEVER = { tries: 0, lastAt: 0, cursor: 0 };

function wordsOf({ code, text }: Bounce) {
  return { code, words: text };
}
