/**
 * What a lane does about mails that a site's mail system took and sent back later (ingress reads
 * them and notes them in the log). Such an update was not delivered, so it goes on a list in the
 * log and is sent again, on its own; the lane waits before it sends anything more.
 *
 *  1. What the site refused for what it holds is undelivered, as if it had been refused at once.
 *  2. Of a mail of several updates nobody knows which one was meant: each is sent again, alone.
 *  3. Anything else is the site's trouble: the lane waits by the schedule, the longer the more
 *     often the update has come back, and tries with that update first.
 *  4. Never an endless loop: an update is undelivered when it comes back the third time although
 *     others that left since have not, and after `MAX_TRIES` times in any case.
 */

import type { Clock } from "../clock.js";
import type { Returned } from "../log/bounces.js";
import type { Entry, UpdateLog } from "../log/update-log.js";
import { delayMs, type Schedule } from "../schedule.js";
import type { Seq } from "../update.js";
import type { LaneReport } from "./lane-report.js";

/** Rule 4; the default schedule spreads them over nearly three days. */
export const MAX_TRIES = 20;
const MAX_TRIES_ALONE = 3;
/** Updates of one site that wait to be sent again; what comes back beyond is undelivered. */
export const MAX_WAITING = 10_000;

/** A reason to wait. */
export interface Pause {
  /** Milliseconds since 1970. */
  readonly until: number;
  readonly words: string;
}

export interface BounceComponents {
  readonly log: Pick<UpdateLog, "bounces" | "entry" | "lookup" | "range">;
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

  #judge(bounce: Returned, cursor: number): Pause | undefined {
    const { seq, first } = bounce;
    const { bounces } = this.#log;
    if (first < seq) {
      bounces.putBack(bounce, this.#numbers(first, seq), cursor);
      return bounce.about === "site" ? this.#pause(bounce) : undefined;
    }
    const entry = this.#log.entry(seq);
    if (entry === undefined || this.#isGivenUp(seq)) {
      bounces.forget(this.#site, seq);
    } else if (bounce.waiting) {
      // A second word about the same mail, or about another part of the same update.
      bounces.dismiss(this.#site, seq);
    } else if (bounce.about === "update" || this.#isHopeless(bounce, cursor)) {
      this.#giveUp(entry, bounce);
    } else {
      bounces.putBack(bounce, [seq], cursor);
      return this.#pause(bounce);
    }
    return undefined;
  }

  /** Rule 4. */
  #isHopeless({ seq, tries, lastAt, cursor: stood }: Returned, cursor: number): boolean {
    const { bounces } = this.#log;
    if (tries + 1 >= MAX_TRIES) return true;
    if (tries === 0) return bounces.waiting(this.#site) >= MAX_WAITING;
    const haveOthersLeft = cursor > stood;
    const haveOthersReturned = bounces.latestBeside(this.#site, seq) > lastAt;
    return tries + 1 >= MAX_TRIES_ALONE && haveOthersLeft && !haveOthersReturned;
  }

  #isGivenUp(seq: Seq): boolean {
    return this.#log.lookup.undelivered(seq).some(({ site }) => site === this.#site);
  }

  #numbers(first: Seq, last: Seq): Seq[] {
    const entries = this.#log.range(first, last, MAX_WAITING);
    return entries.map(({ seq }) => seq).filter((seq) => !this.#isGivenUp(seq));
  }

  #pause({ seq, tries, code, text: words }: Returned): Pause {
    const waitMs = delayMs(this.#retry, tries, this.#clock.random());
    const hash = this.#log.entry(seq)?.hash;
    this.#report.of("retry", { seq, hash }, { code, words, attempt: tries + 1, waitMs });
    return { until: this.#clock.now() + waitMs, words };
  }

  #giveUp(entry: Entry, { code, text: words }: Returned): void {
    this.#report.undelivered(entry, { code, words });
    this.#log.bounces.forget(this.#site, entry.seq);
  }
}
