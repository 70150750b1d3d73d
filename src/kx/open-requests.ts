/**
 * The open requests of a session, by the tag that the answer will quote. Requests for several
 * updates may share a tag; each is settled by an answer with its number. A request that the owner
 * gave up stays here, since its answer may still come. Above the limits the oldest requests are
 * removed, so a peer that never answers costs no memory.
 */
import type { Announcement } from "./messages.js";

export interface ListRequest {
  readonly low: number;
  readonly high: number;
}

/** A request for an update, by what was announced under its number. */
export type UpdateRequest = Announcement;

/** More than can be open at one peer (128), so only requests that were given up are removed. */
const MOST_UPDATES = 256;
/** Few are open at a time, and the second one without an answer ends the connection. */
const MOST_LISTS = 8;

export class OpenRequests {
  readonly #lists = new Map<string, { readonly request: ListRequest; dueAt: number }>();
  readonly #updates = new Map<string, UpdateRequest[]>();
  #updateCount = 0;
  /** The tag of the RANGE that is open; there is one at a time. */
  #ranges: string | undefined;
  #unansweredLists = 0;

  /** How many LISTs in a row have expired. */
  get unansweredLists(): number {
    return this.#unansweredLists;
  }

  get size(): number {
    return this.#lists.size + this.#updateCount + (this.#ranges === undefined ? 0 : 1);
  }

  /** Adds a LIST. `expired` returns it when it was not settled by `dueAt`. */
  addList(tag: string, low: number, high: number, dueAt: number): void {
    this.#lists.set(tag, { request: { low, high }, dueAt });
    for (const oldest of this.#lists.keys()) {
      if (this.#lists.size <= MOST_LISTS) return;
      this.#lists.delete(oldest);
    }
  }

  addUpdates(tag: string, requests: readonly UpdateRequest[]): void {
    this.#updates.set(tag, [...requests]);
    this.#updateCount += requests.length;
    for (const oldest of this.#updates.keys()) {
      if (this.#updateCount <= MOST_UPDATES) return;
      this.settleAll(oldest);
    }
  }

  /** Adds a RANGE, in place of one that was given up. */
  addRanges(tag: string): void {
    this.#ranges = tag;
  }

  /** Whether an answer quotes the RANGE, which is then settled. */
  settleRanges(tag: string | undefined): boolean {
    if (tag === undefined || tag !== this.#ranges) return false;
    this.#ranges = undefined;
    return true;
  }

  /** Removes and returns the LIST that an answer quotes; undefined without a match. */
  settleList(tag: string | undefined): ListRequest | undefined {
    const request = tag === undefined ? undefined : this.#lists.get(tag)?.request;
    if (tag === undefined || request === undefined) return undefined;
    this.#lists.delete(tag);
    this.#unansweredLists = 0;
    return request;
  }

  /** The same for an update; without `number` the first one of the tag. */
  settleUpdate(tag: string | undefined, number?: number): UpdateRequest | undefined {
    const open = tag === undefined ? undefined : this.#updates.get(tag);
    if (tag === undefined || open === undefined) return undefined;
    const isMeant = (one: UpdateRequest) => number === undefined || one.number === number;
    const index = open.findIndex(isMeant);
    const [request] = index < 0 ? [] : open.splice(index, 1);
    if (request !== undefined) this.#updateCount -= 1;
    if (open.length === 0) this.#updates.delete(tag);
    return request;
  }

  /** Removes and returns all updates that were requested with this tag. */
  settleAll(tag: string | undefined): UpdateRequest[] {
    const open = tag === undefined ? undefined : this.#updates.get(tag);
    if (tag === undefined || open === undefined) return [];
    this.#updates.delete(tag);
    this.#updateCount -= open.length;
    return open;
  }

  /** The overdue LISTs, each returned once. A late answer still settles them. */
  expired(now: number): ListRequest[] {
    const overdue = [...this.#lists.values()].filter(({ dueAt }) => now >= dueAt);
    for (const one of overdue) one.dueAt = Infinity;
    this.#unansweredLists += overdue.length;
    return overdue.map(({ request }) => request);
  }

  /** When the next LIST will be overdue; Infinity without open LISTs. */
  nextAt(): number {
    let next = Infinity;
    for (const { dueAt } of this.#lists.values()) next = Math.min(next, dueAt);
    return next;
  }

  clear(): void {
    this.#lists.clear();
    this.#updates.clear();
    this.#updateCount = 0;
    this.#ranges = undefined;
  }
}
