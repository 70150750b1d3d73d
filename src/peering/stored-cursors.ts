/**
 * Which receive cursor of each peer is on disk, and when another one is to be stored. A cursor that
 * moved over known updates only is stored up to a minute later: each store is an fsync, and a
 * duplicate must not cost one. A cursor that is behind after a crash costs a few lines of listing.
 * A cursor that is to be forgotten is due at once.
 */
import type { WirePosition } from "../kx/receive-state.js";
import type { CursorMove } from "../log/cursors.js";
import type { UpdateLog } from "../log/update-log.js";

const DELAY_MS = 60_000;
const RETRY_MS = 1000;

export class StoredCursors {
  readonly #log: CursorLog;
  readonly #stored = new Map<string, WirePosition | undefined>();
  /** When cursors that moved are to be stored; Infinity for never. */
  dueAt = Infinity;

  constructor(log: CursorLog) {
    this.#log = log;
  }

  /** The stored cursor of a peer. Throws `Trouble`. */
  read(peer: string): WirePosition | undefined {
    const at = this.#log.cursors.get(peer);
    this.#stored.set(peer, at);
    return at;
  }

  /** The cursor of a peer is at `at` now; undefined for forgotten. */
  moved(peer: string, at: WirePosition | undefined, now: number): void {
    if (this.move(peer, at) === undefined) return;
    this.dueAt = Math.min(this.dueAt, at === undefined ? now : now + DELAY_MS);
  }

  /** What is to be stored for a cursor at `at`; undefined when it is on disk. */
  move(peer: string, at: WirePosition | undefined): CursorMove | undefined {
    const stored = this.#stored.get(peer);
    const isSameNumber = at?.number === stored?.number && at?.hash === stored?.hash;
    const isSame = isSameNumber && at?.log === stored?.log;
    return isSame ? undefined : { peer, at };
  }

  stored({ peer, at }: CursorMove): void {
    this.#stored.set(peer, at);
  }

  /** Cursors could not be stored. */
  failed(now: number): void {
    this.dueAt = Math.min(this.dueAt, now + RETRY_MS);
  }
}

/** What stored cursors need of the log. */
export interface CursorLog {
  readonly cursors: Pick<UpdateLog["cursors"], "get">;
}
