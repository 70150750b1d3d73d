/**
 * The numbers of one peer above its cursor, in ascending order, resolved or waiting for their
 * update. All unresolved numbers are kept, and the last one of each run of resolved numbers. Memory
 * is therefore bounded by the unresolved numbers, even when one missing update holds the cursor.
 * Numbers here are positions (`positions.ts`), not wire numbers. A number that is added must be
 * above all others.
 */
import { AgedMap } from "../aged-map.js";
import { type AnnouncedName, nameOf } from "../update.js";
import type { Announcement } from "./messages.js";

interface Pending {
  readonly announcement: Announcement;
  /** Whether a listing has shown it. An announcement alone may be forged. */
  listed: boolean;
  resolved: boolean;
}

/** Runs of resolved numbers are shortened above this many numbers; see `trim`. */
const SLACK = 1000;

export class PendingNumbers {
  #numbers = new AgedMap<number, Pending>();
  /** The unresolved numbers of each name: a peer may list one update twice. */
  readonly #waiting = new Map<AnnouncedName, number[]>();
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

  /** The announcement of a number; undefined when the number is not kept. */
  get(number: number): Announcement | undefined {
    return this.#numbers.get(number)?.announcement;
  }

  /** The unresolved numbers of an update. Empty when it does not wait. */
  numbersOf(name: AnnouncedName): readonly number[] {
    return this.#waiting.get(name) ?? [];
  }

  /** The announcement of an unresolved update. */
  announcementOf(name: AnnouncedName): Announcement | undefined {
    const [number] = this.numbersOf(name);
    return number === undefined ? undefined : this.get(number);
  }

  /** The same, for an update that a listing has shown. */
  listedOf(name: AnnouncedName): Announcement | undefined {
    const number = this.numbersOf(name).find((one) => this.isListed(one));
    return number === undefined ? undefined : this.get(number);
  }

  isListed(number: number): boolean {
    return this.#numbers.get(number)?.listed ?? false;
  }

  /** A listing has shown the number with the hash that is kept. */
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
    const name = nameOf(announcement);
    const numbers = this.#waiting.get(name);
    if (numbers === undefined) this.#waiting.set(name, [number]);
    else numbers.push(number);
  }

  /** Marks these numbers of an update as resolved. */
  resolve(name: AnnouncedName, numbers: readonly number[]): void {
    for (const number of numbers) {
      const pending = this.#numbers.get(number);
      if (pending !== undefined) pending.resolved = true;
    }
    this.#unresolved -= numbers.length;
    const left = this.numbersOf(name).filter((number) => !numbers.includes(number));
    if (left.length === 0) this.#waiting.delete(name);
    else this.#waiting.set(name, left);
  }

  /** Removes this number and all above it. */
  dropFrom(number: number): void {
    for (const [at, { announcement, resolved }] of this.#numbers) {
      if (at < number) continue;
      if (!resolved) this.resolve(nameOf(announcement), [at]);
      this.#numbers.delete(at);
    }
    this.#last = undefined;
  }

  /** The last number up to which all are resolved or among `names`; undefined without one. */
  resolvedWith(names: ReadonlySet<AnnouncedName>): Announcement | undefined {
    let last: Announcement | undefined;
    for (const { announcement, resolved } of this.#numbers.values()) {
      if (!resolved && !names.has(nameOf(announcement))) break;
      last = announcement;
    }
    return last;
  }

  /** Removes the resolved numbers at the bottom and returns the last of them. */
  takeResolved(): Announcement | undefined {
    let last: Announcement | undefined;
    for (;;) {
      const number = this.#numbers.oldest;
      const pending = number === undefined ? undefined : this.#numbers.get(number);
      if (number === undefined || pending?.resolved !== true) break;
      last = pending.announcement;
      this.#numbers.delete(number);
    }
    this.trim();
    return last;
  }

  /** Bounds memory while nothing can be removed at the bottom. */
  trim(): void {
    if (this.#numbers.size > 2 * this.#unresolved + SLACK) this.#shorten();
  }

  clear(): void {
    this.#numbers.clear();
    this.#waiting.clear();
    this.#unresolved = 0;
    this.#last = undefined;
  }

  /** Keeps only the last number of each run of resolved numbers. */
  #shorten(): void {
    const kept = new AgedMap<number, Pending>();
    let before: number | undefined;
    for (const [number, pending] of this.#numbers) {
      if (pending.resolved && before !== undefined) kept.delete(before);
      before = pending.resolved ? number : undefined;
      kept.set(number, pending);
    }
    this.#numbers = kept;
  }
}
