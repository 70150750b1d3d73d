/**
 * The rules of the fetch tracker once more, in the plainest way: one flat list of who announced
 * what, searched from end to end for every question. It draws no lots: it is told which requests
 * the real one made and says whether each of them was allowed.
 */
import type { FetchPolicy } from "../../src/kx/fetch-policy.js";
import type { FetchOutput } from "../../src/kx/fetch-tracker.js";
import { FETCH_LIMITS } from "../../src/kx/fetch-tracker.js";
import type { AnnouncedName } from "../../src/update.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

interface Entry {
  readonly peer: string;
  readonly hash: AnnouncedName;
  number: number;
  state: "candidate" | "requested" | "failed";
  readonly heardAt: number;
  at: number;
  deadline: number;
}

type Verdict = FetchOutput & { readonly type: "timed-out" | "lost" };

export class NaiveTracker {
  #entries: Entry[] = [];
  readonly #rests = new Map<AnnouncedName, { rounds: number; retryAt: number | undefined }>();
  readonly #windows = new Map<string, { window: number; averageBytes: number }>();
  readonly #fetchPolicy: ReadonlyMap<string, FetchPolicy>;
  readonly #tokens = new Map<string, { left: number; at: number }>();
  #pausedUntil = -Infinity;
  #now = 0;
  #date = 0;
  /** Requests that were made because nothing could wait any longer. */
  late = 0;

  constructor(fetchPolicy: ReadonlyMap<string, FetchPolicy> = new Map()) {
    this.#fetchPolicy = fetchPolicy;
  }

  announced(peer: string, number: number, hash: AnnouncedName, heardAt = 0): boolean {
    const known = this.#find(peer, hash);
    if (known !== undefined) {
      known.number = number;
      return true;
    }
    if (this.tracked(peer) >= FETCH_LIMITS.tracked) return false;
    this.#entries.push({ peer, hash, number, state: "candidate", heardAt, at: 0, deadline: 0 });
    return true;
  }

  settled(hash: AnnouncedName): void {
    this.#entries = this.#entries.filter((entry) => entry.hash !== hash);
    this.#rests.delete(hash);
  }

  delivered(peer: string, bytes: number): void {
    const flow = this.#flow(peer);
    flow.window = Math.min(FETCH_LIMITS.window.most, flow.window + 1);
    flow.averageBytes += (bytes - flow.averageBytes) / 8;
  }

  failed(peer: string, hash: AnnouncedName, now: number): Verdict[] {
    const entry = this.#find(peer, hash);
    if (entry === undefined) return [];
    const flow = this.#flow(peer);
    flow.window = Math.max(FETCH_LIMITS.window.least, Math.floor(flow.window / 2));
    entry.state = "failed";
    return this.#rest(hash, now);
  }

  deferred(peer: string, hash: AnnouncedName, now: number): void {
    this.#pausedUntil = now + FETCH_LIMITS.troubleMs;
    const entry = this.#find(peer, hash);
    if (entry !== undefined) entry.state = "candidate";
  }

