/**
 * Which peers have which updates. An update that a peer announced or has read (`read-proof.ts`) is
 * not mailed to it: the notes go into the trails of the log, where the mail side reads them. Of a
 * peer without mail they are what a restart knows of it (`status/proofs.ts`). They are gathered for
 * a second, so that an announcement costs no fsync. A crash loses that second, and the peer may get
 * these updates twice. An update that is no longer to be sent to the peer is not noted, and without
 * mail none but the newest: a listing of a month would be work for nothing. Time is an argument,
 * milliseconds of a monotonic clock.
 */

import type { ShownHow } from "../log/sendings.js";
import type { Holder } from "../log/trail.js";
import type { Entry, UpdateLog } from "../log/update-log.js";
import type { LogGuard } from "../log-guard.js";
import { type AnnouncedName, namesIn, type Seq, type UpdateHash } from "../update.js";

export const HOLDINGS_LIMITS = {
  everyMs: 1000,
  /** Notes that may wait. More are written at once; if that fails, the older half is dropped. */
  most: 5000,
  /** Of a peer that gets no mail only the newest updates of the log are noted. */
  newest: 10_000,
} as const;

export interface HoldingsComponents {
  readonly log: HoldingsLog;
  readonly guard: LogGuard;
  /** Called when a peer has shown that it has an update, whether or not it may get mail. */
  readonly proven?: Proven | undefined;
}

/** `announced`: the peer announced the update. `read`: it read it over KX. */
export type Proven = (peer: string, hash: UpdateHash, what: "announced" | "read") => void;

/** What holdings use of the log. */
export interface HoldingsLog extends Pick<UpdateLog, "entry" | "heldAs" | "newest"> {
  readonly pending: Pick<UpdateLog["pending"], "from">;
  readonly trails: Pick<UpdateLog["trails"], "note">;
}

/** What is noted of an entry. */
export type HeldEntry = Pick<Entry, "hash" | "origin" | "seq">;

export class PeerHoldings {
  /** The address that stands for a peer in trails, by its name. */
  readonly #addresses: ReadonlyMap<string, string>;
  readonly #log: HoldingsLog;
  readonly #guard: LogGuard;
  readonly #proven: Proven;
  #noted: Holder[] = [];
  /** The first entry that is noted for a peer; at most a second old. */
  readonly #needed = new Map<string, number>();
  #dueAt = Infinity;
  #freshUntil = -Infinity;

  constructor({ log, guard, proven }: HoldingsComponents, addresses: ReadonlyMap<string, string>) {
    this.#addresses = addresses;
    this.#log = log;
    this.#guard = guard;
    this.#proven = proven ?? (() => {});
  }

  /** Whether the peer may get mail, which depends on what it has. */
  concerns(peer: string): boolean {
    return this.#addresses.has(peer);
  }

  /**
   * The peer announced an update; noted if the log holds it, or what it consists of. `entries` are
   * those of `heldAs`, if the caller has them.
   */
  announced(peer: string, name: AnnouncedName, entries?: readonly HeldEntry[]): void {
    const { hash } = namesIn(name);
    this.#proven(peer, hash, "announced");
    const held = entries ?? this.#guard.run(() => this.#log.heldAs(name)) ?? [];
    for (const { hash: own, origin, seq } of held) {
      if (own !== hash) this.#proven(peer, own, "announced");
      if (origin.neighbour !== peer) this.#has(peer, seq, "announced");
    }
  }

  /** The peer has read an update of the log, or has settled it in a receipt and holds it. */
  hasRead(peer: string, seq: Seq, how: "fetched" | "settled"): void {
    const entry = this.#guard.run(() => this.#log.entry(seq));
    if (entry !== undefined) this.#proven(peer, entry.hash, "read");
    this.#has(peer, seq, how);
  }

  #has(peer: string, seq: Seq, how: ShownHow): void {
    if (seq < this.#firstNeeded(peer)) return;
    this.#noted.push({ seq, address: this.#addresses.get(peer), peer, how });
    if (this.#noted.length >= HOLDINGS_LIMITS.most) this.#write();
  }

  /** Writes the notes, at most `everyMs` after the first one. */
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

  /** Writes all notes. A failed write is tried again. */
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
    const first = this.#guard.run(() => this.#firstOf(peer)) ?? 0;
    this.#needed.set(peer, first);
    return first;
  }

  #firstOf(peer: string): number {
    if (!this.concerns(peer)) return this.#log.newest() - HOLDINGS_LIMITS.newest + 1;
    return this.#log.pending.from([peer]) ?? Infinity;
  }
}
