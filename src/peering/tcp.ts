/**
 * KX over TCP: the sockets and timers around `exchange.ts`. It listens, dials, tells the exchange
 * what happened and performs its actions. A peer is known by the address that it connects from
 * (thesis 5.3); any other is closed before a byte is sent. Dialled peers are dialled again by the
 * `reconnect` schedule, and when there is news for them (`redial.ts`).
 */
import type { AddressInfo, Server, Socket } from "node:net";
import { connect, createServer } from "node:net";
import type { Clock } from "../clock.js";
import type { Config, Endpoint, Neighbour } from "../config/config.js";
import { goesByKx } from "../config/roads.js";
import type { Diagnostics } from "../diagnostics.js";
import type { UpdateLog } from "../updatelog/update-log.js";
import type { ExchangeOptions, PeerStatus } from "./connection.js";
import type { Action } from "./exchange.js";
import { Exchange } from "./exchange.js";
import { Line } from "./line.js";
import { mannersOf } from "./manners.js";
import { PeerAddresses, plainAddress } from "./peer-addresses.js";
import { Redial } from "./redial.js";
import { KxTls } from "./tls.js";

export const TCP_LIMITS = {
  connectMs: 30_000,
  /** Connections that peers may hold at once; two of one peer happen, more do not. */
  perPeer: 4,
  /** How long goodbyes may take when we go down. */
  closeMs: 2000,
  /** Complaints about strangers a minute: a port scan must not fill the disk. */
  strangersPerMinute: 10,
} as const;

interface KxPeer {
  readonly name: string;
  readonly endpoint: Endpoint;
  readonly dial: boolean;
  /** Set for a peer that speaks TLS. */
  readonly tls: Neighbour["tls"];
  readonly redial: Redial;
  /** Until the next attempt. */
  timer: NodeJS.Timeout | undefined;
  /** The attempt that is under way. */
  dialling: Socket | undefined;
}

export class KxDoor {
  readonly #kx: NonNullable<Config["kx"]>;
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;
  readonly #log: UpdateLog;
  readonly #exchange: Exchange;
  readonly #peers: KxPeer[];
  readonly #servers: Server[] = [];
  readonly #lines = new Map<number, Line>();
  readonly #addresses: PeerAddresses;
  readonly #tls: KxTls | undefined;
  /** Connections that are not yet sure of their peer. */
  readonly #handshakes = new Map<Socket, KxPeer>();
  #lastId = 0;
  #wakeTimer: NodeJS.Timeout | undefined;
  #unsubscribe: (() => void) | undefined;
  #growing = false;
  #stopping = false;
  #stopped: Promise<void> | undefined;
  /** Names of peers that the operator paused. */
  readonly #paused = new Set<string>();
  #strangers = 0;
  #strangersAt = 0;

