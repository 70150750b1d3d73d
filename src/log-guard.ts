/**
 * Calls the log for a room that continues when the log fails, for example because the disk is full:
 * the trouble is reported to the operator and the caller gets undefined. The same kind of trouble
 * in one room is reported at most every 10 s, because thousands of queries or many lanes may have
 * it. A server that answers a client reports its trouble itself, once per mail. Clock and
 * diagnostics are arguments of the constructor.
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

  /** `door` names the user of the log in reports; each user has its own guard. */
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
    if (now - (this.#toldAt.get(kind) ?? -Infinity) < TELL_EVERY_MS) return;
    this.#toldAt.set(kind, now);
    this.#diagnostics.report("log-trouble", { kind, problem, remedy, door: this.#door });
  }
}
