/**
 * The KX side of a gateway without its sockets: all peers and all connections over one log. It
 * passes the outputs of the sessions to the receiving part (`receiving.ts`) and to the parts that
 * announce and serve (`announcements.ts`, `serving.ts`), and sends their orders. An input says what
 * happened on which connection, and when, in milliseconds of a monotonic clock. It returns the
 * actions to perform, in order. `tcp.ts` performs them; the simulation has a driver of its own.
 *
 *  1. Cursors and requests belong to a peer, not to a connection. Of two open connections the newer
 *     one is used, since a peer that connects again may have lost the older one, and its log with
 *     it. The older one is probed by a LIST. If we dialled one of them, it is closed after 5 to
 *     30 s, at random, so that two sides that dialled each other do not both hang up.
 *     Announcements and updates are taken from either connection; listings and "not available"
 *     only from the one in use.
 *  2. Requests of a peer wait in a queue while 4 MiB of answers are unsent (`send-queue.ts`). At
 *     1000 waiting requests its socket is not read. A peer that reads nothing for 60 s is dropped.
 *     Lines of listings are read in slices, at a limited rate (`listing-pace.ts`).
 *  3. In observe mode updates are received and none is sent: peers see an empty log.
 *  4. If the log cannot be read, a connection that needs it is dropped. An empty log must not be
 *     shown instead: the peer would forget its cursor and list everything again.
 *  5. A peer that may get mail as well is asked whether it has read what it fetched
 *     (`peer-holdings.ts`); of any other it is noted when a LIST shows it. A peer of KX/1.1 says so
 *     by itself, in its receipts. The caller is told when the first connection of a peer opens and
 *     when its last one ends.
 *  6. Updates are stored by the caller: see rule 1 of `receiving.ts`.
 */
import type { Clock } from "../clock.js";
import type { Diagnostics } from "../diagnostics.js";
import type { Trouble } from "../errors.js";
import type { FetchPolicy } from "../kx/fetch-policy.js";
import { FEATURES, type Opening, type Receipt, seqOfWire, wireNumber } from "../kx/messages.js";
import { hasNumber } from "../kx/receipts.js";
import type { Greeting } from "../kx/receive-state.js";
import type { SessionOutput } from "../kx/session.js";
import type { KeyIndexFile } from "../log/key-index-file.js";
import type { Appended, UpdateLog } from "../log/update-log.js";
import { LogGuard } from "../log-guard.js";
import { CARRY_ALL, type Rules } from "../policy.js";
import { nameOf, type Seq } from "../update.js";
import { Announcements, type AnnouncementsLog, announcementOf } from "./announcements.js";
import {
  type AskedRanges,
  dueAt,
  type KxVersion,
  newConnection,
  openConnections,
  type Peer,
  type PeerConnection,
  type PeerOrder,
  type PeerStatus,
  proofWantedAt,
  versionOf,
} from "./connection.js";
import { CountedUpdates } from "./counted-updates.js";
import { ListingPace } from "./listing-pace.js";
import { type ObserveLog, ObserveMode } from "./observe-mode.js";
import { OfferedAgain } from "./offered-again.js";
import { type HoldingsLog, PeerHoldings, type Proven } from "./peer-holdings.js";
import { Receiving, type ReceivingLog, type Store } from "./receiving.js";
import { type ReconcilePeer, Reconciling } from "./reconciling.js";
import { answerUpdate, ServedListing, type ServingLog, servedUpdate } from "./serving.js";
import { ToldReceipts } from "./told-receipts.js";

const EXCHANGE_LIMITS = {
  spareConnectionMs: [5000, 30_000] as const,
  /** Answers in one turn: a queue of numbers that are gone must not delay other peers. */
  answersAtOnce: 100,
  /** Updates that one receipt notes as held; only a peer that catches up passes more at once. */
  noted: 5000,
  /** Updates in one notice of what is offered again. */
  offers: 100,
  /** How often the bytes of a peer are reported while it is connected. */
  trafficMs: 60_000,
} as const;

