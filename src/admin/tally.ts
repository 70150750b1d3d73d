/**
 * Counts what was reported, since the start of the process: one number an event, neighbour and
 * reason, and the bytes that came with it. The events are the only source, so that the log of a
 * day and the counters of that day tell the same story.
 */
import type { Diagnostics, EventName, Fields } from "../diagnostics.js";

/** Distinct counters; events, neighbours and reasons are closed sets, so this is never reached. */
const MAX_COUNTERS = 10_000;

export interface Count {
  readonly event: EventName;
  readonly neighbour: string | undefined;
  readonly reason: string | undefined;
  readonly via: string | undefined;
  count: number;
  bytes: number;
}

export class Tally implements Diagnostics {
  readonly #next: Diagnostics;
  readonly #counts = new Map<string, Count>();

  /** Counts and hands on to `next`. */
  constructor(next: Diagnostics) {
    this.#next = next;
  }

  report(event: EventName, fields: Fields = {}): void {
    this.#count(event, fields);
    this.#next.report(event, fields);
  }

  counts(): Count[] {
    return [...this.#counts.values()];
  }

  /** How often an event was reported, over all neighbours and reasons. */
  total(event: EventName): { readonly count: number; readonly bytes: number } {
    const total = { count: 0, bytes: 0 };
    for (const one of this.#counts.values()) {
      if (one.event !== event) continue;
      total.count += one.count;
      total.bytes += one.bytes;
    }
    return total;
  }

  #count(event: EventName, fields: Fields): void {
    const neighbour = text(fields.neighbour);
    const reason = text(fields.reason);
    const via = text(fields.via);
    const key = [event, neighbour, reason, via].join("\0");
    let counter = this.#counts.get(key);
    if (counter === undefined) {
      if (this.#counts.size >= MAX_COUNTERS) return;
      counter = { event, neighbour, reason, via, count: 0, bytes: 0 };
      this.#counts.set(key, counter);
    }
    counter.count += 1;
    const bytes = fields.bytes;
    if (typeof bytes === "number") counter.bytes += bytes;
  }
}

function text(value: Fields[string]): string | undefined {
  return typeof value === "string" ? value : undefined;
}
