/**
 * Decides which peer is asked for which update. Inputs are the announced hashes of all peers,
 * outputs are requests for GETUPDATE. The design follows Bitcoin's transaction request tracker
 * (src/txrequest.h). Time and random numbers are arguments.
 *
 * A hash here is the name that was announced: of updates with one MD5 each is one of its own, where
 * the peer tells the SHA-256. For each hash, each peer that announced it is in one of three states:
 * candidate, requested, or failed.
 *  1. At most one request for a hash is open over all peers. Otherwise a well-connected gateway
 *     would fetch everything once from each peer. Nor are two open for names with one MD5: a peer
 *     of KX/1.0 announces the MD5 alone, and mostly means the same update.
 *  2. The peer is drawn at random among the candidates that have room. If the first announcer were
 *     asked, a fast hostile peer would be asked for everything.
 *  3. A repeated announcement changes no deadline. A hostile peer cannot hold a hash by announcing
 *     it again and again.
 *  4. A peer fails for a hash after 10 s without progress, by an ERROR, or by an update that is
 *     refused. The next candidate is asked at once. Progress is bytes of an UPDATE from that peer.
 *     It moves the deadline, to at most 2 minutes after the request, so that a peer that sends
 *     slowly cannot hold a hash without a limit.
 *  5. When all candidates have failed, they become candidates again after 1, 5 and 30 minutes.
 *     After that the update counts as lost (output `lost`). A new announcer is asked at once. When
 *     it fails too, the time of the next round does not change, so a hostile peer cannot use up
 *     the rounds of the others.
 *  6. A disconnect removes the announcements and the requests of the peer.
 *  7. Open requests per peer: 1 to 128, starting at 8. A success adds one, a failure halves the
 *     number. Their expected size is at most 2 MiB, by the average size seen. Over all peers at
 *     most 256 requests are open.
 *  8. Tracked hashes per peer: 5000. Further ones are refused here and listed again later.
 *  9. A local failure, such as a full disk, does not count as a failure of the peer. The hash
 *     becomes a candidate again, and nothing is requested for 5 s. If it counted, an hour of it
 *     would end in `lost`.
 * 10. A peer with a `FetchPolicy` is not asked in its quiet hours or over its budget. Answers to
 *     open requests are still taken. Hashes that it announced 48 h ago are requested regardless,
 *     since the body may expire 24 h later. Other announcers of a hash are asked meanwhile. A hash
 *     that waits has not failed, and counts for rule 8.
 * 11. A hash whose update was delivered and is being stored is not requested from anybody until
 *     it is settled or deferred; a disconnect of the peer that delivered it changes nothing. The
 *     request counts as in flight until then, and has no deadline: a slow store slows requests.
 */
import { AgedMap } from "../aged-map.js";
import { type AnnouncedName, namesIn, type UpdateHash } from "../update.js";
import { Budget, type FetchPolicy, type Holding } from "./fetch-policy.js";

/** The limits by rule. Times are in ms. `inFlight` is over all peers, the others are per peer. */
export const FETCH_LIMITS = {
  /** Rule 4. */
  progressMs: 10_000,
  requestMs: 120_000,
  /** Rule 5. */
  retryMs: [60_000, 5 * 60_000, 30 * 60_000] as readonly number[],
  /** Rule 8. */
  tracked: 5000,
  /** Rule 7. */
  inFlight: 256,
  window: { least: 1, start: 8, most: 128 },
  windowBytes: 2 * 1024 * 1024,
  /** Rule 9. */
  troubleMs: 5000,
  /**
   * Rule 10: a hash is requested regardless of the fetch policy after this time. A body is kept
   * for at least 72 h after its announcement (thesis 3.1); a day is left for failed connections.
   */
  patienceMs: 48 * 3_600_000,
} as const;

/** Why the fetch policy of a peer forbids requests, and when it has to be evaluated again. */
export interface Held {
  readonly why: Holding;
  readonly until: number;
}

export type FetchOutput =
  | {
      readonly type: "request";
      readonly peer: string;
      readonly number: number;
      readonly hash: AnnouncedName;
    }
  /** The peer did not answer in time; it has failed for this hash. */
  | { readonly type: "timed-out"; readonly peer: string; readonly hash: AnnouncedName }
  /** No announcer delivered it. It is not requested again unless it is announced again. */
  | { readonly type: "lost"; readonly hash: AnnouncedName; readonly peers: readonly string[] };

