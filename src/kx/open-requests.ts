/**
 * The open requests of a session, by the tag that the answer will quote. A request that the owner
 * gave up stays here, since its answer may still come. Above the limits the oldest requests are
 * removed, so a peer that never answers costs no memory.
 */
import type { UpdateHash } from "../update.js";

export interface ListRequest {
  readonly kind: "list";
  readonly low: number;
  readonly high: number;
}

export interface UpdateRequest {
  readonly kind: "update";
  readonly number: number;
  /** The hash that was announced under the number. */
  readonly hash: UpdateHash;
}

/** A RANGE of a reconciliation. */
export interface RangesRequest {
  readonly kind: "ranges";
}

export type OpenRequest = ListRequest | UpdateRequest | RangesRequest;

/** More than can be open at one peer (128), so only requests that were given up are removed. */
const MOST_UPDATES = 256;
/** Few are open at a time, and the second one without an answer ends the connection. */
const MOST_LISTS = 8;

export class OpenRequests {
  readonly #lists = new Map<string, { readonly request: ListRequest; dueAt: number }>();
  readonly #updates = new Map<string, UpdateRequest>();
  /** The tag of the RANGE that is open; there is one at a time. */
  #ranges: string | undefined;
  #unansweredLists = 0;

  /** How many LISTs in a row have expired. */
  get unansweredLists(): number {
    return this.#unansweredLists;
  }

  get size(): number {
    return this.#lists.size + this.#updates.size + (this.#ranges === undefined ? 0 : 1);
  }

  /** Adds a LIST. `expired` returns it when it was not settled by `dueAt`. */
  addList(tag: string, low: number, high: number, dueAt: number): void {
    this.#lists.set(tag, { request: { kind: "list", low, high }, dueAt });
    forgetOldest(this.#lists, MOST_LISTS);
  }

  addUpdate(tag: string, number: number, hash: UpdateHash): void {
    this.#updates.set(tag, { kind: "update", number, hash });
    forgetOldest(this.#updates, MOST_UPDATES);
  }

  /** Adds a RANGE, in place of one that was given up. */
  addRanges(tag: string): void {
    this.#ranges = tag;
  }

  /** Removes and returns the request that an answer quotes; undefined without a match. */
  settle(tag: string | undefined, kind?: OpenRequest["kind"]): OpenRequest | undefined {
    if (tag === undefined) return undefined;
    const ranges = tag === this.#ranges ? ({ kind: "ranges" } as const) : undefined;
    const request = this.#updates.get(tag) ?? this.#lists.get(tag)?.request ?? ranges;
    if (request === undefined || (kind !== undefined && request.kind !== kind)) return undefined;
    this.#updates.delete(tag);
    if (request === ranges) this.#ranges = undefined;
    if (this.#lists.delete(tag)) this.#unansweredLists = 0;
    return request;
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
    this.#ranges = undefined;
  }
}

function forgetOldest(requests: Map<string, unknown>, most: number): void {
  for (const oldest of requests.keys()) {
    if (requests.size <= most) return;
    requests.delete(oldest);
  }
}
