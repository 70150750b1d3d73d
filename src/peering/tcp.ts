/**
 * KX over TCP: the sockets and timers around `exchange.ts`. It listens and dials, reports what
 * happens to the exchange, and performs the actions that the exchange returns. A peer is known by
 * the address that it connects from (thesis 5.3); a connection from another address is closed
 * before a byte is sent. Peers at one address are told apart by their certificates if they use TLS.
 * `redial.ts` decides when a peer is dialled.
 */
import type { AddressInfo, Server, Socket } from "node:net";
import { connect, createServer } from "node:net";
import type { Clock } from "../clock.js";
import { ALONE, type Leases } from "../cluster/leases.js";
import type { Config, Endpoint, Neighbour } from "../config/config.js";
import { goesByKx } from "../config/paths.js";
import type { Diagnostics } from "../diagnostics.js";
import { Trouble } from "../errors.js";
import { plainHost, plainIp } from "../ip-address.js";
import type { FetchPolicy } from "../kx/fetch-policy.js";
import type { AppendPort } from "../log/append-port.js";
import type { Appended, UpdateLog } from "../log/update-log.js";
import type { Seq } from "../update.js";
import type { PeerStatus } from "./connection.js";
import type { Action, ConnectionAction, ExchangeComponents, ExchangeLog } from "./exchange.js";
import { Exchange } from "./exchange.js";
import { type LookUp, PeerAddresses } from "./peer-addresses.js";
import { PeerSocket } from "./peer-socket.js";
import type { Store } from "./receiving.js";
import { Redial } from "./redial.js";
import { HANDSHAKE_MS, KxTls } from "./tls.js";

export const TCP_LIMITS = {
  connectMs: 30_000,
  /** Connections that a peer may have at once. Two occur in normal operation. */
  perPeer: 4,
  /** How long the exchange of CLOSE may take when the gateway stops. */
  closeMs: 2000,
  /** How long the stop waits for stores that are under way; a commit takes milliseconds. */
  storeMs: 10_000,
  /** How long the answer to an order waits until it is stored; a commit takes milliseconds. */
  orderMs: 3000,
  /** How long a connection from an unknown address waits for a name that is being looked up. */
  lookUpMs: 5000,
  /** Connections that wait so at once; more are closed. */
  waiting: 20,
  /** Reports of unknown addresses a minute: a port scan must not fill the disk. */
  strangersPerMinute: 10,
} as const;

/** How long one peer may keep the event loop, in which all others and the mail have to wait. */
const READING = {
  /** So much of a chunk is read at once; 50,000 deflated announcements have 8 kB. */
  pieceBytes: 8 * 1024,
  /** After that time the others have their turn. A catch-up takes less for a chunk. */
  turnMs: 50,
  /** After input that took longer nothing is read for three times as long, at most ten seconds. */
  longMs: 200,
  rest: 3,
  mostMs: 10_000,
} as const;

/** How soon an ordered attempt looks again whether the connections that it gave up have ended. */
const ORDERED_DIAL_MS = 10;

/** The type of the record that a ClientHello begins with (RFC 8446 5.1). */
const TLS_HANDSHAKE = 0x16;

interface KxPeer {
  readonly name: string;
  readonly endpoint: Endpoint;
  /** Whether the configuration has it dialled. */
  readonly isDialled: boolean;
  /** Whether this gateway dials it now: another one of the site may have the lease. */
  dial: boolean;
  /** Set for a peer that uses TLS. */
  readonly tls: Neighbour["tls"];
  readonly redial: Redial;
  /** Runs until the next attempt. */
  timer: NodeJS.Timeout | undefined;
  /** The attempt that is under way. */
  dialling: Socket | undefined;
  /** Open connections that the peer dialled. */
  inbound: number;
  /** Open connections that this gateway dialled. */
  readonly outbound: Set<PeerSocket>;
}

export interface KxDoorComponents extends Omit<ExchangeComponents, "log"> {
  readonly log: KxDoorLog;
  readonly appends: AppendPort;
  /** By default this gateway dials all peers. */
  readonly leases?: Leases | undefined;
  /** Brings the log to the newest state of the site; called before a peer is greeted. */
  readonly refresh?: (() => void) | undefined;
  /** The peers that the operator paused; changed by `pause` and `resume`. */
  readonly paused?: Set<string> | undefined;
  /** Looks up host names; by default the resolver of the system. */
  readonly lookUp?: LookUp | undefined;
}

