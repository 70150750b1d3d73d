/**
 * The receiving half of the exchange: what each peer has (a `ReceiveState`), whom to ask for which
 * update (one fetch tracker), the gate, the append and the receive cursors. Facts come in from the
 * sessions; what is to be asked comes out of `orders`. Knows no connections.
 *
 *  1. Persist before announce: appended with the peer's cursor (`receive-batch.ts`), then told.
 *  2. An UPDATE is believed only when its key hashes to what was asked for. Otherwise it counts
 *     against the peer and the next announcer is asked: the thesis's attack (3) fails.
 *  3. Trouble of the log is nobody's failure: what could not be stored is asked for again later.
 *  4. A cursor that moved over known updates only is stored late (`stored-cursors.ts`).
 *  5. What policy declines by the announced fingerprint is behind us at once and is not fetched.
 *  6. A large UPDATE is checked in slices (`checks.ts`); the peer is not read on meanwhile.
 */
import { admittingAnnounced } from "../admit.js";
import type { Clock } from "../clock.js";
import type { Diagnostics } from "../diagnostics.js";
import { Refusal, type RefusalReason, refusalKind } from "../errors.js";
import type { FetchPolicy } from "../kx/fetch-policy.js";
import type { FetchOutput } from "../kx/fetch-tracker.js";
import { FetchTracker } from "../kx/fetch-tracker.js";
import type { Announcement } from "../kx/messages.js";
import type { UpdateRequest } from "../kx/open-requests.js";
import type { ReceiveOutput } from "../kx/receive-output.js";
import { ReceiveState } from "../kx/receive-state.js";
import type { UpdateLog } from "../log/update-log.js";
import type { LogGuard } from "../log-guard.js";
import type { TransferableKey } from "../openpgp/key.js";
import type { Rules } from "../policy.js";
import type { UpdateHash } from "../update.js";
import { AnnouncedSince } from "./announced-since.js";
import { type Check, Checks } from "./checks.js";
import type { PeerOrder, ReceivingStatus } from "./connection.js";
import { MissingUpdates } from "./missing-updates.js";
import type { PeerHoldings } from "./peer-holdings.js";
import { ReceiveBatch } from "./receive-batch.js";
import { StoredCursors } from "./stored-cursors.js";

/** What policy refuses is not asked for again for a day, and then it may have changed. */
const REFUSED_MS = 24 * 60 * 60_000;

/** What the exchange was told at its birth. */
interface Given {
  readonly rules: Rules;
  readonly holdings: PeerHoldings;
  readonly fetchPolicy: ReadonlyMap<string, FetchPolicy>;
}

interface Peer {
  readonly name: string;
  readonly receiveState: ReceiveState;
  readonly batch: ReceiveBatch;
  known: number;
}

export class Receiving {
  readonly #log: UpdateLog;
  readonly #guard: LogGuard;
  /** Dates what goes into the log and draws chance; `now` everywhere else is monotonic time. */
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;
  readonly #rules: Rules;
  readonly #holdings: PeerHoldings;
  readonly #tracker: FetchTracker;
  readonly #missing: MissingUpdates;
  readonly #cursors: StoredCursors;
  readonly #since: AnnouncedSince;
  readonly #peers = new Map<string, Peer>();
  readonly #checks: Checks;
  #orders: PeerOrder[] = [];

