/**
 * The receiving part of the exchange: what each peer has (`ReceiveState`), which update is fetched
 * from which peer (`FetchTracker`), the checks of what arrives, the batches to be stored, and the
 * receive cursors. Sessions report facts to it; `orders` returns what is to be asked. It has no
 * connections. `now` is milliseconds of a monotonic clock in every method. The `Clock` among the
 * components gives dates, for the log, the operator and the quiet hours, random numbers, and the
 * length of a slice of checking.
 *
 *  1. Store before announce. What a peer delivers is gathered (`receive-batch.ts`) and returned by
 *     `stores`, with the cursor that it moves. The outcome comes later, as `stored` or
 *     `storeFailed`. Until then the updates count as missing, and they are not requested again.
 *     Each peer has at most one store under way, so that no cursor overtakes the updates below it.
 *  2. An UPDATE is accepted only if its key hashes to the hash that was asked for. Otherwise the
 *     peer has failed for that hash, and the next announcer is asked (attack 3 of the thesis).
 *     Then policy drops packets of it. What is left is appended under its own hash, and only when
 *     it has an unknown packet; the log remembers the announced hash in either case.
 *  3. A failure of the log is not a failure of the peer: what could not be stored is requested
 *     again later.
 *  4. A cursor that moved over known updates only is stored late (`stored-cursors.ts`).
 *  5. What policy declines by the announced fingerprint is resolved at once and not fetched.
 *  6. A large UPDATE is checked in slices (`checks.ts`); the peer is not read meanwhile.
 */
import { admittingAnnounced } from "../admit.js";
import type { Clock } from "../clock.js";
import type { Diagnostics } from "../diagnostics.js";
import { Refusal, type RefusalReason, refusalKind, type Trouble } from "../errors.js";
import type { FetchPolicy } from "../kx/fetch-policy.js";
import type { FetchOutput } from "../kx/fetch-tracker.js";
import { FetchTracker } from "../kx/fetch-tracker.js";
import type { Announcement } from "../kx/messages.js";
import type { UpdateRequest } from "../kx/open-requests.js";
import { positionNear } from "../kx/positions.js";
import { Receipts } from "../kx/receipts.js";
import type { Greeting, ReceiveOutput, WirePosition } from "../kx/receive-state.js";
import { ReceiveState } from "../kx/receive-state.js";
import type { Body } from "../kx/session.js";
import type { Batch } from "../log/append-port.js";
import type { CursorMove } from "../log/cursors.js";
import type { Appended, Entry, UpdateLog } from "../log/update-log.js";
import type { LogGuard } from "../log-guard.js";
import type { TransferableKey } from "../openpgp/key.js";
import { findingNews } from "../openpgp/news.js";
import type { Rules } from "../policy.js";
import type { Steps } from "../steps.js";
import { type AnnouncedName, nameOf, namesIn, type PacketName } from "../update.js";
import { AnnouncedSince, type SinceLog } from "./announced-since.js";
import { type Check, Checks } from "./checks.js";
import type { PeerOrder, ReceivingStatus } from "./connection.js";
import type { CountedUpdates } from "./counted-updates.js";
import { type MissingLog, MissingUpdates } from "./missing-updates.js";
import type { HeldEntry, PeerHoldings } from "./peer-holdings.js";
import { type Fetched, ReceiveBatch } from "./receive-batch.js";
import { type CursorLog, StoredCursors } from "./stored-cursors.js";

/** An update that policy refused is not requested for a day; then the policy may have changed. */
const REFUSED_MS = 24 * 60 * 60_000;

/**
 * Announcements of known updates are counted together for so long: a report for each costs as much.
 */
const SAVED_MAIL_MS = 1000;

export interface ReceivingComponents {
  readonly log: ReceivingLog;
  readonly guard: LogGuard;
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
  readonly rules: Rules;
  readonly holdings: PeerHoldings;
  readonly counted: CountedUpdates;
}

/** What receiving uses of the log. The caller stores the batches of `stores`. */
export type ReceivingLog = CursorLog &
  MissingLog &
  SinceLog &
  Pick<UpdateLog, "announcedAgain" | "cameAgain" | "heldAs" | "packets" | "refusals"> &
  Pick<UpdateLog, "together" | "variants">;

export interface ReceivingSettings {
  readonly peers: readonly string[];
  readonly fetchPolicy: ReadonlyMap<string, FetchPolicy>;
}