/** What is to be done with a connection. */
export type ConnectionAction =
  | { readonly type: "send"; readonly connection: number; readonly bytes: Uint8Array }
  /** Close after all bytes are sent; the peer is not dialled again for `backoffMs`. */
  | { readonly type: "end"; readonly connection: number; readonly backoffMs?: number }
  /** Close now and discard unsent bytes. */
  | { readonly type: "drop"; readonly connection: number };

export type Action =
  | ConnectionAction
  /** Submit a batch to the append port; `stored` or `storeFailed` takes the outcome. */
  | { readonly type: "store"; readonly store: Store };

export interface ExchangeComponents {
  readonly log: ExchangeLog;
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
  /** By default every update is carried. */
  readonly rules?: Rules | undefined;
  /**
   * Called when the first connection of a peer is open, and when its last one is gone or the
   * exchange stops: after a reload of the configuration another exchange is used.
   */
  readonly session?: ((peer: string, isUp: boolean) => void) | undefined;
  /** What is announced to each peer once more, kept over reloads. */
  readonly offered?: OfferedAgain | undefined;
  /** Called when a peer has announced or read an update of the log. */
  readonly proven?: Proven | undefined;
  /** The keys of the site's keyserver. Without it "reconcile" is not offered. */
  readonly index?: KeyIndexFile | undefined;
}

/** What the exchange uses of the log: it reads, and notes what is not an update. */
export type ExchangeLog = AnnouncementsLog &
  HoldingsLog &
  ObserveLog &
  ReceivingLog &
  ServingLog &
  Pick<UpdateLog, "name" | "repairs">;

export interface ExchangeSettings {
  /** Names of the peers. */
  readonly peers: readonly string[];
  /** Rule 3. */
  readonly observing: boolean;
  /** When bodies may be fetched from peers; only those for which the operator limits it. */
  readonly fetchPolicy?: ReadonlyMap<string, FetchPolicy>;
  /** Peers that are spoken to in KX/1.0, though they may know KX/1.1. */
  readonly oldVersion?: ReadonlySet<string>;
  /** The addresses that stand in trails for peers that may get mail as well, by name. */
  readonly addresses?: ReadonlyMap<string, string>;
  /** The peers with which keys may be reconciled. */
  readonly reconcile?: ReadonlyMap<string, ReconcilePeer>;
}

export class Exchange {
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;
  readonly #guard: LogGuard;
  readonly #rules: Rules;
  /** The log that peers may see; undefined in observe mode. */
  readonly #shown: ServingLog | undefined;
  readonly #observeMode: ObserveMode | undefined;
  readonly #holdings: PeerHoldings;
  readonly #session: (peer: string, isUp: boolean) => void;
  readonly #counted: CountedUpdates;
  readonly #offered: OfferedAgain;
  readonly #receiving: Receiving;
  readonly #news: Announcements;
  readonly #reconciling: Reconciling | undefined;
  /** What we say of ourselves in KX/1.1, and the peers that are spoken to in KX/1.0 only. */
  readonly #own: Opening;
  readonly #oldVersion: ReadonlySet<string>;
  readonly #pace = new ListingPace();
  readonly #peers = new Map<string, Peer>();
  readonly #connections = new Map<number, PeerConnection>();
  #actions: Action[] = [];
  #stopping = false;

