/**
 * The receive state of one peer: which updates it has, and the receive cursor (design of KX/1.0,
 * "Numbers and cursors"). Inputs are announcements and listings, outputs are listings to request
 * and updates that are wanted. There is one state per peer, whatever the number of connections.
 * `fetch-tracker.ts` decides which peer is asked for an update. A "notice" is an IHAVE NOTIFY.
 *
 *  1. The cursor is the highest number up to which all numbers are resolved: stored, known from
 *     another peer, refused, or gone. It is stored with its hash. The "highest number seen" (thesis
 *     3.1) would lose each update whose connection ended between IHAVE and UPDATE.
 *  2. After the greeting the numbers from the cursor on are listed, including the cursor itself.
 *     The same hash at the cursor means the same log. So does no entry, since the peer may
 *     withhold it, if the window below the cursor shows nothing unknown; it is listed a minute
 *     later. Another hash, or a newest number below the cursor, means that the numbers wrapped or
 *     that the log was replaced: the cursor is dropped and all available numbers are listed, at
 *     most once in 10 minutes, and five times by command.
 *  3. Numbers are listed forwards in windows of 1000. Without a cursor the start is unknown, so
 *     windows are searched backwards from the newest announced number until one is empty, and
 *     listed forwards from there. Numbers wrap from 2^31-1 to 0, so a search that finds the
 *     number 0 continues at 2^31-1.
 *  4. A notice adds a number only when it follows the last known one without a gap. A number beyond
 *     a gap only causes a listing. When the listing shows nothing new, a search from the announced
 *     number follows, at most once in 60 s. It finds either a hole larger than a window, or
 *     nothing: then the notice was forged and is dropped, and for 60 s no notice causes a listing.
 *  5. A number that a listing omits below a number that it shows is gone. It is reported as a gap.
 *  6. A number that is resolved without a delivery must have been listed, since a notice may be
 *     forged and the number may belong to another update. A number that was not listed, or that is
 *     announced again with an unknown hash, is in doubt. It is listed again, with all numbers above
 *     it, a window in 60 s: the peer may have withheld an update when its number was passed.
 *  7. At most 5000 numbers wait for their update. Above that only the newest number is kept, and
 *     the others are listed later. Nothing is lost, since the peer's log is the queue.
 *  8. A peer that lost its log may show this at any time: by the greeting of another connection, by
 *     a notice of a number below the known ones, or by a listing that omits the cursor. The number
 *     that identifies its log (the cursor, or else the lowest waiting number) is then listed, at
 *     once on another connection, otherwise at most once in 60 s. The same hash means the same log.
 *     Another hash, or no entry after a contradiction, means another log: rule 2 applies, and all
 *     numbers are listed. The cursor does not move before the answer.
 *  9. A peer of KX/1.1 names its log. Another name than that of the cursor means another log, at
 *     once. The same name means the same log, so that a withheld entry at the cursor is no reason
 *     to list; the hash is compared all the same, since a file may have been copied back. A number
 *     below the known ones, or an empty log, makes rule 8 apply under the same name as well.
 */
import type { AnnouncedName, LogName, UpdateHash } from "../update.js";
import { LogIdentity } from "./log-identity.js";
import type { Announcement } from "./messages.js";
import { MAX_NUMBER } from "./messages.js";
import { PendingNumbers } from "./pending.js";
import type { Listed, Listing } from "./positions.js";
import { listedBetween, numberAt, positionNear, roundOf } from "./positions.js";
import { BackwardSearch } from "./search.js";

export const RECEIVE_LIMITS = {
  window: 1000,
  tracked: 5000,
  fullListingMs: 10 * 60_000,
  /** Full listings by command in that time; a further one waits as any other. */
  ordered: 5,
  /** Time before the next listing after a forged notice, a failed listing, or a doubt. */
  relistMs: 60_000,
} as const;

/** A number of the peer and the hash at it. */
export interface WirePosition {
  readonly number: number;
  readonly hash: UpdateHash;
  /** The name of the peer's log, if the peer told it (KX/1.1). */
  readonly log?: LogName | undefined;
}

