/**
 * Counts events in all and by the hour: one counter per event, neighbour and reason, with the
 * bytes. A report about several updates has their count in `numbers`. It keeps the latest reports
 * for the page and for the journey of an update. Events are the only source, so log lines and
 * counters agree. Everything here is bounded; `counter-journal.ts` stores the counters.
 */
import type { Clock } from "../clock.js";
import type { Diagnostics, EventName, EventSink, Fields, FieldsOf } from "../diagnostics.js";
import { EVENTS, kindOf } from "../diagnostics.js";
import type { CounterState } from "../log/counter-rows.js";
import type { Run } from "./event-runs.js";
import { EventRuns } from "./event-runs.js";
import type { Amount } from "./hours.js";
import { HOURS, Hours } from "./hours.js";
import { RecentReports } from "./recent-reports.js";
import type { Report } from "./report.js";

export type { Report };

export const COUNTER_LIMITS = {
  /** Distinct counters; never reached, as events, neighbours and reasons are closed sets. */
  counters: 10_000,
} as const;

const WEEK_HOURS = 7 * 24;

export interface Count {
  readonly event: EventName;
  readonly neighbour: string | undefined;
  readonly reason: string | undefined;
  readonly via: string | undefined;
  readonly count: number;
  readonly bytes: number;
  /** When it counted first and last, milliseconds since 1970. */
  readonly since: number;
  readonly lastAt: number;
}

/** Which counters to add up: these events, restricted by the other fields. */
export interface Which {
  readonly events: readonly EventName[];
  readonly neighbour?: string;
  readonly via?: string;
}

interface Counter {
  readonly event: EventName;
  readonly neighbour: string | undefined;
  readonly reason: string | undefined;
  readonly via: string | undefined;
  count: number;
  bytes: number;
  since: number;
  lastAt: number;
  readonly hours: Hours;
  /** Whether it counted since it was stored. */
  isChanged: boolean;
}

export interface EventCountersComponents {
  /** Every report is passed on to it. */
  readonly next: EventSink;
  readonly clock: Clock;
}

export class EventCounters implements Diagnostics {
  readonly #next: EventSink;
  readonly #clock: Clock;
  readonly #counters = new Map<string, Counter>();
  readonly #listeners = new Set<(report: Report) => void>();
  readonly #recent = new RecentReports();
  readonly #runs = new EventRuns();
  #lastId = 0;

  constructor({ next, clock }: EventCountersComponents) {
    this.#next = next;
    this.#clock = clock;
  }

