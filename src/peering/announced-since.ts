/**
 * How old what a peer lists may be, for peers that are fetched from at some hours only (rule 10 of
 * `kx/fetch-tracker.ts`). A listing has no times, so a lower bound is kept: all that lies above the
 * receive cursor was announced then or later. It is now while we have all that the peer announced,
 * else the time of the oldest that waits; it stands still while there is no connection; it is on
 * disk at most an hour behind. Where nothing is known of a peer everything may be about to expire,
 * and is fetched at once.
 */
import type { Clock } from "../clock.js";
import type { UpdateLog } from "../log/update-log.js";
import type { LogGuard } from "../log-guard.js";

/** A bound that is behind makes us fetch so much sooner than we need to; each step is a write. */
const STORE_EVERY_MS = 3_600_000;

export interface SinceComponents {
  readonly log: SinceLog;
  readonly guard: LogGuard;
  readonly clock: Clock;
}

/** What these bounds use of the log. */
export type SinceLog = Pick<UpdateLog, "fetchWaits">;

export class AnnouncedSince {
  readonly #log: SinceLog;
  readonly #guard: LogGuard;
  readonly #clock: Clock;
  /** Monotonic, and as it is on disk. */
  readonly #bounds = new Map<string, { since: number; stored: number }>();

  /** Reads what is stored of these peers. Throws `Trouble`. */
  constructor({ log, guard, clock }: SinceComponents, peers: Iterable<string>) {
    this.#log = log;
    this.#guard = guard;
    this.#clock = clock;
    for (const peer of peers) {
      const date = log.fetchWaits.since(peer);
      const age = date === undefined ? Infinity : clock.now() - date;
      // A date to come was noted by a clock that was wrong: nothing is known then.
      const since = age < 0 ? -Infinity : clock.monotonic() - age;
      this.#bounds.set(peer, { since, stored: since });
    }
  }

  /** When what the peer lists was announced at the earliest. */
  of(peer: string): number {
    return this.#bounds.get(peer)?.since ?? 0;
  }

  /**
   * The peer is connected. `oldestAt` is when the oldest that waits was announced, `hasAll` whether
   * everything that it announced is resolved.
   */
  look(peer: string, oldestAt: number | undefined, hasAll: boolean, now: number): void {
    const bound = this.#bounds.get(peer);
    if (bound === undefined) return;
    bound.since = Math.max(bound.since, hasAll ? now : (oldestAt ?? -Infinity));
    if (bound.since - bound.stored < STORE_EVERY_MS) return;
    const date = this.#clock.now() - (now - bound.since);
    this.#guard.run(() => {
      this.#log.fetchWaits.setSince(peer, date);
      bound.stored = bound.since;
    });
  }

  /** All that the peer still has is listed anew, and may be of any age. */
  forget(peer: string): void {
    const bound = this.#bounds.get(peer);
    if (bound === undefined) return;
    bound.since = -Infinity;
    bound.stored = -Infinity;
    this.#guard.run(() => this.#log.fetchWaits.forget(peer));
  }
}
