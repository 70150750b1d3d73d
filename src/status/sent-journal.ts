/**
 * Stores the times of deliveries in the log: it listens to the events "sent" and
 * "served" and writes them in batches every few seconds, so that no delivery waits for it
 * and none needs its own fsync. A kill loses the last seconds, which only affects the times in
 * `kxgw trace`. Events of updates without a number are ignored.
 */
import type { Clock } from "../clock.js";
import type { Sending } from "../log/sendings.js";
import type { UpdateLog } from "../log/update-log.js";
import { LogGuard } from "../log-guard.js";
import type { Seq } from "../update.js";
import type { EventCounters, Report } from "./event-counters.js";

export const JOURNAL_LIMITS = {
  everyMs: 10_000,
  /** Maximum number written at once, and kept after a failed write. */
  most: 1000,
} as const;

export class SentJournal {
  readonly #log: UpdateLog;
  readonly #guard: LogGuard;
  readonly #unsubscribe: () => void;
  #noted: Sending[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(log: UpdateLog, counters: EventCounters, clock: Clock) {
    this.#log = log;
    this.#guard = new LogGuard("journal", clock, counters);
    this.#unsubscribe = counters.onReport((report) => this.#note(report));
  }

  /** Writes the remaining entries and stops listening. */
  stop(): void {
    this.#unsubscribe();
    this.#write();
  }

  #note({ event, at, fields: { seq, neighbour } }: Report): void {
    if (event !== "sent" && event !== "served") return;
    if (typeof seq !== "number" || typeof neighbour !== "string") return;
    this.#noted.push({ seq: seq as Seq, neighbour, way: event === "sent" ? "lane" : "kx", at });
    if (this.#noted.length >= JOURNAL_LIMITS.most) this.#write();
    else this.#timer ??= setTimeout(() => this.#write(), JOURNAL_LIMITS.everyMs);
  }

  #write(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const noted = this.#noted;
    this.#noted = [];
    if (noted.length === 0) return;
    const isWritten = this.#guard.run(() => {
      this.#log.sendings.note(noted);
      return true;
    });
    // Half of them, or each further report would cause another write to a faulty log.
    if (!isWritten) this.#noted = noted.slice(-JOURNAL_LIMITS.most / 2);
  }
}
