/**
 * Whom to ask for which update. Announced hashes come in from all peers, GETUPDATE orders go out;
 * the manner is that of Bitcoin's transaction request tracker (src/txrequest.h). Pure: time and
 * chance are handed in.
 *
 * For each hash, each peer that announced it is a candidate, requested, or failed.
 *  1. At most one request a hash is out, at whichever peer. The others are alternates.
 *     Otherwise a well-connected gateway would fetch everything once per peer.
 *  2. The peer is drawn at random among the candidates that have room. "First announcer wins"
 *     would let one fast liar be asked for everything.
 *  3. A repeated announcement changes nothing, above all no deadline: a liar cannot keep a hash
 *     for itself by announcing it again and again.
 *  4. No progress for 10 s, an ERROR, or an update that was refused: the peer has failed for this
 *     hash and the next candidate is asked at once. Progress is bytes of an UPDATE from that peer;
 *     it moves the deadline, but to no more than 2 minutes after the request, so that a trickle
 *     does not hold a hash for ever.
 *  5. When all have failed, they become candidates again after 1, 5 and 30 minutes. After that the
 *     update is lost as far as we know, and whoever listed it is told so by the `lost` output.
 *     A new announcer is asked at once, whatever happened before; when it fails as well, the
 *     others' turn comes when it would have come, so that a liar cannot use up their turns.
 *  6. A disconnect forgets the peer's announcements and frees its requests.
 *  7. In flight a peer: 1 to 128, starting at 8, one more for a success and half for a failure, and
 *     at most 2 MiB by the average size seen; 256 over all peers. A slow peer is asked less.
 *  8. Tracked a peer: 5000 hashes. What is over is refused here and listed again later.
 *  9. Trouble of our own, as a full disk, is nobody's failure: what was delivered in vain becomes
 *     a candidate again, and for 5 s nothing is requested. Counted as a failure, an hour of it
 *     would end in `lost`.
 * 10. A peer with a `FetchPolicy` is not asked in its quiet hours nor over its budget;
 *     what is in flight comes in. What it announced 48 h ago is asked for regardless, since the
 *     body may expire 24 h later. Another announcer is asked as if this one were not there. A hash
 *     that only waits has not failed, and takes its share of rule 8.
 * 11. A hash whose update was delivered and is being stored is not requested, from nobody, until
 *     it is settled or deferred; a disconnect of the peer that delivered it changes nothing. The
 *     request counts as in flight until then, and has no deadline: a slow store slows requests.
 */
import type { UpdateHash } from "../update.js";
import { FETCH_LIMITS } from "./fetch-limits.js";
import { FetchPeer, type Held } from "./fetch-peer.js";
import { Budget, type FetchPolicy } from "./fetch-policy.js";

export type FetchOutput =
  | {
      readonly type: "request";
      readonly peer: string;
      readonly number: number;
      readonly hash: UpdateHash;
    }
  /** No answer in time: the peer was given up for this hash. */
  | { readonly type: "timed-out"; readonly peer: string; readonly hash: UpdateHash }
  /** Nobody who announced it delivers it: not asked for again unless it is announced anew. */
  | { readonly type: "lost"; readonly hash: UpdateHash; readonly peers: readonly string[] };

interface Candidate {
  number: number;
  state: "candidate" | "requested" | "failed";
}

interface Wanted {
  readonly candidates: Map<string, Candidate>;
  /** Rule 11. */
  isStoring: boolean;
  request: { readonly peer: string; readonly at: number; deadline: number } | undefined;
  /** How often all have failed. */
  rounds: number;
  retryAt: number | undefined;
}

export class FetchTracker {
  readonly #random: () => number;
  readonly #wanted = new Map<UpdateHash, Wanted>();
  readonly #peers = new Map<string, FetchPeer>();
  /** Hashes whose candidates have all failed. */
  readonly #resting = new Set<UpdateHash>();
  readonly #budgets: ReadonlyMap<string, Budget>;
  #inFlight = 0;
  /** When `advance` was called last. */
  #now = -Infinity;
  /** Nothing is requested before this. */
  #pausedUntil = -Infinity;

  /** `random` returns numbers in [0, 1); `fetchPolicy` are those of the peers that have any. */
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

  /** Why a peer is not asked for something that it has for us, as of the last `advance`. */
  heldAt(peer: string): Held | undefined {
    const state = this.#peers.get(peer);
    return state !== undefined && state.ready.size > 0 ? state.held : undefined;
  }

  /** When the oldest hash that we want of a peer was announced; undefined when there is none. */
  oldestAt(peer: string): number | undefined {
    const [oldest] = this.#peers.get(peer)?.hashes.values() ?? [];
    return oldest;
  }

