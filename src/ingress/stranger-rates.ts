/**
 * Limits the requests of strangers: a rate for each network (`stranger_rate` of the configuration),
 * and a multiple of it for all networks together. Neighbours are limited by `accept-rates.ts`.
 *
 * A network gets a bucket when its first request is accepted, and a bucket that is full again is
 * removed. The number of buckets is therefore at most what the total admits in one period plus one
 * burst.
 */

import type { Clock } from "../clock.js";
import { formatRate } from "../config/units.js";
import { TooFast } from "../errors.js";
import { clientNetwork } from "../ip-address.js";
import { type Rate, TokenBucket } from "../rate.js";

/** Full buckets are removed when this many buckets were added since the last time. */
const SWEEP_EVERY = 100;

export interface StrangerSettings {
  /** Of one network. */
  readonly rate: Rate;
  /** All networks together may make this many times `rate`. */
  readonly networks: number;
}

export class StrangerRates {
  readonly #rate: Rate;
  readonly #clock: Pick<Clock, "monotonic">;
  readonly #all: TokenBucket;
  readonly #networks = new Map<string, TokenBucket>();
  #sweepAt = SWEEP_EVERY;

  constructor(
    { clock }: { readonly clock: Pick<Clock, "monotonic"> },
    { rate, networks }: StrangerSettings,
  ) {
    this.#rate = rate;
    this.#clock = clock;
    this.#all = new TokenBucket({ ...rate, count: rate.count * networks }, clock.monotonic());
  }

  /** Number of buckets. */
  get size(): number {
    return this.#networks.size;
  }

  /** Counts a request from `address`. Throws `TooFast`, without counting, if it is over a rate. */
  take(address: string): void {
    const now = this.#clock.monotonic();
    const network = clientNetwork(address);
    const known = this.#networks.get(network);
    const waitMs = Math.max(this.#all.waitMs(now), known?.waitMs(now) ?? 0);
    if (waitMs > 0) {
      const isAll = (known?.waitMs(now) ?? 0) === 0;
      const most = `at most ${formatRate(this.#rate)} from ${network}`;
      const why = isAll ? "too many requests from everywhere" : most;
      throw new TooFast(undefined, waitMs, `Too fast: ${why}, try again in ${seconds(waitMs)} s.`);
    }
    const bucket = known ?? new TokenBucket(this.#rate, now);
    this.#networks.set(network, bucket);
    bucket.take(now);
    this.#all.take(now);
    if (this.#networks.size >= this.#sweepAt) this.#sweep(now);
  }

  #sweep(now: number): void {
    for (const [network, bucket] of this.#networks) {
      if (bucket.left(now) >= this.#rate.count) this.#networks.delete(network);
    }
    this.#sweepAt = this.#networks.size + SWEEP_EVERY;
  }
}

function seconds(ms: number): number {
  return Math.ceil(ms / 1000);
}
