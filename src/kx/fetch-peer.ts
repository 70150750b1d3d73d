/**
 * One peer as the fetch tracker sees it: what it has announced that we want, what could be asked
 * for now, what is in flight, and how much more it may be asked for (rules 7 and 10 of
 * `fetch-tracker.ts`). It does not know who else has announced the same.
 */
import type { UpdateHash } from "../update.js";
import { FETCH_LIMITS } from "./fetch-limits.js";
import type { Budget, Holding } from "./fetch-policy.js";

/** Why a peer is not asked for what can wait, and when that is to be looked at again. */
export interface Held {
  readonly why: Holding;
  readonly until: number;
}

export class FetchPeer {
  /** When each was announced at the earliest, in the order in which they were announced. */
  readonly hashes = new Map<UpdateHash, number>();
  /** Hashes for which this peer could be asked now, oldest first. */
  readonly ready = new Set<UpdateHash>();
  readonly inFlight = new Set<UpdateHash>();
  readonly #budget: Budget | undefined;
  #held: Held | undefined;
  #window: number = FETCH_LIMITS.window.start;
  #averageBytes = 2048;

  /** Without a budget it may be asked at any time. */
  constructor(budget: Budget | undefined) {
    this.#budget = budget;
  }

  /** As of the last `hold`. */
  get held(): Held | undefined {
    return this.#held;
  }

  get hasRoom(): boolean {
    const { size } = this.inFlight;
    if (size >= this.#window) return false;
    return size === 0 || (size + 1) * this.#averageBytes <= FETCH_LIMITS.windowBytes;
  }

  succeeded(bytes: number): void {
    this.#window = Math.min(FETCH_LIMITS.window.most, this.#window + 1);
    this.#averageBytes += (bytes - this.#averageBytes) / 8;
  }

  failed(): void {
    this.#window = Math.max(FETCH_LIMITS.window.least, Math.floor(this.#window / 2));
  }

  took(bytes: number, now: number): void {
    this.#budget?.took(bytes, now);
  }

  /** Looks whether its hours and its budget let it be asked for what can wait. */
  hold(now: number, date: number): void {
    const expected = this.inFlight.size * this.#averageBytes;
    const holding = this.#budget?.holding(expected, now, date);
    this.#held = holding && { why: holding.why, until: now + holding.waitMs };
  }

  /** Whether it may be asked for this one, as of the last `hold`. */
  mayBeAsked(hash: UpdateHash, now: number): boolean {
    return this.hasRoom && (this.#held === undefined || this.#ripeAt(hash) <= now);
  }

  /** The first hash that it may be asked for, as of the last `hold`. */
  first(now: number): UpdateHash | undefined {
    if (this.ready.size === 0 || !this.hasRoom) return undefined;
    const [first] = this.#held === undefined ? this.ready : this.#ripe(now);
    return first;
  }

  /** When it may be asked for more than it could be at `now`, because of its fetch policy. */
  opensAt(now: number): number {
    if (this.#held === undefined || this.ready.size === 0) return Infinity;
    for (const hash of this.hashes.keys()) {
      const ripeAt = this.#ripeAt(hash);
      if (ripeAt > now) return Math.min(this.#held.until, ripeAt);
    }
    return this.#held.until;
  }

  /** What can wait no longer and could be asked for. */
  *#ripe(now: number): Generator<UpdateHash> {
    for (const hash of this.hashes.keys()) {
      if (this.#ripeAt(hash) > now) return;
      if (this.ready.has(hash)) yield hash;
    }
  }

  #ripeAt(hash: UpdateHash): number {
    return (this.hashes.get(hash) ?? Infinity) + FETCH_LIMITS.patienceMs;
  }
}
