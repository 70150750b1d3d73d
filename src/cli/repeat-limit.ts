/**
 * Limits the lines of the log: of an event that others can cause as often as they like (`isLimited`
 * in the table of events), so many lines a minute are written for each neighbour, and then one
 * that says how many more there were. Strangers share one allowance. Counters, page and metrics
 * get every report, since they come before this limit. It has no timer: its owner calls `sweep`.
 */
import type { Clock } from "../clock.js";
import type { EventName, EventSink, Fields } from "../diagnostics.js";
import { kindOf } from "../diagnostics.js";

export const REPEAT_LIMITS = {
  /** Enough to see a pattern, few enough to keep other events visible. */
  lines: 20,
  windowMs: 60_000,
  /** Pairs of event and neighbour at once; beyond it all neighbours of an event are one. */
  windows: 1000,
} as const;

interface Window {
  readonly event: EventName;
  readonly neighbour: string | undefined;
  readonly endsAt: number;
  lines: number;
  more: number;
}

export interface RepeatLimitComponents {
  readonly next: EventSink;
  readonly clock: Clock;
}

export class RepeatLimit implements EventSink {
  readonly #next: EventSink;
  readonly #clock: Clock;
  /** All windows have the same length, so the oldest one ends first. */
  readonly #windows = new Map<string, Window>();

  constructor({ next, clock }: RepeatLimitComponents) {
    this.#next = next;
    this.#clock = clock;
  }

  report(event: EventName, fields: Fields = {}): void {
    this.sweep();
    if (kindOf(event).isLimited !== true) return this.#next.report(event, fields);
    const { neighbour } = fields;
    const window = this.#window(event, typeof neighbour === "string" ? neighbour : undefined);
    if (window.lines === REPEAT_LIMITS.lines) {
      window.more += 1;
      return;
    }
    window.lines += 1;
    this.#next.report(event, fields);
  }

  /** Writes the counts that are due; called periodically. */
  sweep(): void {
    const now = this.#clock.monotonic();
    for (const [key, window] of this.#windows) {
      if (window.endsAt > now) break;
      this.#close(key, window);
    }
  }

  /** Writes all counts, before the process ends. */
  flush(): void {
    for (const [key, window] of this.#windows) this.#close(key, window);
  }

  #window(event: EventName, neighbour: string | undefined): Window {
    const isNew = !this.#windows.has(`${event} ${neighbour ?? ""}`);
    const isFull = isNew && this.#windows.size >= REPEAT_LIMITS.windows;
    const who = isFull ? undefined : neighbour;
    const key = `${event} ${who ?? ""}`;
    const known = this.#windows.get(key);
    if (known !== undefined) return known;
    const endsAt = this.#clock.monotonic() + REPEAT_LIMITS.windowMs;
    const window = { event, neighbour: who, endsAt, lines: 0, more: 0 };
    this.#windows.set(key, window);
    return window;
  }

  #close(key: string, { event, neighbour, more }: Window): void {
    this.#windows.delete(key);
    if (more === 0) return;
    const note = `${more} more of these events in the last minute`;
    this.#next.report(event, { neighbour, more, note });
  }
}