/** What KX uses of the log. */
export type KxDoorLog = ExchangeLog & Pick<UpdateLog, "onAppend">;

export interface KxDoorSettings extends Pick<Config, "mode" | "neighbours" | "outbound"> {
  readonly kx: NonNullable<Config["kx"]>;
}

export class KxDoor {
  readonly #kx: KxDoorSettings["kx"];
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;
  readonly #log: KxDoorLog;
  readonly #appends: AppendPort;
  /** Batches whose outcome has not come yet. */
  #storing = 0;
  readonly #exchange: Exchange;
  readonly #peers: KxPeer[];
  readonly #servers: Server[] = [];
  readonly #lines = new Map<number, PeerSocket>();
  /** Peers from which nothing is read, until a monotonic time in ms. */
  readonly #resting = new Map<string, number>();
  readonly #leases: Leases;
  readonly #refresh: () => void;
  readonly #releases: (() => void)[] = [];
  readonly #addresses: PeerAddresses;
  readonly #tls: KxTls | undefined;
  /** Connections whose peer is not proven yet, with the peers to which they may belong. */
  readonly #handshakes = new Map<Socket, readonly KxPeer[]>();
  /** Connections whose address may belong to a name that is being looked up. */
  readonly #unsettled = new Set<Socket>();
  #lastId = 0;
  #wakeTimer: NodeJS.Timeout | undefined;
  /** When `#wakeTimer` fires; Infinity without one. */
  #wakesAt = Infinity;
  #unsubscribe: (() => void) | undefined;
  #growing = false;
  #stopping = false;
  /** Whether `stop` is done: outcomes that come later are ignored. */
  #isOver = false;
  #stopped: Promise<void> | undefined;
  /** Names of the peers that the operator paused. */
  readonly #paused: Set<string>;
  #strangers = 0;
  #strangersAt = 0;