  /** Throws `Trouble` when the log cannot be read. */
  constructor(components: ExchangeComponents, settings: ExchangeSettings) {
    const { log, clock, diagnostics, rules = CARRY_ALL, session = () => {} } = components;
    const { proven, index } = components;
    const { peers, observing, fetchPolicy = new Map(), addresses = new Map() } = settings;
    const { oldVersion = new Set() } = settings;
    this.#clock = clock;
    this.#diagnostics = diagnostics;
    const guard = new LogGuard("kx", clock, diagnostics);
    this.#guard = guard;
    this.#rules = rules;
    this.#shown = observing ? undefined : log;
    const reconciles = index !== undefined && !observing;
    const features = reconciles ? [...FEATURES, "reconcile"] : FEATURES;
    this.#own = { log: observing ? undefined : log.name, features };
    this.#oldVersion = oldVersion;
    this.#session = session;
    if (observing) this.#observeMode = new ObserveMode({ log, guard, diagnostics }, addresses);
    const holdings = new PeerHoldings({ log, guard, proven }, addresses);
    this.#holdings = holdings;
    const counted = new CountedUpdates();
    this.#counted = counted;
    this.#offered = components.offered ?? new OfferedAgain();
    const receiving = { log, guard, clock, diagnostics, rules, holdings, counted };
    this.#receiving = new Receiving(receiving, { peers, fetchPolicy });
    if (reconciles) {
      const given = { log, index, guard, clock, diagnostics, rules };
      this.#reconciling = new Reconciling(given, settings.reconcile ?? new Map());
    }
    this.#news = new Announcements({ log, guard, rules }, { peers, observing });
    for (const name of peers) {
      const none = { bytesIn: 0, bytesOut: 0, primary: undefined, connectedSince: undefined };
      const unreported = { reported: 0, reportedAt: -Infinity };
      const versions = { hasSpoken11: false, isDowngraded: false };
      this.#peers.set(name, { name, connections: [], ...none, ...versions, ...unreported });
    }
  }

  /** A connection with a configured peer opened; `id` is the caller's number for it. */
  opened(id: number, peerName: string, dialled: boolean, now: number): Action[] {
    const peer = this.#peers.get(peerName);
    if (peer === undefined) throw new Error(`no peer ${peerName}`);
    if (peer.connections.length === 0) this.#receiving.refresh(peerName);
    const asksForProof = this.#holdings.concerns(peerName);
    const own = this.#oldVersion.has(peerName) ? undefined : this.#own;
    const connection = newConnection(id, peer, dialled, { asksForProof, own }, now);
    this.#connections.set(id, connection);
    peer.connections.push(connection);
    return this.#input(now, () => this.#perform(connection, connection.session.start(), now));
  }

