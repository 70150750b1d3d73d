/**
 * What peers are told of our log without asking. It reads the log on from its position and keeps an
 * announcer for each connected peer. The owner decides when to read, and sends. In observe mode
 * nothing is announced.
 */
import { Announcer } from "../kx/announcer.js";
import type { Announcement } from "../kx/messages.js";
import { wireNumber } from "../kx/messages.js";
import type { Entry, UpdateLog } from "../log/update-log.js";
import type { LogGuard } from "../log-guard.js";
import type { Rules } from "../policy.js";
import type { Seq } from "../update.js";

/** Entries read at once, and the wait after a failed read. */
const BATCH = 1000;
const RETRY_MS = 1000;

export interface AnnouncementsComponents {
  readonly log: AnnouncementsLog;
  readonly guard: LogGuard;
  readonly rules: Rules;
}

/** What announcements use of the log. */
export type AnnouncementsLog = Pick<UpdateLog, "entry" | "newest" | "range">;

export class Announcements {
  readonly #log: AnnouncementsLog;
  readonly #guard: LogGuard;
  readonly #observing: boolean;
  readonly #rules: Rules;
  readonly #peers: readonly string[];
  readonly #announcers = new Map<string, Announcer>();
  /** Peers without a connection for which there is news since they were asked about last. */
  readonly #unheard = new Set<string>();
  /** Position up to which the log has been read. */
  #seen: number;
  /** When a failed read is tried again. */
  #readAgainAt = Infinity;

  constructor(
    { log, guard, rules }: AnnouncementsComponents,
    { peers, observing }: { readonly peers: readonly string[]; readonly observing: boolean },
  ) {
    this.#peers = peers;
    this.#rules = rules;
    this.#log = log;
    this.#guard = guard;
    this.#observing = observing;
    this.#seen = log.newest();
  }

  /** Our newest entry, for a greeting; null for an empty log, undefined if it cannot be read. */
  newest(): Entry | null | undefined {
    if (this.#observing) return null;
    return this.#guard.run(() => {
      const newest = this.#log.newest();
      return newest === 0 ? null : (this.#log.entry(newest) ?? null);
    });
  }

  /** A connection is used on which the peer was told of everything up to `told`. */
  begin(peer: string, told: number, now: number): void {
    if (this.#observing) return;
    const announcer = new Announcer(told);
    announcer.grew(this.#seen, false, now);
    this.#announcers.set(peer, announcer);
    this.#unheard.delete(peer);
  }

  end(peer: string): void {
    if (this.#announcers.get(peer)?.hasNews) this.#unheard.add(peer);
    this.#announcers.delete(peer);
  }

  /** Whether there is news for a peer that is not connected; true once for each piece of news. */
  takeUnheard(peer: string): boolean {
    return this.#unheard.delete(peer);
  }

  /** Reads and returns what was appended since the last call, and informs the announcers. */
  read(now: number): Entry[] {
    const added: Entry[] = [];
    for (;;) {
      const low = this.#seen + 1;
      const entries = this.#guard.run(() => {
        const newest = this.#log.newest();
        return newest < low ? [] : this.#log.range(low as Seq, newest as Seq, BATCH);
      });
      this.#readAgainAt = entries === undefined ? now + RETRY_MS : Infinity;
      const last = entries?.at(-1);
      if (entries === undefined || last === undefined) return added;
      this.#seen = last.seq;
      added.push(...entries);
      for (const peer of this.#observing ? [] : this.#peers) {
        const isEcho = entries.every((entry) => cameFrom(entry, peer));
        const announcer = this.#announcers.get(peer);
        if (announcer !== undefined) announcer.grew(last.seq, isEcho, now);
        else if (!isEcho) this.#unheard.add(peer);
      }
    }
  }

  /** What to announce to the peer now, or undefined. It counts as announced. */
  due(peer: string, now: number): Announcement[] | undefined {
    const announcer = this.#announcers.get(peer);
    const span = announcer?.due(now);
    if (announcer === undefined || span === undefined) return undefined;
    const { low, high } = span;
    const entries = this.#guard.run(() => {
      const all = this.#log.range(low as Seq, high as Seq, high - low + 1);
      return all.filter((entry) => this.#rules.withholds(entry) === undefined);
    });
    if (entries === undefined) {
      announcer.postponed(now + RETRY_MS);
      return undefined;
    }
    announcer.sent(high, now);
    return entries.length === 0 ? undefined : entries.map(announcementOf);
  }

  /** Position up to which the peer was told on the connection in use; undefined without one. */
  toldUpTo(peer: string): number | undefined {
    return this.#announcers.get(peer)?.announced;
  }

  /** The connection has no room for announcements now. */
  postpone(peer: string, now: number): void {
    this.#announcers.get(peer)?.postponed(now + RETRY_MS);
  }

  /** When something is due; Infinity for never. */
  nextAt(): number {
    let next = this.#readAgainAt;
    for (const announcer of this.#announcers.values()) {
      next = Math.min(next, announcer.nextAt() ?? Infinity);
    }
    return next;
  }
}

/** An entry as peers see it. */
export function announcementOf({ seq, fingerprint, hash, digest }: Entry): Announcement {
  return { number: wireNumber(seq), fingerprint, hash, digest };
}

function cameFrom({ origin }: Entry, peer: string): boolean {
  return origin.transport === "kx" && origin.neighbour === peer;
}