  /** `given.session` hears when the first connection with a peer opens and when the last ends. */
  constructor(
    config: Config,
    kx: NonNullable<Config["kx"]>,
    log: UpdateLog,
    clock: Clock,
    diagnostics: Diagnostics,
    given: Pick<ExchangeOptions, "rules" | "session"> = {},
  ) {
    this.#kx = kx;
    this.#tls = kx.tls && new KxTls(kx.tls);
    this.#clock = clock;
    this.#diagnostics = diagnostics;
    this.#log = log;
    this.#peers = config.neighbours.flatMap(({ name, kx: endpoint, dial, via, tls }) =>
      endpoint === undefined || !goesByKx({ via, kx: endpoint })
        ? []
        : [
            {
              name,
              endpoint,
              dial,
              tls,
              redial: new Redial(kx.reconnect, () => clock.random()),
              timer: undefined,
              dialling: undefined,
            },
          ],
    );
    const names = this.#peers.map(({ name }) => name);
    const hosts = new Map(this.#peers.map(({ name, endpoint }) => [name, endpoint.host]));
    this.#addresses = new PeerAddresses(hosts, (neighbour, problem) => {
      diagnostics.report("peer-unreachable", { neighbour, problem });
    });
    const observing = config.mode === "observe";
    const addresses = mailAddresses(config);
    const options = { ...given, observing, addresses, manners: mannersOf(config) };
    this.#exchange = new Exchange(names, log, clock, diagnostics, options);
  }

  /** Listens and dials; resolves with the addresses in the order of the config. */
  async start(): Promise<Endpoint[]> {
    await this.#addresses.start(this.#now());
    const bound: Endpoint[] = [];
    for (const { host, port } of this.#kx.listen) {
      const server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(port, host, resolve);
      });
      server.removeAllListeners("error");
      server.on("error", (error) => {
        this.#diagnostics.report("peer-complaint", { problem: error.message });
      });
      this.#servers.push(server);
      bound.push({ host, port: (server.address() as AddressInfo).port });
    }
    this.#unsubscribe = this.#log.onAppend(() => this.#grew());
    for (const peer of this.#peers) if (peer.dial) this.#dial(peer);
    return bound;
  }

  /**
   * Says CLOSE everywhere, waits a moment for the answers, and closes. When it resolves no socket,
   * no timer and no listener is left, and nothing touches the log any more.
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
    for (const socket of this.#handshakes.keys()) socket.destroy();
    const closed = this.#servers.map(
      (server) => new Promise((resolve) => server.close(() => resolve(undefined))),
    );
    this.#perform(this.#exchange.shutdown(this.#now()));
    const deadline = this.#now() + TCP_LIMITS.closeMs;
    while (this.#lines.size > 0 && this.#now() < deadline) await pause();
    for (const { socket } of this.#lines.values()) socket.destroy();
    while (this.#lines.size > 0) await pause();
    clearTimeout(this.#wakeTimer);
    await Promise.all(closed);
  }

  status(): PeerStatus[] {
    return this.#exchange.status().map((peer) => {
      return { ...peer, isPaused: this.#paused.has(peer.name) };
    });
  }

  /** Ends the connections with a peer and takes none until `resume` or the next start. */
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

  /** Dials a peer at once, or takes its connection again. */
  resume(name: string): boolean {
    const peer = this.#peers.find((one) => one.name === name);
    if (peer === undefined) return false;
    if (this.#paused.delete(name)) this.#diagnostics.report("resumed", { neighbour: name });
    peer.redial.forget();
    clearTimeout(peer.timer);
    if (peer.dial) this.#dial(peer);
    return true;
  }

  /** Has all that a peer still announces listed anew; false when it is no KX peer here. */
  backfill(name: string): boolean {
    if (!this.#peers.some((one) => one.name === name)) return false;
    this.#perform(this.#exchange.startOver(name, this.#now()));
    return true;
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
      // What is appended while we close is announced by the greeting of the next connection.
      if (this.#stopping) return;
      this.#perform(this.#exchange.grew(this.#now()));
      for (const peer of this.#peers) this.#dialForNews(peer);
    });
  }

  /** Brings the next attempt forward if there is news for a peer that has no connection. */
  #dialForNews(peer: KxPeer): void {
    if (peer.timer === undefined || !this.#exchange.takeNews(peer.name)) return;
    clearTimeout(peer.timer);
    peer.timer = setTimeout(() => this.#dial(peer), peer.redial.newsMs(this.#now()));
  }

  #accept(socket: Socket): void {
    const address = plainAddress(socket.remoteAddress ?? "");
    const peer = this.#peerAt(address);
    const crowd = peer === undefined ? 0 : this.#connectionsOf(peer);
    const isPaused = peer !== undefined && this.#paused.has(peer.name);
    if (peer === undefined || crowd >= TCP_LIMITS.perPeer || this.#stopping || isPaused) {
      socket.destroy();
      if (peer === undefined) this.#stranger(address);
      return;
    }
    this.#greet(socket, peer, false);
  }

  /** The peer at an address; of several the one without a connection, dialling ones last. */
  #peerAt(address: string): KxPeer | undefined {
    const names = this.#addresses.at(address, this.#now());
    const here = this.#peers.filter(({ name }) => names.has(name));
    const free = here.filter((peer) => this.#connectionsOf(peer) === 0);
    return free.find(({ dial }) => !dial) ?? free[0] ?? here[0];
  }

  #connectionsOf(peer: KxPeer): number {
    const lines = [...this.#lines.values()].filter((line) => line.peer === peer.name);
    const handshakes = [...this.#handshakes.values()].filter((other) => other === peer);
    return lines.length + handshakes.length;
  }

  #stranger(address: string): void {
    const now = this.#now();
    if (now - this.#strangersAt >= 60_000) {
      this.#strangersAt = now;
      this.#strangers = 0;
    }
    this.#strangers += 1;
    if (this.#strangers <= TCP_LIMITS.strangersPerMinute) {
      this.#diagnostics.report("peer-unknown", { address });
    }
  }

  #dial(peer: KxPeer): void {
    peer.timer = undefined;
    // The peer came to us meanwhile; its connection's end brings us back here.
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
      this.#greet(socket, peer, true);
    });
  }

  /** Puts TLS around the connection of a kxs:// peer; KX begins when it is done. */
  #greet(socket: Socket, peer: KxPeer, dialled: boolean): void {
    if (peer.tls === undefined || this.#tls === undefined) {
      return this.#adopt(socket, peer, dialled);
    }
    this.#handshakes.set(socket, peer);
    const identity = { host: peer.endpoint.host, pin: peer.tls.pin };
    this.#tls
      .secure(socket, identity, dialled)
      .then((secured) => {
        if (this.#stopping || this.#paused.has(peer.name)) secured.destroy();
        else this.#adopt(secured, peer, dialled);
      })
      .catch((error: Error) => {
        this.#handshakes.delete(socket);
        const waitMs = this.#redialWhenAlone(peer);
        const fields = { neighbour: peer.name, problem: error.message, waitMs };
        this.#diagnostics.report("peer-untrusted", fields);
      })
      .finally(() => this.#handshakes.delete(socket));
  }

  /** Milliseconds until a peer is dialled again that has no connection and should have one. */
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
    const line = new Line(id, peer.name, socket, (unsentBytes) => {
      this.#perform(this.#exchange.flushed(id, unsentBytes, this.#now()));
      if (socket.isPaused() && !this.#exchange.isCongested(id)) socket.resume();
    });
    this.#lines.set(id, line);
    const openedAt = this.#now();
    peer.redial.connected();
    socket.on("data", (bytes) => {
      this.#perform(this.#exchange.received(id, bytes, this.#now()));
      if (this.#exchange.isCongested(id)) socket.pause();
    });
    // A bare FIN is a legal goodbye; what is owed to a peer that will not ask more is dropped.
    socket.on("end", () => line.end());
    socket.on("error", (error) => {
      this.#diagnostics.report("peer-complaint", { neighbour: peer.name, problem: error.message });
    });
    socket.on("close", (hadError) => {
      this.#lines.delete(id);
      const isUseful = !hadError && this.#exchange.isUseful(id);
      this.#perform(this.#exchange.ended(id, this.#now()));
      peer.redial.ended(openedAt, isUseful, this.#now());
      this.#redialWhenAlone(peer);
    });
    this.#perform(this.#exchange.opened(id, peer.name, dialled, this.#now()));
  }

  #perform(actions: readonly Action[]): void {
    for (const action of actions) {
      const line = this.#lines.get(action.connection);
      if (line === undefined) continue;
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
    this.#schedule();
  }

  #schedule(): void {
    clearTimeout(this.#wakeTimer);
    const at = this.#exchange.nextAt();
    if (at === undefined || (this.#stopping && this.#lines.size === 0)) return;
    const wait = Math.max(0, Math.ceil(at - this.#now()));
    this.#wakeTimer = setTimeout(() => this.#perform(this.#exchange.tick(this.#now())), wait);
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 10));
}

/** The peers that get mail as well, or may some day, and what stands for them in trails. */
function mailAddresses({ neighbours, outbound }: Config): Map<string, string> {
  if (outbound === undefined) return new Map();
  const pairs = neighbours.map(({ name, mail }): [string, string | undefined] => [name, mail]);
  return new Map(pairs.filter((pair): pair is [string, string] => pair[1] !== undefined));
}