/** What a peer says of its log when a connection begins. */
export interface Greeting {
  /** Its newest announcement; undefined for an empty log. */
  readonly newest: Announcement | undefined;
  /** The name of its log; undefined in KX/1.0. */
  readonly log?: LogName | undefined;
}

/** Why all numbers are listed again: wrapped numbers, another log, or an operator's command. */
export type ResetReason = "wrapped" | "other-log" | "ordered";

export type ReceiveOutput =
  /** Request the announcements of these wire numbers, inclusive. */
  | { readonly type: "list"; readonly low: number; readonly high: number }
  /** The update is not stored, and this peer has it. */
  | { readonly type: "want"; readonly announcement: Announcement }
  /** The cursor moved or was dropped. It may be stored late: the numbers are then listed again. */
  | { readonly type: "cursor"; readonly at: WirePosition | undefined }
  /** Numbers that the peer no longer lists; their updates are unknown. */
  | { readonly type: "gap"; readonly low: number; readonly high: number }
  | { readonly type: "reset"; readonly reason: ResetReason };

export class ReceiveState {
  readonly #known: (announcement: Announcement) => boolean;
  readonly #pending = new PendingNumbers();
  #cursor: WirePosition | undefined;
  /** The name of the peer's log, as far as it is known. */
  #log: LogName | undefined;
  #connected = false;
  /** The highest known number without a gap below it; undefined while none is known. */
  #high: number | undefined;
  #highHash: UpdateHash | undefined;
  /** The highest announced position, genuine or forged. */
  #claimed: number | undefined;
  /** The number of the last announcement; undefined while the log was empty. */
  #latest: number | undefined;
  #listing: Listing | undefined;
  #search: BackwardSearch | undefined;
  readonly #identity = new LogIdentity();
  /** Nothing has been listed since the greeting. */
  #isUnproven = false;
  /** The entry at this number was not listed; the window below it is listed at the time `at`. */
  #unproven: { readonly number: number; readonly at: number } | undefined;
  /** Where the current search started, and what was claimed then. */
  #searchedFrom = 0;
  #searchedFor: number | undefined;
  /** The lowest position in doubt (rule 6). */
  #doubt: number | undefined;
  #doubtAt = -Infinity;
  #fullListingAt = -Infinity;
  /** When the last full listings by command were due. */
  #orderedAt: number[] = [];
  #relistAt = -Infinity;
  /** No search for the upper end of a hole before this time. */
  #searchAt = -Infinity;
  /** No listing before this time, since the last one failed. */
  #retryAt = -Infinity;

  /**
   * `cursor` is the stored cursor. `known` returns whether an update need not be fetched, because
   * it is stored, remembered, or refused by policy.
   */
  constructor(cursor: WirePosition | undefined, known: (announcement: Announcement) => boolean) {
    this.#cursor = cursor;
    this.#log = cursor?.log;
    this.#known = known;
  }

  get cursor(): WirePosition | undefined {
    return this.#cursor;
  }

  /** Whether the peer has ever named its log, which takes KX/1.1. */
  get isNamed(): boolean {
    return this.#log !== undefined;
  }

  /** How many numbers wait for their update (rule 7). */
  get missing(): number {
    return this.#pending.unresolved;
  }

  /** The newest announced number. */
  get newest(): number | undefined {
    return this.#claimed === undefined ? undefined : numberAt(this.#claimed);
  }

  /** The numbers that wait for an update. */
  numbersOf(name: AnnouncedName): readonly number[] {
    return this.#pending.numbersOf(name).map(numberAt);
  }

  /** The announcement of a waiting update; with `listed`, only one from a listing (rule 6). */
  announcementOf(name: AnnouncedName, listed = false): Announcement | undefined {
    return listed ? this.#pending.listedOf(name) : this.#pending.announcementOf(name);
  }