/** A batch to be submitted to the append port; `id` tells what its outcome is about. */
export interface Store extends Batch {
  readonly id: number;
}

/** A store whose outcome has not come yet. */
interface OpenStore {
  readonly id: number;
  readonly fetched: readonly Fetched[];
  readonly cursor: CursorMove | undefined;
  /** The cursor in memory when it was handed out. */
  readonly from: WirePosition | undefined;
  /** Whether the cursor was reset since then. */
  isStale: boolean;
}

interface Peer {
  readonly name: string;
  receiveState: ReceiveState;
  readonly batch: ReceiveBatch;
  readonly receipts: Receipts;
  /**
   * The position up to which the peer's announcements no longer count as saved mails: it is raised
   * by each announcement, and a backfill does not lower it. Undefined, so that nothing counts,
   * before the first greeting of a peer without a cursor and after a restart of its numbering.
   */
  heard: number | undefined;
  /** The store that is under way. */
  store: OpenStore | undefined;
  /** Whether the cursor is to be stored as soon as no store is under way. */
  isCursorDue: boolean;
  /** Whether it was ordered to start over, and the cursor on disk is the one from before. */
  isOrderOpen: boolean;
}

export class Receiving {
  readonly #log: ReceivingLog;
  readonly #guard: LogGuard;
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;
  readonly #rules: Rules;
  readonly #holdings: PeerHoldings;
  readonly #counted: CountedUpdates;
  readonly #tracker: FetchTracker;
  readonly #missing: MissingUpdates;
  readonly #cursors: StoredCursors;
  readonly #since: AnnouncedSince;
  readonly #peers = new Map<string, Peer>();
  readonly #checks: Checks;
  /** Announcements of known updates that were not reported yet, by peer. */
  readonly #savedMail = new Map<string, { readonly numbers: number; readonly bytes: number }>();
  /** When they may be reported: a second after the last report. */
  #savedMailAt = -Infinity;
  #orders: PeerOrder[] = [];
  /** Requests for updates that are sent with the next orders, by peer. */
  readonly #requests = new Map<string, UpdateRequest[]>();
  #stores: Store[] = [];
  #lastStore = 0;

  /** Reads the stored cursors. Throws `Trouble`. */
  constructor(components: ReceivingComponents, { peers, fetchPolicy }: ReceivingSettings) {
    const { log, guard, clock, diagnostics, rules, holdings, counted } = components;
    this.#log = log;
    this.#rules = rules;
    this.#holdings = holdings;
    this.#counted = counted;
    this.#guard = guard;
    this.#clock = clock;
    this.#diagnostics = diagnostics;
    this.#missing = new MissingUpdates(components);
    this.#checks = new Checks(() => clock.monotonic());
    this.#cursors = new StoredCursors(log);
    this.#since = new AnnouncedSince(components, fetchPolicy.keys());
    this.#tracker = new FetchTracker(() => clock.random(), fetchPolicy);
    for (const name of peers) {
      const known = (one: Announcement) => this.#isResolved(one, name);
      const cursor = this.#cursors.read(name);
      const receiveState = new ReceiveState(cursor, known);
      const [batch, receipts] = [new ReceiveBatch(), new Receipts()];
      const none = { store: undefined, isCursorDue: false, isOrderOpen: false };
      const heard = cursor?.number;
      this.#peers.set(name, { name, receiveState, batch, receipts, heard, ...none });
    }
  }

