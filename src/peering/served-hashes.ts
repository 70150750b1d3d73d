/**
 * The updates that were sent to each peer and that it has not announced back yet. A peer announces
 * what it fetched to the peer that it fetched it from as well; such an announcement saves no mail.
 * It comes within a minute, so the newest hashes are enough.
 */
import { AgedMap } from "../aged-map.js";
import type { UpdateHash } from "../update.js";

const SERVED_LIMITS = {
  /** Hashes of one peer, about 1 MB. */
  hashes: 10_000,
} as const;

export class ServedHashes {
  readonly #peers = new Map<string, AgedMap<UpdateHash>>();

  /** An update was sent to a peer. */
  add(peer: string, hash: UpdateHash): void {
    const known = this.#peers.get(peer) ?? new AgedMap();
    this.#peers.set(peer, known);
    known.set(hash, true);
    if (known.size <= SERVED_LIMITS.hashes) return;
    if (known.oldest !== undefined) known.delete(known.oldest);
  }

  /** Whether the update was sent to the peer; true once. */
  take(peer: string, hash: UpdateHash): boolean {
    return this.#peers.get(peer)?.delete(hash) ?? false;
  }
}
