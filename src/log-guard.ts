/**
 * Calls the log for a room that must not stop when the log fails: the trouble is reported to the
 * operator and the caller gets undefined, since neighbours must not suffer for a full disk here.
 * The same kind of trouble of one room is reported at most every 10 s, because thousands of
 * look-ups or many lanes may meet it. A server that answers a client reports its trouble itself,
 * one mail at a time. Pure but for the clock and the diagnostics that it is given.
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

  /** `door` names in reports who uses the log; each user has a guard of its own. */
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

  /** Reports a `Trouble`, unless its kind was reported just now; throws any other error. */
  tell(error: unknown): void {
    if (!(error instanceof Trouble)) throw error;
    const { kind, message: problem, remedy } = error;
    const now = this.#clock.monotonic();
    if (now - (this.#toldAt.get(kind) ?? -Infinity) < TELL_EVERY_MS) return;
    this.#toldAt.set(kind, now);
    this.#diagnostics.report("log-trouble", { kind, problem, remedy, door: this.#door });
  }
}
