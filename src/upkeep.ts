/**
 * What the log needs by the clock: old bodies and old announcements leave it, in small batches so
 * that nobody waits for them; what a site still needs is held for a while. A wall clock that jumps
 * by more than a day stops expiry until it is back in step with the monotonic one: an hour of wrong
 * date must not empty the log.
 */
import type { Clock } from "./clock.js";
import type { Diagnostics } from "./diagnostics.js";
import { LogGuard } from "./log-guard.js";
import type { RetentionLimits } from "./updatelog/retention.js";
import type { UpdateLog } from "./updatelog/update-log.js";

export const UPKEEP_LIMITS = {
  everyMs: 10 * 60_000,
  batch: 100,
  clockJumpMs: 24 * 60 * 60_000,
} as const;

export class Upkeep {
  readonly #log: UpdateLog;
  readonly #limits: () => RetentionLimits;
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;
  readonly #guard: LogGuard;
  /** Wall clock minus monotonic clock when we started. */
  readonly #offset: number;
  #timer: NodeJS.Timeout | undefined;
  #stopping = false;

  /** `limits` are asked for each time, since what is held changes with the roads in use. */
  constructor(
    log: UpdateLog,
    limits: () => RetentionLimits,
    clock: Clock,
    diagnostics: Diagnostics,
  ) {
    this.#log = log;
    this.#limits = limits;
    this.#clock = clock;
    this.#diagnostics = diagnostics;
    this.#guard = new LogGuard("upkeep", clock, diagnostics);
    this.#offset = clock.now() - clock.monotonic();
  }

  start(): void {
    this.#timer = setTimeout(() => this.#run(), 0);
  }

  stop(): void {
    this.#stopping = true;
    clearTimeout(this.#timer);
  }

  #run(): void {
    const more = this.step();
    if (this.#stopping) return;
    this.#timer = setTimeout(() => this.#run(), more ? 0 : UPKEEP_LIMITS.everyMs);
  }

  /** One batch; true when there is more to do now. For whoever has a clock of its own to go by. */
  step(): boolean {
    const now = this.#clock.now();
    const jumpMs = now - this.#clock.monotonic() - this.#offset;
    if (Math.abs(jumpMs) > UPKEEP_LIMITS.clockJumpMs) {
      this.#diagnostics.report("clock-jumped", { jumpMs: Math.round(jumpMs) });
      return false;
    }
    const { batch } = UPKEEP_LIMITS;
    const expired = this.#guard.run(() => this.#log.expire(now, this.#limits(), batch));
    if (expired === undefined) return false;
    const { bodies, entries, dropped, more } = expired;
    if (dropped > 0) this.#diagnostics.report("hold-exceeded", { bodies: dropped });
    if (bodies + entries > 0) this.#diagnostics.report("expired", { bodies, entries });
    return more;
  }
}