  gone(peer: string, hash: AnnouncedName, now: number): Verdict[] {
    const entry = this.#find(peer, hash);
    if (entry === undefined) return [];
    this.#entries = this.#entries.filter((other) => other !== entry);
    if (this.#of(hash).length > 0) return this.#rest(hash, now);
    this.settled(hash);
    return [{ type: "lost", hash, peers: [peer] }];
  }

  progressed(peer: string, now: number): void {
    for (const entry of this.#requested()) {
      if (entry.peer !== peer) continue;
      const moved = Math.min(entry.at + FETCH_LIMITS.requestMs, now + FETCH_LIMITS.progressMs);
      entry.deadline = Math.max(entry.deadline, moved);
    }
  }

  disconnected(peer: string, now: number): Verdict[] {
    const hashes = this.#entries.filter((entry) => entry.peer === peer).map(({ hash }) => hash);
    this.#entries = this.#entries.filter((entry) => entry.peer !== peer);
    this.#windows.delete(peer);
    return hashes.flatMap((hash) => {
      if (this.#of(hash).length > 0) return this.#rest(hash, now);
      this.settled(hash);
      return [];
    });
  }

  took(peer: string, bytes: number, now: number): void {
    const rate = this.#fetchPolicy.get(peer)?.rate;
    if (rate === undefined) return;
    const left = Math.max(-rate.count, this.#left(peer, now) - bytes);
    this.#tokens.set(peer, { left, at: Math.max(now, this.#tokens.get(peer)?.at ?? now) });
  }

  /** What `advance` does before it asks. */
  expire(now: number, date = 0): Verdict[] {
    [this.#now, this.#date] = [now, date];
    const overdue = this.#requested().filter(({ deadline }) => now >= deadline);
    const verdicts = overdue.flatMap(({ peer, hash }): Verdict[] => [
      { type: "timed-out", peer, hash },
      ...this.failed(peer, hash, now),
    ]);
    for (const [hash, rest] of this.#rests) {
      if (rest.retryAt === undefined || now < rest.retryAt) continue;
      rest.retryAt = undefined;
      for (const entry of this.#of(hash)) if (entry.state === "failed") entry.state = "candidate";
    }
    if (now >= this.#pausedUntil) this.#pausedUntil = -Infinity;
    return verdicts;
  }

  /** The real one made this request. Throws when the rules forbid it. */
  requested({ peer, number, hash }: FetchOutput & { type: "request" }, now: number): void {
    const entry = this.#find(peer, hash);
    if (this.#pausedUntil !== -Infinity) throw new Error("requested while it was to pause");
    if (entry?.state !== "candidate")
      throw new Error(`requested from a peer that is ${entry?.state}`);
    if (entry.number !== number) throw new Error("requested by an old number");
    if (this.#requested().some((other) => other.hash === hash)) throw new Error("requested twice");
    if (!this.#hasRoom(peer)) throw new Error("requested more than there is room for");
    if (this.#waits(peer) && this.#ripeAt(entry) > now) throw new Error("requested while it waits");
    if (this.#waits(peer)) this.late += 1;
    Object.assign(entry, { state: "requested", at: now, deadline: now + FETCH_LIMITS.progressMs });
  }

  /** What could still be requested now: nothing, after the real one has advanced. */
  askable(): Entry[] {
    if (this.#pausedUntil !== -Infinity) return [];
    const busy = new Set(this.#requested().map(({ hash }) => hash));
    return this.#entries.filter(
      (entry) =>
        entry.state === "candidate" &&
        !busy.has(entry.hash) &&
        this.#hasRoom(entry.peer) &&
        (!this.#waits(entry.peer) || this.#ripeAt(entry) <= this.#now),
    );
  }

  /** When something is due: the deadlines, the rests, and the pause if it holds something up. */
  nextAt(): number {
    const deadlines = this.#requested().map(({ deadline }) => deadline);
    const rests = [...this.#rests.values()].map(({ retryAt }) => retryAt ?? Infinity);
    const busy = new Set(this.#requested().map(({ hash }) => hash));
    const waiting = this.#entries.filter(
      ({ peer, hash, state }) => state === "candidate" && !busy.has(hash) && this.#waits(peer),
    );
    const ripe = waiting.map((entry) => this.#ripeAt(entry)).filter((at) => at > this.#now);
    const open = waiting.map(({ peer }) => this.#opensAt(peer));
    return Math.min(...deadlines, ...rests, ...ripe, ...open);
  }

  tracked(peer: string): number {
    return this.#entries.filter((entry) => entry.peer === peer).length;
  }

  inFlight(peer: string): number {
    return this.#requested().filter((entry) => entry.peer === peer).length;
  }

  get hashes(): number {
    return new Set(this.#entries.map(({ hash }) => hash)).size;
  }

  #rest(hash: AnnouncedName, now: number): Verdict[] {
    const entries = this.#of(hash);
    if (entries.some(({ state }) => state !== "failed")) return [];
    const rest = this.#rests.get(hash) ?? { rounds: 0, retryAt: undefined };
    this.#rests.set(hash, rest);
    if (rest.retryAt !== undefined) return [];
    const wait = FETCH_LIMITS.retryMs[rest.rounds];
    if (wait === undefined) {
      this.settled(hash);
      return [{ type: "lost", hash, peers: entries.map(({ peer }) => peer) }];
    }
    rest.rounds += 1;
    rest.retryAt = now + wait;
    return [];
  }

  #hasRoom(peer: string): boolean {
    const { window, averageBytes } = this.#flow(peer);
    const size = this.inFlight(peer);
    if (this.#requested().length >= FETCH_LIMITS.inFlight || size >= window) return false;
    return size === 0 || (size + 1) * averageBytes <= FETCH_LIMITS.windowBytes;
  }

  #ripeAt({ heardAt }: Entry): number {
    return heardAt + 48 * HOUR_MS;
  }

  #waits(peer: string): boolean {
    return this.#isQuiet(peer, this.#date) || this.#isSpent(peer);
  }

  #isQuiet(peer: string, date: number): boolean {
    const hours = this.#fetchPolicy.get(peer)?.quietHours;
    if (hours === undefined) return false;
    const time = date % (24 * HOUR_MS);
    const { fromMs, toMs } = hours;
    if (fromMs < toMs) return fromMs <= time && time < toMs;
    return time >= fromMs || time < toMs;
  }

  #isSpent(peer: string): boolean {
    if (this.#fetchPolicy.get(peer)?.rate === undefined) return false;
    const expected = this.inFlight(peer) * this.#flow(peer).averageBytes;
    return this.#left(peer, this.#now) < expected + 1;
  }

  #left(peer: string, now: number): number {
    const rate = this.#fetchPolicy.get(peer)?.rate;
    const known = this.#tokens.get(peer);
    if (rate === undefined || known === undefined) return rate?.count ?? Infinity;
    const back = (Math.max(0, now - known.at) * rate.count) / rate.periodMs;
    return Math.min(rate.count, known.left + back);
  }

  /** When a peer that waits waits no longer, to the minute for the hours. */
  #opensAt(peer: string): number {
    for (let minute = 1; this.#isQuiet(peer, this.#date) && minute <= 1440; minute++) {
      const later = this.#date - (this.#date % MINUTE_MS) + minute * MINUTE_MS;
      if (!this.#isQuiet(peer, later)) return this.#now + later - this.#date;
    }
    const rate = this.#fetchPolicy.get(peer)?.rate;
    if (rate === undefined) return Infinity;
    const expected = this.inFlight(peer) * this.#flow(peer).averageBytes + 1;
    const missing = expected - this.#left(peer, this.#now);
    return this.#now + Math.ceil((missing * rate.periodMs) / rate.count);
  }

  #requested(): Entry[] {
    return this.#entries.filter(({ state }) => state === "requested");
  }

  #of(hash: AnnouncedName): Entry[] {
    return this.#entries.filter((entry) => entry.hash === hash);
  }

  #find(peer: string, hash: AnnouncedName): Entry | undefined {
    return this.#entries.find((entry) => entry.peer === peer && entry.hash === hash);
  }

  #flow(peer: string): { window: number; averageBytes: number } {
    const flow = this.#windows.get(peer) ?? {
      window: FETCH_LIMITS.window.start,
      averageBytes: 2048,
    };
    this.#windows.set(peer, flow);
    return flow;
  }
}