interface Candidate {
  number: number;
  state: "candidate" | "requested" | "failed";
}

interface Wanted {
  readonly candidates: Map<string, Candidate>;
  /** Rule 11. */
  isStoring: boolean;
  request: { readonly peer: string; readonly at: number; deadline: number } | undefined;
  /** How many times all candidates have failed. */
  rounds: number;
  retryAt: number | undefined;
}

export class FetchTracker {
  readonly #random: () => number;
  readonly #wanted = new Map<AnnouncedName, Wanted>();
  /** The tracked hashes by their MD5; mostly one. */
  readonly #namesakes = new Map<UpdateHash, Set<AnnouncedName>>();
  readonly #peers = new Map<string, FetchPeer>();
  /** Hashes whose candidates have all failed. */
  readonly #resting = new Set<AnnouncedName>();
  readonly #budgets: ReadonlyMap<string, Budget>;
  #inFlight = 0;
  /** When `advance` was called last. */
  #now = -Infinity;
  /** Nothing is requested before this time. */
  #pausedUntil = -Infinity;

  /** `random` returns numbers in [0, 1). `fetchPolicy` has the peers that have a policy. */
  constructor(random: () => number, fetchPolicy: ReadonlyMap<string, FetchPolicy> = new Map()) {
    this.#random = random;
    this.#budgets = new Map([...fetchPolicy].map(([peer, its]) => [peer, new Budget(its)]));
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get tracked(): number {
    return this.#wanted.size;
  }

  inFlightAt(peer: string): number {
    return this.#peers.get(peer)?.inFlight.size ?? 0;
  }

  trackedAt(peer: string): number {
    return this.#peers.get(peer)?.hashes.size ?? 0;
  }

  /**
   * Why a peer is not asked for a hash that could be requested from it, as of the last `advance`;
   * undefined when nothing prevents it.
   */
  heldAt(peer: string): Held | undefined {
    const state = this.#peers.get(peer);
    return state !== undefined && state.ready.size > 0 ? state.held : undefined;
  }

  /** When the oldest tracked hash of a peer was announced; undefined without tracked hashes. */
  oldestAt(peer: string): number | undefined {
    const { hashes } = this.#peers.get(peer) ?? {};
    return hashes?.oldest && hashes.get(hashes.oldest);
  }

  /**
   * The peer announced `hash` under `number`, at `heardAt` or later. Returns false when rule 8
   * refuses it; it must be listed again later.
   */
  announced(peer: string, number: number, hash: AnnouncedName, heardAt = 0): boolean {
    const state = this.#peer(peer);
    const known = this.#wanted.get(hash)?.candidates.get(peer);
    if (known !== undefined) {
      known.number = number;
      return true;
    }
    if (state.hashes.size >= FETCH_LIMITS.tracked) return false;
    const wanted = this.#want(hash);
    wanted.candidates.set(peer, { number, state: "candidate" });
    state.hashes.set(hash, heardAt);
    if (wanted.request === undefined && !wanted.isStoring) state.ready.set(hash, true);
    return true;
  }

  /** The update is stored, or is no longer wanted. Removes it from all peers. */
  settled(hash: AnnouncedName): void {
    const wanted = this.#wanted.get(hash);
    if (wanted === undefined) return;
    this.#release(hash, wanted);
    for (const peer of wanted.candidates.keys()) {
      const state = this.#peer(peer);
      state.hashes.delete(hash);
      state.ready.delete(hash);
    }
    this.#resting.delete(hash);
    this.#wanted.delete(hash);
    const md5 = namesIn(hash).hash;
    const namesakes = this.#namesakes.get(md5);
    namesakes?.delete(hash);
    if (namesakes?.size === 0) this.#namesakes.delete(md5);
  }

  /** Whether an update with the same MD5 is requested or being stored: rule 1. */
  #isBusy(hash: AnnouncedName): boolean {
    const namesakes = this.#namesakes.get(namesIn(hash).hash);
    if (namesakes === undefined || namesakes.size < 2) return false;
    return [...namesakes].some((name) => {
      const wanted = this.#wanted.get(name);
      return wanted?.request !== undefined || wanted?.isStoring === true;
    });
  }

  /** Takes received bytes of bodies, valid or not, off the budget of the peer. */
  took(peer: string, bytes: number, now: number): void {
    this.#peer(peer).took(bytes, now);
  }

