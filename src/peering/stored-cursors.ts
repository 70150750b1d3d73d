/**
 * The receive cursors on disk. One that moved over known updates only is stored a minute late: each
 * storing is an fsync, for a duplicate as much as all else together, and a cursor that is behind
 * after a crash costs a few lines of listing. What a cursor has passed as lost is noted first.
 */
import type { WirePosition } from "../kx/receive-state.js";
import type { UpdateLog } from "../log/update-log.js";
import type { LogGuard } from "../log-guard.js";
import type { MissingUpdates } from "./missing-updates.js";

const DELAY_MS = 60_000;
const RETRY_MS = 1000;

export class StoredCursors {
  readonly #log: UpdateLog;
  readonly #guard: LogGuard;
  readonly #missing: MissingUpdates;
  readonly #stored = new Map<string, WirePosition | undefined>();
  /** When cursors that moved are to be stored; Infinity when none has. */
  dueAt = Infinity;

  constructor(log: UpdateLog, guard: LogGuard, missing: MissingUpdates) {
    this.#log = log;
    this.#guard = guard;
    this.#missing = missing;
  }

  /** The stored cursor of a peer. Throws `Trouble`. */
  read(peer: string): WirePosition | undefined {
    const at = this.#log.cursors.get(peer);
    this.#stored.set(peer, at);
    return at;
  }

  moved(peer: string, at: WirePosition, now: number): void {
    if (!isSame(at, this.#stored.get(peer))) this.dueAt = Math.min(this.dueAt, now + DELAY_MS);
  }

  /** It was stored in one transaction with the update that moved it. */
  storedWith(peer: string, at: WirePosition): void {
    this.#stored.set(peer, at);
  }

  forget(peer: string): void {
    this.#stored.delete(peer);
    this.#guard.run(() => this.#log.cursors.forget(peer));
  }

  /** Stores those that have moved; what fails is tried again. */
  store(
    cursors: Iterable<readonly [peer: string, at: WirePosition | undefined]>,
    now: number,
  ): void {
    this.dueAt = this.#missing.flush() ? Infinity : now + RETRY_MS;
    if (this.dueAt !== Infinity) return;
    for (const [peer, at] of cursors) {
      if (at === undefined || isSame(at, this.#stored.get(peer))) continue;
      const isStored = this.#guard.run(() => {
        this.#log.cursors.set(peer, at);
        return true;
      });
      if (isStored) this.#stored.set(peer, at);
      else this.dueAt = now + RETRY_MS;
    }
  }
}

function isSame(at: WirePosition, stored: WirePosition | undefined): boolean {
  return at.number === stored?.number && at.hash === stored.hash;
}