  /** Reads the stored cursors. Throws `Trouble`. */
  constructor(
    peers: readonly string[],
    log: UpdateLog,
    guard: LogGuard,
    clock: Clock,
    diagnostics: Diagnostics,
    { rules, holdings, fetchPolicy }: Given,
  ) {
    this.#log = log;
    this.#rules = rules;
    this.#holdings = holdings;
    this.#guard = guard;
    this.#clock = clock;
    this.#diagnostics = diagnostics;
    this.#missing = new MissingUpdates(log, guard, diagnostics);
    this.#checks = new Checks(() => clock.monotonic());
    this.#cursors = new StoredCursors(log, guard, this.#missing);
    this.#since = new AnnouncedSince(fetchPolicy.keys(), log, guard, clock);
    this.#tracker = new FetchTracker(() => clock.random(), fetchPolicy);
    for (const name of peers) {
      const known = (one: Announcement) => this.#settle(one, name);
      const receiveState = new ReceiveState(this.#cursors.read(name), known);
      this.#peers.set(name, { name, receiveState, batch: new ReceiveBatch(), known: 0 });
    }
  }

  /** The greeting of a peer that was not connected is done. */
  established(peer: string, newest: Announcement | undefined, now: number): void {
    this.#follow(peer, (receiveState) => receiveState.established(newest, now), now);
  }

  /** Another connection of the peer is used from now on; with its greeting, if it is new. */
  moved(
    peer: string,
    greeting: { readonly newest: Announcement | undefined } | undefined,
    now: number,
  ): void {
    this.#follow(peer, (receiveState) => receiveState.moved(greeting, now), now);
  }

  /** The last connection of the peer is gone. */
  disconnected(peer: string, now: number): void {
    this.#look(peer, now);
    this.#store(this.#peer(peer), now);
    this.#peer(peer).receiveState.disconnected();
    this.#take(this.#tracker.disconnected(peer, now), now);
  }

  announced(peer: string, announcements: readonly Announcement[], now: number): void {
    this.#follow(peer, (receiveState) => receiveState.announced(announcements, now), now);
  }

  listed(
    peer: string,
    { low, high }: { readonly low: number; readonly high: number },
    announcements: readonly Announcement[],
    now: number,
  ): void {
    this.#look(peer, now);
    const since = this.#since.of(peer);
    const input = (receiveState: ReceiveState) =>
      receiveState.listed(low, high, announcements, now);
    this.#follow(peer, input, now, since);
  }

  listFailed(peer: string, now: number): void {
    this.#follow(peer, (receiveState) => receiveState.listFailed(now), now);
  }

  /** Lists something, to hear whether the peer lives. */
  probe(peer: string, now: number): void {
    this.#follow(peer, (receiveState) => receiveState.probe(now), now);
  }

  /** Lists all that the peer still announces, as if we had never known it. */
  startOver(peer: string, now: number): void {
    this.#follow(peer, (receiveState) => receiveState.startOver(now), now);
  }

  /** Bytes of what was asked for came in. */
  progressed(peer: string, now: number): void {
    this.#tracker.progressed(peer, now);
  }

  /** An UPDATE that was asked for: checked, a large one later, and stored by `store`. */
  delivered(
    peer: string,
    { hash }: UpdateRequest,
    { announcement, armor }: { readonly announcement: Announcement; readonly armor: Uint8Array },
    now: number,
  ): void {
    this.#tracker.took(peer, armor.length, now);
    const { fingerprint } = announcement;
    const judge = (key: TransferableKey) => this.#rules.judge(key);
    const steps = admittingAnnounced(armor, { hash, fingerprint }, judge);
    this.#checked(this.#checks.begin({ peer, hash, bytes: armor.length, steps }), now);
  }

  /** Whether nothing more should be read from a peer, since what it delivered is being checked. */
  isChecking(peer: string): boolean {
    return this.#checks.isBusy(peer);
  }

  #checked(checks: readonly Check[], now: number): void {
    for (const { peer, hash, bytes, outcome } of checks) {
      if (outcome instanceof Refusal) {
        const { reason, message: problem } = outcome;
        const isUnwanted = refusalKind(reason).kx === "update-refused";
        if (isUnwanted) this.#refuse(peer, hash, { reason, problem }, now);
        else this.failed(peer, hash, { reason, problem }, now);
        continue;
      }
      this.#tracker.delivered(peer, bytes);
      this.#peer(peer).batch.add({ update: outcome, bytes }, now);
    }
  }