  received(id: number, bytes: Uint8Array, now: number): Action[] {
    return this.#on(id, now, (connection) => {
      const { peer, session } = connection;
      peer.bytesIn += bytes.length;
      this.#perform(connection, session.received(bytes, now), now);
      if (now - peer.reportedAt >= EXCHANGE_LIMITS.trafficMs) this.#reportTraffic(peer, now);
      this.#receiving.store(peer.name, now);
      this.#serve(connection, now);
    });
  }

  /** Bytes were sent; `unsentBytes` are left. */
  flushed(id: number, unsentBytes: number, now: number): Action[] {
    return this.#on(id, now, (connection) => {
      connection.sendQueue.flushed(unsentBytes, now);
      this.#serve(connection, now);
    });
  }

  /** The connection ended, whichever side closed it. */
  ended(id: number, now: number): Action[] {
    return this.#on(id, now, (connection) => this.#forget(connection, now));
  }

  /** A batch was stored; one outcome for each of its arrivals. */
  stored(id: number, outcomes: readonly Appended[], now: number): Action[] {
    return this.#input(now, () => this.#receiving.stored(id, outcomes, now));
  }

  /** A batch could not be stored. */
  storeFailed(id: number, trouble: Trouble, now: number): Action[] {
    return this.#input(now, () => this.#receiving.storeFailed(id, trouble, now));
  }

  /** The log grew. The signal carries no data; a lost or repeated one does no harm. */
  grew(now: number): Action[] {
    return this.#input(now, () => {});
  }

  /** These updates were withheld and are not any more: they are announced to all peers again. */
  offerAgain(seqs: readonly Seq[], now: number): Action[] {
    this.#offered.add(seqs);
    return this.#input(now, () => {});
  }

  /** Does what is due; to be called at `nextAt`. */
  tick(now: number): Action[] {
    return this.#input(now, () => {
      for (const connection of [...this.#connections.values()]) {
        const { session, sendQueue, closeAt } = connection;
        this.#perform(connection, session.tick(now), now);
        if (now >= connection.listsAt) this.#serve(connection, now);
        if (now >= sendQueue.stallsAt) this.#drop(connection, "takes no bytes", now);
        else if (closeAt !== undefined && now >= closeAt) this.#closeSpare(connection, now);
      }
      this.#receiving.tick(now);
    });
  }

  /** Lists everything that a peer still announces, from the beginning. */
  startOver(peerName: string, now: number): Action[] {
    return this.#input(now, () => this.#receiving.startOver(peerName, now));
  }

  /** Compares the keys of a peer with ours; returns why not, or undefined when it has begun. */
  reconcile(
    peerName: string,
    isDryRun: boolean,
    now: number,
  ): { fault?: string; actions: Action[] } {
    const fault =
      this.#reconciling === undefined
        ? 'Nothing is reconciled in mode = "observe".'
        : this.#reconciling.start(peerName, isDryRun, now);
    const actions = this.#input(now, () => {});
    return fault === undefined ? { actions } : { fault, actions };
  }

  /** Whether an order to start over is not on disk yet, so that a crash would lose it. */
  isOrderOpen(peerName: string): boolean {
    return this.#receiving.isOrderOpen(peerName);
  }

  /** When `tick` is next due; undefined if only an input can cause the next action. */
  nextAt(): number | undefined {
    const all = [this.#receiving, this.#news, this.#holdings, this.#reconciling];
    const rooms = all.map((room) => room?.nextAt() ?? Infinity);
    const next = Math.min(...rooms, ...[...this.#connections.values()].map(dueAt));
    return next === Infinity ? undefined : next;
  }

  /** Whether the connection's socket should not be read for now. */
  isCongested(id: number): boolean {
    const connection = this.#connections.get(id);
    if (connection === undefined) return false;
    return connection.sendQueue.isCongested || this.#receiving.isChecking(connection.peer.name);
  }

  /** Whether there is news for a peer without a connection; true once for each piece of news. */
  takeNews(peerName: string): boolean {
    return this.#news.takeUnheard(peerName);
  }

  /** Whether an update or an announcement passed on a connection, and no fault ended it. */
  isUseful(id: number): boolean {
    const connection = this.#connections.get(id);
    if (connection === undefined || !connection.isUseful) return false;
    return connection.reason === undefined || connection.reason === "closed";
  }

  /** The gateway stops: sends CLOSE on every connection and stores the cursors. */
  shutdown(now: number): Action[] {
    return this.#input(now, () => {
      this.#stopping = true;
      const connected = this.#connectedPeers();
      for (const connection of [...this.#connections.values()]) {
        this.#perform(connection, connection.session.close(now), now);
      }
      for (const name of connected) this.#session(name, false);
      this.#holdings.flush();
      this.#receiving.stop(now);
      for (const peer of this.#peers.values()) this.#reportTraffic(peer, now);
    });
  }

  status(): PeerStatus[] {
    return [...this.#peers.values()].map((peer) => ({
      name: peer.name,
      connected: peer.primary !== undefined,
      connectedSince: peer.connectedSince,
      ...this.#receiving.status(peer.name),
      bytesIn: peer.bytesIn,
      bytesOut: peer.bytesOut,
      version: peer.primary && versionOf(peer.primary),
      isDowngraded: peer.isDowngraded,
      done: peer.primary?.receipts.done,
      receiptOf: (seq) => peer.primary?.receipts.of(seq),
      unread: this.#unread(peer.primary),
      reconcile: this.#reconciling?.report(peer.name),
      unreported: peer.bytesIn + peer.bytesOut - peer.reported,
    }));
  }

  #unread(connection: PeerConnection | undefined): number | undefined {
    const done = connection?.receipts.done;
    const newest = done === undefined ? 0 : this.#guard.run(() => this.#shown?.newest() ?? 0);
    return done === undefined || newest === undefined ? undefined : Math.max(0, newest - done);
  }

  #on(id: number, now: number, handle: (connection: PeerConnection) => void): Action[] {
    const connection = this.#connections.get(id);
    return connection === undefined ? [] : this.#input(now, () => handle(connection));
  }

  #input(now: number, handle: () => void): Action[] {
    handle();
    const added = this.#news.read(now);
    this.#observeMode?.added(added, this.#connectedPeers());
    for (const entry of added) this.#receiving.held(nameOf(entry), now, [entry]);
    // Performing an order may cause further orders.
    for (;;) {
      const orders = this.#receiving.orders(now);
      if (orders.length === 0) break;
      for (const order of orders) this.#order(order, now);
    }
    for (const order of this.#reconciling?.orders(now) ?? []) this.#order(order, now);
    for (const peer of this.#peers.values()) this.#announce(peer, now);
    for (const connection of this.#connections.values()) {
      if (now >= proofWantedAt(connection)) this.#askForLife(connection, now);
    }
    this.#holdings.advance(now);
    for (const store of this.#receiving.stores()) this.#actions.push({ type: "store", store });
    const actions = this.#actions;
    this.#actions = [];
    return actions;
  }

  #connectedPeers(): string[] {
    return [...this.#peers.values()].filter(({ primary }) => primary).map(({ name }) => name);
  }

  #order(order: PeerOrder, now: number): void {
    const connection = this.#peers.get(order.peer)?.primary;
    if (connection === undefined) return;
    const { session } = connection;
    if (order.type === "list") this.#list(connection, order.low, order.high, now);
    else if (order.type === "done") this.#perform(connection, session.done(order), now);
    else if (order.type === "compare") {
      this.#perform(connection, session.compare(order.ranges), now);
    } else if (order.type === "tell") this.#perform(connection, session.tell(order.keys), now);
    else this.#perform(connection, session.get(order.requests), now);
  }

  #list(connection: PeerConnection, low: number, high: number, now: number): void {
    const { session, proof } = connection;
    if (session.isOpen) proof.asked(now);
    this.#perform(connection, session.list(low, high, now), now);
  }

  /** A LIST whose lines are not used: rule 5, or a connection that is not in use (rule 1). */
  #askForLife(connection: PeerConnection, now: number): void {
    const at = this.#receiving.status(connection.peer.name).newest ?? 0;
    this.#list(connection, at, at, now);
  }

  #perform(connection: PeerConnection, outputs: readonly SessionOutput[], now: number): void {
    const { peer, session } = connection;
    for (const output of outputs) this.#carry(connection, output, now);
    if (connection === peer.primary && !session.isOpen) this.#retire(peer, now);
  }

  #carry(connection: PeerConnection, output: SessionOutput, now: number): void {
    const { id, peer, sendQueue } = connection;
    const { name } = peer;
    const isInUse = connection === peer.primary;
    switch (output.type) {
      case "send":
        sendQueue.sent(output.bytes.length, now);
        peer.bytesOut += output.bytes.length;
        this.#actions.push({ type: "send", connection: id, bytes: output.bytes });
        return;
      case "greet":
        return this.#greet(connection, now);
      case "established":
        return this.#established(connection, output, now);
      case "announced":
        connection.isUseful ||= output.announcements.length > 0;
        return this.#receiving.announced(name, output.announcements, now);
      case "listed":
        for (const seq of connection.proof.answered()) {
          // A receipt says more: what was read may have been declined.
          if (!connection.session.features.receipt) this.#holdings.hasRead(name, seq, "fetched");
        }
        if (!isInUse) return;
        return this.#receiving.listed(name, output, output.announcements, now);
      case "list-failed":
        return isInUse ? this.#receiving.listFailed(name, now) : undefined;
      case "asked":
        return sendQueue.ask(output.asked);
      case "update":
        connection.isUseful = true;
        return this.#receiving.delivered(name, output.request, output.body, now);
      case "unavailable":
        return isInUse ? this.#receiving.gone(name, output.request, now) : undefined;
      case "update-failed": {
        if (!isInUse) return;
        const { request, problem } = output;
        return this.#receiving.failed(name, nameOf(request), { problem }, now);
      }
      case "progress":
        return this.#receiving.progressed(name, now);
      case "done":
        return this.#takeDone(connection, output, now);
      case "items": {
        const fault = isInUse && this.#reconciling?.answered(name, output.items, now);
        return fault ? this.#complain(peer, fault) : undefined;
      }
      case "ranges-failed":
        return isInUse ? this.#reconciling?.refused(name, output.problem) : undefined;
      case "told":
        return this.#reconciling?.told(name, output.keys, now);
      case "silent":
        if (isInUse) return this.#receiving.probe(name, now);
        return this.#askForLife(connection, now);
      case "complaint":
        return this.#complain(peer, output.problem);
      case "end": {
        const { reason, backoffMs } = output;
        connection.reason ??= reason;
        const backoff = backoffMs === undefined ? {} : { backoffMs };
        this.#actions.push({ type: "end", connection: id, ...backoff });
        return;
      }
      default:
        output satisfies never;
    }
  }

  #greet(connection: PeerConnection, now: number): void {
    const entry = this.#news.newest();
    if (entry === undefined) return this.#drop(connection, undefined, now);
    connection.told = entry?.seq ?? 0;
    connection.receipts = new ToldReceipts(connection.told);
    const outputs = connection.session.greet(entry === null ? undefined : announcementOf(entry));
    this.#perform(connection, outputs, now);
  }

  #established(
    connection: PeerConnection,
    { newest, opening }: SessionOutput & { readonly type: "established" },
    now: number,
  ): void {
    const { peer } = connection;
    const log = opening?.log;
    connection.opening = opening;
    if (connection.session.features.receipt) connection.asksForProof = false;
    this.#noteVersion(peer, versionOf(connection));
    // A peer has one log. A connection on which it named another one is left of a former process.
    for (const other of [...peer.connections]) {
      const isFormer = log !== undefined && other.opening?.log !== undefined;
      if (isFormer && other.opening?.log !== log && other !== connection) {
        this.#drop(other, "another connection shows another log", now);
      }
    }
    if (peer.primary === undefined) this.#use(connection, { newest, log }, now);
    else this.#useInstead(connection, { newest, log }, now);
    this.#thinOut(peer, now);
  }

  /**
   * A peer that spoke KX/1.1 and now speaks 1.0 went back to an older release, or somebody on the
   * way changes its tags: the operator is told, once for each change.
   */
  #noteVersion(peer: Peer, version: KxVersion): void {
    const { name } = peer;
    peer.hasSpoken11 ||= version === "1.1" || this.#receiving.hasNamedLog(name);
    const isDowngraded = version === "1.0" && peer.hasSpoken11 && !this.#oldVersion.has(name);
    if (isDowngraded && !peer.isDowngraded) {
      this.#diagnostics.report("peer-downgraded", { neighbour: name });
    }
    peer.isDowngraded = isDowngraded;
  }

  #use(connection: PeerConnection, { newest, log }: Greeting, now: number): void {
    const { peer, dialled } = connection;
    peer.primary = connection;
    peer.connectedSince = this.#clock.now();
    const version = versionOf(connection);
    const fields = { neighbour: peer.name, dialled, newest: newest?.number, version };
    this.#diagnostics.report("peer-connected", fields);
    this.#news.begin(peer.name, connection.told, now);
    this.#receiving.receipts(peer.name, connection.session.features.receipt);
    this.#receiving.established(peer.name, { newest, log }, now);
    this.#reconciling?.connected(peer.name, connection.session.features.reconcile, now);
    this.#session(peer.name, true);
  }

  /** The connection in use has ended: another one is used, if there is one. */
  #retire(peer: Peer, now: number): void {
    const next = this.#stopping ? undefined : openConnections(peer).at(-1);
    if (next === undefined) {
      peer.primary = undefined;
      peer.connectedSince = undefined;
      this.#news.end(peer.name);
      this.#receiving.disconnected(peer.name, now);
      this.#reconciling?.disconnected(peer.name, now);
      this.#holdings.flush();
      this.#reportTraffic(peer, now);
      if (!this.#stopping) this.#session(peer.name, false);
    } else this.#useInstead(next, undefined, now);
  }

  /** Rule 1: another connection is used. `greeting` is given if it has just greeted. */
  #useInstead(connection: PeerConnection, greeting: Greeting | undefined, now: number): void {
    const { peer, told } = connection;
    peer.primary = connection;
    // What was sent on the connection before may be lost.
    this.#news.begin(peer.name, told, now);
    this.#receiving.receipts(peer.name, connection.session.features.receipt);
    this.#receiving.moved(peer.name, greeting, now);
    this.#reconciling?.connected(peer.name, connection.session.features.reconcile, now);
  }

  /** Rule 5: the peer has settled our updates up to a number, and holds them but for some. */
  #takeDone(connection: PeerConnection, { number, without }: Receipt, now: number): void {
    const { peer, receipts } = connection;
    const newest = this.#guard.run(() => this.#shown?.newest() ?? 0);
    if (newest === undefined) return this.#drop(connection, undefined, now);
    const done = number === 0 ? 0 : seqOfWire(number, newest);
    if (done === undefined || done > newest || done < (receipts.done ?? 0)) {
      return this.#complain(peer, `a DONE for ${number}, which it cannot have read`);
    }
    const isDeclined = (seq: Seq) => hasNumber(without, wireNumber(seq));
    receipts.take(done, isDeclined, EXCHANGE_LIMITS.noted, (seq) =>
      this.#holdings.hasRead(peer.name, seq, "settled"),
    );
  }

  /** Rule 1: of several open connections, the ones that we dialled are closed later. */
  #thinOut(peer: Peer, now: number): void {
    const open = openConnections(peer);
    if (open.length < 2) return;
    const [least, most] = EXCHANGE_LIMITS.spareConnectionMs;
    for (const one of open) {
      if (one !== peer.primary) this.#askForLife(one, now);
      if (one.dialled) one.closeAt ??= now + least + this.#clock.random() * (most - least);
    }
  }

  #closeSpare(connection: PeerConnection, now: number): void {
    connection.closeAt = undefined;
    if (openConnections(connection.peer).length < 2) return;
    this.#perform(connection, connection.session.close(now), now);
  }

  /** Rule 2: answers requests while there is room. */
  #serve(connection: PeerConnection, now: number): void {
    const { session, sendQueue, peer } = connection;
    for (let answers = 0; answers < EXCHANGE_LIMITS.answersAtOnce; answers++) {
      if (session.isEnded) return;
      if (connection.listing !== undefined) {
        if (!this.#listOn(connection, connection.listing, now)) return;
        continue;
      }
      const asked = connection.ranges ?? sendQueue.next();
      if (asked === undefined) return;
      if (asked.kind === "ranges") {
        if (!this.#answerRanges(connection, asked, now)) return;
        continue;
      }
      if (asked.kind === "list") {
        connection.listing = new ServedListing(asked, session.features);
        continue;
      }
      const more = () => sendQueue.nextOf(asked.tag);
      const read = (number: number) => servedUpdate(number, this.#shown, this.#rules);
      const given = this.#guard.run(() => answerUpdate(session, asked, more, read));
      if (given === undefined) return this.#drop(connection, undefined, now);
      answers += given.requests - 1;
      for (const { seq, hash, fingerprint, size: bytes } of given.served) {
        connection.proof.served(seq);
        connection.receipts.served(seq);
        connection.isUseful = true;
        const event = this.#counted.add(peer.name, hash) ? "served" : "served-again";
        this.#diagnostics.report(event, { seq, hash, fingerprint, neighbour: peer.name, bytes });
      }
      this.#perform(connection, given.outputs, now);
    }
    if (connection.listing !== undefined) connection.listsAt = now;
  }

  /** Answers a RANGE; false if it must wait. */
  #answerRanges(connection: PeerConnection, asked: AskedRanges, now: number): boolean {
    const { peer, session } = connection;
    const waitMs = this.#reconciling?.waitMs(peer.name, now) ?? 0;
    connection.ranges = waitMs > 0 ? asked : undefined;
    connection.listsAt = waitMs > 0 ? now + waitMs : Infinity;
    if (waitMs > 0) return false;
    const items = this.#reconciling?.answer(peer.name, asked.ranges, now);
    this.#perform(connection, session.answerRanges(asked.tag, items), now);
    return true;
  }

  /** Reads the next slice of a listing; false if it must wait or the connection was dropped. */
  #listOn(connection: PeerConnection, listing: ServedListing, now: number): boolean {
    const { id, peer, session } = connection;
    const waitMs = this.#pace.waitMs(peer.name, now);
    connection.listsAt = waitMs > 0 ? now + waitMs : Infinity;
    if (waitMs > 0) return false;
    const lines = this.#guard.run(() => listing.step(this.#shown, this.#rules));
    if (lines === undefined) {
      this.#drop(connection, undefined, now);
      return false;
    }
    this.#pace.took(peer.name, lines, now);
    // Its next turn comes after those of the other connections.
    this.#connections.delete(id);
    this.#connections.set(id, connection);
    if (!listing.isDone) return true;
    connection.listing = undefined;
    this.#perform(connection, session.answerList(listing.tag, listing.parts), now);
    return true;
  }

  #announce({ name, primary }: Peer, now: number): void {
    if (primary === undefined) return;
    if (!primary.sendQueue.takesNews) return this.#news.postpone(name, now);
    this.#announceAgain(primary, now);
    const announcements = this.#news.due(name, now);
    primary.told = this.#news.toldUpTo(name) ?? primary.told;
    if (announcements === undefined) return;
    primary.isUseful = true;
    this.#perform(primary, primary.session.announce(announcements), now);
  }

  /** Announces what the peer may have passed while it was withheld, as far as there is room. */
  #announceAgain(connection: PeerConnection, now: number): void {
    const { peer, sendQueue, session } = connection;
    while (connection.offered < this.#offered.end && sendQueue.takesNews) {
      const { seqs, next } = this.#offered.from(connection.offered, EXCHANGE_LIMITS.offers);
      const entries = this.#guard.run(() => seqs.flatMap((seq) => this.#shown?.entry(seq) ?? []));
      // The log cannot be read now; the next input tries again.
      if (entries === undefined) return;
      connection.offered = next;
      const shown = entries.filter((entry) => {
        return entry.origin.neighbour !== peer.name && this.#rules.withholds(entry) === undefined;
      });
      if (shown.length === 0) continue;
      this.#perform(connection, session.announce(shown.map(announcementOf)), now);
    }
  }

  /** Closes at once. Without `problem` the cause is the log, and the peer is not blamed. */
  #drop(connection: PeerConnection, problem: string | undefined, now: number): void {
    if (problem !== undefined) this.#complain(connection.peer, problem);
    connection.reason ??= "dropped";
    this.#actions.push({ type: "drop", connection: connection.id });
    this.#forget(connection, now);
  }

  #forget(connection: PeerConnection, now: number): void {
    if (!this.#connections.delete(connection.id)) return;
    const { peer, reason } = connection;
    peer.connections.splice(peer.connections.indexOf(connection), 1);
    this.#diagnostics.report("peer-disconnected", { neighbour: peer.name, reason });
    if (peer.primary === connection) this.#retire(peer, now);
  }

  #reportTraffic(peer: Peer, now: number): void {
    const bytes = peer.bytesIn + peer.bytesOut - peer.reported;
    peer.reported += bytes;
    peer.reportedAt = now;
    if (bytes > 0) this.#diagnostics.report("kx-traffic", { neighbour: peer.name, bytes });
  }

  #complain(peer: Peer, problem: string): void {
    this.#diagnostics.report("peer-complaint", { neighbour: peer.name, problem });
  }
}