  /**
   * The peer has `hash` under `number`, and announced it at `heardAt` or later. False when its
   * share is full: list it again later.
   */
  announced(peer: string, number: number, hash: UpdateHash, heardAt = 0): boolean {
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
    if (wanted.request === undefined && !wanted.isStoring) state.ready.add(hash);
    return true;
  }

  /** The update is here, or is wanted no more: forget it everywhere. */
  settled(hash: UpdateHash): void {
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
  }

  /** So many bytes of bodies came from the peer, good or not: they are taken off its budget. */
  took(peer: string, bytes: number, now: number): void {
    this.#peer(peer).took(bytes, now);
  }

  /** The peer delivered `bytes` for the hash; call `settled` when the update was good, too. */
  delivered(peer: string, bytes: number): void {
    this.#peer(peer).succeeded(bytes);
  }

  /**
   * The update that the peer delivered is to be stored: rule 11, until `settled` or `deferred`.
   * False when the same update from another peer is being stored already.
   */
  storing(peer: string, hash: UpdateHash): boolean {
    const wanted = this.#want(hash);
    if (wanted.request?.peer === peer) wanted.request.deadline = Infinity;
    if (wanted.isStoring) return false;
    wanted.isStoring = true;
    for (const one of wanted.candidates.keys()) this.#peer(one).ready.delete(hash);
    return true;
  }

  /** The peer could not deliver the hash, or delivered something wrong. */
  failed(peer: string, hash: UpdateHash, now: number): FetchOutput[] {
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

  /** The peer delivered the hash and we could not store it: rule 9. */
  deferred(peer: string, hash: UpdateHash, now: number): FetchOutput[] {
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

  /** The peer does not have the hash any more and will not get it again. */
  gone(peer: string, hash: UpdateHash, now: number): FetchOutput[] {
    const wanted = this.#wanted.get(hash);
    if (wanted === undefined || !this.#forget(peer, hash, wanted)) return [];
    if (wanted.candidates.size > 0 || wanted.isStoring) return this.#rest(hash, wanted, now);
    this.settled(hash);
    return [{ type: "lost", hash, peers: [peer] }];
  }

  /** Bytes of an UPDATE came from the peer: its requests are served in order, so all move. */
  progressed(peer: string, now: number): void {
    for (const hash of this.#peer(peer).inFlight) {
      const request = this.#wanted.get(hash)?.request;
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
   * Gives up what is overdue, wakes what has rested, makes what requests there is room for. `date`
   * is the wall clock, which only the quiet hours of peers are about.
   */
  advance(now: number, date = 0): FetchOutput[] {
    const outputs: FetchOutput[] = [];
    this.#now = now;
    for (const [peer, state] of this.#peers) {
      for (const hash of [...state.inFlight]) {
        const request = this.#wanted.get(hash)?.request;
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
      for (const hash of state.inFlight) {
        next = Math.min(next, this.#wanted.get(hash)?.request?.deadline ?? Infinity);
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
      this.#peer(peer).inFlight.add(hash);
      this.#peer(peer).hold(now, date);
      this.#inFlight += 1;
      outputs.push({ type: "request", peer, number: candidate.number, hash });
    }
  }

  get #isPaused(): boolean {
    return this.#pausedUntil !== -Infinity;
  }

  /** Of each peer that may be asked for something, the first such hash. */
  #askable(now: number): UpdateHash[] {
    return [...this.#peers.values()].flatMap((state) => state.first(now) ?? []);
  }

  /** Rule 5, when no candidate is left; otherwise the hash is ready for the next one. */
  #rest(hash: UpdateHash, wanted: Wanted, now: number): FetchOutput[] {
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

  #want(hash: UpdateHash): Wanted {
    const known = this.#wanted.get(hash);
    if (known !== undefined) return known;
    const candidates = new Map<string, Candidate>();
    const none = { request: undefined, retryAt: undefined };
    const wanted = { candidates, isStoring: false, rounds: 0, ...none };
    this.#wanted.set(hash, wanted);
    return wanted;
  }

  #makeReady(hash: UpdateHash, wanted: Wanted): void {
    if (wanted.isStoring) return;
    for (const [peer, candidate] of wanted.candidates) {
      if (candidate.state === "candidate") this.#peer(peer).ready.add(hash);
    }
  }

  #forget(peer: string, hash: UpdateHash, wanted: Wanted): boolean {
    const state = this.#peer(peer);
    if (wanted.request?.peer === peer) this.#release(hash, wanted);
    state.hashes.delete(hash);
    state.ready.delete(hash);
    return wanted.candidates.delete(peer);
  }

  #release(hash: UpdateHash, wanted: Wanted): void {
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
