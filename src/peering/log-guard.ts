/**
 * The log as the KX door uses it: what fails is told to the operator and is "not now" to the
 * caller, since peers must not suffer for a full disk of ours. The same trouble is told at most
 * every 10 s: thousands of look-ups may meet it.
 */
import type { Clock } from "../clock.js";
import type { Diagnostics } from "../diagnostics.js";
import { Trouble } from "../errors.js";

const TELL_EVERY_MS = 10_000;

export class LogGuard {
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;
  readonly #toldAt = new Map<string, number>();

  constructor(clock: Clock, diagnostics: Diagnostics) {
    this.#clock = clock;
    this.#diagnostics = diagnostics;
  }

  /** What `work` returns, or undefined when it threw a `Trouble`. Lets bugs pass. */
  run<T>(work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      this.#tell(error);
      return undefined;
    }
  }

  #tell({ kind, message: problem, remedy }: Trouble): void {
    const now = this.#clock.monotonic();
    if (now - (this.#toldAt.get(kind) ?? -Infinity) < TELL_EVERY_MS) return;
    this.#toldAt.set(kind, now);
    this.#diagnostics.report("log-trouble", { kind, problem, remedy, door: "kx" });
  }
}