  /** The peer delivered `bytes` for a hash. The caller also calls `settled` for a valid update. */
  delivered(peer: string, bytes: number): void {
    this.#peer(peer).succeeded(bytes);
  }

  /**
   * The update that the peer delivered is to be stored: rule 11, until `settled` or `deferred`.
   * False when the same update from another peer is being stored already.
   */
  storing(peer: string, hash: AnnouncedName): boolean {
    const wanted = this.#want(hash);
    if (wanted.request?.peer === peer) wanted.request.deadline = Infinity;
    if (wanted.isStoring) return false;
    wanted.isStoring = true;
    for (const one of wanted.candidates.keys()) this.#peer(one).ready.delete(hash);
    return true;
  }

  /** The peer did not deliver the hash, or delivered something else. */
  failed(peer: string, hash: AnnouncedName, now: number): FetchOutput[] {
    const wanted = this.#wanted.get(hash);
    const candidate = wanted?.candidates.get(peer);
    if (wanted === undefined || candidate === undefined) return [];
    const state = this.#peer(peer);
    state.failed();
    candidate.state = "failed";
    state.ready.delete(hash);
    if (wanted.request?.peer === peer) this.#release(hash, wanted);
    return this.#rest(hash, wanted, now);
  }

  /** The peer delivered the update, but it could not be stored: rule 9. */
  deferred(peer: string, hash: AnnouncedName, now: number): FetchOutput[] {
    this.#pausedUntil = now + FETCH_LIMITS.troubleMs;
    const wanted = this.#wanted.get(hash);
    if (wanted === undefined) return [];
    wanted.isStoring = false;
    const { request } = wanted;
    // Another peer may have delivered the same meanwhile.
    const isOver = request?.peer === peer || request?.deadline === Infinity;
    for (const one of isOver ? [peer, request.peer] : [peer]) {
      const candidate = wanted.candidates.get(one);
      if (candidate !== undefined) candidate.state = "candidate";
    }
    if (isOver) this.#release(hash, wanted);
    if (wanted.candidates.size > 0) return this.#rest(hash, wanted, now);
    this.settled(hash);
    return [];
  }

