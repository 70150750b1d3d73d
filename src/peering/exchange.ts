/**
 * The KX side of a gateway without its sockets: all peers, all connections, one log. It joins the
 * pure machines of `kx/` (a session a connection, a reception and an announcer a peer, one fetch
 * tracker) with the log and the gate `admit`. Inputs are what happened on which connection and
 * what time it is (milliseconds of a monotonic clock); each returns the actions to perform, in
 * order. `tcp.ts` performs them; a simulation can as well.
 *
 *  1. Persist before announce: an update is appended, with the peer's cursor in the same
 *     transaction, before anything is said about it. All UPDATEs of one read share a transaction.
 *  2. One set of cursors and requests a peer, not a connection. Of two open connections the older
 *     is used; the one that was dialled by us closes its own after 5 to 30 s, at random, so that
 *     two sides that dialled each other do not both hang up.
 *  3. Requests of a peer wait in a queue while 4 MiB of answers are unsent; at 1000 waiting
 *     numbers its socket is not read. A peer that takes nothing for 60 s is dropped.
 *  4. In observe mode everything comes in and nothing goes out: the log shows as empty.
 */
import { admitAnnounced } from "../admit.js";
import type { Clock } from "../clock.js";
import type { Diagnostics } from "../diagnostics.js";
import { Refusal, Trouble } from "../errors.js";
import { Announcer } from "../kx/announcer.js";
import type { FetchOutput } from "../kx/fetch-tracker.js";
import { FetchTracker } from "../kx/fetch-tracker.js";
import type { Announcement } from "../kx/messages.js";
import { wireNumber } from "../kx/messages.js";
import type { Position, ReceptionOutput } from "../kx/reception.js";
import { Reception } from "../kx/reception.js";
import type { Asked, SessionOutput } from "../kx/session.js";
import { Session } from "../kx/session.js";
import type { Seq, Update, UpdateHash } from "../update.js";
import type { Entry, UpdateLog } from "../updatelog/update-log.js";
import { answer } from "./serving.js";

export const EXCHANGE_LIMITS = {
  unsentBytes: 4 * 1024 * 1024,
  waitingRequests: 1000,
  stallMs: 60_000,
  /** A cursor that moved over known updates only is stored this late: they cost no fsync each. */
  cursorMs: 1000,
  spareConnectionMs: [5000, 30_000] as const,
  healthyMs: 5 * 60_000,
} as const;

export type Action =
  | { readonly type: "send"; readonly connection: number; readonly bytes: Uint8Array }
  /** Close after what was sent has left; the peer is not dialled again before `backoffMs`. */
  | { readonly type: "end"; readonly connection: number; readonly backoffMs?: number }
  /** Close now, unsent bytes and all. */
  | { readonly type: "drop"; readonly connection: number };

interface Connection {
  readonly id: number;
  readonly peer: Peer;
  readonly session: Session;
  readonly dialled: boolean;
  readonly waiting: Asked[];
  /** Which hash a number stood for when it was asked for on this connection. */
  readonly asked: Map<number, UpdateHash>;
  /** Position in the log that our greeting told. */
  greeted: number;
  peerNewest: Announcement | undefined;
  unsentBytes: number;
  movedAt: number;
  closeAt: number | undefined;
}

interface Peer {
  readonly name: string;
  readonly reception: Reception;
  readonly connections: Connection[];
  /** The connection in use, and with it the announcer of what it was told. */
  primary: Connection | undefined;
  announcer: Announcer | undefined;
  stored: Position | undefined;
  connectedSince: number | undefined;
  bytesIn: number;
  bytesOut: number;
}

/** One KX peer as the operator sees it. */
export interface PeerStatus {
  readonly name: string;
  readonly connected: boolean;
  /** Wall clock, ms since 1970; undefined while disconnected. */
  readonly connectedSince: number | undefined;
  readonly cursor: number | undefined;
  readonly newest: number | undefined;
  readonly missing: number;
  readonly inFlight: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

interface Fetched {
  readonly update: Update;
  readonly bytes: number;
}

export class Exchange {
  readonly #log: UpdateLog;
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;
  readonly #observing: boolean;
  readonly #peers = new Map<string, Peer>();
  readonly #connections = new Map<number, Connection>();
  readonly #tracker: FetchTracker;
  #actions: Action[] = [];
  #fetched: Fetched[] = [];
  /** Position in the log up to which the announcers have been told. */
  #seen: number;
  #cursorsDueAt: number | undefined;

