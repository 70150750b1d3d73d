/**
 * What a session has asked for and not yet heard of, by the tag that the answer will quote. A
 * request that the owner gave up stays here, since its answer may only be late; of such requests
 * the oldest are forgotten, so that a peer that answers nothing costs no memory. Knows no messages.
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
  /** The name that the number stood for when it was asked for. */
  readonly hash: UpdateHash;
}

export type OpenRequest = ListRequest | UpdateRequest;

/** More than can be in flight at one peer (64), so that only what was given up is forgotten. */
const MOST_UPDATES = 256;
/** Few are out at a time, and the connection ends with the second one that gets no answer. */
const MOST_LISTS = 8;

export class OpenRequests {
  readonly #lists = new Map<string, { readonly request: ListRequest; dueAt: number }>();
  readonly #updates = new Map<string, UpdateRequest>();
  #unansweredLists = 0;

  /** How many listings in a row have expired. */
  get unansweredLists(): number {
    return this.#unansweredLists;
  }

  get size(): number {
    return this.#lists.size + this.#updates.size;
  }

  /** Notes a LIST; `expired` names it when it was not settled by `dueAt`. */
  addList(tag: string, low: number, high: number, dueAt: number): void {
    this.#lists.set(tag, { request: { kind: "list", low, high }, dueAt });
    forgetOldest(this.#lists, MOST_LISTS);
  }

  addUpdate(tag: string, number: number, hash: UpdateHash): void {
    this.#updates.set(tag, { kind: "update", number, hash });
    forgetOldest(this.#updates, MOST_UPDATES);
  }

  /** Takes out the request that an answer quotes; undefined when there is none of that kind. */
  settle(tag: string | undefined, kind?: OpenRequest["kind"]): OpenRequest | undefined {
    if (tag === undefined) return undefined;
    const request = this.#updates.get(tag) ?? this.#lists.get(tag)?.request;
    if (request === undefined || (kind !== undefined && request.kind !== kind)) return undefined;
    this.#updates.delete(tag);
    if (this.#lists.delete(tag)) this.#unansweredLists = 0;
    return request;
  }

  /** The listings that are overdue, each once; a late answer still settles them. */
  expired(now: number): ListRequest[] {
    const overdue = [...this.#lists.values()].filter(({ dueAt }) => now >= dueAt);
    for (const one of overdue) one.dueAt = Infinity;
    this.#unansweredLists += overdue.length;
    return overdue.map(({ request }) => request);
  }

  /** When the next listing is overdue; Infinity when none will be. */
  nextAt(): number {
    let next = Infinity;
    for (const { dueAt } of this.#lists.values()) next = Math.min(next, dueAt);
    return next;
  }

  clear(): void {
    this.#lists.clear();
    this.#updates.clear();
  }
}

function forgetOldest(requests: Map<string, unknown>, most: number): void {
  for (const oldest of requests.keys()) {
    if (requests.size <= most) return;
    requests.delete(oldest);
  }
}
