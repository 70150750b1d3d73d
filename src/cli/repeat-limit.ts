/**
 * Limits the log lines of events that others can cause at will: for each neighbour a number of
 * lines per minute is written, and then one line that counts the others. Unknown clients share
 * one limit. Counters, page and metrics receive the events before this filter, so they are
 * complete. Pure except for the output; the clock is an argument.
 */
import type { Clock } from "../clock.js";
import type { Diagnostics, EventName, Fields } from "../diagnostics.js";

/**
 * The limited events. Never limited are the events of an update's life (`accepted`, `sent`,
 * `undelivered`, `body-expired`), and those of the process, which are rare.
 */
export const LIMITED: ReadonlySet<EventName> = new Set<EventName>([
  // One per mail or request of any client: a flood, or a misconfigured neighbour.
  ...(["mail-refused", "key-refused", "too-fast", "reply-swallowed", "smtp-limited"] as const),
  ...(["hkp-limited", "smtp-error"] as const),
  // One per mail while the disk is full.
  "mail-deferred",
  // One per bounce: a site that returns every mail, or forged bounces.
  ...(["bounce", "delivery-noted", "retry"] as const),
  // One per connection: a peer that reconnects all the time, or a port scan.
  ...(["peer-connected", "peer-disconnected", "peer-unreachable"] as const),
  ...(["peer-untrusted", "peer-unknown", "peer-complaint", "peer-reset", "peer-gap"] as const),
  // One per announced update: thousands at the first contact with a peer whose bodies have
  // expired, or that announces updates that it does not have.
  ...(["update-refused", "update-wrong", "update-gone", "update-lost", "fetch-timeout"] as const),
  // One per update that cannot be fetched: a peer may announce updates that do not exist.
  ...(["repair-failed", "repair-retry"] as const),
  // One per announcement of a key that a partial gateway does not carry, which is most of them.
  "update-declined",
]);

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

export class RepeatLimit implements Diagnostics {
  readonly #next: Diagnostics;
  readonly #clock: Clock;
  /** All windows have the same length, so the oldest one ends first. */
  readonly #windows = new Map<string, Window>();

  constructor(next: Diagnostics, clock: Clock) {
    this.#next = next;
    this.#clock = clock;
  }

  report(event: EventName, fields: Fields = {}): void {
    this.sweep();
    if (!LIMITED.has(event)) return this.#next.report(event, fields);
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
