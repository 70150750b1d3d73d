/**
 * Keeps the times of deliveries beyond the life of the process: it listens to the reports of
 * deliveries and writes them to the log, gathered for some seconds, so that no delivery waits for
 * it and none costs an fsync of its own. A kill loses the last seconds, and with them a time in
 * `kxgw trace`, nothing else.
 */
import type { Clock } from "../clock.js";
import { type EventName, kindOf } from "../diagnostics.js";
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

/** How an event says that an update went; undefined when it tells of no delivery. */
export function deliveryWay(event: EventName): Sending["way"] | undefined {
  const { direction, outcome, transport } = kindOf(event);
  if (direction !== "out" || outcome !== "delivered") return undefined;
  return transport === "kx" ? "kx" : "lane";
}

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

  #note({ event, at, fields: { seq, neighbour, how, words } }: Report): void {
    const way = deliveryWay(event);
    if (way === undefined) return;
    if (typeof seq !== "number" || typeof neighbour !== "string") return;
    const known = way === "kx" ? "fetched" : typeof how === "string" ? how : "";
    const reply = typeof words === "string" ? words : "";
    this.#noted.push({ seq: seq as Seq, neighbour, way, at, how: known, reply });
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