  /** The update is the one that was announced and is not wanted: no fault of the peer's. */
  #refuse(
    peer: string,
    hash: UpdateHash,
    verdict: { readonly reason: RefusalReason; readonly problem: string },
    now: number,
  ): void {
    this.#diagnostics.report("update-refused", { neighbour: peer, hash, ...verdict });
    const until = this.#clock.now() + REFUSED_MS;
    this.#guard.run(() => this.#log.refusals.add(hash, verdict.reason, until));
    this.held([hash], now);
  }

  /** The peer answered a request with something else than the update. */
  failed(
    peer: string,
    hash: UpdateHash,
    fault: { readonly problem: string; readonly reason?: RefusalReason },
    now: number,
  ): void {
    const fingerprint = this.#peer(peer).receiveState.announcementOf(hash)?.fingerprint;
    this.#diagnostics.report("update-wrong", { neighbour: peer, hash, fingerprint, ...fault });
    this.#take(this.#tracker.failed(peer, hash, now), now);
  }

  /** The peer does not have an update any more. */
  gone(peer: string, { number, hash }: UpdateRequest, now: number): void {
    const { receiveState } = this.#peer(peer);
    const fingerprint = receiveState.announcementOf(hash)?.fingerprint;
    this.#diagnostics.report("update-gone", { neighbour: peer, number, hash, fingerprint });
    this.#take(this.#tracker.gone(peer, hash, now), now);
    this.#follow(peer, () => receiveState.lost(hash, now), now);
  }

  /** Stores what the peer has delivered, if it is time to. */
  store(name: string, now: number): void {
    const peer = this.#peer(name);
    const onTheirWay = this.#tracker.inFlightAt(name) - peer.batch.size;
    if (peer.batch.isDue(onTheirWay, now)) this.#store(peer, now);
  }

  /** Rule 1. */
  #store({ name, receiveState, batch }: Peer, now: number): void {
    const fetched = batch.take();
    if (fetched.length === 0) return;
    const hashes = new Set(fetched.map(({ update }) => update.hash));
    const at = this.#missing.flush() ? receiveState.cursorAfter(hashes) : undefined;
    const origin = { neighbour: name, transport: "kx" } as const;
    const receivedAt = this.#clock.now();
    const arrivals = fetched.map(({ update }) => ({ update, origin, trail: [], receivedAt }));
    const outcomes = this.#guard.run(() => this.#log.append(arrivals, at && { peer: name, at }));
    if (outcomes === undefined) {
      for (const hash of hashes) this.#tracker.deferred(name, hash, now);
      return;
    }
    if (at !== undefined) this.#cursors.storedWith(name, at);
    for (const [index, { update, bytes }] of fetched.entries()) {
      const outcome = outcomes[index];
      if (outcome === undefined) continue;
      const { hash, fingerprint } = update;
      const fields = { seq: outcome.seq, hash, fingerprint, neighbour: name, via: "kx" };
      if (outcome.outcome === "duplicate") {
        this.#diagnostics.report("duplicate", fields);
        const again = { fingerprint, seq: outcome.seq, body: update.body, from: name };
        this.#guard.run(() => this.#log.cameAgain([again], receivedAt));
      } else {
        this.#diagnostics.report("accepted", { ...fields, bytes });
        if (outcome.collision) this.#diagnostics.report("collision", fields);
      }
    }
    this.held(hashes, now);
  }

  /** These updates are in the log now, whichever way they came: behind us with every peer. */
  held(hashes: Iterable<UpdateHash>, now: number): void {
    for (const hash of hashes) {
      this.#tracker.settled(hash);
      for (const { name, receiveState } of this.#peers.values()) {
        if (receiveState.announcementOf(hash)) this.#holdings.announced(name, hash);
        this.#follow(name, () => receiveState.settled(hash, now), now);
      }
    }
  }

  /** Does what is due. */
  tick(now: number): void {
    this.#checked(this.#checks.goOn(), now);
    for (const { name, receiveState } of this.#peers.values()) {
      this.store(name, now);
      this.#follow(name, () => receiveState.tick(now), now);
    }
    if (now >= this.#cursors.dueAt) this.storeCursors(now);
  }

  /** What is to be asked now; each order is handed out once. */
  orders(now: number): PeerOrder[] {
    this.#take(this.#tracker.advance(now, this.#clock.now()), now);
    const orders = this.#orders;
    this.#orders = [];
    return orders;
  }

  /** When `tick` or `orders` is due; Infinity for never. */
  nextAt(): number {
    const others = Math.min(this.#cursors.dueAt, this.#checks.dueAt);
    let next = Math.min(this.#tracker.nextAt() ?? Infinity, others);
    for (const { receiveState, batch } of this.#peers.values()) {
      next = Math.min(next, receiveState.nextAt() ?? Infinity, batch.dueAt);
    }
    return next;
  }

  /** Stores the cursors that have moved; what fails is tried again. */
  storeCursors(now: number): void {
    const peers = [...this.#peers.values()];
    this.#cursors.store(
      peers.map(({ name, receiveState }) => [name, receiveState.cursor]),
      now,
    );
  }

  status(peer: string): ReceivingStatus {
    const { receiveState, known } = this.#peer(peer);
    const held = this.#tracker.heldAt(peer);
    const offset = this.#clock.now() - this.#clock.monotonic();
    return {
      cursor: receiveState.cursor?.number,
      newest: receiveState.newest,
      missing: receiveState.missing,
      inFlight: this.#tracker.inFlightAt(peer),
      known,
      held: held && { why: held.why, until: held.until + offset },
    };
  }

  #follow(
    name: string,
    input: (receiveState: ReceiveState) => readonly ReceiveOutput[],
    now: number,
    heardAt = now,
  ): void {
    for (const output of input(this.#peer(name).receiveState)) {
      switch (output.type) {
        case "list":
          this.#orders.push({ ...output, peer: name });
          break;
        case "want": {
          const { number, hash } = output.announcement;
          this.#tracker.announced(name, number, hash, heardAt);
          break;
        }
        case "cursor":
          if (output.at === undefined) this.#cursors.forget(name);
          else this.#cursors.moved(name, output.at, now);
          break;
        case "gap": {
          const { low, high } = output;
          this.#missing.gap(name, low, high, this.#clock.now());
          break;
        }
        case "reset":
          this.#diagnostics.report("peer-reset", { neighbour: name, reason: output.reason });
          this.#take(this.#tracker.disconnected(name, now), now);
          this.#since.forget(name);
          break;
        default:
          output satisfies never;
      }
    }
  }

  #take(outputs: readonly FetchOutput[], now: number): void {
    for (const output of outputs) {
      const { hash } = output;
      switch (output.type) {
        case "request":
          this.#orders.push({ type: "get", peer: output.peer, number: output.number, hash });
          break;
        case "timed-out":
          this.#diagnostics.report("fetch-timeout", { neighbour: output.peer, hash });
          break;
        case "lost":
          this.#lost(hash, output.peers, now);
          break;
        default:
          output satisfies never;
      }
    }
  }

  #lost(hash: UpdateHash, peers: readonly string[], now: number): void {
    const peersNow = [...this.#peers.values()];
    const listed = peersNow.flatMap((peer) => peer.receiveState.announcementOf(hash, true) ?? []);
    this.#missing.lost(hash, listed, peers, this.#clock.now());
    for (const { name, receiveState } of this.#peers.values()) {
      this.#follow(name, () => receiveState.lost(hash, now), now);
    }
  }

  /** Notes since when something of the peer's may be waiting. */
  #look(peer: string, now: number): void {
    const { newest, cursor } = this.#peer(peer).receiveState;
    const hasAll = newest === cursor?.number;
    this.#since.look(peer, this.#tracker.oldestAt(peer), hasAll, now);
  }

  /** Counts and reports an update that needs no fetching, known or not wanted; false if it does. */
  #settle({ hash, fingerprint }: Announcement, name: string): boolean {
    const isKnown = this.#guard.run(
      () => this.#log.has(hash) || this.#log.refusals.holds(hash, this.#clock.now()),
    );
    if (isKnown) this.#peer(name).known += 1;
    if (isKnown) {
      this.#holdings.announced(name, hash);
      this.#guard.run(() => this.#log.announcedAgain(hash, name, this.#clock.now()));
    }
    if (isKnown || fingerprint === undefined) return isKnown ?? false;
    // In trouble we rather fetch it in vain than miss it.
    const refusal = this.#guard.run(() => this.#rules.declines(fingerprint));
    if (refusal === undefined) return false;
    const { reason } = refusal;
    this.#diagnostics.report("update-declined", { neighbour: name, hash, fingerprint, reason });
    return true;
  }

  #peer(name: string): Peer {
    const peer = this.#peers.get(name);
    if (peer === undefined) throw new Error(`no peer ${name}`);
    return peer;
  }
}
