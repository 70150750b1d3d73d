/**
 * What a lane does about mails that a site's mail system took and sent back later (ingress reads
 * them and notes them in the log). Such an update was not delivered, so it becomes an exception
 * (`log/exceptions.ts`) and is sent again, on its own; the lane waits before it sends more.
 *
 *  1. What the site refused for what it holds is refused, as if the refusal had come at once.
 *  2. Of a mail of several updates nobody knows which one was meant: each is sent again, alone.
 *  3. Anything else is the site's trouble: the lane waits by the schedule, the longer the more
 *     often the update has come back, and tries with that update first.
 *  4. Never an endless loop: an update is refused when it comes back the third time although
 *     others that left since have not, and after `MAX_TRIES` times in any case.
 */

import type { Clock } from "../clock.js";
import type { Bounce } from "../log/bounces.js";
import { EXCEPTION_LIMITS } from "../log/exceptions.js";
import type { Entry, UpdateLog } from "../log/update-log.js";
import { delayMs, type Schedule } from "../schedule.js";
import type { Seq } from "../update.js";
import type { LaneReport } from "./lane-report.js";

/** Rule 4; the default schedule spreads them over nearly three days. */
export const MAX_TRIES = 20;
const MAX_TRIES_ALONE = 3;

/** A reason to wait. */
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
   * Works off every bounce that is new, while the lane stands at `cursor`. Returns how long to wait
   * for it, undefined for not at all.
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
      // Too late, or a second word about the same mail, or about another part of the same update.
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

  /** Refused or withheld by now. */
  #isGivenUp(seq: Seq): boolean {
    const state = this.#log.exceptions.get(this.#site, seq)?.state;
    return state === "refused" || state === "withheld";
  }

  #numbers(first: Seq, last: Seq): Seq[] {
    const entries = this.#log.range(first, last, EXCEPTION_LIMITS.waiting);
    // What the site sent itself was not in the mail. What others claim does not count any more.
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
