/**
 * What stands before the lines of the log: of an event that others can cause as often as they like,
 * so many lines a minute are written for each neighbour, and then one that says how many more
 * there were. Strangers have one allowance together. Counters, page and metrics listen before it,
 * so that nothing is missing there. Pure but for what it writes to; whoever has it owns the clock.
 */
import type { Clock } from "../clock.js";
import type { Diagnostics, EventName, Fields } from "../diagnostics.js";

/**
 * What is limited. Never what happened to an update of ours (`accepted`, `sent`, `undelivered`,
 * `body-expired`), which is the record of its life, and nothing of the process, which is rare.
 */
export const LIMITED: ReadonlySet<EventName> = new Set<EventName>([
  // One a mail or request of anybody: a flood of rubbish, or a neighbour that is set up wrongly.
  ...(["mail-refused", "key-refused", "too-fast", "reply-swallowed", "smtp-limited"] as const),
  ...(["hkp-limited", "smtp-error"] as const),
  // One a mail while the disk is full; the first lines say all there is to say.
  "mail-deferred",
  // One a bounce: a site that sends everything back, or somebody who makes bounces up.
  ...(["bounce", "delivery-noted", "retry"] as const),
  // One a connection: a peer that goes round in circles, or a port scan.
  ...(["peer-connected", "peer-disconnected", "peer-unreachable"] as const),
  ...(["peer-untrusted", "peer-unknown", "peer-complaint", "peer-reset", "peer-gap"] as const),
  // One an update that a peer announced: thousands at the first contact with one whose bodies have
  // expired, or that announces what it does not have.
  ...(["update-refused", "update-wrong", "update-gone", "update-lost", "fetch-timeout"] as const),
  // One of those that nobody gives: a peer may announce what never was.
  ...(["repair-failed", "repair-retry"] as const),
  // One an announcement of a key that a partial gateway does not carry, which is most of them.
  "update-declined",
]);

export const REPEAT_LIMITS = {
  /** Enough to see a pattern, few enough to see what else there is. */
  lines: 20,
  windowMs: 60_000,
  /** Pairs of event and neighbour at once; beyond, all neighbours of an event are one. */
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
  /** All of one length, so that the oldest one ends first. */
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

  /** Writes what is due; to be called now and then, when nothing is reported. */
  sweep(): void {
    const now = this.#clock.monotonic();
    for (const [key, window] of this.#windows) {
      if (window.endsAt > now) break;
      this.#close(key, window);
    }
  }

  /** Writes what there is, before the end. */
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
    const note = `and ${more} more of these in the last minute`;
    this.#next.report(event, { neighbour, more, note });
  }
}
