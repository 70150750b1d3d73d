/**
 * How old the updates may be that a peer lists, for peers with quiet hours or a fetch rate (rule 10
 * of `kx/fetch-tracker.ts`). A listing has no times, so a lower bound is kept: everything above the
 * receive cursor was announced at that time or later. The bound is the present while we have
 * everything that the peer announced, else the time of the oldest update that waits. It stands
 * still without a connection, and is at most an hour behind on disk. If nothing is known of a peer,
 * each of its updates may be about to expire and is fetched at once.
 */
import type { Clock } from "../clock.js";
import type { UpdateLog } from "../log/update-log.js";
import type { LogGuard } from "../log-guard.js";

/** How far the stored bound may be behind: a step is a write, the lag means early fetches. */
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

  /** Reads the stored bounds of these peers. Throws `Trouble`. */
  constructor({ log, guard, clock }: SinceComponents, peers: Iterable<string>) {
    this.#log = log;
    this.#guard = guard;
    this.#clock = clock;
    for (const peer of peers) {
      const date = log.fetchWaits.since(peer);
      const age = date === undefined ? Infinity : clock.now() - date;
      // A date in the future was written by a wrong clock and says nothing.
      const since = age < 0 ? -Infinity : clock.monotonic() - age;
      this.#bounds.set(peer, { since, stored: since });
    }
  }

  /** The earliest time at which what the peer lists was announced. */
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

  /** Everything that the peer still has is listed again and may be of any age. */
  forget(peer: string): void {
    const bound = this.#bounds.get(peer);
    if (bound === undefined) return;
    bound.since = -Infinity;
    bound.stored = -Infinity;
    this.#guard.run(() => this.#log.fetchWaits.forget(peer));
  }
}