  /**
   * A peer without a connection is about to be greeted: another gateway of the site may have moved
   * its cursor since. A cursor of our own that is not stored yet counts.
   */
  refresh(name: string): void {
    const peer = this.#peer(name);
    const own = peer.receiveState.cursor;
    if (peer.store !== undefined || this.#cursors.move(name, own) !== undefined) return;
    const cursor = this.#guard.run(() => ({ at: this.#cursors.read(name) }));
    if (cursor === undefined || this.#cursors.move(name, own) === undefined) return;
    const known = (one: Announcement) => this.#isResolved(one, name);
    peer.receiveState = new ReceiveState(cursor.at, known);
    peer.heard = cursor.at?.number;
  }

  /** Whether the peer has named its log, now or before a restart: it spoke KX/1.1. */
  hasNamedLog(peer: string): boolean {
    return this.#peer(peer).receiveState.isNamed;
  }

  /** Another connection of the peer is used; `isOn` if the peer reads receipts on it. */
  receipts(peer: string, isOn: boolean): void {
    this.#peer(peer).receipts.begin(isOn);
  }

  /** The greeting of a peer that was not connected is done. */
  established(peer: string, { newest, log }: Greeting, now: number): void {
    this.#peer(peer).heard ??= newest?.number ?? 0;
    this.#follow(peer, (receiveState) => receiveState.established(newest, now, log), now);
  }

  /** Another connection of the peer is used from now on; `greeting` is given if it is new. */
  moved(peer: string, greeting: Greeting | undefined, now: number): void {
    this.#follow(peer, (receiveState) => receiveState.moved(greeting, now), now);
  }

  /** The last connection of the peer ended. */
  disconnected(peer: string, now: number): void {
    this.#look(peer, now);
    this.#submit(this.#peer(peer), now);
    this.#peer(peer).receiveState.disconnected();
    this.receipts(peer, false);
    this.#take(this.#tracker.disconnected(peer, now), now);
  }

  announced(peer: string, announcements: readonly Announcement[], now: number): void {
    this.#follow(
      peer,
      (receiveState) => this.#log.together(() => receiveState.announced(announcements, now)),
      now,
    );
  }

  listed(
    peer: string,
    { low, high }: { readonly low: number; readonly high: number },
    announcements: readonly Announcement[],
    now: number,
  ): void {
    this.#look(peer, now);
    const since = this.#since.of(peer);
    // Of each announcement the log is asked several times.
    const input = (receiveState: ReceiveState) =>
      this.#log.together(() => receiveState.listed(low, high, announcements, now));
    this.#follow(peer, input, now, since);
  }

  listFailed(peer: string, now: number): void {
    this.#follow(peer, (receiveState) => receiveState.listFailed(now), now);
  }

  /** Lists something, to find out whether the peer answers. */
  probe(peer: string, now: number): void {
    this.#follow(peer, (receiveState) => receiveState.probe(now), now);
  }

  /**
   * Forgets the cursor and lists everything that the peer still announces. The order outlives a
   * crash when `isOrderOpen` is false.
   */
  startOver(name: string, now: number): void {
    const peer = this.#peer(name);
    this.#follow(name, (receiveState) => receiveState.startOver(now), now);
    peer.isOrderOpen = true;
    this.#closeOrder(peer);
  }

  /** Whether an order to start over would be lost by a crash now. */
  isOrderOpen(peer: string): boolean {
    return this.#peer(peer).isOrderOpen;
  }

  /** An order is carried out when what is on disk of the cursor is what is in memory. */
  #closeOrder(peer: Peer): void {
    if (peer.store?.cursor !== undefined) return;
    if (this.#cursors.move(peer.name, peer.receiveState.cursor) !== undefined) return;
    peer.isOrderOpen = false;
  }

  /** Bytes of a requested update arrived. */
  progressed(peer: string, now: number): void {
    this.#tracker.progressed(peer, now);
  }

  /** A requested UPDATE arrived. It is checked, in slices if it is large, and then gathered. */
  delivered(peer: string, { hash, digest }: UpdateRequest, body: Body, now: number): void {
    const bytes = body.bytes.length;
    this.#tracker.took(peer, bytes, now);
    const steps = admittingAnnounced(
      body,
      { hash, digest, fingerprint: body.fingerprint },
      {
        judge: (key) => this.#rules.judge(key),
        pruning: this.#rules.pruning,
        cut: (key) => this.#news(key),
      },
    );
    const announced = nameOf({ hash, digest });
    this.#checked(this.#checks.begin({ peer, announced, bytes, steps }), now);
  }

  /** The news of a key that is over a limit as a whole; all of it when the log cannot be read. */
  *#news(key: TransferableKey): Steps<TransferableKey | undefined> {
    const isKnown = (name: PacketName) =>
      this.#guard.run(() => this.#log.packets.lastSeen(name)) !== undefined;
    return yield* findingNews(key, isKnown, this.#clock.now());
  }

  /** Whether the peer should not be read, because an update of it is being checked. */
  isChecking(peer: string): boolean {
    return this.#checks.isBusy(peer);
  }

  #checked(checks: readonly Check[], now: number): void {
    for (const { peer, announced, bytes, outcome } of checks) {
      if (outcome instanceof Refusal) {
        const { reason, message: problem } = outcome;
        const isUnwanted = refusalKind(reason).kx === "update-refused";
        if (isUnwanted) this.#refuse(peer, announced, { reason, problem }, now);
        else this.failed(peer, announced, { reason, problem }, now);
        continue;
      }
      this.#tracker.delivered(peer, bytes);
      // The same update from another peer may be on its way to the log.
      if (!this.#tracker.storing(peer, announced)) continue;
      const { name, update, loss } = outcome;
      const { hash } = name;
      if (loss !== undefined) {
        const { fingerprint, packets, why } = loss;
        const told = { reason: why.reason, problem: why.message };
        this.#diagnostics.report("pruned", {
          neighbour: peer,
          hash,
          fingerprint,
          packets,
          ...told,
        });
      }
      const isCut = update.hash !== hash;
      const cutFrom = isCut ? { ...name, reason: loss?.why.reason ?? "" } : undefined;
      this.#peer(peer).batch.add({ announced, name, update, cutFrom, bytes }, now);
    }
  }

  /** The update is the announced one and policy refuses it: not a failure of the peer. */
  #refuse(
    peer: string,
    announced: AnnouncedName,
    verdict: { readonly reason: RefusalReason; readonly problem: string },
    now: number,
  ): void {
    const { hash } = namesIn(announced);
    this.#diagnostics.report("update-refused", { neighbour: peer, hash, ...verdict });
    const until = this.#clock.now() + REFUSED_MS;
    this.#settledWithout(announced);
    this.#guard.run(() => this.#log.refusals.add(announced, verdict.reason, until));
    this.held(announced, now);
  }

  /** The peer answered a request with something other than the update. */
  failed(
    peer: string,
    announced: AnnouncedName,
    fault: { readonly problem: string; readonly reason?: RefusalReason },
    now: number,
  ): void {
    const { hash } = namesIn(announced);
    const fingerprint = this.#peer(peer).receiveState.announcementOf(announced)?.fingerprint;
    this.#diagnostics.report("update-wrong", { neighbour: peer, hash, fingerprint, ...fault });
    this.#take(this.#tracker.failed(peer, announced, now), now);
  }

  /** The peer no longer has an update. */
  gone(peer: string, { number, hash, digest }: UpdateRequest, now: number): void {
    const { receiveState, receipts } = this.#peer(peer);
    const name = nameOf({ hash, digest });
    for (const one of receiveState.numbersOf(name)) receipts.without(one);
    const fingerprint = receiveState.announcementOf(name)?.fingerprint;
    this.#diagnostics.report("update-gone", { neighbour: peer, number, hash, fingerprint });
    this.#take(this.#tracker.gone(peer, name, now), now);
    this.#follow(peer, () => receiveState.lost(name, now), now);
  }

  /** Hands out what the peer has delivered, if it is time to. */
  store(name: string, now: number): void {
    this.#submitDue(this.#peer(name), now);
  }

  #submitDue(peer: Peer, now: number): void {
    const { name, batch, store } = peer;
    if (store !== undefined) return;
    const onTheirWay = this.#tracker.inFlightAt(name) - batch.size;
    if (peer.isCursorDue || batch.isDue(onTheirWay, now)) this.#submit(peer, now);
  }

  /** Hands out all that the peer has delivered, unless a store is under way: then after it. */
  #submit(peer: Peer, now: number): void {
    if (peer.store !== undefined) return;
    const { name, receiveState } = peer;
    const fetched = peer.batch.take();
    const cursor = this.#cursorWith(fetched, peer, now);
    peer.isCursorDue = false;
    if (fetched.length === 0 && cursor === undefined) return;
    this.#lastStore += 1;
    const id = this.#lastStore;
    peer.store = { id, fetched, cursor, from: receiveState.cursor, isStale: false };
    const origin = { neighbour: name, transport: "kx" } as const;
    const receivedAt = this.#clock.now();
    const arrivals = fetched.map(({ update, cutFrom }) => {
      return { update, cutFrom, origin, trail: [], receivedAt };
    });
    this.#stores.push({ id, arrivals, cursor });
  }

  /** The cursor to be stored with updates. What it has passed as lost must be on disk before. */
  #cursorWith(fetched: readonly Fetched[], peer: Peer, now: number): CursorMove | undefined {
    const { name, receiveState, isCursorDue } = peer;
    if (!this.#missing.flush()) {
      if (isCursorDue) this.#cursors.failed(now);
      return undefined;
    }
    const at = receiveState.cursorAfter(new Set(fetched.map(({ announced }) => announced)));
    if (at !== undefined) return { peer: name, at };
    return isCursorDue ? this.#cursors.move(name, receiveState.cursor) : undefined;
  }

  /** The batches to be submitted now; each is returned once; its outcome is an input. */
  stores(): Store[] {
    const stores = this.#stores;
    this.#stores = [];
    return stores;
  }

  /** A store was committed; one outcome for each arrival. */
  stored(id: number, outcomes: readonly Appended[], now: number): void {
    const peer = this.#close(id, now);
    if (peer === undefined) return;
    const { name, receiveState } = peer.owner;
    const { fetched, cursor, from, isStale } = peer.store;
    if (cursor !== undefined) this.#cursors.stored(cursor);
    for (const [index, { update, bytes }] of fetched.entries()) {
      const outcome = outcomes[index];
      if (outcome === undefined) continue;
      const { hash, fingerprint } = update;
      const about = { hash, fingerprint, neighbour: name, via: "kx" };
      if (outcome.outcome === "duplicate") {
        const { seq } = outcome;
        const reason = seq === undefined ? "no-news" : undefined;
        this.#diagnostics.report("duplicate", { ...about, seq, reason });
        const again = { fingerprint, seq, body: update.body, from: name };
        this.#guard.run(() => this.#log.cameAgain([again], this.#clock.now()));
      } else {
        const fields = { ...about, seq: outcome.seq };
        this.#diagnostics.report("accepted", { ...fields, bytes });
        if (outcome.collision) this.#diagnostics.report("collision", fields);
      }
    }
    for (const [index, { name: named, update, cutFrom }] of fetched.entries()) {
      const outcome = outcomes[index];
      // Of an update that policy cut, perhaps nothing is held that was news: no claim is made.
      if (cutFrom !== undefined && cutFrom.reason !== "") this.#settledWithout(nameOf(named));
      // What was appended as it came is not looked up again.
      const isWhole = outcome?.outcome === "appended" && update.hash === named.hash;
      const origin = { neighbour: name, transport: "kx" } as const;
      const entries = isWhole ? [{ hash: update.hash, origin, seq: outcome.seq }] : undefined;
      if (outcome !== undefined) this.held(nameOf(named), now, entries);
    }
    if (cursor !== undefined) {
      const isOurs = !isStale && receiveState.cursor === from;
      if (cursor.at !== undefined && isOurs) receiveState.reached(cursor.at);
      // It may have moved on, or have been reset, since the store was handed out.
      this.#cursors.moved(name, receiveState.cursor, now);
      if (!isStale) peer.owner.isOrderOpen = false;
    }
    this.#closeOrder(peer.owner);
    this.#submitDue(peer.owner, now);
  }

  /** A store failed: rule 3. Parts of it that are in the log come back as news of the log. */
  storeFailed(id: number, trouble: Trouble, now: number): void {
    const peer = this.#close(id, now);
    if (peer === undefined) return;
    this.#guard.tell(trouble);
    const { fetched, cursor } = peer.store;
    for (const { announced } of fetched) {
      this.#take(this.#tracker.deferred(peer.owner.name, announced, now), now);
    }
    if (cursor !== undefined) this.#cursors.failed(now);
    this.#closeOrder(peer.owner);
    this.#submitDue(peer.owner, now);
  }

  /** The store that the outcome is about is over. */
  #close(id: number, now: number): { readonly owner: Peer; readonly store: OpenStore } | undefined {
    const owner = [...this.#peers.values()].find((peer) => peer.store?.id === id);
    const store = owner?.store;
    if (owner === undefined || store === undefined) return undefined;
    owner.store = undefined;
    owner.batch.restart(now);
    return { owner, store };
  }

  /**
   * An update is in the log, by any road, or policy refuses it: resolved for every peer. `entries`
   * are those of `heldAs`, if the caller has them: each look-up is two statements.
   */
  held(held: AnnouncedName, now: number, entries?: readonly HeldEntry[]): void {
    const { hash } = namesIn(held);
    // Peers of KX/1.0 announced the same by its MD5.
    this.#settled(hash, { held, entries }, now);
    if (hash !== held) this.#settled(held, { held, entries }, now);
  }

  #settled(
    announced: AnnouncedName,
    { held, entries }: { held: AnnouncedName; entries: readonly HeldEntry[] | undefined },
    now: number,
  ): void {
    this.#tracker.settled(announced);
    for (const { name, receiveState } of this.#peers.values()) {
      if (receiveState.announcementOf(announced) === undefined) continue;
      this.#holdings.announced(name, held, entries);
      this.#follow(name, () => receiveState.settled(announced, now), now);
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

  /** The requests to send now; each is returned once. */
  orders(now: number): PeerOrder[] {
    this.#take(this.#tracker.advance(now, this.#clock.now()), now);
    if (now >= this.#savedMailAt) this.#reportSavedMail(now);
    for (const [peer, requests] of this.#requests) {
      this.#orders.push({ type: "get", peer, requests });
    }
    this.#requests.clear();
    for (const { name, receipts } of this.#peers.values()) {
      const receipt = receipts.due(now);
      if (receipt !== undefined) this.#orders.push({ type: "done", peer: name, ...receipt });
    }
    const orders = this.#orders;
    this.#orders = [];
    return orders;
  }

  /** When `tick` or `orders` is due; Infinity for never. */
  nextAt(): number {
    const savedMailAt = this.#savedMail.size === 0 ? Infinity : this.#savedMailAt;
    const others = Math.min(this.#cursors.dueAt, this.#checks.dueAt, savedMailAt);
    let next = Math.min(this.#tracker.nextAt() ?? Infinity, others);
    for (const { receiveState, batch, receipts, store } of this.#peers.values()) {
      const batchAt = store === undefined ? batch.dueAt : Infinity;
      next = Math.min(next, receiveState.nextAt() ?? Infinity, batchAt, receipts.nextAt());
    }
    return next;
  }

  /** The gateway stops: reports and stores what was put off. */
  stop(now: number): void {
    this.#reportSavedMail(now);
    this.storeCursors(now);
  }

  /** Stores the cursors that moved; a failed store is tried again. */
  storeCursors(now: number): void {
    this.#cursors.dueAt = Infinity;
    for (const peer of this.#peers.values()) {
      if (this.#cursors.move(peer.name, peer.receiveState.cursor) === undefined) continue;
      peer.isCursorDue = true;
      this.#submit(peer, now);
    }
  }

  status(peer: string): ReceivingStatus {
    const { receiveState } = this.#peer(peer);
    const held = this.#tracker.heldAt(peer);
    const offset = this.#clock.now() - this.#clock.monotonic();
    return {
      cursor: receiveState.cursor?.number,
      newest: receiveState.newest,
      missing: receiveState.missing,
      inFlight: this.#tracker.inFlightAt(peer),
      held: held && { why: held.why, until: held.until + offset },
    };
  }

  #follow(
    name: string,
    input: (receiveState: ReceiveState) => readonly ReceiveOutput[],
    now: number,
    heardAt = now,
  ): void {
    const outputs = input(this.#peer(name).receiveState);
    for (const output of outputs) {
      switch (output.type) {
        case "list":
          this.#orders.push({ ...output, peer: name });
          break;
        case "want": {
          const { number } = output.announcement;
          this.#tracker.announced(name, number, nameOf(output.announcement), heardAt);
          break;
        }
        case "cursor":
          this.#cursors.moved(name, output.at, now);
          this.#peer(name).receipts.moved(output.at?.number);
          break;
        case "gap": {
          const { low, high } = output;
          this.#missing.gap(name, low, high, this.#clock.now());
          break;
        }
        case "reset":
          this.#diagnostics.report("peer-reset", { neighbour: name, reason: output.reason });
          // Until its next greeting it lists again what it announced before.
          this.#peer(name).heard = undefined;
          this.#markStale(this.#peer(name));
          this.#take(this.#tracker.disconnected(name, now), now);
          this.#since.forget(name);
          break;
        default:
          output satisfies never;
      }
    }
    if (outputs.some(({ type }) => type === "gap")) this.#missing.flush();
  }

  /** A cursor that is being stored belongs to the numbers before the reset. */
  #markStale({ store }: Peer): void {
    if (store !== undefined) store.isStale = true;
  }

  #take(outputs: readonly FetchOutput[], now: number): void {
    for (const output of outputs) {
      const { hash: name } = output;
      const names = namesIn(name);
      switch (output.type) {
        case "request": {
          const { peer, number } = output;
          const { fingerprint } = this.#peer(peer).receiveState.announcementOf(name) ?? {};
          this.#request(peer, { ...names, number, fingerprint });
          break;
        }
        case "timed-out":
          this.#diagnostics.report("fetch-timeout", { neighbour: output.peer, hash: names.hash });
          break;
        case "lost":
          this.#lost(name, output.peers, now);
          break;
        default:
          output satisfies never;
      }
    }
  }

  /** Adds a request to those that are sent to the peer next. */
  #request(peer: string, request: UpdateRequest): void {
    const last = this.#requests.get(peer);
    if (last === undefined) this.#requests.set(peer, [request]);
    else last.push(request);
  }

  /** The numbers of an update are settled at all peers, and the update is not held. */
  #settledWithout(announced: AnnouncedName): void {
    for (const { receiveState, receipts } of this.#peers.values()) {
      for (const number of receiveState.numbersOf(announced)) receipts.without(number);
    }
  }

  #lost(announced: AnnouncedName, peers: readonly string[], now: number): void {
    const peersNow = [...this.#peers.values()];
    const listed = peersNow.flatMap((peer) => {
      return peer.receiveState.announcementOf(announced, true) ?? [];
    });
    this.#missing.lost(namesIn(announced).hash, listed, peers, this.#clock.now());
    this.#settledWithout(announced);
    for (const { name, receiveState } of this.#peers.values()) {
      this.#follow(name, () => receiveState.lost(announced, now), now);
    }
  }

  /** Notes since when an update of the peer may be waiting. */
  #look(peer: string, now: number): void {
    const { newest, cursor } = this.#peer(peer).receiveState;
    const hasAll = newest === cursor?.number;
    this.#since.look(peer, this.#tracker.oldestAt(peer), hasAll, now);
  }

  /** True if an update needs no fetching: it is known or declined. Counts and reports it. */
  #isResolved({ number, hash, digest, fingerprint }: Announcement, name: string): boolean {
    const announced = nameOf({ hash, digest });
    const isFirst = this.#isFirst(this.#peer(name), number);
    // One look-up for all that follows: a known announcement is the most frequent message.
    const held = this.#guard.run(() => this.#log.heldAs(announced));
    const isRefused = () => this.#log.refusals.holds(announced, this.#clock.now());
    const isKnown = held !== undefined || this.#guard.run(isRefused);
    const { receipts } = this.#peer(name);
    // Of an update that policy cut, perhaps nothing is held that was news: no claim is made.
    const isWhole = held?.[0]?.hash === hash;
    const isWithout = () => held === undefined || this.#log.variants.isCut(announced);
    if (isKnown && !isWhole && (this.#guard.run(isWithout) ?? true)) receipts.without(number);
    if (isKnown) {
      if (isFirst && this.#counted.add(name, hash)) this.#countSavedMail(name, held ?? []);
      this.#holdings.announced(name, announced, held ?? []);
      this.#guard.run(() => this.#log.announcedAgain(announced, name, this.#clock.now()));
    }
    if (isKnown || fingerprint === undefined) return isKnown ?? false;
    // If the log cannot be read, an update fetched in vain is better than one that is missed.
    const refusal = this.#guard.run(() => this.#rules.declines(fingerprint));
    if (refusal === undefined) return false;
    const { reason } = refusal;
    receipts.without(number);
    this.#diagnostics.report("update-declined", { neighbour: name, hash, fingerprint, reason });
    return true;
  }

  /** Whether the number was not announced before; notes that it is now. */
  #isFirst(peer: Peer, number: number): boolean {
    const { heard } = peer;
    const position = heard === undefined ? number : positionNear(heard, number);
    if (heard !== undefined && position > heard) peer.heard = position;
    return heard !== undefined && position > heard;
  }

  /** Counts an announcement of a known update: by mail, the update would have come again. */
  #countSavedMail(neighbour: string, entries: readonly Entry[]): void {
    const { numbers, bytes } = this.#savedMail.get(neighbour) ?? { numbers: 0, bytes: 0 };
    const more = entries.reduce((sum, { size }) => sum + size, 0);
    this.#savedMail.set(neighbour, { numbers: numbers + 1, bytes: bytes + more });
  }

  /** One report for all announcements of a second. */
  #reportSavedMail(now: number): void {
    if (this.#savedMail.size === 0) return;
    for (const [neighbour, amount] of this.#savedMail) {
      this.#diagnostics.report("announced-known", { neighbour, ...amount });
    }
    this.#savedMail.clear();
    this.#savedMailAt = now + SAVED_MAIL_MS;
  }

  #peer(name: string): Peer {
    const peer = this.#peers.get(name);
    if (peer === undefined) throw new Error(`no peer ${name}`);
    return peer;
  }
}