  /** The peer no longer has the update. */
  gone(peer: string, hash: AnnouncedName, now: number): FetchOutput[] {
    const wanted = this.#wanted.get(hash);
    if (wanted === undefined || !this.#forget(peer, hash, wanted)) return [];
    if (wanted.candidates.size > 0 || wanted.isStoring) return this.#rest(hash, wanted, now);
    this.settled(hash);
    return [{ type: "lost", hash, peers: [peer] }];
  }

  /**
   * Bytes of an UPDATE came from the peer. A peer answers in order, so the deadlines of all its
   * requests move.
   */
  progressed(peer: string, now: number): void {
    for (const { request } of this.#peer(peer).inFlight.values()) {
      if (request === undefined) continue;
      const latest = request.at + FETCH_LIMITS.requestMs;
      const moved = Math.min(latest, now + FETCH_LIMITS.progressMs);
      request.deadline = Math.max(request.deadline, moved);
    }
  }

  disconnected(peer: string, now: number): FetchOutput[] {
    const state = this.#peers.get(peer);
    if (state === undefined) return [];
    const outputs: FetchOutput[] = [];
    for (const hash of [...state.hashes.keys()]) {
      const wanted = this.#wanted.get(hash);
      if (wanted === undefined) continue;
      this.#forget(peer, hash, wanted);
      if (wanted.candidates.size === 0 && !wanted.isStoring) this.settled(hash);
      else outputs.push(...this.#rest(hash, wanted, now));
    }
    this.#peers.delete(peer);
    return outputs;
  }

  /**
   * Ends overdue requests, starts new rounds (rule 5), and makes requests while there is room.
   * `date` is the wall clock in milliseconds since 1970; only quiet hours use it.
   */
  advance(now: number, date = 0): FetchOutput[] {
    const outputs: FetchOutput[] = [];
    this.#now = now;
    for (const [peer, state] of this.#peers) {
      for (const [hash, { request }] of state.inFlight) {
        if (request === undefined || now < request.deadline) continue;
        outputs.push({ type: "timed-out", peer, hash });
        outputs.push(...this.failed(peer, hash, now));
      }
    }
    for (const hash of this.#resting) {
      const wanted = this.#wanted.get(hash);
      if (wanted?.retryAt === undefined || now < wanted.retryAt) continue;
      this.#resting.delete(hash);
      wanted.retryAt = undefined;
      for (const candidate of wanted.candidates.values()) {
        if (candidate.state === "failed") candidate.state = "candidate";
      }
      if (wanted.request === undefined) this.#makeReady(hash, wanted);
    }
    if (now >= this.#pausedUntil) this.#pausedUntil = -Infinity;
    for (const state of this.#peers.values()) state.hold(now, date);
    if (!this.#isPaused) this.#request(now, date, outputs);
    return outputs;
  }

  nextAt(): number | undefined {
    let next = Infinity;
    for (const state of this.#peers.values()) {
      next = Math.min(next, state.opensAt(this.#now));
      for (const { request } of state.inFlight.values()) {
        next = Math.min(next, request?.deadline ?? Infinity);
      }
    }
    for (const hash of this.#resting) {
      next = Math.min(next, this.#wanted.get(hash)?.retryAt ?? Infinity);
    }
    if (this.#isPaused && this.#askable(this.#now).length > 0)
      next = Math.min(next, this.#pausedUntil);
    return next === Infinity ? undefined : next;
  }

  #request(now: number, date: number, outputs: FetchOutput[]): void {
    while (this.#inFlight < FETCH_LIMITS.inFlight) {
      const askable = this.#askable(now);
      const hash = askable[Math.floor(this.#random() * askable.length)];
      const wanted = hash && this.#wanted.get(hash);
      const choices = [...(wanted?.candidates ?? [])].filter(
        ([peer, { state }]) =>
          state === "candidate" && hash && this.#peer(peer).mayBeAsked(hash, now),
      );
      const choice = choices[Math.floor(this.#random() * choices.length)];
      if (hash === undefined || wanted === undefined || choice === undefined) return;
      const [peer, candidate] = choice;
      for (const one of wanted.candidates.keys()) this.#peer(one).ready.delete(hash);
      candidate.state = "requested";
      wanted.request = { peer, at: now, deadline: now + FETCH_LIMITS.progressMs };
      this.#peer(peer).inFlight.set(hash, wanted);
      this.#peer(peer).hold(now, date);
      this.#inFlight += 1;
      outputs.push({ type: "request", peer, number: candidate.number, hash });
    }
  }

  get #isPaused(): boolean {
    return this.#pausedUntil !== -Infinity;
  }

  /** For each peer that may be asked now, the first hash that can be requested from it. */
  #askable(now: number): AnnouncedName[] {
    // A peer may announce thousands of names for one MD5, and each of them is looked at.
    const busy = new Map<UpdateHash, boolean>();
    const isFree = (hash: AnnouncedName) => {
      const md5 = namesIn(hash).hash;
      const known = busy.get(md5) ?? this.#isBusy(hash);
      busy.set(md5, known);
      return !known;
    };
    return [...this.#peers.values()].flatMap((state) => state.first(now, isFree) ?? []);
  }

  /** Starts the wait of rule 5 when no candidate is left; otherwise makes the hash ready. */
  #rest(hash: AnnouncedName, wanted: Wanted, now: number): FetchOutput[] {
    if (wanted.request !== undefined || wanted.isStoring) return [];
    const left = [...wanted.candidates.values()].some((one) => one.state === "candidate");
    if (left) {
      this.#makeReady(hash, wanted);
      return [];
    }
    if (wanted.retryAt !== undefined) return [];
    const wait = FETCH_LIMITS.retryMs[wanted.rounds];
    if (wait === undefined) {
      const peers = [...wanted.candidates.keys()];
      this.settled(hash);
      return [{ type: "lost", hash, peers }];
    }
    wanted.rounds += 1;
    wanted.retryAt = now + wait;
    this.#resting.add(hash);
    return [];
  }

  #want(hash: AnnouncedName): Wanted {
    const known = this.#wanted.get(hash);
    if (known !== undefined) return known;
    const candidates = new Map<string, Candidate>();
    const none = { request: undefined, retryAt: undefined };
    const wanted = { candidates, isStoring: false, rounds: 0, ...none };
    this.#wanted.set(hash, wanted);
    const md5 = namesIn(hash).hash;
    this.#namesakes.set(md5, (this.#namesakes.get(md5) ?? new Set()).add(hash));
    return wanted;
  }

  #makeReady(hash: AnnouncedName, wanted: Wanted): void {
    if (wanted.isStoring) return;
    for (const [peer, candidate] of wanted.candidates) {
      if (candidate.state === "candidate") this.#peer(peer).ready.set(hash, true);
    }
  }

  #forget(peer: string, hash: AnnouncedName, wanted: Wanted): boolean {
    const state = this.#peer(peer);
    if (wanted.request?.peer === peer) this.#release(hash, wanted);
    state.hashes.delete(hash);
    state.ready.delete(hash);
    return wanted.candidates.delete(peer);
  }

  #release(hash: AnnouncedName, wanted: Wanted): void {
    if (wanted.request === undefined) return;
    this.#peer(wanted.request.peer).inFlight.delete(hash);
    this.#inFlight -= 1;
    wanted.request = undefined;
  }

  #peer(name: string): FetchPeer {
    let state = this.#peers.get(name);
    if (state === undefined) {
      state = new FetchPeer(this.#budgets.get(name));
      this.#peers.set(name, state);
    }
    return state;
  }
}

/**
 * The state of one peer: the tracked hashes that it announced, which of them can be requested now,
 * its open requests, and how many more it may get (rules 7 and 10). The other announcers of a hash
 * are not known here.
 */
class FetchPeer {
  /** The earliest time at which each hash was announced, in the order of announcement. */
  readonly hashes = new AgedMap<AnnouncedName, number>();
  /** Hashes that could be requested from this peer now, oldest first. */
  readonly ready = new AgedMap<AnnouncedName>();
  readonly inFlight = new Map<AnnouncedName, Wanted>();
  readonly #budget: Budget | undefined;
  #held: Held | undefined;
  #window: number = FETCH_LIMITS.window.start;
  #averageBytes = 2048;

  /** Without a budget the peer may be asked at any time. */
  constructor(budget: Budget | undefined) {
    this.#budget = budget;
  }

  /** The result of the last `hold`. */
  get held(): Held | undefined {
    return this.#held;
  }

  get hasRoom(): boolean {
    const { size } = this.inFlight;
    if (size >= this.#window) return false;
    return size === 0 || (size + 1) * this.#averageBytes <= FETCH_LIMITS.windowBytes;
  }

  succeeded(bytes: number): void {
    this.#window = Math.min(FETCH_LIMITS.window.most, this.#window + 1);
    this.#averageBytes += (bytes - this.#averageBytes) / 8;
  }

  failed(): void {
    this.#window = Math.max(FETCH_LIMITS.window.least, Math.floor(this.#window / 2));
  }

  took(bytes: number, now: number): void {
    this.#budget?.took(bytes, now);
  }

  /** Evaluates the quiet hours and the budget. */
  hold(now: number, date: number): void {
    const expected = this.inFlight.size * this.#averageBytes;
    const holding = this.#budget?.holding(expected, now, date);
    this.#held = holding && { why: holding.why, until: now + holding.waitMs };
  }

  /** Whether the hash may be requested from it, as of the last `hold`. */
  mayBeAsked(hash: AnnouncedName, now: number): boolean {
    return this.hasRoom && (this.#held === undefined || this.#ripeAt(hash) <= now);
  }

  /** The first free hash that may be requested from it, as of the last `hold`. */
  first(now: number, isFree: (hash: AnnouncedName) => boolean): AnnouncedName | undefined {
    if (this.ready.size === 0 || !this.hasRoom) return undefined;
    const { oldest } = this.ready;
    if (this.#held === undefined && oldest !== undefined && isFree(oldest)) return oldest;
    for (const hash of this.#held === undefined ? this.ready.keys() : this.#ripe(now)) {
      if (isFree(hash)) return hash;
    }
    return undefined;
  }

  /** When its fetch policy will allow a request that it forbids at `now`; Infinity for never. */
  opensAt(now: number): number {
    if (this.#held === undefined || this.ready.size === 0) return Infinity;
    for (const hash of this.hashes.keys()) {
      const ripeAt = this.#ripeAt(hash);
      if (ripeAt > now) return Math.min(this.#held.until, ripeAt);
    }
    return this.#held.until;
  }

  /** The ready hashes that are requested regardless of the policy (rule 10). */
  *#ripe(now: number): Generator<AnnouncedName> {
    for (const hash of this.hashes.keys()) {
      if (this.#ripeAt(hash) > now) return;
      if (this.ready.has(hash)) yield hash;
    }
  }

  #ripeAt(hash: AnnouncedName): number {
    return (this.hashes.get(hash) ?? Infinity) + FETCH_LIMITS.patienceMs;
  }
}