  constructor(components: KxDoorComponents, settings: KxDoorSettings) {
    const { log, appends, clock, diagnostics, lookUp } = components;
    this.#leases = components.leases ?? ALONE;
    this.#refresh = components.refresh ?? (() => {});
    this.#paused = components.paused ?? new Set();
    const { kx, neighbours } = settings;
    this.#kx = kx;
    this.#tls = kx.tls && new KxTls(kx.tls);
    this.#clock = clock;
    this.#diagnostics = diagnostics;
    this.#log = log;
    this.#appends = appends;
    this.#peers = neighbours.flatMap(({ name, kx: endpoint, dial, via, tls }) =>
      endpoint === undefined || !goesByKx({ via, kx: endpoint })
        ? []
        : [
            {
              name,
              endpoint,
              isDialled: dial,
              dial: false,
              tls,
              redial: new Redial(kx.reconnect, () => clock.random()),
              timer: undefined,
              dialling: undefined,
              inbound: 0,
              outbound: new Set<PeerSocket>(),
            },
          ],
    );
    const names = this.#peers.map(({ name }) => name);
    const hosts = new Map<string, string>();
    for (const { name, kx: endpoint } of neighbours) {
      if (endpoint !== undefined) hosts.set(name, endpoint.host);
    }
    const failed = (neighbour: string, problem: string) => {
      if (names.includes(neighbour)) diagnostics.report("peer-unreachable", { neighbour, problem });
    };
    this.#addresses = new PeerAddresses(hosts, failed, lookUp);
    const session = (name: string, isUp: boolean) => {
      if (isUp && this.#peers.some((peer) => peer.name === name && peer.inbound > 0)) {
        this.showedLife(name);
      }
      components.session?.(name, isUp);
    };
    this.#exchange = new Exchange(
      { ...components, session },
      {
        peers: names,
        observing: settings.mode === "observe",
        addresses: mailAddresses(settings),
        fetchPolicy: fetchPolicyOf(settings),
        reconcile: new Map(
          neighbours.map(({ name, repair }) => {
            const isDaily = kx.reconcile === "daily";
            return [name, { canFetch: repair?.type === "hkp", isDaily }];
          }),
        ),
        oldVersion: new Set(
          neighbours.filter(({ kxVersion }) => kxVersion === "1.0").map(({ name }) => name),
        ),
      },
    );
  }

  /** Listens and dials; resolves with the addresses in the order of the config. */
  async start(): Promise<Endpoint[]> {
    this.#addresses.start(this.#now());
    const bound: Endpoint[] = [];
    for (const { host, port } of this.#kx.listen) {
      const server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(port, host, resolve);
      });
      server.removeAllListeners("error");
      server.on("error", (error) => {
        this.#diagnostics.report("kx-error", { problem: error.message });
      });
      this.#servers.push(server);
      bound.push({ host, port: (server.address() as AddressInfo).port });
    }
    this.#unsubscribe = this.#log.onAppend(() => this.#grew());
    for (const peer of this.#peers) if (peer.isDialled) this.#askToDial(peer);
    return bound;
  }

  /** Dials the peer while this gateway has the lease. */
  #askToDial(peer: KxPeer): void {
    const release = this.#leases.ask(`dial:${peer.name}`, {
      take: () => {
        peer.dial = true;
        if (!this.#paused.has(peer.name)) this.#dial(peer);
      },
      lose: () => {
        peer.dial = false;
        clearTimeout(peer.timer);
        peer.timer = undefined;
        peer.dialling?.destroy();
        peer.dialling = undefined;
        for (const line of peer.outbound) line.socket.destroy();
      },
    });
    this.#releases.push(release);
  }

  /**
   * Says CLOSE everywhere, waits a moment for the answers, and closes. Resolves when all that was
   * delivered is stored, or `storeMs` later; no socket, timer or listener is left then, and nothing
   * uses the log any more.
   */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.#stopping = true;
    this.#unsubscribe?.();
    this.#addresses.stop();
    for (const peer of this.#peers) {
      clearTimeout(peer.timer);
      peer.dialling?.destroy();
    }
    for (const socket of [...this.#handshakes.keys(), ...this.#unsettled]) socket.destroy();
    const closed = this.#servers.map(
      (server) => new Promise((resolve) => server.close(() => resolve(undefined))),
    );
    this.#perform(this.#exchange.shutdown(this.#now()));
    const deadline = this.#now() + TCP_LIMITS.closeMs;
    while (this.#lines.size > 0 && this.#now() < deadline) await pause();
    for (const { socket } of this.#lines.values()) socket.destroy();
    while (this.#lines.size > 0) await pause();
    const latest = this.#now() + TCP_LIMITS.storeMs;
    while (this.#storing > 0 && this.#now() < latest) await pause();
    this.#isOver = true;
    for (const release of this.#releases) release();
    clearTimeout(this.#wakeTimer);
    await Promise.all(closed);
  }

  status(): PeerStatus[] {
    return this.#exchange.status().map((peer) => {
      return { ...peer, isPaused: this.#paused.has(peer.name) };
    });
  }

  /** Ends the connections with a peer and accepts none until `resume`. */
  pause(name: string): boolean {
    const peer = this.#peers.find((one) => one.name === name);
    if (peer === undefined) return false;
    this.#paused.add(name);
    clearTimeout(peer.timer);
    peer.timer = undefined;
    peer.dialling?.destroy();
    peer.dialling = undefined;
    for (const line of this.#lines.values()) if (line.peer === name) line.socket.destroy();
    this.#diagnostics.report("paused", { neighbour: name });
    return true;
  }

  /**
   * Dials a peer at once, or accepts its connections again. Returns whether it is dialled;
   * undefined if it is not a KX peer.
   */
  resume(name: string): boolean | undefined {
    if (!this.#peers.some((one) => one.name === name)) return undefined;
    if (this.#paused.delete(name)) this.#diagnostics.report("resumed", { neighbour: name });
    return this.dialNow(name);
  }

  /**
   * Dials a peer without waiting for the schedule, which starts again. An attempt that is under way
   * and a connection without a session are given up: they may hang until a time-out. Undefined if
   * it is not a KX peer, false if it is not dialled: it is connected or paused, or has to dial us.
   */
  dialNow(name: string): boolean | undefined {
    const peer = this.#peers.find((one) => one.name === name);
    if (peer === undefined) return undefined;
    peer.redial.forget();
    const isConnected = this.#exchange.status().some((one) => one.name === name && one.connected);
    if (!peer.dial || this.#paused.has(name) || isConnected || this.#stopping) return false;
    peer.dialling?.destroy();
    peer.dialling = undefined;
    for (const [socket, peers] of this.#handshakes) {
      if (peers.length === 1 && peers[0] === peer) socket.destroy();
    }
    for (const line of this.#lines.values()) if (line.peer === name) line.socket.destroy();
    clearTimeout(peer.timer);
    // Connections end in the next turns of the event loop; `#dial` starts none beside them.
    const dial = () => {
      if (this.#connectionsOf(peer) === 0) return this.#dial(peer);
      peer.timer = setTimeout(dial, ORDERED_DIAL_MS);
    };
    if (this.#connectionsOf(peer) === 0) this.#dial(peer);
    else peer.timer = setTimeout(dial, ORDERED_DIAL_MS);
    return true;
  }

  /** A peer was heard from in another way, so its host is up: it is dialled (see `redial.ts`). */
  showedLife(name: string): void {
    const peer = this.#peers.find((one) => one.name === name);
    if (peer?.dial !== true || !peer.redial.showedLife(this.#now())) return;
    if (this.#paused.has(name)) return;
    clearTimeout(peer.timer);
    this.#dial(peer);
  }

  /**
   * Lists everything that a peer still announces again. Resolves with whether the order is on disk,
   * so that it outlives a crash; with undefined if it is not a KX peer.
   */
  async backfill(name: string): Promise<boolean | undefined> {
    if (!this.#peers.some((one) => one.name === name)) return undefined;
    this.#perform(this.#exchange.startOver(name, this.#now()));
    const latest = this.#now() + TCP_LIMITS.orderMs;
    while (this.#exchange.isOrderOpen(name) && this.#now() < latest) await pause();
    return !this.#exchange.isOrderOpen(name);
  }

  /** Announces updates to all peers once more: they were withheld and are not any more. */
  offerAgain(seqs: readonly Seq[]): void {
    this.#perform(this.#exchange.offerAgain(seqs, this.#now()));
  }

  /** Compares the keys of a peer with ours. Returns why not; undefined when it has begun. */
  reconcile(name: string, isDryRun: boolean): string | undefined {
    const { fault, actions } = this.#exchange.reconcile(name, isDryRun, this.#now());
    this.#perform(actions);
    return fault;
  }

  #now(): number {
    return this.#clock.monotonic();
  }

  /** Several appends in one turn of the event loop are one signal. */
  #grew(): void {
    if (this.#growing) return;
    this.#growing = true;
    setImmediate(() => {
      this.#growing = false;
      // What is appended during the stop is announced by the greeting of the next connection.
      if (this.#stopping) return;
      this.#perform(this.#exchange.grew(this.#now()));
      for (const peer of this.#peers) this.#dialForNews(peer);
    });
  }

  /** Brings the next attempt forward if there is news for a peer without a connection. */
  #dialForNews(peer: KxPeer): void {
    if (peer.timer === undefined || !this.#exchange.takeNews(peer.name)) return;
    clearTimeout(peer.timer);
    peer.timer = setTimeout(() => this.#dial(peer), peer.redial.newsMs(this.#now()));
  }

  #accept(socket: Socket): void {
    const address = plainIp(socket.remoteAddress ?? "") ?? "";
    const isWaiting = this.#isUnknown(address) && this.#addresses.isLooking && !this.#stopping;
    if (isWaiting && this.#unsettled.size < TCP_LIMITS.waiting) {
      void this.#settle(socket, address);
    } else {
      this.#admit(socket, address);
    }
  }

  #isUnknown(address: string): boolean {
    return this.#addresses.at(address, this.#now()).size === 0;
  }

  /** Waits for the names that are being looked up: one of them may have this address. */
  async #settle(socket: Socket, address: string): Promise<void> {
    this.#unsettled.add(socket);
    socket.on("error", () => socket.destroy());
    const until = this.#now() + TCP_LIMITS.lookUpMs;
    while (this.#isUnknown(address) && this.#addresses.isLooking && !socket.destroyed) {
      const leftMs = until - this.#now();
      if (leftMs <= 0) break;
      await this.#addresses.news(leftMs);
    }
    this.#unsettled.delete(socket);
    if (socket.destroyed) return;
    socket.removeAllListeners("error");
    this.#admit(socket, address);
  }

  #admit(socket: Socket, address: string): void {
    const names = this.#addresses.at(address, this.#now());
    const here = this.#peers.filter(({ name }) => names.has(name));
    if (here.length === 0) {
      socket.destroy();
      return this.#stranger(address, [...names][0]);
    }
    const taken = this.#inOrder(here.filter((peer) => this.#hasRoom(peer)));
    if (taken.length === 0 || this.#stopping) {
      socket.destroy();
      return;
    }
    // Peers with a pin come first: the CA may have signed a pinned certificate as well.
    const pinned = taken.filter(({ tls }) => tls?.pin !== undefined);
    const secure = [...pinned, ...taken.filter(({ tls }) => tls && tls.pin === undefined)];
    const [plain] = taken.filter(({ tls }) => tls === undefined);
    if (plain === undefined) this.#handshake(socket, secure, false);
    else if (secure.length === 0) this.#adopt(socket, plain, false);
    else this.#firstByte(socket, plain, secure);
  }

  /** Whether a peer may have one more connection. */
  #hasRoom(peer: KxPeer): boolean {
    return this.#connectionsOf(peer) < TCP_LIMITS.perPeer && !this.#paused.has(peer.name);
  }

  /** By likelihood: peers without a connection first, and of these the ones that dial us. */
  #inOrder(peers: readonly KxPeer[]): KxPeer[] {
    const rank = (peer: KxPeer) => (this.#connectionsOf(peer) > 0 ? 2 : peer.isDialled ? 1 : 0);
    return peers.toSorted((a, b) => rank(a) - rank(b));
  }

  #connectionsOf(peer: KxPeer): number {
    const lines = [...this.#lines.values()].filter((line) => line.peer === peer.name);
    const handshakes = [...this.#handshakes.values()].filter((peers) => peers.includes(peer));
    return lines.length + handshakes.length;
  }

  /** With peers of both kinds at an address, the first byte decides: TLS begins unlike KX. */
  #firstByte(socket: Socket, plain: KxPeer, secure: readonly KxPeer[]): void {
    this.#handshakes.set(socket, [plain, ...secure]);
    const settle = () => {
      clearTimeout(deadline);
      this.#handshakes.delete(socket);
    };
    const redial = () => {
      for (const peer of [plain, ...secure]) this.#redialWhenAlone(peer);
    };
    const over = () => {
      settle();
      redial();
    };
    const deadline = setTimeout(() => socket.destroy(), HANDSHAKE_MS);
    const failed = () => void socket.destroy();
    socket.once("close", over);
    socket.on("error", failed);
    socket.once("data", (bytes) => {
      socket.pause();
      socket.unshift(bytes);
      socket.off("close", over);
      socket.off("error", failed);
      // A handshake that starts now is registered by `#handshake`.
      settle();
      if (bytes[0] === TLS_HANDSHAKE) this.#handshake(socket, secure, false);
      else this.#adopt(socket, plain, false);
      redial();
      process.nextTick(() => socket.resume());
    });
  }

  /** `neighbour` has the address, but is not a KX peer. */
  #stranger(address: string, neighbour: string | undefined): void {
    const now = this.#now();
    if (now - this.#strangersAt >= 60_000) {
      this.#strangersAt = now;
      this.#strangers = 0;
    }
    this.#strangers += 1;
    if (this.#strangers <= TCP_LIMITS.strangersPerMinute) {
      const problem = neighbour && 'its via is "mail", with which KX is not spoken';
      this.#diagnostics.report("peer-unknown", { address, neighbour, problem });
    }
  }

  #dial(peer: KxPeer): void {
    peer.timer = undefined;
    // The peer connected meanwhile; the end of its connection leads here again.
    if (this.#stopping || peer.dialling !== undefined || this.#connectionsOf(peer) > 0) return;
    if (this.#paused.has(peer.name)) return;
    peer.redial.tried(this.#now());
    this.#exchange.takeNews(peer.name);
    const { host, port } = peer.endpoint;
    const source = this.#kx.source;
    const socket = connect({
      host,
      port,
      allowHalfOpen: true,
      ...(source === undefined ? {} : { localAddress: source }),
    });
    peer.dialling = socket;
    socket.setTimeout(TCP_LIMITS.connectMs, () => socket.destroy(new Error("timed out")));
    const failed = (error: Error) => {
      peer.dialling = undefined;
      const wait = this.#redialLater(peer);
      const fields = { neighbour: peer.name, problem: error.message, waitMs: wait };
      this.#diagnostics.report("peer-unreachable", fields);
    };
    socket.once("error", failed);
    socket.once("connect", () => {
      peer.dialling = undefined;
      socket.off("error", failed);
      socket.removeAllListeners("timeout");
      socket.setTimeout(0);
      if (peer.tls === undefined) this.#adopt(socket, peer, true);
      else this.#handshake(socket, [peer], true);
    });
  }

  /** Secures a connection by TLS; KX starts when the certificate proves one of the peers. */
  #handshake(socket: Socket, peers: readonly KxPeer[], dialled: boolean): void {
    this.#handshakes.set(socket, peers);
    const expected = peers.map((peer) => {
      const { name, endpoint, tls } = peer;
      return { name, host: plainHost(endpoint.host), pin: tls?.pin, of: peer };
    });
    const [first] = expected;
    if (this.#tls === undefined || first === undefined) throw new Error("no TLS is configured");
    this.#tls
      .secure(socket, expected, dialled ? first.host : undefined)
      .then(({ secured, peer: { of: peer } }) => {
        this.#handshakes.delete(socket);
        if (this.#stopping || !this.#hasRoom(peer)) secured.destroy();
        else this.#adopt(secured, peer, dialled);
        for (const one of peers) this.#redialWhenAlone(one);
      })
      .catch((error: Error) => {
        this.#handshakes.delete(socket);
        const [waitMs] = peers.map((peer) => this.#redialWhenAlone(peer));
        const names = peers.map(({ name }) => name);
        const who = names.length === 1 ? { neighbour: names[0] } : { neighbours: names.join(" ") };
        this.#diagnostics.report("peer-untrusted", { ...who, problem: error.message, waitMs });
      });
  }

  /** Dials a peer later if it has no connection; returns the milliseconds until then. */
  #redialWhenAlone(peer: KxPeer): number | undefined {
    const isWaiting = peer.timer !== undefined || peer.dialling !== undefined;
    if (!peer.dial || isWaiting || this.#stopping) return undefined;
    return this.#connectionsOf(peer) > 0 ? undefined : this.#redialLater(peer);
  }

  #redialLater(peer: KxPeer): number {
    const wait = peer.redial.laterMs(this.#exchange.takeNews(peer.name), this.#now());
    clearTimeout(peer.timer);
    if (!this.#stopping) peer.timer = setTimeout(() => this.#dial(peer), wait);
    return Math.round(wait);
  }

  #backOff(name: string, backoffMs: number | undefined): void {
    const peer = this.#peers.find((one) => one.name === name);
    if (backoffMs !== undefined) peer?.redial.stayAway(backoffMs, this.#now());
  }

  #adopt(socket: Socket, peer: KxPeer, dialled: boolean): void {
    this.#lastId += 1;
    const id = this.#lastId;
    const line = new PeerSocket(id, peer.name, socket, (unsentBytes) => {
      this.#perform(this.#exchange.flushed(id, unsentBytes, this.#now()));
    });
    this.#lines.set(id, line);
    if (dialled) peer.outbound.add(line);
    else peer.inbound += 1;
    const openedAt = this.#now();
    peer.redial.connected();
    socket.on("data", (bytes) => this.#read(line, bytes));
    // A FIN without CLOSE is allowed. Answers that the peer still waits for are dropped.
    socket.on("end", () => line.end());
    socket.on("error", (error) => {
      this.#diagnostics.report("kx-error", { neighbour: peer.name, problem: brokenWords(error) });
    });
    socket.on("close", (hadError) => {
      this.#lines.delete(id);
      if (dialled) peer.outbound.delete(line);
      else peer.inbound -= 1;
      const isUseful = !hadError && this.#exchange.isUseful(id);
      this.#perform(this.#exchange.ended(id, this.#now()));
      peer.redial.ended(openedAt, isUseful, this.#now());
      this.#redialWhenAlone(peer);
    });
    this.#refresh();
    this.#perform(this.#exchange.opened(id, peer.name, dialled, this.#now()));
  }

  /**
   * A message costs its sender little and may take half a second here: 50,000 announcements are
   * 8 kB. So a chunk is read in pieces, and what is left of it waits while others have their turn.
   */
  #read(line: PeerSocket, bytes: Buffer): void {
    const { pieceBytes, turnMs } = READING;
    const began = this.#now();
    for (let at = 0; at < bytes.length && this.#lines.get(line.id) === line; at += pieceBytes) {
      const piece = bytes.subarray(at, at + pieceBytes);
      this.#perform(this.#exchange.received(line.id, piece, this.#now()));
      const tookMs = this.#now() - began;
      if (tookMs < turnMs) continue;
      this.#rest(line.peer, tookMs);
      const left = bytes.subarray(at + pieceBytes);
      if (left.length > 0 && !line.socket.readableEnded) line.socket.unshift(left);
      return;
    }
  }

  /** Nothing is read from a peer until others had their turn, or for longer if it took long. */
  #rest(peer: string, tookMs: number): void {
    const { longMs, rest, mostMs } = READING;
    const restMs = tookMs < longMs ? 0 : Math.min(mostMs, tookMs * rest);
    const until = this.#now() + restMs;
    // Another connection of the peer may have made it rest for longer.
    if (until <= (this.#resting.get(peer) ?? 0)) return;
    this.#resting.set(peer, until);
    this.#regulate();
    const goOn = () => {
      if (this.#resting.get(peer) !== until) return;
      this.#resting.delete(peer);
      this.#regulate();
    };
    if (restMs === 0) setImmediate(goOn);
    else setTimeout(goOn, restMs).unref();
  }

  #perform(actions: readonly Action[]): void {
    for (const action of actions) {
      if (action.type === "store") void this.#store(action.store);
      else this.#performOn(action);
    }
    this.#regulate();
    this.#schedule();
  }

  #performOn(action: ConnectionAction): void {
    const line = this.#lines.get(action.connection);
    if (line === undefined) return;
    switch (action.type) {
      case "send":
        line.write(action.bytes);
        break;
      case "end":
        this.#backOff(line.peer, action.backoffMs);
        line.end();
        break;
      case "drop":
        line.socket.destroy();
        break;
      default:
        action satisfies never;
    }
  }

  /** Stores a batch and gives the outcome to the exchange. An error that is a bug is rethrown. */
  async #store({ id, ...batch }: Store): Promise<void> {
    this.#storing += 1;
    let outcomes: Appended[] | Trouble;
    try {
      outcomes = await this.#appends.submit(batch);
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      outcomes = error;
    }
    this.#storing -= 1;
    if (this.#isOver) return;
    const now = this.#now();
    if (outcomes instanceof Trouble) this.#perform(this.#exchange.storeFailed(id, outcomes, now));
    else this.#perform(this.#exchange.stored(id, outcomes, now));
  }

  /** Pauses and resumes the reading of the sockets. */
  #regulate(): void {
    for (const { id, peer, socket } of this.#lines.values()) {
      const waits = this.#exchange.isCongested(id) || this.#resting.has(peer);
      if (waits === socket.isPaused()) continue;
      if (waits) socket.pause();
      else socket.resume();
    }
  }

  #schedule(): void {
    const isOver = this.#stopping && this.#lines.size === 0;
    const at = (isOver ? undefined : this.#exchange.nextAt()) ?? Infinity;
    // Most inputs put something off. A timer that then fires too early, once, costs less than a new
    // one for each input.
    if (this.#wakesAt <= at && at < Infinity) return;
    clearTimeout(this.#wakeTimer);
    this.#wakesAt = at;
    if (at === Infinity) return;
    const wait = Math.max(0, Math.ceil(at - this.#now()));
    this.#wakeTimer = setTimeout(() => {
      this.#wakesAt = Infinity;
      this.#perform(this.#exchange.tick(this.#now()));
    }, wait);
  }
}

/** How a connection broke. A peer that is killed resets it. */
function brokenWords({ message, code }: NodeJS.ErrnoException): string {
  const isReset = code === "ECONNRESET" || code === "EPIPE";
  return isReset ? `the peer ended the connection without CLOSE (${message})` : message;
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 10));
}

/** `fetch_rate` and `quiet_hours` of the peers that have one of them, for the fetch tracker. */
function fetchPolicyOf({ neighbours }: KxDoorSettings): Map<string, FetchPolicy> {
  return new Map(
    neighbours
      .filter(({ fetchRate, quietHours }) => fetchRate !== undefined || quietHours !== undefined)
      .map(({ name, fetchRate: rate, quietHours }) => [name, { rate, quietHours }]),
  );
}

/** The mail addresses of peers that may get mail as well, which stand for them in trails. */
function mailAddresses({ neighbours, outbound }: KxDoorSettings): Map<string, string> {
  if (outbound === undefined) return new Map();
  const pairs = neighbours.map(({ name, mail }): [string, string | undefined] => [name, mail]);
  return new Map(pairs.filter((pair): pair is [string, string] => pair[1] !== undefined));
}