  /** The first connection of the peer is open. `newest` and `log` are from its greeting. */
  established(newest: Announcement | undefined, now: number, log?: LogName): ReceiveOutput[] {
    const outputs: ReceiveOutput[] = [];
    this.#forget();
    this.#connected = true;
    this.#relistAt = now;
    this.#retryAt = now;
    this.#claimed = newest?.number;
    this.#latest = newest?.number;
    const cursor = this.#cursor;
    const isNamed = this.#isNamed(log);
    const hasOtherName = isNamed && log !== this.#log;
    this.#log = log ?? this.#log;
    if (cursor !== undefined) {
      const isOther = newest?.number === cursor.number && newest.hash !== cursor.hash;
      const isEmpty = newest === undefined;
      if (hasOtherName || isEmpty || isOther) this.#reset("other-log", now, outputs);
      else if (newest.number < cursor.number) this.#reset("wrapped", now, outputs);
      else {
        this.#high = cursor.number;
        this.#highHash = cursor.hash;
        this.#isUnproven = !isNamed;
        if (isNamed || newest.number === cursor.number) this.#proven(outputs);
      }
    }
    return this.#continue(now, outputs);
  }

  /** Whether the name of a log can be compared with that of the known one. */
  #isNamed(log: LogName | undefined): boolean {
    return log !== undefined && this.#log !== undefined;
  }

  /** The cursor is of the log that the peer shows; a name that is new is noted. */
  #proven(outputs: ReceiveOutput[]): void {
    if (this.#cursor === undefined) return;
    this.#cursor = { ...this.#cursor, log: this.#log };
    outputs.push({ type: "cursor", at: this.#cursor });
  }

  /**
   * Another connection of the peer is used from now on. `greeting` is given when it is a new
   * connection. It may show another log. An open listing is requested again.
   */
  moved(greeting: Greeting | undefined, now: number): ReceiveOutput[] {
    const outputs: ReceiveOutput[] = [];
    this.#listing = undefined;
    this.#retryAt = now;
    this.#relistAt = Math.min(this.#relistAt, now);
    const newest = greeting?.newest;
    if (greeting !== undefined) this.#latest = newest?.number;
    const isNamed = this.#isNamed(greeting?.log);
    const hasOtherName = isNamed && greeting?.log !== this.#log;
    this.#log = greeting?.log ?? this.#log;
    if (hasOtherName) {
      this.#reset("other-log", now, outputs);
      return this.#continue(now, outputs);
    }
    const known = this.#landmark();
    if (known === undefined) {
      this.#forget();
      this.#claimed = this.#latest;
      return this.#continue(now, outputs);
    }
    if (newest === undefined) {
      // A new connection to an empty log: also under the same name it is another one.
      if (!isNamed || greeting !== undefined) this.#identity.ask(greeting !== undefined);
    } else {
      const position = positionNear(this.#claimed ?? 0, newest.number);
      this.#claimed = Math.max(this.#claimed ?? position, position);
      // The greeting may be older than announcements on the former connection, so a number below
      // the known one does not prove another log.
      const isBelow = positionNear(known.number, newest.number) < known.number;
      const isThere = newest.number === known.number;
      const isAsked = isThere ? newest.hash !== known.hash : !isNamed || isBelow;
      if (isAsked) this.#identity.ask(isBelow || isThere);
    }
    return this.#continue(now, outputs);
  }

  /** The last connection has ended. Announcements are dropped; the cursor stays. */
  disconnected(): void {
    this.#connected = false;
    this.#forget();
  }

  /** Takes the announcements of an IHAVE NOTIFY. */
  announced(announcements: readonly Announcement[], now: number): ReceiveOutput[] {
    const outputs: ReceiveOutput[] = [];
    for (const one of announcements) {
      // The log was empty at the greeting. Earlier announcements may have been lost on a dead
      // connection or sent on another one. Only the number 1 certainly has no number below it.
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

  /** Takes the answer to a `list` output. Numbers outside the requested range are ignored. */
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
    else if (listing.purpose === "proof") this.#listedProof(sorted, now, outputs);
    else if (listing.purpose === "back") this.#listedBack(listing, sorted, outputs);
    this.#advance(outputs);
    return this.#continue(now, outputs);
  }

  /** A `list` was answered by an ERROR, or not at all. */
  listFailed(now: number): ReceiveOutput[] {
    if (this.#listing === undefined) return [];
    this.#listing = undefined;
    this.#retryAt = now + RECEIVE_LIMITS.relistMs;
    return [];
  }

  /** An update is stored or known. All numbers of it are resolved. */
  settled(name: AnnouncedName, now: number): ReceiveOutput[] {
    const numbers = this.#pending.numbersOf(name);
    return numbers.length === 0 ? [] : this.#resolve(name, numbers, now);
  }

  /** This peer will not deliver the update. Its numbers that were listed are resolved (rule 6). */
  lost(name: AnnouncedName, now: number): ReceiveOutput[] {
    const numbers = this.#pending.numbersOf(name);
    for (const number of numbers) if (!this.#pending.isListed(number)) this.#doubted(number);
    const listed = numbers.filter((number) => this.#pending.isListed(number));
    return this.#resolve(name, listed, now);
  }

  /** The cursor after these updates are settled, to be stored in their transaction. */
  cursorAfter(names: ReadonlySet<AnnouncedName>): WirePosition | undefined {
    if (!this.#identity.isKnown) return undefined;
    const last = this.#pending.resolvedWith(names);
    return last && { number: last.number, hash: last.hash, log: this.#log };
  }

  /**
   * The cursor was stored at `at` together with updates, after the connection was gone. With a
   * connection `settled` moves it.
   */
  reached(at: WirePosition): void {
    if (!this.#connected) this.#cursor = at;
  }

  /** Requests a listing to test the connection. It also finds updates whose notice was lost. */
  probe(now: number): ReceiveOutput[] {
    const outputs: ReceiveOutput[] = [];
    if (!this.#connected || this.#listing !== undefined) return outputs;
    this.#retryAt = now;
    this.#relistAt = now;
    this.#continue(now, outputs);
    if (this.#listing !== undefined) return outputs;
    if (this.#high !== undefined) this.#listForwards(this.#high, outputs);
    else if (this.#claimed === undefined && now >= this.#fullListingAt) {
      // The log was empty at the greeting. The search covers the first numbers that it can have.
      this.#startSearch(RECEIVE_LIMITS.window - 1, -Infinity, outputs);
    } else {
      const at = this.#claimed ?? 0;
      this.#request({ low: at, high: at, purpose: "sign of life" }, outputs);
    }
    return outputs;
  }

  /** Drops the cursor by command, so that all available numbers are listed (rule 2). */
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
    const due = Math.min(
      this.#nextListingAt(),
      this.#nextDoubtAt(),
      this.#unproven?.at ?? Infinity,
    );
    const next = this.#identity.isAsked ? this.#retryAt : Math.max(due, this.#retryAt);
    return next === Infinity ? undefined : next;
  }

  /** When the next doubt or contradiction may cause a listing; Infinity without one. */
  #nextDoubtAt(): number {
    const isInDoubt = this.#doubt !== undefined || this.#identity.isContradicted;
    return isInDoubt ? this.#doubtAt : Infinity;
  }

  /** When the next window may be listed or searched; Infinity when none has to be. */
  #nextListingAt(): number {
    if (this.#search !== undefined) return -Infinity;
    if (this.#claimed === undefined) return Infinity;
    if (this.#high === undefined) return Math.max(this.#relistAt, this.#fullListingAt);
    const { tracked, window } = RECEIVE_LIMITS;
    const hasRoom = this.#pending.unresolved <= tracked - window;
    return this.#claimed > this.#high && hasRoom ? this.#relistAt : Infinity;
  }

  /** Requests the listing that is due: for a doubt, for the search, or the next window. */
  #continue(now: number, outputs: ReceiveOutput[]): ReceiveOutput[] {
    if (!this.#connected || this.#listing !== undefined || now < this.#retryAt) return outputs;
    if (now >= this.#nextDoubtAt()) {
      if (this.#identity.isContradicted) this.#identity.ask(true);
      else if (this.#identity.isKnown) this.#goBack(now, outputs);
      if (this.#listing !== undefined) return outputs;
    }
    if (this.#identity.isAsked && this.#askIdentity(outputs)) return outputs;
    if (this.#unproven !== undefined && now >= this.#unproven.at) {
      const { number: high } = this.#unproven;
      const low = Math.max(0, high - RECEIVE_LIMITS.window + 1);
      this.#unproven = undefined;
      this.#request({ low, high, purpose: "proof" }, outputs);
      return outputs;
    }
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
    const isNewName = this.#cursor?.number === numberAt(low) && this.#cursor.log !== this.#log;
    if (isNewName && there !== undefined) this.#proven(outputs);
    // The entry at the cursor is withheld or gone, which says nothing about the log.
    if (this.#isUnproven && expected && !there) {
      this.#unproven = { number: numberAt(low), at: now + RECEIVE_LIMITS.relistMs };
    }
    this.#isUnproven = false;
    // A peer always lists its newest update, so an empty answer contradicts the known number.
    if (expected && listed.length === 0) this.#identity.contradict();
    const before = this.#high ?? -Infinity;
    const hasAll = this.#addAll(listed, outputs);
    const high = this.#high ?? before;
    const claimed = this.#claimed ?? high;
    if (high > before || !hasAll || claimed <= high) return;
    // Rule 4: a higher number was announced than the listing shows.
    if (claimed <= asked) this.#disbelieve(now);
    else if (now < this.#searchAt) this.#relistAt = this.#searchAt;
    else {
      this.#searchAt = now + RECEIVE_LIMITS.relistMs;
      this.#startSearch(claimed, high, outputs);
    }
  }

  /** Rule 8: the number that identifies the log; undefined while none is known. */
  #landmark(): WirePosition | undefined {
    return this.#cursor ?? this.#pending.lowest?.announcement;
  }

  /** Returns false when no number of the log is known, so that no check is needed. */
  #askIdentity(outputs: ReceiveOutput[]): boolean {
    const known = this.#landmark();
    if (known === undefined) {
      this.#identity.settle();
      return false;
    }
    // One number more than needed, since the 2003 implementation omits the first one.
    const low = Math.max(0, known.number - 1);
    const { number: high, hash: expected } = known;
    this.#request({ low, high, purpose: "identity", expected }, outputs);
    return true;
  }

  #listedIdentity(
    listing: Listing,
    listed: readonly Listed[],
    now: number,
    outputs: ReceiveOutput[],
  ): void {
    const { low, high, expected } = listing;
    const shown = listed.find(({ position }) => position === high)?.announcement.hash;
    if (shown === undefined && this.#cursor?.number === high && !this.#identity.needsProof) {
      const first = Math.max(0, high - RECEIVE_LIMITS.window + 1);
      if (low > first) return this.#request({ ...listing, low: first }, outputs);
      if (this.#isOther(listed)) return this.#reset("other-log", now, outputs);
    }
    if (expected !== undefined && !this.#identity.judge(expected, shown)) {
      return this.#reset(shown === undefined ? "wrapped" : "other-log", now, outputs);
    }
    if (this.#doubt === undefined) this.#doubtAt = now + RECEIVE_LIMITS.relistMs;
  }

  /** Rule 2: the window below a cursor of which the entry was not listed. */
  #listedProof(listed: readonly Listed[], now: number, outputs: ReceiveOutput[]): void {
    if (this.#isOther(listed)) this.#reset("other-log", now, outputs);
  }

  /** All below a cursor is known or was given up; otherwise the cursor is of another log. */
  #isOther(listed: readonly Listed[]): boolean {
    return listed.some(({ announcement }) => !this.#known(announcement));
  }

  #startSearch(from: number, floor: number, outputs: ReceiveOutput[]): void {
    this.#searchedFrom = from;
    this.#searchedFor = this.#claimed;
    this.#search = new BackwardSearch(from, floor, RECEIVE_LIMITS.window);
    this.#request({ ...this.#search.window, purpose: "search" }, outputs);
  }

  #listedSearch(listed: readonly Listed[], now: number, outputs: ReceiveOutput[]): void {
    const found = this.#search?.listed(listed);
    if (found === undefined) return;
    this.#search = undefined;
    if (found[0] === undefined) {
      // The last announcement may be from a log that is gone. A new log starts at 1.
      const { window } = RECEIVE_LIMITS;
      if (this.#high !== undefined || this.#searchedFrom < window) {
        // What was announced meanwhile may not have been there yet: it is searched for later.
        if (this.#claimed === this.#searchedFor) this.#disbelieve(now);
        else this.#relistAt = now + RECEIVE_LIMITS.relistMs;
        return;
      }
      return this.#startSearch(window - 1, -Infinity, outputs);
    }
    // Without a cursor this is the start of the log, otherwise the upper end of a hole.
    this.#high ??= found[0].position - 1;
    this.#addAll(found, outputs);
  }

  #disbelieve(now: number): void {
    this.#claimed = this.#high;
    this.#relistAt = now + RECEIVE_LIMITS.relistMs;
  }

  /** Adds the entries of a listing. Returns false when there was no room for all (rule 7). */
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

  /** Adds a number above all others. Returns false when there is no room for it (rule 7). */
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

  /** Compares a number that is already known with its new announcement or listing. */
  #compare(position: number, one: Announcement, listed: boolean): void {
    const { number, hash } = one;
    const isSame =
      this.#pending.get(position)?.hash === hash ||
      (position === this.#high && hash === this.#highHash) ||
      (number === this.#cursor?.number && hash === this.#cursor.hash);
    if (isSame && listed) this.#pending.confirm(position);
    if (isSame) return;
    // A peer announces a number once on a connection, unless its log was replaced.
    if (!listed) this.#identity.contradict();
    if (!this.#known(one)) this.#doubted(position);
  }

  #doubted(position: number): void {
    this.#doubt = Math.min(this.#doubt ?? position, position);
  }

  /**
   * Rule 6: the position in doubt and all above it are listed again. One far below the cursor was
   * listed before it was passed, and may have been withheld then: the cursor stays.
   */
  #goBack(now: number, outputs: ReceiveOutput[]): void {
    const position = this.#doubt;
    this.#doubt = undefined;
    this.#doubtAt = now + RECEIVE_LIMITS.relistMs;
    const high = this.#high;
    if (position === undefined || high === undefined || position > high) return;
    const isBehind = position < (this.#pending.lowest?.position ?? high + 1);
    const { window } = RECEIVE_LIMITS;
    if (isBehind && high - position >= window) {
      const last = Math.min(position + window - 1, roundOf(position) + MAX_NUMBER);
      return this.#request({ low: position, high: last, purpose: "back" }, outputs);
    }
    this.#pending.dropFrom(position);
    this.#high = position - 1;
    this.#highHash = undefined;
    this.#search = undefined;
    this.#claimed = Math.max(this.#claimed ?? high, high);
    this.#relistAt = Math.min(this.#relistAt, now);
  }

  /** What a window far below the cursor has is fetched; the next one is in doubt as well. */
  #listedBack({ high }: Listing, listed: readonly Listed[], outputs: ReceiveOutput[]): void {
    for (const { announcement } of listed) {
      if (!this.#known(announcement)) outputs.push({ type: "want", announcement });
    }
    if (high < (this.#high ?? -Infinity)) this.#doubted(high + 1);
  }

  #resolve(name: AnnouncedName, numbers: readonly number[], now: number): ReceiveOutput[] {
    const outputs: ReceiveOutput[] = [];
    this.#pending.resolve(name, numbers);
    this.#advance(outputs);
    return this.#continue(now, outputs);
  }

  /** Moves the cursor over resolved numbers. */
  #advance(outputs: ReceiveOutput[]): void {
    if (!this.#identity.isKnown) return this.#pending.trim();
    const last = this.#pending.takeResolved();
    if (last === undefined) return;
    this.#cursor = { number: last.number, hash: last.hash, log: this.#log };
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
    if (reason === "ordered" && this.#mayListByOrder(now)) {
      this.#fullListingAt = now;
      return;
    }
    if (this.#fullListingAt > now) return;
    this.#fullListingAt = Math.max(now, this.#fullListingAt + RECEIVE_LIMITS.fullListingMs);
  }

  #mayListByOrder(now: number): boolean {
    const { fullListingMs, ordered } = RECEIVE_LIMITS;
    this.#orderedAt = this.#orderedAt.filter((at) => at > now - fullListingMs);
    if (this.#orderedAt.length >= ordered) return false;
    this.#orderedAt.push(now);
    return true;
  }

  #forget(): void {
    this.#pending.clear();
    this.#high = undefined;
    this.#highHash = undefined;
    this.#listing = undefined;
    this.#search = undefined;
    this.#doubt = undefined;
    this.#isUnproven = false;
    this.#unproven = undefined;
    this.#identity.settle();
  }
}
