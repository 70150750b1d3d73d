/**
 * What one peer has, and how far we are with it: the receive cursor (design of KX/1.0, "Numbers
 * and cursors"). Pure: announcements and listings in, orders out. One per peer, however many
 * connections there are. Which peer is asked for a body is `fetch-tracker.ts`'s business; this
 * room only says which updates are wanted and when a number is behind us.
 *
 *  1. The cursor is the highest number up to which everything is resolved: held, known from
 *     elsewhere, refused or gone. It is stored with its hash. "Highest number seen" (thesis 3.1)
 *     would lose every update whose connection died between IHAVE and UPDATE.
 *  2. After the greeting the numbers from the cursor on are listed, one more than needed. The same
 *     hash there means the same log. Another one, or a newest number below the cursor, means that
 *     the peer's numbers wrapped or its log was replaced: the cursor is forgotten and all that is
 *     available is listed, at most once in 10 minutes.
 *  3. With a cursor, listings go forwards in windows of 1000; without one, backwards from the
 *     newest announced number until a window is empty, since nobody knows where the log begins.
 *     Numbers wrap from 2^31-1 to 0, so a listing that reaches a 0 goes on at the top.
 *  4. Only a number that follows the last one without a gap counts as known through a notice.
 *     A number beyond a gap causes a listing and moves nothing, so a forged one does no harm.
 *  5. A number that is missing from a listing below one that is there is gone: counted and told.
 *  6. At most 5000 numbers above the cursor are kept. Beyond that only the newest number is noted
 *     and listed later: nothing is dropped, since the peer's log is the queue.
 */
import type { UpdateHash } from "../update.js";
import type { Announcement } from "./messages.js";
import { MAX_NUMBER } from "./messages.js";

export const RECEPTION_LIMITS = {
  window: 1000,
  tracked: 5000,
  fullListingMs: 10 * 60_000,
  /** A listing that failed, or that found less than was announced, is not repeated before this. */
  relistMs: 60_000,
} as const;

export interface Position {
  readonly number: number;
  readonly hash: UpdateHash;
}

export type ReceptionOutput =
  | { readonly type: "list"; readonly low: number; readonly high: number }
  | { readonly type: "want"; readonly announcement: Announcement }
  /** The cursor moved, or was forgotten. Storing it late is safe: the numbers come again. */
  | { readonly type: "cursor"; readonly at: Position | undefined }
  /** Numbers that the peer no longer lists: what they were is not known. */
  | { readonly type: "gap"; readonly low: number; readonly high: number }
  | { readonly type: "reset"; readonly reason: "wrapped" | "other-log" };

interface Tracked {
  readonly hash: UpdateHash;
  resolved: boolean;
}

export class Reception {
  readonly #known: (hash: UpdateHash) => boolean;
  #cursor: Position | undefined;
  /** Whether the cursor is known to belong to the log that the peer has now. */
  #verified = false;
  #connected = false;
  /** Top of what is known without a gap; undefined before anything was listed. */
  #high: Position | undefined;
  /** Newest number that was announced, true or forged. */
  #claimed: number | undefined;
  #listing: { readonly low: number; readonly high: number } | undefined;
  /** A backward listing under way: the upper end of its next window, and where it may stop. */
  #backward: { next: number; readonly floor: number } | undefined;
  #fullListingAt = -Infinity;
  #relistAt = 0;
  /** No listing before this, since the last one failed. */
  #retryAt = 0;
  /** A full listing that rule 2 holds back until then. */
  #heldBackUntil: number | undefined;
  /** Forward: every number above the cursor up to #high. Backward: only the unresolved ones. */
  readonly #tracked = new Map<number, Tracked>();
  readonly #open = new Map<UpdateHash, number[]>();

  /**
   * `cursor` is the stored one; `known` says whether an update needs no fetching, being held,
   * remembered or refused by policy.
   */
  constructor(cursor: Position | undefined, known: (hash: UpdateHash) => boolean) {
    this.#cursor = cursor;
    this.#known = known;
  }

  get cursor(): Position | undefined {
    return this.#cursor;
  }

  /** Numbers that are wanted and not yet here. */
  get missing(): number {
    return this.#open.size;
  }

  /** The newest number that the peer has announced. */
  get newest(): number | undefined {
    return this.#claimed;
  }

