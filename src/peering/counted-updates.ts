/**
 * The updates that each peer announced or was served lately. Each counts once as mail that KX has
 * saved, and has one `served` line: also if the peer announces back what it fetched, announces the
 * update under other numbers, or asks for it again. Beyond the newest it may count again.
 */
import { AgedMap } from "../aged-map.js";
import type { UpdateHash } from "../update.js";

const COUNTED_LIMITS = {
  /** Hashes of one peer, about 1 MB. */
  hashes: 10_000,
} as const;

export class CountedUpdates {
  readonly #peers = new Map<string, AgedMap<UpdateHash>>();

  /** Whether the update is new here for the peer; it is known from now on. */
  add(peer: string, hash: UpdateHash): boolean {
    const known = this.#peers.get(peer) ?? new AgedMap();
    if (known.has(hash)) return false;
    this.#peers.set(peer, known);
    known.set(hash, true);
    if (known.size > COUNTED_LIMITS.hashes && known.oldest !== undefined) {
      known.delete(known.oldest);
    }
    return true;
  }
}
