/**
 * One keyserver that can be asked for lost keys. It is asked one question at a time, in the order
 * in which they are due and at a limited rate. After a failure it is not asked for a while, so that
 * 10,000 lost keys neither overload it nor use up their attempts while it is down. The repair door
 * passes in how to ask, and interprets the answers.
 */

import type { Clock } from "../clock.js";
import { Trouble } from "../errors.js";
import type { Repair, RepairAnswer, Repairs } from "../log/repairs.js";
import type { LogGuard } from "../log-guard.js";
import { type Rate, TokenBucket } from "../rate.js";
import type { Schedule } from "../schedule.js";
import { delayMs } from "../schedule.js";

/**
 * The result of a question. `asked`: the answer will come by mail. `later`: the question was not
 * delivered, through no fault of the keyserver.
 */
export type AskedSource =
  | RepairAnswer
  | { readonly kind: "asked" }
  | { readonly kind: "later"; readonly words: string };

/** What a `RepairSource` works with. */
export interface SourceComponents {
  readonly repairs: Pick<Repairs, "next">;
  readonly clock: Clock;
  readonly guard: LogGuard;
  /** Stores what an answer means. May throw `Trouble`. */
  readonly settle: (repair: Repair, answer: AskedSource) => void;
}

export interface SourceSettings {
  readonly name: string;
  readonly via: "hkp" | "mail";
  readonly pace: Rate;
  /** How long it is not asked, by its failures in a row. */
  readonly rest: Schedule;
  /** Asks for the key of `repair`. Rejects with `Trouble` only. */
  readonly ask: (repair: Repair, signal: AbortSignal) => Promise<AskedSource>;
}

/** Node's timers are limited to 24 days, and the clock may jump meanwhile. */
const LONGEST_WAIT_MS = 60_000;
/** How long it is not asked after a failure of the log. */
const TROUBLE_MS = 5000;

export class RepairSource {
  readonly #settings: SourceSettings;
  readonly #repairs: SourceComponents["repairs"];
  readonly #clock: Clock;
  readonly #guard: LogGuard;
  readonly #settle: SourceComponents["settle"];
  readonly #bucket: TokenBucket;
  readonly #broken = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #asking: Promise<void> | undefined;
  #restUntil = -Infinity;
  #failures = 0;

  constructor({ repairs, clock, guard, settle }: SourceComponents, settings: SourceSettings) {
    this.#settings = settings;
    this.#repairs = repairs;
    this.#clock = clock;
    this.#guard = guard;
    this.#settle = settle;
    this.#bucket = new TokenBucket(settings.pace, clock.monotonic());
  }

  get name(): string {
    return this.#settings.name;
  }

  get via(): "hkp" | "mail" {
    return this.#settings.via;
  }

  /** Checks for questions that are due. */
  wake(): void {
    if (this.#broken.signal.aborted || this.#asking !== undefined) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#step(), 0);
  }

  /** Cancels the question in progress, which is asked again after the next start. */
  async stop(): Promise<void> {
    this.#broken.abort(new Error("The question was cancelled."));
    clearTimeout(this.#timer);
    await this.#asking;
  }

  #step(): void {
    const repair = this.#guard.run(() => this.#repairs.next(this.name));
    if (repair === undefined) return;
    const now = this.#clock.monotonic();
    const due = repair.nextAt - this.#clock.now();
    const wait = Math.max(due, this.#restUntil - now, this.#bucket.waitMs(now));
    if (wait > 0) {
      this.#timer = setTimeout(() => this.#step(), Math.min(Math.ceil(wait), LONGEST_WAIT_MS));
      return;
    }
    this.#bucket.take(now);
    this.#asking = this.#ask(repair).finally(() => {
      this.#asking = undefined;
      this.wake();
    });
  }

  async #ask(repair: Repair): Promise<void> {
    const { signal } = this.#broken;
    try {
      const answer = await this.#settings.ask(repair, signal);
      // A question cancelled at shutdown is not a failure of the keyserver.
      if (signal.aborted) return;
      this.#settle(repair, answer);
      if (answer.kind === "failed" || answer.kind === "later") this.#rest();
      else this.#failures = 0;
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      this.#guard.tell(error);
      this.#restUntil = this.#clock.monotonic() + TROUBLE_MS;
    }
  }

  #rest(): void {
    const wait = delayMs(this.#settings.rest, this.#failures, this.#clock.random());
    this.#failures += 1;
    this.#restUntil = this.#clock.monotonic() + wait;
  }
}
