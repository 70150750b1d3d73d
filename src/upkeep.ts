/**
 * Periodic work on the log: old bodies and announcements expire, in small batches that do not block
 * other work; bodies that a site still needs are held for a while. There is one for the life of the
 * process, across reloads of the configuration, since it watches the clock.
 *
 *  1. Nothing expires in the first hour after the start, nor in the hour after the date has moved
 *     against the monotonic clock by more than a day. In this time a wrong clock can be corrected.
 *  2. After that hour the date is trusted from the beginning of the hour on. Earlier dates must be
 *     confirmed by the entries of the log (`Retention.provenBefore`). So a date that is wrong for
 *     days deletes nothing, and no restart is needed after it is corrected.
 *  3. Rows with a date in the future get the present date; otherwise they would stay until then.
 *
 * Every three seconds it checks that the files of the log are in place, even without writes.
 */
import type { Clock } from "./clock.js";
import type { Diagnostics } from "./diagnostics.js";
import { Trouble } from "./errors.js";
import type { RetentionLimits } from "./log/retention.js";
import type { UpdateLog } from "./log/update-log.js";
import { LogGuard } from "./log-guard.js";

export const UPKEEP_LIMITS = {
  everyMs: 10 * 60_000,
  /** Time until the next attempt after a failure. */
  againMs: 60_000,
  batch: 100,
  clockJumpMs: 24 * 60 * 60_000,
  settleMs: 60 * 60_000,
  lookMs: 3000,
} as const;

/** The state of upkeep, for /readyz and the status. */
export interface UpkeepStatus {
  /** Number of consecutive failures. */
  readonly failures: number;
  /** The error of the last attempt with its remedy; undefined if it did not fail. */
  readonly trouble: { readonly problem: string; readonly remedy: string } | undefined;
  /** How far the clock jumped within the last hour; undefined if it did not jump. */
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
  /** The date of the newest entry at the start, until it was compared with the clock. */
  #newestDate: number | undefined;
  /** The time and limits of the current round of batches; undefined between two rounds. */
  #round: { readonly now: number; readonly limits: RetentionLimits } | undefined;
  #failures = 0;
  #trouble: Trouble | undefined;
  #isMissing = false;
  #timer: NodeJS.Timeout | undefined;
  #watch: NodeJS.Timeout | undefined;
  #isRunning = false;

  /**
   * `limits` is called for each round, since the bodies to hold depend on the paths in use. Throws
   * `Trouble` if the log cannot be read.
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

  /** Starts, or continues with other limits. */
  start(limits = this.#limits): void {
    this.#limits = limits;
    this.#isRunning = true;
    this.#timer = setTimeout(() => this.#run(), 0);
    this.#watch = setInterval(() => this.look(), UPKEEP_LIMITS.lookMs);
  }

  /** Stops until the next `start`. */
  stop(): void {
    this.#isRunning = false;
    clearTimeout(this.#timer);
    clearInterval(this.#watch);
  }

  /** Reports once that the files of the log are no longer in place. */
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

  /** Runs one batch; true if there is more to do now. Tests and the simulation call it too. */
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

  /** Rule 1: returns for how long the date has agreed with the monotonic clock. */
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
      // A clock that is ahead cannot be told from a long stop; one that is behind can.
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

  /** The limits of a round, as far as the dates are proven now. */
  #newRound(now: number, steadyMs: number) {
    const limits = this.#limits();
    const proven = (ageMs: number) => now - this.#log.retention.provenBefore(ageMs, now, steadyMs);
    const [retainMs, rememberMs] = [proven(limits.retainMs), proven(limits.rememberMs)];
    return { now, limits: { ...limits, retainMs, rememberMs } };
  }
}
