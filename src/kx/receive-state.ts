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
 *     hash there, or none, means the same log. Another one, or a newest number below the cursor,
 *     means that the peer's numbers wrapped or its log was replaced: the cursor is forgotten and
 *     all that is available is listed, at most once in 10 minutes.
 *  3. Listings go forwards in windows of 1000. Where to begin without a cursor nobody knows, so
 *     windows are searched backwards from the newest announced number until one is empty, and
 *     listed forwards from there. Numbers wrap from 2^31-1 to 0, so a search that finds a 0 goes
 *     on at the top.
 *  4. Only a number that follows the last one without a gap counts as known through a notice. One
 *     beyond a gap causes a listing and moves nothing. When the listing shows nothing new, a search
 *     from the announced number, one in 60 s, decides: either there is a hole larger than a window,
 *     or the announcement was forged; then it is forgotten, and for 60 s none causes a listing.
 *  5. A number that is missing from a listing below one that is there is gone: counted and told.
 *  6. What was resolved without having been delivered must have been listed: a notice of it alone
 *     may be forged, and the number may stand for another update. Such a number, and one that is
 *     announced anew with an unknown hash, is in doubt: it is listed again, with all above it, at
 *     most once in 60 s.
 *  7. At most 5000 numbers wait for their update. Beyond that only the newest number is noted and
 *     listed later: nothing is dropped, since the peer's log is the queue.
 *  8. A peer that lost its log may show it at any time: by the greeting of another connection, by
 *     a notice of a number that we are past, or by a listing that no longer shows where we are.
 *     Then the number by which we know its log (the cursor, or else the lowest number that waits)
 *     is listed, at most once in 60 s, and at once on another connection. The same hash there
 *     means the same log. Another one, or none where something spoke against it, is rule 2: all is
 *     listed, not only the number that was named. The cursor does not move before the answer.
 */
import type { UpdateHash } from "../update.js";
import { LogIdentity } from "./log-identity.js";
import type { Announcement } from "./messages.js";
import { MAX_NUMBER } from "./messages.js";
import { PendingNumbers } from "./pending.js";
import type { Listed, Listing } from "./positions.js";
import { listedBetween, numberAt, positionNear, roundOf } from "./positions.js";
import type { ReceiveOutput, ResetReason, WirePosition } from "./receive-output.js";
import { BackwardSearch } from "./search.js";

export const RECEIVE_LIMITS = {
  window: 1000,
  tracked: 5000,
  fullListingMs: 10 * 60_000,
  /** What was forged, failed or in doubt causes no further listing before this. */
  relistMs: 60_000,
} as const;

export class ReceiveState {
  readonly #known: (announcement: Announcement) => boolean;
  readonly #pending = new PendingNumbers();
  #cursor: WirePosition | undefined;
  #connected = false;
  /** Top of what is known without a gap; undefined while nothing is. */
  #high: number | undefined;
  #highHash: UpdateHash | undefined;
  /** Newest position that was announced, true or forged. */
  #claimed: number | undefined;
  /** The latest number that was announced, newest or not; undefined while the log was empty. */
  #latest: number | undefined;
  #listing: Listing | undefined;
  #search: BackwardSearch | undefined;
  readonly #identity = new LogIdentity();
  /** Where the search under way began. */
  #searchedFrom = 0;
  /** Lowest position in doubt. */
  #doubt: number | undefined;
  #doubtAt = -Infinity;
  #fullListingAt = -Infinity;
  #relistAt = -Infinity;
  /** No search for the far side of a hole before this. */
  #searchAt = -Infinity;
  /** No listing at all before this, since the last one failed. */
  #retryAt = -Infinity;

  /**
   * `cursor` is the stored one; `known` says whether an update needs no fetching, being held,
   * remembered or refused by policy.
   */
  constructor(cursor: WirePosition | undefined, known: (announcement: Announcement) => boolean) {
    this.#cursor = cursor;
    this.#known = known;
  }

  get cursor(): WirePosition | undefined {
    return this.#cursor;
  }

  /** How many numbers wait for their update. */
  get missing(): number {
    return this.#pending.unresolved;
  }

  /** The newest number that the peer has announced. */
  get newest(): number | undefined {
    return this.#claimed === undefined ? undefined : numberAt(this.#claimed);
  }

