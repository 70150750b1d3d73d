/**
 * What the counters keep over a restart. `SentJournal` listens to the reports of deliveries, and of
 * what observe mode would have sent, and writes them to the log every ten seconds, so that no
 * delivery waits for it and none costs an fsync of its own. A kill loses the last seconds; only
 * `kxgw trace` and the page show these times. `restoreCounters` reads the arrivals and deliveries
 * of the last 24 hours at the start, so that the page does not show "never". It reads a bounded
 * number of rows; on a busy day the early hours are missing.
 */
import type { Clock } from "../clock.js";
import { type EventName, kindOf } from "../diagnostics.js";
import type { Observed } from "../log/observed.js";
import type { Sending } from "../log/sendings.js";
import type { UpdateLog } from "../log/update-log.js";
import { LogGuard } from "../log-guard.js";
import type { Seq } from "../update.js";
import type { EventCounters, Report } from "./event-counters.js";
import { HOUR_MS, HOURS } from "./hours.js";

export const JOURNAL_LIMITS = {
  everyMs: 10_000,
  /** Maximum number written at once, and kept after a failed write. */
  most: 1000,
} as const;

/** Takes 30 ms to read. */
const RESTORED_ENTRIES = 10_000;

/** How the update of an event was delivered; undefined when the event is no delivery. */
export function deliveryWay(event: EventName): Sending["way"] | undefined {
  const { direction, outcome, transport } = kindOf(event);
  if (direction !== "out" || outcome !== "delivered") return undefined;
  return transport === "kx" ? "kx" : "lane";
}

export interface JournalComponents {
  readonly log: Pick<UpdateLog, "observed" | "sendings">;
  readonly counters: EventCounters;
  readonly clock: Clock;
}

export class SentJournal {
  readonly #log: JournalComponents["log"];
  readonly #guard: LogGuard;
  readonly #unsubscribe: () => void;
  #noted: Sending[] = [];
  /** By neighbour and way; as many as the config has, twice. */
  #observed = new Map<string, Observed>();
  #timer: NodeJS.Timeout | undefined;

  constructor({ log, counters, clock }: JournalComponents) {
    this.#log = log;
    this.#guard = new LogGuard("journal", clock, counters);
    this.#unsubscribe = counters.onReport((report) => this.#note(report));
  }

  /** Writes the remaining entries and stops listening. */
  stop(): void {
    this.#unsubscribe();
    this.#write();
  }

  #note(report: Report): void {
    if (report.event === "would-send") return this.#observe(report);
    const { event, at, fields } = report;
    const { seq, neighbour, how, words } = fields;
    const way = deliveryWay(event);
    if (way === undefined) return;
    if (typeof seq !== "number" || typeof neighbour !== "string") return;
    const known = way === "kx" ? "fetched" : typeof how === "string" ? how : "";
    const reply = typeof words === "string" ? words : "";
    this.#noted.push({ seq: seq as Seq, neighbour, way, at, how: known, reply });
    if (this.#noted.length >= JOURNAL_LIMITS.most) this.#write();
    else this.#writeSoon();
  }

  #observe({ at, fields: { seq, neighbour, via, mails, bytes } }: Report): void {
    if (typeof seq !== "number" || typeof neighbour !== "string") return;
    const way = via === "kx" ? "kx" : "lane";
    const key = `${way} ${neighbour}`;
    const known = this.#observed.get(key);
    this.#observed.set(key, {
      ...{ neighbour, way, updates: (known?.updates ?? 0) + 1 },
      mails: (known?.mails ?? 0) + (typeof mails === "number" ? mails : 0),
      bytes: (known?.bytes ?? 0) + (typeof bytes === "number" ? bytes : 0),
      ...{ first: known?.first ?? seq, last: seq, since: known?.since ?? at, at },
    });
    this.#writeSoon();
  }

  #writeSoon(): void {
    this.#timer ??= setTimeout(() => this.#write(), JOURNAL_LIMITS.everyMs);
  }

  /** Writes what was noted so far. */
  flush(): void {
    this.#write();
  }

  #write(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const observed = [...this.#observed.values()];
    if (observed.length > 0) {
      const isAdded = this.#guard.run(() => {
        this.#log.observed.add(observed);
        return true;
      });
      if (isAdded) this.#observed.clear();
    }
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

/** Counts the newest arrivals and deliveries; `now` in milliseconds since 1970. */
export function restoreCounters(
  log: Pick<UpdateLog, "newest" | "range" | "sendings">,
  counters: EventCounters,
  now: number,
): void {
  const newest = log.newest();
  const from = Math.max(1, newest - RESTORED_ENTRIES + 1) as Seq;
  for (const { origin, size, receivedAt } of log.range(from, newest as Seq, RESTORED_ENTRIES)) {
    if (receivedAt <= now - HOURS * HOUR_MS) continue;
    const { neighbour, transport: via } = origin;
    counters.recall("accepted", { neighbour, via, bytes: size }, receivedAt);
  }
  for (const { neighbour, way, at } of log.sendings.latest(from, RESTORED_ENTRIES)) {
    if (at <= now - HOURS * HOUR_MS) continue;
    counters.recall(way === "kx" ? "served" : "sent", { neighbour }, at);
  }
}
