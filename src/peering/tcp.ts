/**
 * KX over TCP: the sockets and timers around `exchange.ts`. It listens, dials, tells the exchange
 * what happened and performs its actions. A peer is known by the address that it connects from
 * (thesis 5.3); any other is closed before a byte is sent. Dialled peers are dialled again by the
 * `reconnect` schedule, which starts anew after five healthy minutes.
 */
import { lookup } from "node:dns/promises";
import type { AddressInfo, Server, Socket } from "node:net";
import { connect, createServer, isIP } from "node:net";
import { delayMs } from "../backoff.js";
import type { Clock } from "../clock.js";
import type { Config, Endpoint } from "../config/config.js";
import type { Diagnostics } from "../diagnostics.js";
import type { UpdateLog } from "../updatelog/update-log.js";
import type { Action, PeerStatus } from "./exchange.js";
import { EXCHANGE_LIMITS, Exchange } from "./exchange.js";

export const TCP_LIMITS = {
  connectMs: 30_000,
  /** Connections that peers may hold at once; two of one peer happen, more do not. */
  perPeer: 4,
  /** Peers that are configured by name are looked up again this often. */
  resolveMs: 10 * 60_000,
  /** How long goodbyes may take when we go down. */
  closeMs: 2000,
  /** Complaints about strangers a minute: a port scan must not fill the disk. */
  strangersPerMinute: 10,
} as const;

interface KxPeer {
  readonly name: string;
  readonly endpoint: Endpoint;
  readonly dial: boolean;
  addresses: ReadonlySet<string>;
  attempt: number;
  timer: NodeJS.Timeout | undefined;
}

export class KxDoor {
  readonly #kx: NonNullable<Config["kx"]>;
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;
  readonly #log: UpdateLog;
  readonly #exchange: Exchange;
  readonly #peers: KxPeer[];
  readonly #servers: Server[] = [];
  readonly #sockets = new Map<number, { readonly socket: Socket; readonly peer: KxPeer }>();
  /** How long a peer asked us, by how it ended a connection, to stay away. */
  readonly #backoffs = new Map<number, number>();
  #lastId = 0;
  #wakeTimer: NodeJS.Timeout | undefined;
  #resolveTimer: NodeJS.Timeout | undefined;
  #unsubscribe: (() => void) | undefined;
  #growing = false;
  #stopping = false;
  #strangers = 0;
  #strangersAt = 0;

