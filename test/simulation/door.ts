/**
 * The KX door of a simulated gateway: it stands for `src/peering/tcp.ts`, with streams of the
 * simulation in the place of sockets, and keeps its rules: who dials, when it dials again, how many
 * connections a peer may hold, what FIN and a broken line mean. The exchange is the real one; its
 * actions are performed in order.
 */

import type { Leases } from "../../src/cluster/leases.js";
import type { Action, Exchange } from "../../src/peering/exchange.js";
import type { Store } from "../../src/peering/receiving.js";
import { Redial } from "../../src/peering/redial.js";
import type { Schedule } from "../../src/schedule.js";
import type { Event } from "./queue.js";
import type { Line } from "./streams.js";

const PER_PEER = 4;
const LINGER_MS = 10_000;

export interface PeerSettings {
  readonly name: string;
  readonly dial: boolean;
}

/** What the door needs from the gateway around it; times in milliseconds. */
export interface DoorWays {
  readonly leases: Leases;
  now(): number;
  random(): number;
  dial(peer: string): void;
  write(line: Line, peer: string, bytes: Uint8Array): void;
  end(line: Line): void;
  destroy(line: Line): void;
  /** Hands a batch to the log; the exchange hears of the outcome in a step of its own. */
  store(store: Store): void;
  /** A step of this process later; actions that it returns are performed. */
  later(delay: number, what: string, step: () => readonly Action[] | unknown): Event;
}

interface Peer {
  readonly name: string;
  /** Whether the settings have it dialled. */
  readonly isDialled: boolean;
  /** Whether this process dials it now. */
  dial: boolean;
  readonly redial: Redial;
  isDialling: boolean;
  /** Until the next attempt. */
  timer: Event | undefined;
}

interface Open {
  readonly line: Line;
  readonly peer: Peer;
  readonly dialled: boolean;
  readonly openedAt: number;
  isEnding: boolean;
}

export class SimDoor {
  readonly #exchange: Exchange;
  readonly #ways: DoorWays;
  readonly #peers: readonly Peer[];
  readonly #open = new Map<number, Open>();

  constructor(
    peers: readonly PeerSettings[],
    exchange: Exchange,
    reconnect: Schedule,
    ways: DoorWays,
  ) {
    this.#exchange = exchange;
    this.#ways = ways;
    this.#peers = peers.map(({ name, dial: isDialled }) => {
      const redial = new Redial(reconnect, () => ways.random());
      return { name, isDialled, dial: false, redial, isDialling: false, timer: undefined };
    });
  }

  start(): void {
    for (const peer of this.#peers) if (peer.isDialled) this.#askToDial(peer);
  }

  /** What `KxDoor` does with the lease of a peer. */
  #askToDial(peer: Peer): void {
    this.#ways.leases.ask(`dial:${peer.name}`, {
      take: () => {
        peer.dial = true;
        this.#dial(peer);
      },
      lose: () => {
        peer.dial = false;
        if (peer.timer !== undefined) peer.timer.isCancelled = true;
        peer.timer = undefined;
        const dialled = [...this.#open.values()].filter((one) => one.peer === peer && one.dialled);
        for (const { line } of dialled) this.#ways.destroy(line);
      },
    });
  }

  accepts(name: string): boolean {
    const peer = this.#peers.find((one) => one.name === name);
    return peer !== undefined && this.#connections(peer) < PER_PEER;
  }

  opened(line: Line, name: string, dialled: boolean): Action[] {
    const peer = this.#peers.find((one) => one.name === name);
    if (peer === undefined) throw new Error(`${name} is no peer`);
    if (dialled) peer.isDialling = false;
    peer.redial.connected();
    const openedAt = this.#ways.now();
    this.#open.set(line.id, { line, peer, dialled, openedAt, isEnding: false });
    return this.#exchange.opened(line.id, name, dialled, openedAt);
  }

  unreachable(name: string): void {
    const peer = this.#peers.find((one) => one.name === name);
    if (peer === undefined) return;
    peer.isDialling = false;
    if (peer.dial) this.#redialLater(peer);
  }

  /** The log grew: peers for whom that is news are dialled sooner. */
  grew(): void {
    for (const peer of this.#peers) {
      if (peer.timer === undefined || !this.#exchange.takeNews(peer.name)) continue;
      this.#dialIn(peer, peer.redial.newsMs(this.#ways.now()));
    }
  }

  received(line: Line, bytes: Uint8Array): Action[] {
    return this.#exchange.received(line.id, bytes, this.#ways.now());
  }

  flushed(line: Line, unsentBytes: number): Action[] {
    return this.#exchange.flushed(line.id, unsentBytes, this.#ways.now());
  }

  finished(line: Line): void {
    this.#end(line.id);
  }

  closed(line: Line): Action[] {
    const open = this.#open.get(line.id);
    if (open === undefined) return [];
    const { peer, openedAt } = open;
    this.#open.delete(line.id);
    const now = this.#ways.now();
    const isUseful = open.isEnding && this.#exchange.isUseful(line.id);
    const actions = this.#exchange.ended(line.id, now);
    peer.redial.ended(openedAt, isUseful, now);
    if (peer.dial && !peer.isDialling && this.#connections(peer) === 0) this.#redialLater(peer);
    return actions;
  }

  perform(actions: readonly Action[]): void {
    for (const action of actions) {
      if (action.type === "store") {
        this.#ways.store(action.store);
        continue;
      }
      const open = this.#open.get(action.connection);
      if (open === undefined) continue;
      if (action.type === "send") this.#ways.write(open.line, open.peer.name, action.bytes);
      else if (action.type === "end") {
        if (action.backoffMs !== undefined) {
          open.peer.redial.stayAway(action.backoffMs, this.#ways.now());
        }
        this.#end(action.connection);
      } else this.#ways.destroy(open.line);
    }
  }

  #end(id: number): void {
    const open = this.#open.get(id);
    if (open === undefined || open.isEnding) return;
    open.isEnding = true;
    this.#ways.end(open.line);
    this.#ways.later(LINGER_MS, "lingers no longer", () => {
      if (this.#open.has(id)) this.#ways.destroy(open.line);
    });
  }

  #connections(peer: Peer): number {
    let count = 0;
    for (const open of this.#open.values()) if (open.peer === peer) count += 1;
    return count;
  }

  #dial(peer: Peer): void {
    peer.timer = undefined;
    if (peer.isDialling || this.#connections(peer) > 0) return;
    peer.isDialling = true;
    peer.redial.tried(this.#ways.now());
    this.#exchange.takeNews(peer.name);
    this.#ways.dial(peer.name);
  }

  #redialLater(peer: Peer): void {
    const hasNews = this.#exchange.takeNews(peer.name);
    this.#dialIn(peer, peer.redial.laterMs(hasNews, this.#ways.now()));
  }

  #dialIn(peer: Peer, wait: number): void {
    if (peer.timer !== undefined) peer.timer.isCancelled = true;
    peer.timer = this.#ways.later(wait, `dials ${peer.name} again`, () => this.#dial(peer));
  }
}