  constructor(
    peers: readonly string[],
    log: UpdateLog,
    clock: Clock,
    diagnostics: Diagnostics,
    options: { readonly observing: boolean },
  ) {
    this.#log = log;
    this.#clock = clock;
    this.#diagnostics = diagnostics;
    this.#observing = options.observing;
    this.#tracker = new FetchTracker(() => clock.random());
    this.#seen = log.newest();
    const known = (hash: UpdateHash) => log.has(hash) || log.isRefused(hash, clock.now());
    for (const name of peers) {
      const stored = log.receiveCursor(name);
      this.#peers.set(name, {
        name,
        reception: new Reception(stored, known),
        connections: [],
        primary: undefined,
        announcer: undefined,
        stored,
        connectedSince: undefined,
        bytesIn: 0,
        bytesOut: 0,
      });
    }
  }

  /** A connection with a configured peer is there; `id` is the caller's name for it. */
  opened(id: number, peerName: string, dialled: boolean, now: number): Action[] {
    const peer = this.#peers.get(peerName);
    if (peer === undefined) throw new Error(`no peer ${peerName}`);
    const connection: Connection = {
      id,
      peer,
      session: new Session(now),
      dialled,
      waiting: [],
      asked: new Map(),
      greeted: 0,
      peerNewest: undefined,
      unsentBytes: 0,
      movedAt: now,
      closeAt: undefined,
    };
    this.#connections.set(id, connection);
    peer.connections.push(connection);
    return this.#input(now, () => this.#perform(connection, connection.session.start(), now));
  }

  received(id: number, bytes: Uint8Array, now: number): Action[] {
    const connection = this.#connections.get(id);
    if (connection === undefined) return [];
    connection.peer.bytesIn += bytes.length;
    return this.#input(now, () => {
      this.#perform(connection, connection.session.received(bytes, now), now);
      this.#store(connection.peer, now);
    });
  }

  /** So many bytes of what was sent are still unsent. */
  flushed(id: number, unsentBytes: number, now: number): Action[] {
    const connection = this.#connections.get(id);
    if (connection === undefined) return [];
    connection.unsentBytes = unsentBytes;
    connection.movedAt = now;
    if (connection.waiting.length === 0) return [];
    return this.#input(now, () => this.#serve(connection, now));
  }

  /** The connection is gone, whoever closed it. */
  ended(id: number, now: number): Action[] {
    return this.#input(now, () => this.#forget(id, now));
  }

  /** The log grew. A signal without data: a lost or a doubled one does no harm. */
  grew(now: number): Action[] {
    return this.#input(now, () => {});
  }

  /** Does what has become due; call at `nextAt`. */
  tick(now: number): Action[] {
    return this.#input(now, () => {
      for (const connection of [...this.#connections.values()]) {
        this.#perform(connection, connection.session.tick(now), now);
        const stalled = now >= connection.movedAt + EXCHANGE_LIMITS.stallMs;
        if (connection.unsentBytes > 0 && stalled) {
          const problem = "takes no bytes";
          this.#diagnostics.report("peer-complaint", { neighbour: connection.peer.name, problem });
          this.#actions.push({ type: "drop", connection: connection.id });
        } else if (connection.closeAt !== undefined && now >= connection.closeAt) {
          connection.closeAt = undefined;
          const spare = openConnections(connection.peer).length > 1;
          if (spare) this.#perform(connection, connection.session.close(now), now);
        }
      }
      for (const peer of this.#peers.values()) {
        this.#follow(peer, peer.reception.tick(now), now);
      }
    });
  }

  nextAt(): number | undefined {
    let next = this.#tracker.nextAt() ?? Infinity;
    for (const connection of this.#connections.values()) {
      const stall =
        connection.unsentBytes > 0 ? connection.movedAt + EXCHANGE_LIMITS.stallMs : Infinity;
      const session = connection.session.nextAt() ?? Infinity;
      next = Math.min(next, session, stall, connection.closeAt ?? Infinity);
    }
    for (const peer of this.#peers.values()) {
      const reception = peer.reception.nextAt() ?? Infinity;
      next = Math.min(next, reception, peer.announcer?.nextAt() ?? Infinity);
    }
    next = Math.min(next, this.#cursorsDueAt ?? Infinity);
    return next === Infinity ? undefined : next;
  }

  /** Whether the connection's socket should not be read for now. */
  isCongested(id: number): boolean {
    const waiting = this.#connections.get(id)?.waiting.length ?? 0;
    return waiting >= EXCHANGE_LIMITS.waitingRequests;
  }

  /** Says CLOSE on every connection and stores the cursors: the gateway goes down. */
  shutdown(now: number): Action[] {
    return this.#input(now, () => {
      for (const connection of [...this.#connections.values()]) {
        this.#perform(connection, connection.session.close(now), now);
      }
      this.#storeCursors();
    });
  }

  status(): PeerStatus[] {
    return [...this.#peers.values()].map((peer) => ({
      name: peer.name,
      connected: peer.primary !== undefined,
      connectedSince: peer.connectedSince,
      cursor: peer.reception.cursor?.number,
      newest: peer.reception.newest,
      missing: peer.reception.missing,
      inFlight: this.#tracker.inFlightAt(peer.name),
      bytesIn: peer.bytesIn,
      bytesOut: peer.bytesOut,
    }));
  }

  #input(now: number, handle: () => void): Action[] {
    handle();
    this.#fetch(this.#tracker.advance(now), now);
    this.#announce(now);
    if (this.#cursorsDueAt !== undefined && now >= this.#cursorsDueAt) this.#storeCursors();
    const actions = this.#actions;
    this.#actions = [];
    return actions;
  }

  #perform(connection: Connection, outputs: readonly SessionOutput[], now: number): void {
    const { peer, session } = connection;
    for (const output of outputs) {
      switch (output.type) {
        case "send":
          if (connection.unsentBytes === 0) connection.movedAt = now;
          connection.unsentBytes += output.bytes.length;
          peer.bytesOut += output.bytes.length;
          this.#actions.push({ type: "send", connection: connection.id, bytes: output.bytes });
          break;
        case "greet": {
          const entry = this.#newestEntry();
          connection.greeted = entry?.seq ?? 0;
          this.#perform(connection, session.greet(entry && announcementOf(entry)), now);
          break;
        }
        case "established":
          connection.peerNewest = output.newest;
          this.#established(connection, now);
          break;
        case "announced":
          this.#follow(peer, peer.reception.announced(output.announcements, now), now);
          break;
        case "listed": {
          const { low, high, announcements } = output;
          this.#follow(peer, peer.reception.listed(low, high, announcements, now), now);
          break;
        }
        case "list-failed":
          this.#follow(peer, peer.reception.listFailed(now), now);
          break;
        case "asked":
          connection.waiting.push(output.asked);
          this.#serve(connection, now);
          break;
        case "update":
          this.#verify(connection, output, now);
          break;
        case "unavailable":
          this.#gone(connection, output.number, now);
          break;
        case "update-failed": {
          const hash = connection.asked.get(output.number);
          const problem = output.problem;
          this.#diagnostics.report("update-wrong", { neighbour: peer.name, hash, problem });
          if (hash !== undefined) this.#failed(connection, output.number, hash, now);
          break;
        }
        case "progress":
          this.#tracker.progressed(peer.name, now);
          break;
        case "silent":
          this.#follow(peer, peer.reception.probe(now), now);
          break;
        case "complaint":
          this.#diagnostics.report("peer-complaint", {
            neighbour: peer.name,
            problem: output.problem,
          });
          break;
        case "end": {
          const { backoffMs } = output;
          const backoff = backoffMs === undefined ? {} : { backoffMs };
          this.#actions.push({ type: "end", connection: connection.id, ...backoff });
          break;
        }
        default:
          output satisfies never;
      }
    }
    if (connection === peer.primary && !session.isOpen) this.#retire(peer, now);
  }

  /** The greeting is done: use the connection, or keep it in reserve. */
  #established(connection: Connection, now: number): void {
    const { peer } = connection;
    if (peer.primary === undefined) this.#use(connection, now);
    const open = openConnections(peer);
    if (open.length < 2) return;
    const [least, most] = EXCHANGE_LIMITS.spareConnectionMs;
    for (const one of open) {
      if (!one.dialled) continue;
      one.closeAt ??= now + least + this.#clock.random() * (most - least);
    }
  }

  #use(connection: Connection, now: number): void {
    const { peer } = connection;
    peer.primary = connection;
    peer.connectedSince = this.#clock.now();
    peer.announcer = new Announcer(connection.greeted, now);
    peer.announcer.grew(this.#observing ? connection.greeted : this.#seen, false, now);
    this.#diagnostics.report("peer-connected", {
      neighbour: peer.name,
      dialled: connection.dialled,
      newest: connection.peerNewest?.number,
    });
    this.#follow(peer, peer.reception.established(connection.peerNewest, now), now);
  }

  /** The connection in use is of no use any more: take another one, or none. */
  #retire(peer: Peer, now: number): void {
    peer.primary = undefined;
    peer.announcer = undefined;
    peer.connectedSince = undefined;
    peer.reception.disconnected();
    this.#fetch(this.#tracker.disconnected(peer.name, now), now);
    const next = openConnections(peer)[0];
    if (next !== undefined) this.#use(next, now);
  }

  #forget(id: number, now: number): void {
    const connection = this.#connections.get(id);
    if (connection === undefined) return;
    const { peer } = connection;
    this.#connections.delete(id);
    peer.connections.splice(peer.connections.indexOf(connection), 1);
    this.#diagnostics.report("peer-disconnected", { neighbour: peer.name });
    if (peer.primary === connection) this.#retire(peer, now);
  }

  #follow(peer: Peer, outputs: readonly ReceptionOutput[], now: number): void {
    for (const output of outputs) {
      switch (output.type) {
        case "list": {
          const connection = peer.primary;
          if (connection === undefined) break;
          const { low, high } = output;
          this.#perform(connection, connection.session.list(low, high, now), now);
          break;
        }
        case "want": {
          const { number, hash } = output.announcement;
          this.#tracker.announced(peer.name, number, hash);
          break;
        }
        case "cursor":
          if (output.at === undefined) {
            peer.stored = undefined;
            this.#guard(() => this.#log.forgetReceiveCursor(peer.name));
          } else if (output.at.number !== peer.stored?.number) {
            this.#cursorsDueAt ??= now + EXCHANGE_LIMITS.cursorMs;
          }
          break;
        case "gap": {
          const { low, high } = output;
          this.#diagnostics.report("peer-gap", { neighbour: peer.name, low, high });
          break;
        }
        case "reset":
          this.#diagnostics.report("peer-reset", { neighbour: peer.name, reason: output.reason });
          this.#fetch(this.#tracker.disconnected(peer.name, now), now);
          break;
        default:
          output satisfies never;
      }
    }
  }

  #fetch(outputs: readonly FetchOutput[], now: number): void {
    for (const output of outputs) {
      switch (output.type) {
        case "request": {
          const connection = this.#peers.get(output.peer)?.primary;
          if (connection === undefined) break;
          connection.asked.set(output.number, output.hash);
          this.#perform(connection, connection.session.get(output.number), now);
          break;
        }
        case "timed-out":
          this.#diagnostics.report("fetch-timeout", { neighbour: output.peer, hash: output.hash });
          break;
        case "lost":
          this.#diagnostics.report("update-lost", {
            hash: output.hash,
            neighbours: output.peers.join(" "),
          });
          this.#settle(output.hash, now);
          break;
        default:
          output satisfies never;
      }
    }
  }

  #verify(
    connection: Connection,
    output: SessionOutput & { readonly type: "update" },
    now: number,
  ): void {
    const { peer } = connection;
    const { announcement, armor, number } = output;
    const hash = connection.asked.get(number);
    if (hash === undefined) return;
    try {
      const { fingerprint } = announcement;
      const update = admitAnnounced(armor, { hash, fingerprint });
      connection.asked.delete(number);
      this.#tracker.delivered(peer.name, armor.length);
      this.#fetched.push({ update, bytes: armor.length });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const { reason, message: problem } = error;
      this.#diagnostics.report("update-wrong", { neighbour: peer.name, hash, reason, problem });
      this.#failed(connection, number, hash, now);
    }
  }

  /** Rule 1: what one read brought becomes one transaction. */
  #store(peer: Peer, now: number): void {
    const fetched = this.#fetched;
    if (fetched.length === 0) return;
    this.#fetched = [];
    const hashes = new Set(fetched.map(({ update }) => update.hash));
    const at = peer.reception.cursorAfter(hashes);
    const origin = { neighbour: peer.name, transport: "kx" } as const;
    const receivedAt = this.#clock.now();
    const arrivals = fetched.map(({ update }) => ({ update, origin, trail: [], receivedAt }));
    const outcomes = this.#guard(() =>
      this.#log.append(arrivals, at === undefined ? undefined : { peer: peer.name, at }),
    );
    if (outcomes === undefined) {
      for (const hash of hashes) this.#fetch(this.#tracker.failed(peer.name, hash, now), now);
      return;
    }
    if (at !== undefined) peer.stored = at;
    for (const [index, { update, bytes }] of fetched.entries()) {
      const outcome = outcomes[index];
      if (outcome === undefined) continue;
      const { hash, fingerprint } = update;
      const fields = { seq: outcome.seq, hash, fingerprint, neighbour: peer.name, via: "kx" };
      if (outcome.outcome === "duplicate") this.#diagnostics.report("duplicate", fields);
      else {
        this.#diagnostics.report("accepted", { ...fields, bytes });
        if (outcome.collision) this.#diagnostics.report("collision", fields);
      }
    }
    for (const hash of hashes) this.#settle(hash, now);
  }

  /** The update is behind us with every peer that listed it. */
  #settle(hash: UpdateHash, now: number): void {
    this.#tracker.settled(hash);
    for (const peer of this.#peers.values()) {
      this.#follow(peer, peer.reception.settled(hash, now), now);
    }
  }

  #gone(connection: Connection, number: number, now: number): void {
    const hash = connection.asked.get(number);
    if (hash === undefined) return;
    const { peer } = connection;
    connection.asked.delete(number);
    this.#diagnostics.report("update-gone", { neighbour: peer.name, number, hash });
    this.#fetch(this.#tracker.gone(peer.name, hash, now), now);
    this.#follow(peer, peer.reception.settled(hash, now), now);
  }

  #failed(connection: Connection, number: number, hash: UpdateHash, now: number): void {
    connection.asked.delete(number);
    this.#fetch(this.#tracker.failed(connection.peer.name, hash, now), now);
  }

  #serve(connection: Connection, now: number): void {
    while (connection.unsentBytes < EXCHANGE_LIMITS.unsentBytes) {
      const asked = connection.waiting.shift();
      if (asked === undefined) return;
      const log = this.#observing ? undefined : this.#log;
      const outputs = this.#guard(() => answer(connection.session, asked, log));
      if (outputs === undefined) this.#actions.push({ type: "drop", connection: connection.id });
      else this.#perform(connection, outputs, now);
    }
  }

  /** Tells the announcers what is new and sends what is due. */
  #announce(now: number): void {
    if (this.#observing) return;
    const newest = this.#guard(() => this.#log.newest()) ?? 0;
    if (newest > this.#seen) {
      const announcers = [...this.#peers.values()].filter((peer) => peer.announcer !== undefined);
      const entries =
        announcers.length === 0
          ? []
          : (this.#guard(() => this.#log.range((this.#seen + 1) as Seq, newest as Seq, 1000)) ??
            []);
      for (const peer of announcers) {
        const complete = entries.length === newest - this.#seen;
        const isEcho = complete && entries.every((entry) => cameFrom(entry, peer.name));
        peer.announcer?.grew(newest, isEcho, now);
      }
      this.#seen = newest;
    }
    for (const peer of this.#peers.values()) {
      const due = peer.announcer?.due(now);
      if (due === undefined || peer.primary === undefined) continue;
      const { low, high } = due;
      const entries = this.#guard(() => this.#log.range(low as Seq, high as Seq, high - low + 1));
      if (entries === undefined) continue;
      const { session } = peer.primary;
      this.#perform(peer.primary, session.announce(entries.map(announcementOf)), now);
    }
  }

  #storeCursors(): void {
    this.#cursorsDueAt = undefined;
    for (const peer of this.#peers.values()) {
      const at = peer.reception.cursor;
      if (at === undefined || at.number === peer.stored?.number) continue;
      this.#guard(() => this.#log.setReceiveCursor(peer.name, at));
      peer.stored = at;
    }
  }

  #newestEntry(): Entry | undefined {
    if (this.#observing) return undefined;
    const newest = this.#guard(() => this.#log.newest());
    return newest ? this.#guard(() => this.#log.entry(newest as Seq)) : undefined;
  }

  /** Runs something on the log; trouble is told, and undefined stands for "not now". */
  #guard<T>(work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      const { kind, message, remedy } = error;
      this.#diagnostics.report("log-trouble", { kind, problem: message, remedy, door: "kx" });
      return undefined;
    }
  }
}

function announcementOf(entry: Entry): Announcement {
  const { seq, fingerprint, hash } = entry;
  return { number: wireNumber(seq), fingerprint, hash };
}

function cameFrom(entry: Entry, peer: string): boolean {
  return entry.origin.transport === "kx" && entry.origin.neighbour === peer;
}

function openConnections(peer: Peer): Connection[] {
  return peer.connections.filter((connection) => connection.session.isOpen);
}
