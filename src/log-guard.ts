/**
 * The log as a door uses it that must not stop for it: what fails is told to the operator and is
 * "not now" to the caller, since neighbours must not suffer for a full disk of ours. The same
 * trouble of one door is told at most every 10 s: thousands of look-ups, or many lanes, may meet
 * it. Doors that answer a client tell their trouble themselves, one mail at a time.
 */
import type { Clock } from "./clock.js";
import type { Diagnostics } from "./diagnostics.js";
import { Trouble } from "./errors.js";

const TELL_EVERY_MS = 10_000;

export class LogGuard {
  readonly #door: string;
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;
  readonly #toldAt = new Map<string, number>();

  /** `door` is what the operator calls whoever uses the log; one guard a door. */
  constructor(door: string, clock: Clock, diagnostics: Diagnostics) {
    this.#door = door;
    this.#clock = clock;
    this.#diagnostics = diagnostics;
  }

  /** What `work` returns, or undefined when it threw a `Trouble`. Lets bugs pass. */
  run<T>(work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      this.tell(error);
      return undefined;
    }
  }

  /** Tells of `error`, unless that kind was told just now. Throws it when it is no `Trouble`. */
  tell(error: unknown): void {
    if (!(error instanceof Trouble)) throw error;
    const { kind, message: problem, remedy } = error;
    const now = this.#clock.monotonic();
    if (now - (this.#toldAt.get(kind) ?? -Infinity) < TELL_EVERY_MS) return;
    this.#toldAt.set(kind, now);
    this.#diagnostics.report("log-trouble", { kind, problem, remedy, door: this.#door });
  }
}
