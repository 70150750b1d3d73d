/**
 * The rate at which announcements are listed for peers, so that a peer that lists everything again
 * and again does not slow the others: a number of lines a second for each peer, and one for all
 * together, which also leaves the event loop free between two slices. A line costs 3 to 4
 * microseconds. Pure; time is an argument, milliseconds of a monotonic clock.
 */
import { TokenBucket } from "../rate.js";

export const PACE_LIMITS = {
  /**
   * 5000 lines a second, and 200,000 before that: a first listing shows each line twice (backwards
   * to find the beginning, and forwards), so that a log of 100,000 updates is no abuse.
   */
  peer: { count: 200_000, periodMs: 40_000 },
  /** 25,000 lines a second: a tenth of a processor. */
  together: { count: 250, periodMs: 10 },
} as const;

export class ListingPace {
  readonly #peers = new Map<string, TokenBucket>();
  readonly #together = new TokenBucket(PACE_LIMITS.together, -Infinity);

  /** Milliseconds until lines may be read for a peer; 0 for now. */
  waitMs(peer: string, now: number): number {
    return Math.max(this.#of(peer).waitMs(now), this.#together.waitMs(now));
  }

  /** So many lines were read for it. */
  took(peer: string, lines: number, now: number): void {
    this.#of(peer).take(now, lines);
    this.#together.take(now, lines);
  }

  #of(peer: string): TokenBucket {
    let bucket = this.#peers.get(peer);
    if (bucket === undefined) {
      bucket = new TokenBucket(PACE_LIMITS.peer, -Infinity);
      this.#peers.set(peer, bucket);
    }
    return bucket;
  }
}
