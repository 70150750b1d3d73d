/**
 * Keeps the counters of events over a restart: writes what changed to the log a minute after the
 * first change, at a reload and at the stop, and before a value is shown to Prometheus, which
 * takes a counter that falls for one that began at zero. A kill therefore loses at most a minute of
 * counts, and none that a scrape has seen. While nothing counts, nothing is written.
 */
import type { Clock } from "../clock.js";
import type { UpdateLog } from "../log/update-log.js";
import { LogGuard } from "../log-guard.js";
import { COUNTER_LIMITS, type EventCounters } from "./event-counters.js";
import { hourOf, KEPT_HOURS } from "./hours.js";

const COUNTER_JOURNAL_LIMITS = {
  everyMs: 60_000,
  /** Scrapes that follow each other faster cost no further commit. */
  scrapeMs: 1000,
} as const;

export interface CounterJournalComponents {
  readonly log: Pick<UpdateLog, "counterRows">;
  readonly counters: EventCounters;
  readonly clock: Clock;
}

export class CounterJournal {
  readonly #log: CounterJournalComponents["log"];
  readonly #counters: EventCounters;
  readonly #clock: Clock;
  readonly #guard: LogGuard;
  readonly #unsubscribe: () => void;
  #timer: NodeJS.Timeout | undefined;
  #flushedAt = -Infinity;
  /** The hour for which old hours were deleted. */
  #expiredAt = 0;

  constructor({ log, counters, clock }: CounterJournalComponents) {
    this.#log = log;
    this.#counters = counters;
    this.#clock = clock;
    this.#guard = new LogGuard("counters", clock, counters);
    this.#unsubscribe = counters.onReport(() => this.#flushSoon());
  }

  /** Writes what changed since the last call. A failure is reported, and tried again. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const changes = this.#counters.changes();
    if (changes.length === 0) return;
    const hour = hourOf(this.#clock.now());
    const oldest = hour === this.#expiredAt ? undefined : hour - KEPT_HOURS;
    const isWritten = this.#guard.run(() => {
      this.#log.counterRows.save(changes, oldest);
      return true;
    });
    this.#flushedAt = this.#clock.monotonic();
    if (!isWritten) return;
    this.#counters.saved();
    this.#expiredAt = hour;
  }

  /** Writes before values are shown to Prometheus. */
  flushForScrape(): void {
    const { scrapeMs } = COUNTER_JOURNAL_LIMITS;
    if (this.#clock.monotonic() - this.#flushedAt >= scrapeMs) this.flush();
  }

  /** Writes the rest and stops listening. */
  stop(): void {
    this.#unsubscribe();
    this.flush();
  }

  #flushSoon(): void {
    this.#timer ??= setTimeout(() => this.flush(), COUNTER_JOURNAL_LIMITS.everyMs);
  }
}

/**
 * Takes over the counters of the log. False if it has none, as a log of an earlier release. Dates
 * after `now` were written by a wrong clock. An hour so far ahead that the present hours would be
 * too old to count beside it is left out.
 */
export function restoreCounterRows(
  log: Pick<UpdateLog, "counterRows">,
  counters: EventCounters,
  now: number,
): boolean {
  const hour = hourOf(now);
  const stored = log.counterRows.all(COUNTER_LIMITS.counters, hour - KEPT_HOURS);
  counters.restore(
    stored.map(({ row, hours }) => {
      const { since, lastAt } = row;
      return {
        row: { ...row, since: Math.min(since, now), lastAt: Math.min(lastAt, now) },
        hours: hours.filter((one) => one.hour < hour + KEPT_HOURS),
      };
    }),
  );
  return stored.length > 0;
}
