/**
 * What the log needs by the clock: old bodies and old announcements leave it, in small batches so
 * that nobody waits for them; what a site still needs is held for a while. Lives as long as the
 * process, over every change of the configuration, since it watches the clock.
 *
 *  1. Nothing expires in the first hour after the start, nor in the hour after the date has moved
 *     against the monotonic clock by more than a day: whoever corrects a clock does it by then.
 *  2. After that the date counts as right from the hour's beginning on. What was before has to be
 *     borne out by the log (`UpdateLog.provenBefore`). So a date that is wrong for days empties
 *     nothing, and one that is corrected needs no restart.
 *  3. What is dated in the future is dated anew, else it would stay until then.
 *
 * Every three seconds it looks whether the log is where it was, also when nobody writes to it.
 */
import type { Clock } from "./clock.js";
import type { Diagnostics } from "./diagnostics.js";
import { Trouble } from "./errors.js";
import type { RetentionLimits } from "./log/retention.js";
import type { UpdateLog } from "./log/update-log.js";
import { LogGuard } from "./log-guard.js";

export const UPKEEP_LIMITS = {
  everyMs: 10 * 60_000,
  /** How soon what failed is tried again. */
  againMs: 60_000,
  batch: 100,
  clockJumpMs: 24 * 60 * 60_000,
  settleMs: 60 * 60_000,
  lookMs: 3000,
} as const;

/** How upkeep is, for whoever asks whether all is well. */
export interface UpkeepStatus {
  /** How often it has failed in a row. */
  readonly failures: number;
  /** What it said the last time, and what to do; undefined when it did not fail. */
  readonly trouble: { readonly problem: string; readonly remedy: string } | undefined;
  /** By how much the clock jumped within the last hour; undefined when it did not. */
  readonly jumpedMs: number | undefined;
}

export interface UpkeepComponents {
  readonly log: Pick<UpdateLog, "assertInPlace" | "retention">;
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
}

export class Upkeep {
  readonly #log: UpkeepComponents["log"];
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;
  readonly #guard: LogGuard;
  #limits: () => RetentionLimits;
  /** Wall clock minus monotonic clock since `#steadySince`. */
  #offset: number;
  /** Monotonic. */
  #steadySince: number;
  #jumpedMs: number | undefined;
  /** The date of the newest entry when we began, until it is compared with the clock. */
  #newestDate: number | undefined;
  /** What goes in the batches that are under way; undefined between them. */
  #round: { readonly now: number; readonly limits: RetentionLimits } | undefined;
  #failures = 0;
  #trouble: Trouble | undefined;
  #isMissing = false;
  #timer: NodeJS.Timeout | undefined;
  #watch: NodeJS.Timeout | undefined;
  #isRunning = false;

  /**
   * `limits` are asked for each time, since what is held changes with the roads in use. Throws
   * `Trouble` when the log cannot be read.
   */
  constructor({ log, clock, diagnostics }: UpkeepComponents, limits: () => RetentionLimits) {
    this.#log = log;
    this.#limits = limits;
    this.#clock = clock;
    this.#diagnostics = diagnostics;
    this.#guard = new LogGuard("upkeep", clock, diagnostics);
    this.#steadySince = clock.monotonic();
    this.#offset = clock.now() - this.#steadySince;
    this.#newestDate = log.retention.newestDate();
  }

  /** Begins, or goes on with other limits. */
  start(limits = this.#limits): void {
    this.#limits = limits;
    this.#isRunning = true;
    this.#timer = setTimeout(() => this.#run(), 0);
    this.#watch = setInterval(() => this.look(), UPKEEP_LIMITS.lookMs);
  }

  /** Rests until the next `start`. */
  stop(): void {
    this.#isRunning = false;
    clearTimeout(this.#timer);
    clearInterval(this.#watch);
  }

  /** Says once when the files of the log are not in their places any more. */
  look(): void {
    try {
      this.#log.assertInPlace();
      this.#isMissing = false;
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      const { message: problem, remedy } = error;
      if (!this.#isMissing) this.#diagnostics.report("log-replaced", { problem, remedy });
      this.#isMissing = true;
    }
  }

  status(): UpkeepStatus {
    const trouble = this.#trouble && {
      problem: this.#trouble.message,
      remedy: this.#trouble.remedy,
    };
    return { failures: this.#failures, trouble, jumpedMs: this.#jumpedMs };
  }

  #run(): void {
    const more = this.step();
    if (!this.#isRunning) return;
    const { everyMs, againMs } = UPKEEP_LIMITS;
    const wait = more ? 0 : this.#failures > 0 ? againMs : everyMs;
    this.#timer = setTimeout(() => this.#run(), wait);
  }

  /** One batch; true when there is more to do now. For whoever has a clock of its own to go by. */
  step(): boolean {
    const now = this.#clock.now();
    try {
      const steadyMs = this.#lookAtClock(now);
      const more = steadyMs >= UPKEEP_LIMITS.settleMs && this.#expire(now, steadyMs);
      if (!more) this.#round = undefined;
      this.#failures = 0;
      this.#trouble = undefined;
      return more;
    } catch (error) {
      this.#guard.tell(error);
      this.#round = undefined;
      this.#failures += 1;
      this.#trouble = error as Trouble;
      return false;
    }
  }

  /** Rule 1: for how long the date has been in step with the monotonic clock. */
  #lookAtClock(now: number): number {
    const monotonic = this.#clock.monotonic();
    const { clockJumpMs, settleMs } = UPKEEP_LIMITS;
    const jumpMs = now - monotonic - this.#offset;
    if (Math.abs(jumpMs) > clockJumpMs) {
      this.#offset = now - monotonic;
      this.#steadySince = monotonic;
      this.#round = undefined;
      this.#jumped(jumpMs);
    } else if (this.#newestDate !== undefined && this.#newestDate - now > clockJumpMs) {
      // A clock that is ahead looks like a time in which we were down; one that is behind does not.
      this.#jumped(now - this.#newestDate);
    }
    this.#newestDate = undefined;
    const steadyMs = monotonic - this.#steadySince;
    if (steadyMs >= settleMs) this.#jumpedMs = undefined;
    return steadyMs;
  }

  #jumped(jumpMs: number): void {
    this.#jumpedMs = Math.round(jumpMs);
    this.#diagnostics.report("clock-jumped", { jumpMs: this.#jumpedMs });
  }

  /** Rules 2 and 3. */
  #expire(now: number, steadyMs: number): boolean {
    const { batch } = UPKEEP_LIMITS;
    if (this.#round === undefined) {
      if (this.#log.retention.redate(now, batch)) return true;
      this.#round = this.#newRound(now, steadyMs);
    }
    const expired = this.#log.retention.expire(this.#round.now, this.#round.limits, batch);
    const { bodies, entries, dropped, more } = expired;
    if (dropped > 0) this.#diagnostics.report("hold-exceeded", { bodies: dropped });
    if (bodies + entries > 0) this.#diagnostics.report("expired", { bodies, entries });
    return more;
  }

  /** What is to go, by the evidence there is now. */
  #newRound(now: number, steadyMs: number) {
    const limits = this.#limits();
    const proven = (ageMs: number) => now - this.#log.retention.provenBefore(ageMs, now, steadyMs);
    const [retainMs, rememberMs] = [proven(limits.retainMs), proven(limits.rememberMs)];
    return { now, limits: { ...limits, retainMs, rememberMs } };
  }
}