  constructor(
    config: Config,
    kx: NonNullable<Config["kx"]>,
    log: UpdateLog,
    clock: Clock,
    diagnostics: Diagnostics,
  ) {
    this.#kx = kx;
    this.#clock = clock;
    this.#diagnostics = diagnostics;
    this.#log = log;
    this.#peers = config.neighbours.flatMap(({ name, kx: endpoint, dial, via }) =>
      endpoint === undefined || via !== "kx"
        ? []
        : [
            {
              name,
              endpoint,
              dial,
              addresses: new Set(isIP(endpoint.host) ? [plainAddress(endpoint.host)] : []),
              attempt: 0,
              timer: undefined,
            },
          ],
    );
    const names = this.#peers.map(({ name }) => name);
    const observing = config.mode === "observe";
    this.#exchange = new Exchange(names, log, clock, diagnostics, { observing });
  }

  /** Listens and dials; resolves with the addresses in the order of the config. */
  async start(): Promise<Endpoint[]> {
    await this.#resolve();
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

  /** Says CLOSE everywhere, waits a moment for the answers, and closes. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#unsubscribe?.();
    clearTimeout(this.#resolveTimer);
    for (const peer of this.#peers) clearTimeout(peer.timer);
    for (const server of this.#servers) server.close();
    this.#perform(this.#exchange.shutdown(this.#now()));
    const deadline = this.#now() + TCP_LIMITS.closeMs;
    while (this.#sockets.size > 0 && this.#now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    for (const { socket } of this.#sockets.values()) socket.destroy();
    clearTimeout(this.#wakeTimer);
  }

  status(): PeerStatus[] {
    return this.#exchange.status();
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
      this.#perform(this.#exchange.grew(this.#now()));
    });
  }

  #accept(socket: Socket): void {
    const address = plainAddress(socket.remoteAddress ?? "");
    const peer = this.#peerAt(address);
    const crowd = peer === undefined ? 0 : this.#connectionsOf(peer);
    if (peer === undefined || crowd >= TCP_LIMITS.perPeer || this.#stopping) {
      socket.destroy();
      if (peer === undefined) this.#stranger(address);
      return;
    }
    this.#adopt(socket, peer, false);
  }

  /** The peer at an address; of several the one without a connection, dialling ones last. */
  #peerAt(address: string): KxPeer | undefined {
    const here = this.#peers.filter(({ addresses }) => addresses.has(address));
    const free = here.filter((peer) => this.#connectionsOf(peer) === 0);
    return free.find(({ dial }) => !dial) ?? free[0] ?? here[0];
  }

  #connectionsOf(peer: KxPeer): number {
    return [...this.#sockets.values()].filter((one) => one.peer === peer).length;
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
    if (this.#stopping || this.#connectionsOf(peer) > 0) return;
    const { host, port } = peer.endpoint;
    const source = this.#kx.source;
    const socket = connect({
      host,
      port,
      allowHalfOpen: true,
      ...(source === undefined ? {} : { localAddress: source }),
    });
    socket.setTimeout(TCP_LIMITS.connectMs, () => socket.destroy(new Error("timed out")));
    const failed = (error: Error) => {
      const wait = this.#redialLater(peer, undefined);
      const fields = { neighbour: peer.name, problem: error.message, waitMs: wait };
      this.#diagnostics.report("peer-unreachable", fields);
    };
    socket.once("error", failed);
    socket.once("connect", () => {
      socket.off("error", failed);
      socket.setTimeout(0);
      this.#adopt(socket, peer, true);
    });
  }

  #redialLater(peer: KxPeer, backoffMs: number | undefined): number {
    const planned = delayMs(this.#kx.reconnect, peer.attempt, this.#clock.random());
    const wait = Math.max(planned, backoffMs ?? 0);
    peer.attempt += 1;
    clearTimeout(peer.timer);
    if (!this.#stopping) peer.timer = setTimeout(() => this.#dial(peer), wait);
    return Math.round(wait);
  }

  #adopt(socket: Socket, peer: KxPeer, dialled: boolean): void {
    this.#lastId += 1;
    const id = this.#lastId;
    this.#sockets.set(id, { socket, peer });
    socket.setNoDelay(true);
    const openedAt = this.#now();
    socket.on("data", (bytes) => {
      this.#perform(this.#exchange.received(id, bytes, this.#now()));
      if (this.#exchange.isCongested(id)) socket.pause();
    });
    // A bare FIN is a legal goodbye; what is owed to a peer that will not ask more is dropped.
    socket.on("end", () => socket.end());
    socket.on("error", (error) => {
      this.#diagnostics.report("peer-complaint", { neighbour: peer.name, problem: error.message });
    });
    socket.on("close", () => {
      this.#sockets.delete(id);
      this.#perform(this.#exchange.ended(id, this.#now()));
      if (this.#now() - openedAt >= EXCHANGE_LIMITS.healthyMs) peer.attempt = 0;
      const backoffMs = this.#backoffs.get(id);
      this.#backoffs.delete(id);
      const alone = peer.dial && this.#connectionsOf(peer) === 0;
      if (alone && peer.timer === undefined) this.#redialLater(peer, backoffMs);
    });
    this.#perform(this.#exchange.opened(id, peer.name, dialled, this.#now()));
  }

  #perform(actions: readonly Action[]): void {
    for (const action of actions) {
      const socket = this.#sockets.get(action.connection)?.socket;
      if (socket === undefined) continue;
      switch (action.type) {
        case "send":
          if (socket.writable) socket.write(action.bytes, () => this.#flushed(action.connection));
          break;
        case "end":
          if (action.backoffMs !== undefined)
            this.#backoffs.set(action.connection, action.backoffMs);
          socket.end();
          // Whoever does not close its side after ours gets no more of our patience than this.
          setTimeout(() => socket.destroy(), TCP_LIMITS.closeMs).unref();
          break;
        case "drop":
          socket.destroy();
          break;
        default:
          action satisfies never;
      }
    }
    this.#schedule();
  }

  #flushed(id: number): void {
    const socket = this.#sockets.get(id)?.socket;
    if (socket === undefined) return;
    this.#perform(this.#exchange.flushed(id, socket.writableLength, this.#now()));
    if (socket.isPaused() && !this.#exchange.isCongested(id)) socket.resume();
  }

  #schedule(): void {
    clearTimeout(this.#wakeTimer);
    const at = this.#exchange.nextAt();
    if (at === undefined || (this.#stopping && this.#sockets.size === 0)) return;
    const wait = Math.max(0, Math.ceil(at - this.#now()));
    this.#wakeTimer = setTimeout(() => this.#perform(this.#exchange.tick(this.#now())), wait);
  }

  /** Looks up the addresses of peers that are configured by name, now and every 10 minutes. */
  async #resolve(): Promise<void> {
    const named = this.#peers.filter(({ endpoint }) => isIP(endpoint.host) === 0);
    await Promise.all(
      named.map(async (peer) => {
        try {
          const found = await lookup(peer.endpoint.host, { all: true });
          peer.addresses = new Set(found.map(({ address }) => plainAddress(address)));
        } catch (error) {
          const problem = error instanceof Error ? error.message : "lookup failed";
          this.#diagnostics.report("peer-unreachable", { neighbour: peer.name, problem });
        }
      }),
    );
    if (named.length === 0 || this.#stopping) return;
    this.#resolveTimer = setTimeout(() => void this.#resolve(), TCP_LIMITS.resolveMs);
    this.#resolveTimer.unref();
  }
}

/** IPv4 in IPv6 as IPv4, the rest in lower case. */
function plainAddress(address: string): string {
  return address.toLowerCase().replace(/^::ffff:(?=\d+\.)/, "");
}
