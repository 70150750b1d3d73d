/**
 * The numbers of one peer above its cursor, in ascending order: which are resolved, and which wait
 * for their update. Remembers as many as are unresolved, and of each run of resolved numbers only
 * the last one, so that one update that does not come holds the cursor and nothing else. Numbers
 * here are positions (`receive-state.ts`), not wire numbers; each is added above all that are here.
 */
import type { UpdateHash } from "../update.js";
import type { Announcement } from "./messages.js";

interface Pending {
  readonly announcement: Announcement;
  /** Whether a listing has shown it; a notice alone may be forged. */
  listed: boolean;
  resolved: boolean;
}

/** Runs of resolved numbers are cut down when so many more numbers are kept than unresolved. */
const SLACK = 1000;

export class PendingNumbers {
  #numbers = new Map<number, Pending>();
  /** The unresolved numbers of each hash: a peer may list one update twice. */
  readonly #waiting = new Map<UpdateHash, number[]>();
  #unresolved = 0;
  #last: number | undefined;

  /** How many numbers are not resolved. */
  get unresolved(): number {
    return this.#unresolved;
  }

  /** How many numbers are kept. */
  get size(): number {
    return this.#numbers.size;
  }

  /** The lowest number that is kept, with its announcement. */
  get lowest(): { readonly position: number; readonly announcement: Announcement } | undefined {
    for (const [position, { announcement }] of this.#numbers) return { position, announcement };
    return undefined;
  }

  /** The announcement of a number, unless it was never here or is behind us. */
  get(number: number): Announcement | undefined {
    return this.#numbers.get(number)?.announcement;
  }

  /** The unresolved numbers of an update. */
  numbersOf(hash: UpdateHash): readonly number[] {
    return this.#waiting.get(hash) ?? [];
  }

  /** The announcement of an update that waits. */
  announcementOf(hash: UpdateHash): Announcement | undefined {
    const [number] = this.numbersOf(hash);
    return number === undefined ? undefined : this.get(number);
  }

  /** The same, when one of its numbers was listed and not only noticed. */
  listedOf(hash: UpdateHash): Announcement | undefined {
    const number = this.numbersOf(hash).find((one) => this.isListed(one));
    return number === undefined ? undefined : this.get(number);
  }

  isListed(number: number): boolean {
    return this.#numbers.get(number)?.listed ?? false;
  }

  /** A listing has shown the number as we have it. */
  confirm(number: number): void {
    const pending = this.#numbers.get(number);
    if (pending !== undefined) pending.listed = true;
  }

  add(number: number, announcement: Announcement, listed: boolean, resolved: boolean): void {
    const last = this.#last;
    if (resolved && last !== undefined && this.#numbers.get(last)?.resolved) {
      this.#numbers.delete(last);
    }
    this.#last = number;
    this.#numbers.set(number, { announcement, listed, resolved });
    if (resolved) return;
    this.#unresolved += 1;
    const numbers = this.#waiting.get(announcement.hash);
    if (numbers === undefined) this.#waiting.set(announcement.hash, [number]);
    else numbers.push(number);
  }

  /** These numbers of an update are behind us. */
  resolve(hash: UpdateHash, numbers: readonly number[]): void {
    for (const number of numbers) {
      const pending = this.#numbers.get(number);
      if (pending !== undefined) pending.resolved = true;
    }
    this.#unresolved -= numbers.length;
    const left = this.numbersOf(hash).filter((number) => !numbers.includes(number));
    if (left.length === 0) this.#waiting.delete(hash);
    else this.#waiting.set(hash, left);
  }

  /** Forgets this number and all above it. */
  dropFrom(number: number): void {
    for (const [at, { announcement, resolved }] of this.#numbers) {
      if (at < number) continue;
      if (!resolved) this.resolve(announcement.hash, [at]);
      this.#numbers.delete(at);
    }
    this.#last = undefined;
  }

  /** The last number of which all below are resolved or among `hashes`; undefined for none. */
  resolvedWith(hashes: ReadonlySet<UpdateHash>): Announcement | undefined {
    let last: Announcement | undefined;
    for (const { announcement, resolved } of this.#numbers.values()) {
      if (!resolved && !hashes.has(announcement.hash)) break;
      last = announcement;
    }
    return last;
  }

  /** Takes out all that is resolved at the bottom and returns the last of it. */
  takeResolved(): Announcement | undefined {
    let last: Announcement | undefined;
    for (const [number, { announcement, resolved }] of this.#numbers) {
      if (!resolved) break;
      last = announcement;
      this.#numbers.delete(number);
    }
    this.trim();
    return last;
  }

  /** Keeps memory bounded while nothing is taken out. */
  trim(): void {
    if (this.#numbers.size > 2 * this.#unresolved + SLACK) this.#shorten();
  }

  clear(): void {
    this.#numbers.clear();
    this.#waiting.clear();
    this.#unresolved = 0;
    this.#last = undefined;
  }

  /** Keeps only the last number of each run of resolved ones. */
  #shorten(): void {
    const kept = new Map<number, Pending>();
    let before: number | undefined;
    for (const [number, pending] of this.#numbers) {
      if (pending.resolved && before !== undefined) kept.delete(before);
      before = pending.resolved ? number : undefined;
      kept.set(number, pending);
    }
    this.#numbers = kept;
  }
}