  /** The first connection of the peer is open, and this was its first IHAVE. */
  established(newest: Announcement | undefined, now: number): ReceptionOutput[] {
    const outputs: ReceptionOutput[] = [];
    this.#forgetTracked();
    this.#connected = true;
    this.#relistAt = 0;
    this.#retryAt = 0;
    this.#claimed = newest?.number;
    this.#verified = false;
    if (newest === undefined) {
      if (this.#cursor !== undefined) this.#reset("other-log", outputs);
      return outputs;
    }
    const cursor = this.#cursor;
    if (cursor === undefined) this.#startBackward(newest.number, now, outputs);
    else if (newest.number < cursor.number) this.#reset("wrapped", outputs, now);
    else if (newest.number > cursor.number) this.#list(cursor.number, outputs);
    else if (newest.hash !== cursor.hash) this.#reset("other-log", outputs, now);
    else this.#verify(cursor);
    return outputs;
  }

  /** The last connection is gone; its announcements with it. The cursor stays. */
  disconnected(): void {
    this.#connected = false;
    this.#forgetTracked();
  }

  /** IHAVE NOTIFY. */
  announced(announcements: readonly Announcement[], now: number): ReceptionOutput[] {
    const outputs: ReceptionOutput[] = [];
    for (const one of announcements) {
      this.#claimed = Math.max(this.#claimed ?? 0, one.number);
      const high = this.#high;
      if (high === undefined) {
        // Nothing is known of this log: find its beginning, unless a listing is on its way.
        if (this.#idle && this.#cursor === undefined) {
          this.#startBackward(one.number, now, outputs);
        }
      } else if (one.number === (high.number + 1) % (MAX_NUMBER + 1)) {
        if (this.#tracked.size < RECEPTION_LIMITS.tracked) this.#add(one, outputs);
        if (one.number === 0) this.#claimed = 0;
      } else if (one.number <= high.number && !this.#known(one.hash)) {
        // An old number with a new name: the peer's numbers may have started anew.
        if (this.#tracked.get(one.number)?.hash === one.hash) continue;
        if (high.number === MAX_NUMBER) return this.#resetAt("wrapped", one.number, outputs, now);
        this.#suspect(now, outputs);
      }
    }
    this.#advance(outputs);
    this.#continue(now, outputs);
    return outputs;
  }

  /** The answer to a `list` output. Numbers outside of what was asked are passed over. */
  listed(
    low: number,
    high: number,
    announcements: readonly Announcement[],
    now: number,
  ): ReceptionOutput[] {
    const outputs: ReceptionOutput[] = [];
    if (this.#listing?.low !== low || this.#listing.high !== high) return outputs;
    this.#listing = undefined;
    const inside = new Map<number, Announcement>();
    for (const one of announcements) {
      if (one.number >= low && one.number <= high) inside.set(one.number, one);
    }
    const sorted = [...inside.values()].sort((a, b) => a.number - b.number);
    if (this.#backward !== undefined) this.#listedBackward(this.#backward, low, sorted, outputs);
    else this.#listedForward(high, sorted, now, outputs);
    this.#advance(outputs);
    this.#continue(now, outputs);
    return outputs;
  }

  /** A `list` was answered by an ERROR or by nothing. */
  listFailed(now: number): ReceptionOutput[] {
    if (this.#listing === undefined) return [];
    this.#listing = undefined;
    this.#retryAt = now + RECEPTION_LIMITS.relistMs;
    return [];
  }

  /** An update is here, known, refused or gone: wherever this peer listed it, it is behind us. */
  settled(hash: UpdateHash, now: number): ReceptionOutput[] {
    const outputs: ReceptionOutput[] = [];
    for (const number of this.#open.get(hash) ?? []) {
      const tracked = this.#tracked.get(number);
      if (tracked !== undefined) tracked.resolved = true;
      if (this.#backward !== undefined || this.#cursor === undefined) this.#tracked.delete(number);
    }
    if (!this.#open.delete(hash)) return outputs;
    this.#advance(outputs);
    this.#continue(now, outputs);
    return outputs;
  }

  /** Where the cursor will stand once these are settled: to store it together with them. */
  cursorAfter(hashes: ReadonlySet<UpdateHash>): Position | undefined {
    if (this.#backward !== undefined) return undefined;
    if (this.#cursor === undefined) {
      for (const hash of this.#open.keys()) if (!hashes.has(hash)) return undefined;
      return this.#high;
    }
    let at: Position | undefined;
    for (const [number, tracked] of this.#tracked) {
      if (!tracked.resolved && !hashes.has(tracked.hash)) break;
      at = { number, hash: tracked.hash };
    }
    return at;
  }

  /** Asks for something, to hear whether the peer lives and to heal a lost notice. */
  probe(now: number): ReceptionOutput[] {
    const outputs: ReceptionOutput[] = [];
    if (this.#listing !== undefined || !this.#connected) return outputs;
    if (this.#cursor !== undefined) this.#list(this.#high?.number ?? this.#cursor.number, outputs);
    else if (this.#backward === undefined) this.#startBackward(this.#claimed ?? 0, now, outputs);
    else this.#continue(now, outputs);
    return outputs;
  }

  tick(now: number): ReceptionOutput[] {
    const outputs: ReceptionOutput[] = [];
    if (this.#heldBackUntil !== undefined && now >= this.#heldBackUntil) {
      this.#heldBackUntil = undefined;
      if (this.#connected && this.#idle) this.#startBackward(this.#claimed ?? 0, now, outputs);
    }
    this.#continue(now, outputs);
    return outputs;
  }

  nextAt(): number | undefined {
    if (!this.#connected) return undefined;
    if (this.#heldBackUntil !== undefined) return this.#heldBackUntil;
    if (this.#listing !== undefined || !this.#hasRoom) return undefined;
    if (this.#backward !== undefined) return this.#retryAt;
    return this.#behind ? Math.max(this.#retryAt, this.#relistAt) : undefined;
  }

  get #hasRoom(): boolean {
    return this.#tracked.size <= RECEPTION_LIMITS.tracked - RECEPTION_LIMITS.window;
  }

  get #idle(): boolean {
    return this.#listing === undefined && this.#backward === undefined;
  }

  get #behind(): boolean {
    return this.#claimed !== undefined && this.#claimed > (this.#high?.number ?? -1);
  }

  #listedForward(
    asked: number,
    listed: readonly Announcement[],
    now: number,
    outputs: ReceptionOutput[],
  ): void {
    const cursor = this.#cursor;
    if (cursor !== undefined && !this.#verified) {
      const there = listed.find((one) => one.number === cursor.number);
      if (there !== undefined && there.hash !== cursor.hash) {
        return this.#reset("other-log", outputs, now);
      }
      this.#verify(cursor);
    } else if (this.#high !== undefined) {
      const high = this.#high;
      const there = listed.find((one) => one.number === high.number);
      if (there !== undefined && there.hash !== high.hash) {
        return this.#reset("other-log", outputs, now);
      }
    }
    const before = this.#high?.number ?? -1;
    for (const one of listed) {
      const high = this.#high?.number ?? -1;
      if (one.number <= high) continue;
      if (one.number > high + 1) outputs.push({ type: "gap", low: high + 1, high: one.number - 1 });
      this.#add(one, outputs);
    }
    const claimed = this.#claimed ?? 0;
    if ((this.#high?.number ?? -1) > before || claimed <= before) return;
    // The peer announced more than it lists here: either the log has a hole larger than a window,
    // or the announcement was forged. A look from its end decides, not oftener than once a minute.
    if (claimed > asked) this.#backward = { next: claimed, floor: before };
    this.#claimed = before;
    this.#relistAt = now + RECEPTION_LIMITS.relistMs;
  }

  #listedBackward(
    backward: { next: number; readonly floor: number },
    low: number,
    listed: readonly Announcement[],
    outputs: ReceptionOutput[],
  ): void {
    const { floor } = backward;
    const top = listed.at(-1);
    if (top === undefined || top.number <= floor) return this.#endBackward(outputs);
    if (this.#cursor !== undefined) {
      // A hole above the cursor: what is on its far side is tracked without order, as at the start.
      this.#cursor = undefined;
      this.#high = undefined;
      for (const [number, one] of this.#tracked) if (one.resolved) this.#tracked.delete(number);
    }
    this.#high ??= { number: top.number, hash: top.hash };
    for (const one of [...listed].reverse()) if (one.number > floor) this.#want(one, outputs);
    if (low > floor + 1) backward.next = low - 1;
    else if (listed[0]?.number === 0 && floor < 0) backward.next = MAX_NUMBER;
    else this.#endBackward(outputs);
  }

  #endBackward(outputs: ReceptionOutput[]): void {
    this.#backward = undefined;
    this.#verified = true;
    this.#advance(outputs);
  }

  /** Notes one more number on top of #high. */
  #add(one: Announcement, outputs: ReceptionOutput[]): void {
    this.#high = { number: one.number, hash: one.hash };
    if (this.#cursor === undefined) this.#want(one, outputs);
    else {
      const resolved = this.#known(one.hash);
      this.#tracked.set(one.number, { hash: one.hash, resolved });
      if (!resolved) this.#opened(one, outputs);
    }
  }

  #want(one: Announcement, outputs: ReceptionOutput[]): void {
    if (this.#known(one.hash)) return;
    this.#tracked.set(one.number, { hash: one.hash, resolved: false });
    this.#opened(one, outputs);
  }

  #opened(one: Announcement, outputs: ReceptionOutput[]): void {
    const numbers = this.#open.get(one.hash);
    if (numbers === undefined) this.#open.set(one.hash, [one.number]);
    else numbers.push(one.number);
    outputs.push({ type: "want", announcement: one });
  }

  /** Moves the cursor over what is resolved. */
  #advance(outputs: ReceptionOutput[]): void {
    if (this.#backward !== undefined) return;
    let at: Position | undefined;
    if (this.#cursor === undefined) {
      if (this.#high === undefined || this.#open.size > 0) return;
      at = this.#high;
    } else {
      for (const [number, tracked] of this.#tracked) {
        if (!tracked.resolved) break;
        this.#tracked.delete(number);
        at = { number, hash: tracked.hash };
      }
    }
    if (at === undefined) return;
    this.#cursor = at;
    this.#verified = true;
    outputs.push({ type: "cursor", at });
  }

  /** Lists on, when more was announced than is known and there is room for it. */
  #continue(now: number, outputs: ReceptionOutput[]): void {
    if (!this.#connected || this.#listing !== undefined) return;
    if (this.#heldBackUntil !== undefined) return;
    if (now < this.#retryAt || !this.#hasRoom) return;
    if (this.#backward !== undefined) {
      const high = this.#backward.next;
      this.#request(Math.max(0, high - RECEPTION_LIMITS.window + 1), high, outputs);
    } else if (this.#behind && now >= this.#relistAt) {
      if (this.#high !== undefined) this.#list(this.#high.number, outputs);
      else if (this.#cursor !== undefined) this.#list(this.#cursor.number, outputs);
      else this.#startBackward(this.#claimed ?? 0, now, outputs);
    }
  }

  /** A window from `from` upwards; `from` itself is the one more that shows whose log this is. */
  #list(from: number, outputs: ReceptionOutput[]): void {
    this.#request(from, Math.min(from + RECEPTION_LIMITS.window - 1, MAX_NUMBER), outputs);
  }

  #request(low: number, high: number, outputs: ReceptionOutput[]): void {
    this.#listing = { low, high };
    outputs.push({ type: "list", low, high });
  }

  #startBackward(from: number, now: number, outputs: ReceptionOutput[]): void {
    this.#backward = { next: from, floor: -1 };
    this.#continue(now, outputs);
  }

  #verify(cursor: Position): void {
    this.#verified = true;
    this.#high = cursor;
  }

  /** Rule 2, in the middle of a connection: is this still the log that the cursor is from? */
  #suspect(now: number, outputs: ReceptionOutput[]): void {
    if (!this.#idle || now < this.#relistAt || this.#high === undefined) return;
    this.#relistAt = now + RECEPTION_LIMITS.relistMs;
    this.#list(this.#high.number, outputs);
  }

  /** A reset that is noticed in the middle of a connection, by a number of the new count. */
  #resetAt(
    reason: "wrapped" | "other-log",
    newest: number,
    outputs: ReceptionOutput[],
    now: number,
  ): ReceptionOutput[] {
    this.#claimed = newest;
    this.#reset(reason, outputs, now);
    return outputs;
  }

  #reset(
    reason: "wrapped" | "other-log",
    outputs: ReceptionOutput[],
    now: number | undefined = undefined,
  ): void {
    this.#forgetTracked();
    this.#cursor = undefined;
    outputs.push({ type: "reset", reason }, { type: "cursor", at: undefined });
    if (now === undefined) return;
    const allowedAt = this.#fullListingAt + RECEPTION_LIMITS.fullListingMs;
    if (now < allowedAt) {
      this.#heldBackUntil = allowedAt;
      return;
    }
    this.#fullListingAt = now;
    this.#startBackward(this.#claimed ?? 0, now, outputs);
  }

  #forgetTracked(): void {
    this.#tracked.clear();
    this.#open.clear();
    this.#high = undefined;
    this.#listing = undefined;
    this.#backward = undefined;
    this.#heldBackUntil = undefined;
  }
}
