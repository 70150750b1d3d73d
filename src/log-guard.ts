/**
 * Calls the log for a part that must continue when the log fails, for example by a full disk: the
 * failure is reported to the operator and the caller gets undefined. Failures of one kind are
 * reported at most every 10 s for each user, because thousands of look-ups may fail. A server that
 * answers clients does not use this and reports each failure itself. Clock and diagnostics are
 * arguments.
 */
import type { Clock } from "./clock.js";
import type { Diagnostics } from "./diagnostics.js";
import { Trouble } from "./errors.js";

const REPORT_EVERY_MS = 10_000;

export class LogGuard {
  readonly #door: string;
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;
  readonly #reportedAt = new Map<string, number>();

  /** `door` is the name of the user in reports. Each user has its own guard. */
  constructor(door: string, clock: Clock, diagnostics: Diagnostics) {
    this.#door = door;
    this.#clock = clock;
    this.#diagnostics = diagnostics;
  }

  /** Returns what `work` returns, or undefined when it throws a `Trouble`; rethrows the rest. */
  run<T>(work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      this.tell(error);
      return undefined;
    }
  }

  /** Reports a `Trouble` unless its kind was reported recently; throws any other error. */
  tell(error: unknown): void {
    if (!(error instanceof Trouble)) throw error;
    const { kind, message: problem, remedy } = error;
    const now = this.#clock.monotonic();
    if (now - (this.#reportedAt.get(kind) ?? -Infinity) < REPORT_EVERY_MS) return;
    this.#reportedAt.set(kind, now);
    this.#diagnostics.report("log-trouble", { kind, problem, remedy, door: this.#door });
  }
}