  report<Event extends EventName>(event: Event, given: FieldsOf<Event>): void {
    const at = this.#clock.now();
    const fields: Fields = given;
    const { bytes, numbers } = fields;
    const counter = this.#counter(event, fields);
    if (counter !== undefined) {
      const amount = {
        count: typeof numbers === "number" ? numbers : 1,
        bytes: typeof bytes === "number" ? bytes : 0,
      };
      counter.count += amount.count;
      counter.bytes += amount.bytes;
      if (counter.since === 0) counter.since = at;
      counter.lastAt = at;
      counter.isChanged = true;
      counter.hours.add(at, amount);
    }
    this.#lastId += 1;
    const report = { id: this.#lastId, at, event, level: kindOf(event).level, fields };
    this.#recent.add(report);
    this.#runs.add(report);
    for (const listener of this.#listeners) listener(report);
    this.#next.report(event, fields);
  }

  /**
   * Counts what happened at `at`, before this process and before counters were stored: in the hours
   * and as the last time, but in no total.
   */
  recall(event: EventName, fields: Fields, at: number): void {
    const counter = this.#counter(event, fields);
    const { bytes } = fields;
    counter?.hours.add(at, { count: 1, bytes: typeof bytes === "number" ? bytes : 0 });
    if (counter !== undefined) counter.lastAt = Math.max(counter.lastAt, at);
  }

  /** Takes over stored counters. An event of another release that is not known is left out. */
  restore(stored: readonly CounterState[]): void {
    for (const { row, hours } of stored) {
      const { event, count, bytes, since, lastAt } = row;
      if (!isEvent(event)) continue;
      const given = [row.neighbour, row.reason, row.via].map((one) => one || undefined);
      const [neighbour, reason, via] = given;
      const counter = this.#counter(event, { neighbour, reason, via });
      if (counter === undefined) return;
      counter.count += count;
      counter.bytes += bytes;
      counter.since = since;
      counter.lastAt = Math.max(counter.lastAt, lastAt);
      for (const hour of hours) counter.hours.restore(hour);
    }
  }

  /** The counters that counted since `saved`, each with the hours that changed. */
  changes(): CounterState[] {
    return [...this.#counters.values()]
      .filter(({ isChanged }) => isChanged)
      .map(({ event, neighbour = "", reason = "", via = "", hours, ...rest }) => {
        const { count, bytes, since, lastAt } = rest;
        const row = { event, neighbour, reason, via, count, bytes, since, lastAt };
        return { row, hours: hours.changes() };
      });
  }

  /** What `changes` returned is stored. */
  saved(): void {
    for (const counter of this.#counters.values()) {
      counter.isChanged = false;
      counter.hours.saved();
    }
  }

  /** Every counter, with its count of the last seven days. */
  weekly(): (Count & { readonly count7d: number })[] {
    const now = this.#clock.now();
    return [...this.#counters.values()]
      .filter(({ count }) => count > 0)
      .map(({ hours, isChanged: _, ...count }) => {
        return { ...count, count7d: sum(hours.series(now, WEEK_HOURS)).count };
      });
  }

  /** Every counter that ever counted. */
  counts(): Count[] {
    return [...this.#counters.values()]
      .filter(({ count }) => count > 0)
      .map(({ hours: _, isChanged: __, ...count }) => count);
  }

  /** How often an event was reported, over all neighbours and reasons. */
  total(event: EventName): Amount {
    return sum([...this.#matching({ events: [event] })]);
  }

  /** In all, over restarts. */
  sum(which: Which): Amount {
    return sum([...this.#matching(which)]);
  }

  /** By the hour, oldest first, this hour last; at most `KEPT_HOURS`. */
  series(which: Which, length = HOURS): Amount[] {
    const now = this.#clock.now();
    const all = [...this.#matching(which)].map(({ hours }) => hours.series(now, length));
    return Array.from({ length }, (_, index) =>
      sum(all.map((series) => series[index] ?? { count: 0, bytes: 0 })),
    );
  }

  /** This hour and the 23 before it. */
  day(which: Which): Amount {
    return sum(this.series(which));
  }

  /** When it was reported last, milliseconds since 1970; 0 for never. */
  lastAt(which: Which): number {
    return Math.max(0, ...[...this.#matching(which)].map(({ lastAt }) => lastAt));
  }

  /** The latest reports of level info and above, newest first. */
  recent(): Report[] {
    return this.#recent.all();
  }

  /** The latest reports of a neighbour, newest first. */
  recentOf(neighbour: string): Report[] {
    return this.#recent.of(neighbour);
  }

  /** Runs of equal reports, newest first. */
  runs(): Run[] {
    return this.#runs.all();
  }

  /** Calls `listener`, which must not throw, on every report. Returns the way to unsubscribe. */
  onReport(listener: (report: Report) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  *#matching({ events, neighbour, via }: Which): Generator<Counter> {
    for (const counter of this.#counters.values()) {
      if (!events.includes(counter.event)) continue;
      if (neighbour !== undefined && counter.neighbour !== neighbour) continue;
      if (via !== undefined && counter.via !== via) continue;
      yield counter;
    }
  }

  #counter(event: EventName, fields: Fields): Counter | undefined {
    const neighbour = text(fields.neighbour);
    const reason = text(fields.reason);
    const via = text(fields.via);
    const key = [event, neighbour, reason, via].join("\0");
    const known = this.#counters.get(key);
    if (known !== undefined || this.#counters.size >= COUNTER_LIMITS.counters) return known;
    const hours = new Hours();
    const none = { count: 0, bytes: 0, since: 0, lastAt: 0, isChanged: false };
    const counter = { event, neighbour, reason, via, ...none, hours };
    this.#counters.set(key, counter);
    return counter;
  }
}

function sum(amounts: readonly Amount[]): Amount {
  let count = 0;
  let bytes = 0;
  for (const one of amounts) {
    count += one.count;
    bytes += one.bytes;
  }
  return { count, bytes };
}

function isEvent(name: string): name is EventName {
  return Object.hasOwn(EVENTS, name);
}

function text(value: Fields[string]): string | undefined {
  return typeof value === "string" ? value : undefined;
}
