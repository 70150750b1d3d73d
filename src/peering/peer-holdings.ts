/**
 * What the KX side knows of who has what, for those peers that may get mail as well: an update that
 * a peer announced, or has read (`read-proof.ts`), is not to be mailed to it. The knowledge goes
 * into the trails of the log, where the mail side finds it and a restart leaves it. It is gathered
 * for a second, so that an announcement costs no fsync; a kill loses that second, and whoever is
 * mailed instead may get so much twice.
 *
 * Only what the peer may still be sent is worth a note: a month of listings is passed over. Time is
 * an argument, milliseconds of a clock that never goes back.
 */

import type { Holder } from "../log/trail.js";
import type { UpdateLog } from "../log/update-log.js";
import type { LogGuard } from "../log-guard.js";
import type { Seq, UpdateHash } from "../update.js";

export const HOLDINGS_LIMITS = {
  everyMs: 1000,
  /** Notes that may wait; more are written at once, and forgotten when that fails. */
  most: 5000,
} as const;

export interface HoldingsComponents {
  readonly log: HoldingsLog;
  readonly guard: LogGuard;
}

/** What holdings use of the log. */
export interface HoldingsLog extends Pick<UpdateLog, "entryByHash"> {
  readonly pending: Pick<UpdateLog["pending"], "from">;
  readonly trails: Pick<UpdateLog["trails"], "note">;
}

export class PeerHoldings {
  /** What stands for a peer in trails, by its name. */
  readonly #addresses: ReadonlyMap<string, string>;
  readonly #log: HoldingsLog;
  readonly #guard: LogGuard;
  #noted: Holder[] = [];
  /** The first entry that a peer may still be sent, as it was a second ago at the most. */
  readonly #needed = new Map<string, number>();
  #dueAt = Infinity;
  #freshUntil = -Infinity;

  constructor({ log, guard }: HoldingsComponents, addresses: ReadonlyMap<string, string>) {
    this.#addresses = addresses;
    this.#log = log;
    this.#guard = guard;
  }

  /** Whether anybody wants to know what the peer has. */
  concerns(peer: string): boolean {
    return this.#addresses.has(peer);
  }

  /** The peer announced an update, which counts when the log holds it. */
  announced(peer: string, hash: UpdateHash): void {
    if (!this.concerns(peer)) return;
    const entry = this.#guard.run(() => this.#log.entryByHash(hash));
    if (entry !== undefined && entry.origin.neighbour !== peer) this.has(peer, entry.seq);
  }

  /** The peer has an update of the log. */
  has(peer: string, seq: Seq): void {
    const address = this.#addresses.get(peer);
    if (address === undefined || seq < this.#firstNeeded(peer)) return;
    this.#noted.push({ seq, address });
    if (this.#noted.length >= HOLDINGS_LIMITS.most) this.#write();
  }

  /** Writes what is due; `everyMs` after the first note at the latest. */
  advance(now: number): void {
    if (now >= this.#freshUntil) {
      this.#needed.clear();
      this.#freshUntil = now + HOLDINGS_LIMITS.everyMs;
    }
    if (this.#noted.length === 0) this.#dueAt = Infinity;
    else if (this.#dueAt === Infinity) this.#dueAt = now + HOLDINGS_LIMITS.everyMs;
    else if (now >= this.#dueAt) {
      this.flush();
      this.#dueAt = this.#noted.length === 0 ? Infinity : now + HOLDINGS_LIMITS.everyMs;
    }
  }

  /** When `advance` is due; Infinity for never. */
  nextAt(): number {
    return this.#dueAt;
  }

  /** Writes all that was noted. What fails is tried again. */
  flush(): void {
    if (this.#noted.length > 0) this.#write();
  }

  #write(): void {
    const isWritten = this.#guard.run(() => {
      this.#log.trails.note(this.#noted);
      return true;
    });
    const { most } = HOLDINGS_LIMITS;
    this.#noted = isWritten ? [] : this.#noted.slice(-(most / 2));
  }

  #firstNeeded(peer: string): number {
    const known = this.#needed.get(peer);
    if (known !== undefined) return known;
    const first = this.#guard.run(() => this.#log.pending.from([peer]) ?? Infinity) ?? 0;
    this.#needed.set(peer, first);
    return first;
  }
}
