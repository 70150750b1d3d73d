/**
 * How fast each neighbour may hand in, over all ways in together: `accept_rate` of the config. A
 * mail or a request takes one from its neighbour's bucket, whatever comes of it, since a duplicate
 * and a mail that is refused cost the same reading and looking up as a new update. KX is not
 * counted, for there we fetch at our own pace; nor are bounces, which bring no key.
 *
 * The address says who it is where it is one neighbour's alone. Of several that share one (a relay
 * in front), the mail says who wrote it, and so it is read first; before that it is turned away
 * only when none of them has anything left. A mail that names none of them counts for the first
 * that has something left: together they never get in more than the sum of their rates.
 */
import type { Clock } from "../clock.js";
import type { Neighbour } from "../config/config.js";
import { formatRate } from "../config/units.js";
import { TooFast } from "../errors.js";
import { TokenBucket } from "../rate.js";

export class AcceptRates {
  /** By the name of the neighbour; one that is missing has no limit. */
  readonly #buckets: ReadonlyMap<string, TokenBucket>;
  readonly #clock: Clock;

  constructor(neighbours: readonly Neighbour[], clock: Clock) {
    const now = clock.monotonic();
    this.#clock = clock;
    this.#buckets = new Map(
      neighbours.flatMap(({ name, acceptRate }) =>
        acceptRate === undefined ? [] : [[name, new TokenBucket(acceptRate, now)]],
      ),
    );
  }

  /** Why nothing is taken from any of `senders` now; undefined when it is. Changes nothing. */
  refusal(senders: readonly Neighbour[]): TooFast | undefined {
    if (senders.length === 0 || this.#open(senders) !== undefined) return undefined;
    const now = this.#clock.monotonic();
    const waits = senders.map(({ name }) => this.#buckets.get(name)?.waitMs(now) ?? 0);
    const [only, ...others] = senders;
    const rate = others.length > 0 ? undefined : only?.acceptRate;
    const most = rate === undefined ? "" : `: at most ${formatRate(rate)}`;
    const waitMs = Math.min(...waits);
    const text = `Too fast${most}, try again in ${Math.ceil(waitMs / 1000)} s.`;
    return new TooFast(others.length > 0 ? undefined : only?.name, waitMs, text);
  }

  /** Counts one that comes from one of `senders`. Throws `TooFast` when none has any left. */
  take(senders: readonly Neighbour[]): void {
    const refusal = this.refusal(senders);
    if (refusal !== undefined) throw refusal;
    const open = this.#open(senders);
    if (open !== undefined) this.#buckets.get(open.name)?.take(this.#clock.monotonic());
  }

  /** One who has no limit, or else the first with something left. */
  #open(senders: readonly Neighbour[]): Neighbour | undefined {
    const now = this.#clock.monotonic();
    const free = senders.find(({ name }) => !this.#buckets.has(name));
    return free ?? senders.find(({ name }) => this.#buckets.get(name)?.waitMs(now) === 0);
  }
}