  /** How the peer announced an update that we wait for; if `listed`, no notice counts (rule 6). */
  announcementOf(hash: UpdateHash, listed = false): Announcement | undefined {
    return listed ? this.#pending.listedOf(hash) : this.#pending.announcementOf(hash);
  }

  /** The first connection of the peer is open, and this was its first IHAVE. */
  established(newest: Announcement | undefined, now: number): ReceiveOutput[] {
    const outputs: ReceiveOutput[] = [];
    this.#forget();
    this.#connected = true;
    this.#relistAt = now;
    this.#retryAt = now;
    this.#claimed = newest?.number;
    this.#latest = newest?.number;
    const cursor = this.#cursor;
    if (cursor !== undefined) {
      const isOther = newest?.number === cursor.number && newest.hash !== cursor.hash;
      if (newest === undefined || isOther) this.#reset("other-log", now, outputs);
      else if (newest.number < cursor.number) this.#reset("wrapped", now, outputs);
      else {
        this.#high = cursor.number;
        this.#highHash = cursor.hash;
      }
    }
    return this.#continue(now, outputs);
  }

  /**
   * Another connection of the peer is used from now on, and `greeting` was its first IHAVE, if it
   * is a new one. Its log may be another one, and what was being listed is listed again.
   */
  moved(
    greeting: { readonly newest: Announcement | undefined } | undefined,
    now: number,
  ): ReceiveOutput[] {
    const outputs: ReceiveOutput[] = [];
    this.#listing = undefined;
    this.#retryAt = now;
    this.#relistAt = Math.min(this.#relistAt, now);
    const newest = greeting?.newest;
    if (greeting !== undefined) this.#latest = newest?.number;
    const known = this.#landmark();
    if (known === undefined) {
      this.#forget();
      this.#claimed = this.#latest;
      return this.#continue(now, outputs);
    }
    if (newest === undefined) this.#identity.ask(greeting !== undefined);
    else {
      const position = positionNear(this.#claimed ?? 0, newest.number);
      this.#claimed = Math.max(this.#claimed ?? position, position);
      // It may be older than what came on the connection before: below the number that we know it
      // is no proof of another log.
      const isBelow = positionNear(known.number, newest.number) < known.number;
      const isThere = newest.number === known.number;
      if (!isThere || newest.hash !== known.hash) this.#identity.ask(isBelow || isThere);
    }
    return this.#continue(now, outputs);
  }

  /** The last connection is gone; its announcements with it. The cursor stays. */
  disconnected(): void {
    this.#connected = false;
    this.#forget();
  }

  /** IHAVE NOTIFY. */
  announced(announcements: readonly Announcement[], now: number): ReceiveOutput[] {
    const outputs: ReceiveOutput[] = [];
    for (const one of announcements) {
      // The log was empty when it greeted. What came before this may have got lost on a connection
      // that hangs, or have been told on another one: only below the first of all there is nothing.
      if (this.#latest === undefined && one.number === 1) this.#high ??= 0;
      this.#latest = one.number;
      const next = this.#high === undefined ? undefined : this.#high + 1;
      const isNext = next !== undefined && numberAt(next) === one.number;
      const position = isNext ? next : positionNear(this.#claimed ?? 0, one.number);
      this.#claimed = Math.max(this.#claimed ?? position, position);
      if (isNext) this.#add({ position, announcement: one }, false, outputs);
      else if (next !== undefined && position < next) this.#compare(position, one, false);
    }
    this.#advance(outputs);
    return this.#continue(now, outputs);
  }

  /** The answer to a `list` output. Numbers outside of what was asked are passed over. */
  listed(
    low: number,
    high: number,
    announcements: readonly Announcement[],
    now: number,
  ): ReceiveOutput[] {
    const outputs: ReceiveOutput[] = [];
    const listing = this.#listing;
    if (!listing || numberAt(listing.low) !== low || numberAt(listing.high) !== high) return [];
    this.#listing = undefined;
    const sorted = listedBetween(listing.low, listing.high, announcements);
    if (listing.purpose === "forwards") this.#listedForwards(listing, sorted, now, outputs);
    else if (listing.purpose === "search") this.#listedSearch(sorted, now, outputs);
    else if (listing.purpose === "identity") this.#listedIdentity(listing, sorted, now, outputs);
    this.#advance(outputs);
    return this.#continue(now, outputs);
  }

  /** A `list` was answered by an ERROR or by nothing. */
  listFailed(now: number): ReceiveOutput[] {
    if (this.#listing === undefined) return [];
    this.#listing = undefined;
    this.#retryAt = now + RECEIVE_LIMITS.relistMs;
    return [];
  }

  /** An update is here, or is known by now: wherever this peer has it, it is behind us. */
  settled(hash: UpdateHash, now: number): ReceiveOutput[] {
    const numbers = this.#pending.numbersOf(hash);
    return numbers.length === 0 ? [] : this.#resolve(hash, numbers, now);
  }

  /** An update will not come from this peer: its numbers are behind us if they were listed. */
  lost(hash: UpdateHash, now: number): ReceiveOutput[] {
    const numbers = this.#pending.numbersOf(hash);
    for (const number of numbers) if (!this.#pending.isListed(number)) this.#doubted(number);
    const listed = numbers.filter((number) => this.#pending.isListed(number));
    return this.#resolve(hash, listed, now);
  }

  /** Where the cursor will stand once these are settled: to store it together with them. */
  cursorAfter(hashes: ReadonlySet<UpdateHash>): WirePosition | undefined {
    if (!this.#identity.isKnown) return undefined;
    const last = this.#pending.resolvedWith(hashes);
    return last && { number: last.number, hash: last.hash };
  }

  /**
   * The cursor was stored at `at` together with updates, after the connection was gone. With a
   * connection `settled` moves it.
   */
  reached(at: WirePosition): void {
    if (!this.#connected) this.#cursor = at;
  }

  /** Asks for something, to hear whether the peer lives and to heal a lost notice. */
  probe(now: number): ReceiveOutput[] {
    const outputs: ReceiveOutput[] = [];
    if (!this.#connected || this.#listing !== undefined) return outputs;
    this.#retryAt = now;
    this.#relistAt = now;
    this.#continue(now, outputs);
    if (this.#listing !== undefined) return outputs;
    if (this.#high !== undefined) this.#listForwards(this.#high, outputs);
    else if (this.#claimed === undefined && now >= this.#fullListingAt) {
      // An empty log when it greeted: here are the first numbers that it can have by now.
      this.#startSearch(RECEIVE_LIMITS.window - 1, -Infinity, outputs);
    } else {
      const at = this.#claimed ?? 0;
      this.#request({ low: at, high: at, purpose: "sign of life" }, outputs);
    }
    return outputs;
  }

  /** Forgets the cursor, by an order, so that all that is available is listed (rule 2). */
  startOver(now: number): ReceiveOutput[] {
    const outputs: ReceiveOutput[] = [];
    this.#reset("ordered", now, outputs);
    return this.#continue(now, outputs);
  }

  tick(now: number): ReceiveOutput[] {
    return this.#continue(now, []);
  }

  nextAt(): number | undefined {
    if (!this.#connected || this.#listing !== undefined) return undefined;
    const next = this.#identity.isAsked
      ? this.#retryAt
      : Math.max(Math.min(this.#nextListingAt(), this.#nextDoubtAt()), this.#retryAt);
    return next === Infinity ? undefined : next;
  }

  /** When the next doubt is to be looked into. */
  #nextDoubtAt(): number {
    const isInDoubt = this.#doubt !== undefined || this.#identity.isContradicted;
    return isInDoubt ? this.#doubtAt : Infinity;
  }

  /** When there is something to list, doubts aside. */
  #nextListingAt(): number {
    if (this.#search !== undefined) return -Infinity;
    if (this.#claimed === undefined) return Infinity;
    if (this.#high === undefined) return Math.max(this.#relistAt, this.#fullListingAt);
    const { tracked, window } = RECEIVE_LIMITS;
    const hasRoom = this.#pending.unresolved <= tracked - window;
    return this.#claimed > this.#high && hasRoom ? this.#relistAt : Infinity;
  }

  /** Does what is due: a doubt, the search, or the next window. */
  #continue(now: number, outputs: ReceiveOutput[]): ReceiveOutput[] {
    if (!this.#connected || this.#listing !== undefined || now < this.#retryAt) return outputs;
    if (now >= this.#nextDoubtAt()) {
      if (this.#identity.isContradicted) this.#identity.ask(true);
      else if (this.#identity.isKnown) this.#goBack(now);
    }
    if (this.#identity.isAsked && this.#askIdentity(outputs)) return outputs;
    if (now < this.#nextListingAt()) return outputs;
    const window = this.#search?.window;
    if (window !== undefined) this.#request({ ...window, purpose: "search" }, outputs);
    else if (this.#high !== undefined) this.#listForwards(this.#high, outputs);
    else if (this.#claimed !== undefined) this.#startSearch(this.#claimed, -Infinity, outputs);
    return outputs;
  }

  #listForwards(high: number, outputs: ReceiveOutput[]): void {
    const expected = numberAt(high) === MAX_NUMBER ? undefined : this.#highHash;
    const low = expected === undefined ? high + 1 : high;
    const top = Math.min(low + RECEIVE_LIMITS.window - 1, roundOf(low) + MAX_NUMBER);
    this.#request({ low, high: top, purpose: "forwards", expected }, outputs);
  }

  #listedForwards(
    { low, high: asked, expected }: Listing,
    listed: readonly Listed[],
    now: number,
    outputs: ReceiveOutput[],
  ): void {
    const there = listed.find(({ position }) => position === low)?.announcement.hash;
    if (expected && there && there !== expected) return this.#reset("other-log", now, outputs);
    // A peer lists its newest update always, and here was one.
    if (expected && listed.length === 0) this.#identity.contradict();
    const before = this.#high ?? -Infinity;
    const hasAll = this.#addAll(listed, outputs);
    const high = this.#high ?? before;
    const claimed = this.#claimed ?? high;
    if (high > before || !hasAll || claimed <= high) return;
    // Rule 4: more was announced than is listed here.
    if (claimed <= asked) this.#disbelieve(now);
    else if (now < this.#searchAt) this.#relistAt = this.#searchAt;
    else {
      this.#searchAt = now + RECEIVE_LIMITS.relistMs;
      this.#startSearch(claimed, high, outputs);
    }
  }

  /** Rule 8: what is listed to recognise the log; undefined while nothing of it is known. */
  #landmark(): WirePosition | undefined {
    return this.#cursor ?? this.#pending.lowest?.announcement;
  }

  /** False when there is nothing to recognise, and so nothing that another log could hide. */
  #askIdentity(outputs: ReceiveOutput[]): boolean {
    const known = this.#landmark();
    if (known === undefined) {
      this.#identity.settle();
      return false;
    }
    // One more than needed: the 2003 implementation leaves out the first.
    const low = Math.max(0, known.number - 1);
    const { number: high, hash: expected } = known;
    this.#request({ low, high, purpose: "identity", expected }, outputs);
    return true;
  }

  #listedIdentity(
    { high, expected }: Listing,
    listed: readonly Listed[],
    now: number,
    outputs: ReceiveOutput[],
  ): void {
    const shown = listed.find(({ position }) => position === high)?.announcement.hash;
    if (expected !== undefined && !this.#identity.judge(expected, shown)) {
      return this.#reset(shown === undefined ? "wrapped" : "other-log", now, outputs);
    }
    if (this.#doubt === undefined) this.#doubtAt = now + RECEIVE_LIMITS.relistMs;
  }

  #startSearch(from: number, floor: number, outputs: ReceiveOutput[]): void {
    this.#searchedFrom = from;
    this.#search = new BackwardSearch(from, floor, RECEIVE_LIMITS.window);
    this.#request({ ...this.#search.window, purpose: "search" }, outputs);
  }

  #listedSearch(listed: readonly Listed[], now: number, outputs: ReceiveOutput[]): void {
    const found = this.#search?.listed(listed);
    if (found === undefined) return;
    this.#search = undefined;
    if (found[0] === undefined) {
      // What was announced last may belong to a log that is gone; a new one begins at 1.
      const { window } = RECEIVE_LIMITS;
      if (this.#high !== undefined || this.#searchedFrom < window) return this.#disbelieve(now);
      return this.#startSearch(window - 1, -Infinity, outputs);
    }
    // Without a cursor this is where the log begins; with one it is the far side of a hole.
    this.#high ??= found[0].position - 1;
    this.#addAll(found, outputs);
  }

  #disbelieve(now: number): void {
    this.#claimed = this.#high;
    this.#relistAt = now + RECEIVE_LIMITS.relistMs;
  }

  /** Notes what a listing shows, as far as there is room; false when there was not. */
  #addAll(listed: readonly Listed[], outputs: ReceiveOutput[]): boolean {
    for (const one of listed) {
      const high = this.#high ?? one.position - 1;
      if (one.position <= high) this.#compare(one.position, one.announcement, true);
      else if (!this.#add(one, true, outputs)) return false;
      else if (one.position > high + 1) {
        const gap = { low: numberAt(high + 1), high: numberAt(one.position - 1) };
        outputs.push({ type: "gap", ...gap });
      }
    }
    return true;
  }

  /** Notes a number on top of all others; false when there is no room for it. */
  #add({ position, announcement }: Listed, listed: boolean, outputs: ReceiveOutput[]): boolean {
    const isKnown = this.#known(announcement);
    if (!isKnown && this.#pending.unresolved >= RECEIVE_LIMITS.tracked) return false;
    this.#high = position;
    this.#highHash = announcement.hash;
    this.#latest ??= announcement.number;
    this.#pending.add(position, announcement, listed, isKnown);
    if (!isKnown) outputs.push({ type: "want", announcement });
    return true;
  }

  /** A number that we are past was announced or listed again. */
  #compare(position: number, one: Announcement, listed: boolean): void {
    const { number, hash } = one;
    const isSame =
      this.#pending.get(position)?.hash === hash ||
      (position === this.#high && hash === this.#highHash) ||
      (number === this.#cursor?.number && hash === this.#cursor.hash);
    if (isSame && listed) this.#pending.confirm(position);
    if (isSame) return;
    // Known or not: a peer announces a number once on a connection, unless its log began anew.
    if (!listed) this.#identity.contradict();
    if (!this.#known(one)) this.#doubted(position);
  }

  #doubted(position: number): void {
    this.#doubt = Math.min(this.#doubt ?? position, position);
  }

  /** Rule 6: what stands at the position in doubt and above it is to be listed again. */
  #goBack(now: number): void {
    const position = this.#doubt;
    this.#doubt = undefined;
    this.#doubtAt = now + RECEIVE_LIMITS.relistMs;
    const high = this.#high;
    if (position === undefined || high === undefined || position > high) return;
    // It is the log that we know: what is far behind the cursor was listed when we passed it.
    const isBehind = position < (this.#pending.lowest?.position ?? high + 1);
    if (isBehind && high - position >= RECEIVE_LIMITS.window) return;
    this.#pending.dropFrom(position);
    this.#high = position - 1;
    this.#highHash = undefined;
    this.#search = undefined;
    this.#claimed = Math.max(this.#claimed ?? high, high);
    this.#relistAt = Math.min(this.#relistAt, now);
  }

  #resolve(hash: UpdateHash, numbers: readonly number[], now: number): ReceiveOutput[] {
    const outputs: ReceiveOutput[] = [];
    this.#pending.resolve(hash, numbers);
    this.#advance(outputs);
    return this.#continue(now, outputs);
  }

  /** Moves the cursor over what is resolved. */
  #advance(outputs: ReceiveOutput[]): void {
    if (!this.#identity.isKnown) return this.#pending.trim();
    const last = this.#pending.takeResolved();
    if (last === undefined) return;
    this.#cursor = { number: last.number, hash: last.hash };
    outputs.push({ type: "cursor", at: this.#cursor });
  }

  #request(listing: Listing, outputs: ReceiveOutput[]): void {
    this.#listing = listing;
    const { low, high } = listing;
    outputs.push({ type: "list", low: numberAt(low), high: numberAt(high) });
  }

  #reset(reason: ResetReason, now: number, outputs: ReceiveOutput[]): void {
    this.#forget();
    this.#cursor = undefined;
    this.#claimed = this.#latest;
    outputs.push({ type: "reset", reason }, { type: "cursor", at: undefined });
    if (this.#fullListingAt > now) return;
    this.#fullListingAt = Math.max(now, this.#fullListingAt + RECEIVE_LIMITS.fullListingMs);
  }

  #forget(): void {
    this.#pending.clear();
    this.#high = undefined;
    this.#highHash = undefined;
    this.#listing = undefined;
    this.#search = undefined;
    this.#doubt = undefined;
    this.#identity.settle();
  }
}
