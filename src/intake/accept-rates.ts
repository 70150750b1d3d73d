/**
 * How fast each neighbour may hand in, over all ways in together: `accept_rate` of the config. Each
 * mail or request takes one from the bucket of its neighbour, whatever its outcome, because a
 * duplicate or a refused mail costs as much reading as a new update. KX is not counted, because we
 * fetch at our own rate; bounces are not counted, because they bring no key.
 *
 * If an address belongs to one neighbour only, the address decides. If several share it (a relay),
 * the mail decides and is therefore read first; it is refused before that only if none of them has
 * anything left. A mail that names none of them counts for the first that has something left.
 */
import type { Clock } from "../clock.js";
import type { Neighbour } from "../config/config.js";
import { formatRate } from "../config/units.js";
import { TooFast } from "../errors.js";
import { TokenBucket } from "../rate.js";

export class AcceptRates {
  /** By the name of the neighbour; a neighbour without a limit is not in it. */
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

  /** Why nothing is accepted from any of `senders` now; undefined if it is. Changes nothing. */
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

  /** Counts one submission of one of `senders`. Throws `TooFast` if none has anything left. */
  take(senders: readonly Neighbour[]): void {
    const refusal = this.refusal(senders);
    if (refusal !== undefined) throw refusal;
    const open = this.#open(senders);
    if (open !== undefined) this.#buckets.get(open.name)?.take(this.#clock.monotonic());
  }

  /** A sender without a limit, or else the first with something left. */
  #open(senders: readonly Neighbour[]): Neighbour | undefined {
    const now = this.#clock.monotonic();
    const free = senders.find(({ name }) => !this.#buckets.has(name));
    return free ?? senders.find(({ name }) => this.#buckets.get(name)?.waitMs(now) === 0);
  }
}
