/**
 * Gateways without sockets: real exchanges over real logs in memory, joined by pipes that cut the
 * bytes where chance wants it. Time passes only when nothing else can happen, and every step that a
 * gateway takes by the clock is counted.
 */

import { onTestFinished } from "vitest";
import type { Clock } from "../../src/clock.js";
import type { Diagnostics, EventName, Fields } from "../../src/diagnostics.js";
import { Trouble } from "../../src/errors.js";
import type { FetchPolicy } from "../../src/kx/fetch-policy.js";
import { type Command, FEATURES, featuresOf } from "../../src/kx/messages.js";
import { Parser } from "../../src/kx/parser.js";
import { UpdateLog } from "../../src/log/update-log.js";
import type { Action } from "../../src/peering/exchange.js";
import { Exchange } from "../../src/peering/exchange.js";
import { OfferedAgain } from "../../src/peering/offered-again.js";
import { CARRY_ALL, type Rules } from "../../src/policy.js";
import type { Seq, Update } from "../../src/update.js";
import { chance, SEED } from "../kx/chance.js";
import { checkReport } from "../support/reported.js";
import { made } from "../torture/material.js";
import { withStores } from "./stores.js";

/** One direction of a connection. */
interface Pipe {
  readonly from: Gateway;
  readonly to: Gateway;
  bytes: Buffer[];
  length: number;
  /** All that went in, as text. */
  said: string;
  isStopped: boolean;
  isClosing: boolean;
}

interface Link {
  readonly id: number;
  readonly pipes: readonly [Pipe, Pipe];
  isOpen: boolean;
}

/** Methods of the log and of its stores that write. */
const WRITES = new Set(["append", "set", "forget", "add", "want"]);

export class Gateway implements Diagnostics {
  readonly name: string;
  log: UpdateLog;
  readonly events: { readonly event: EventName; readonly fields: Fields }[] = [];
  exchange: Exchange;
  ticks = 0;
  /** While it is set, the log can be read and not written. */
  isDiskFull = false;
  /** While it is set, the log can be neither read nor written. */
  isBroken = false;
  /** What it serves instead of every body: a liar. */
  lie: Uint8Array | undefined;
  /** When its peers may be asked for bodies; in force from the next restart on. */
  fetchPolicy: ReadonlyMap<string, FetchPolicy> = new Map();
  /** What it carries, from the next `restart` on. */
  rules: Rules = CARRY_ALL;
  /** The highest version of KX that it speaks, from the next restart on. */
  version: "1.0" | "1.1" = "1.1";
  hasGrown = false;
  /** What it announces to its peers once more, kept over restarts. */
  readonly offered = new OfferedAgain();
  readonly #network: Network;
  readonly #peers: readonly string[];
  readonly #observing: boolean;
  readonly #addresses: ReadonlyMap<string, string>;

  constructor(
    network: Network,
    name: string,
    peers: readonly string[],
    observing: boolean,
    addresses: ReadonlyMap<string, string>,
  ) {
    this.name = name;
    this.#network = network;
    this.#peers = peers;
    this.#observing = observing;
    this.#addresses = addresses;
    this.log = this.#emptyLog();
    this.exchange = this.#begin();
  }

  /** The machine dies with its disk, and another one begins anew; no peer hears of it. */
  replace(): void {
    this.log = this.#emptyLog();
    this.exchange = this.#begin();
  }

  #emptyLog(): UpdateLog {
    const log = UpdateLog.open(":memory:");
    onTestFinished(() => log.close());
    log.onAppend(() => {
      this.hasGrown = true;
    });
    return this.#failing(log);
  }

  /** Ends the process, so to say, and begins a new one over the same log. */
  restart(): void {
    this.#network.cutAll(this);
    this.exchange = this.#begin();
  }

  #begin(): Exchange {
    const clock: Clock = {
      now: () => Math.round(1_700_000_000_000 + this.#network.now),
      monotonic: () => this.#network.now,
      random: () => this.#network.random(),
    };
    const { fetchPolicy } = this;
    const oldVersion = new Set(this.version === "1.0" ? this.#peers : []);
    const settings = { observing: this.#observing, addresses: this.#addresses, fetchPolicy };
    return new Exchange(
      { log: this.log, clock, diagnostics: this, rules: this.rules, offered: this.offered },
      { peers: this.#peers, oldVersion, ...settings },
    );
  }

  /** The log, or a store of it, as it is with a disk that is full or cannot be read. */
  #failing<Part extends object>(part: Part): Part {
    return new Proxy(part, {
      get: (target, name) => {
        const member: unknown = Reflect.get(target, name, target);
        if (typeof member === "object" && member !== null) return this.#failing(member);
        if (typeof member !== "function") return member;
        // It runs its work in any case; the reads of it fail themselves.
        if (name === "together") return member.bind(target);
        if (this.isBroken || (this.isDiskFull && WRITES.has(String(name)))) {
          return () => {
            throw new Trouble("disk-full", "no space left", "Free space.");
          };
        }
        if (this.lie !== undefined && name === "body") return () => this.lie;
        return member.bind(target);
      },
    });
  }

  report(event: EventName, fields: Fields = {}): void {
    checkReport(event, fields);
    this.events.push({ event, fields });
  }

  all(event: EventName): Fields[] {
    return this.events.filter((one) => one.event === event).map(({ fields }) => fields);
  }

  /** Updates that came in by mail. */
  mail(...updates: readonly Update[]): void {
    const origin = { neighbour: "old", transport: "mail" } as const;
    const receivedAt = Math.round(1_700_000_000_000 + this.#network.now);
    this.log.append(updates.map((update) => ({ update, origin, trail: [], receivedAt })));
  }

  cursor(peer: string): number | undefined {
    return this.exchange.status().find(({ name }) => name === peer)?.cursor;
  }

  hashes(): string[] {
    const newest = this.log.newest();
    return this.log.range(1 as Seq, newest as Seq, newest + 1).map(({ hash }) => hash);
  }
}

export class Network {
  readonly random: () => number;
  readonly gateways: Gateway[] = [];
  readonly links: Link[] = [];
  now = 1000;

  constructor(seed: number) {
    this.random = chance(seed);
  }

  gateway(
    name: string,
    peers: readonly string[],
    observing = false,
    addresses: ReadonlyMap<string, string> = new Map(),
  ): Gateway {
    const gateway = new Gateway(this, name, peers, observing, addresses);
    this.gateways.push(gateway);
    return gateway;
  }

  /** `from` dials `to`. */
  connect(from: Gateway, to: Gateway): Link {
    const pipe = (a: Gateway, b: Gateway): Pipe => {
      return { from: a, to: b, bytes: [], length: 0, said: "", isStopped: false, isClosing: false };
    };
    const link: Link = {
      id: this.links.length + 1,
      pipes: [pipe(from, to), pipe(to, from)],
      isOpen: true,
    };
    this.links.push(link);
    this.#perform(from, from.exchange.opened(link.id, to.name, true, this.now));
    this.#perform(to, to.exchange.opened(link.id, from.name, false, this.now));
    return link;
  }

  /** The connection breaks; what is under way is gone. */
  cut(link: Link): void {
    if (!link.isOpen) return;
    link.isOpen = false;
    for (const { from } of link.pipes) {
      this.#perform(from, from.exchange.ended(link.id, this.now));
    }
  }

  cutAll(gateway: Gateway): void {
    for (const link of this.links) {
      if (link.pipes.some(({ from }) => from === gateway)) this.cut(link);
    }
  }

  /** All that `from` has said on all its connections to `to`. */
  said(from: Gateway, to: Gateway): string {
    const pipes = this.links.flatMap((link) => link.pipes);
    return pipes
      .filter((pipe) => pipe.from === from && pipe.to === to)
      .map(({ said }) => said)
      .join("");
  }

  /** How many messages of that command `from` has sent to `to`; of updates, how many. */
  count(from: Gateway, to: Gateway, command: Command): number {
    let count = 0;
    for (const link of this.links) {
      const pipe = link.pipes.find((one) => one.from === from && one.to === to);
      const parser = new Parser(undefined, true);
      for (const message of parser.reading(Buffer.from(pipe?.said ?? "", "latin1"))) {
        if (message.command === "OPEN") {
          const ours = { log: undefined, features: to.version === "1.1" ? [...FEATURES] : [] };
          parser.features = featuresOf(message, ours);
        }
        if (message.command === "DELIVERY" && command === "UPDATE") {
          count += message.deliveries.length;
        } else if (message.command === "GETUPDATE" && command === "GETUPDATE") {
          count += message.numbers.length;
        } else if (message.command === command) count += 1;
      }
    }
    return count;
  }

  bytes(): number {
    const pipes = this.links.flatMap((link) => link.pipes);
    return pipes.reduce((sum, { said }) => sum + said.length, 0);
  }

  /** Lets everything happen that can happen within `ms`; `each` is called between two steps. */
  run(ms: number, each: () => void = () => {}): void {
    const end = this.now + ms;
    for (;;) {
      each();
      if (this.#step()) continue;
      const next = Math.min(...this.gateways.map(({ exchange }) => exchange.nextAt() ?? Infinity));
      if (next > end) break;
      this.now = Math.max(this.now, next);
      for (const gateway of this.gateways) {
        if ((gateway.exchange.nextAt() ?? Infinity) > this.now) continue;
        gateway.ticks += 1;
        this.#perform(gateway, gateway.exchange.tick(this.now));
      }
    }
    this.now = end;
  }

  /** One thing that needs no time; false when there is none. */
  #step(): boolean {
    const grown = this.gateways.find(({ hasGrown }) => hasGrown);
    if (grown !== undefined) {
      grown.hasGrown = false;
      this.#perform(grown, grown.exchange.grew(this.now));
      return true;
    }
    const ready = this.links.flatMap((link) => {
      if (!link.isOpen) return [];
      return link.pipes
        .filter(({ length, isStopped }) => length > 0 && !isStopped)
        .filter(({ to }) => !to.exchange.isCongested(link.id))
        .map((pipe) => ({ link, pipe }));
    });
    const chosen = ready[Math.floor(this.random() * ready.length)];
    if (chosen !== undefined) {
      this.#deliver(chosen.link, chosen.pipe);
      return true;
    }
    const done = this.links.find(
      ({ isOpen, pipes }) => isOpen && pipes.some((pipe) => pipe.isClosing && pipe.length === 0),
    );
    if (done !== undefined) this.cut(done);
    return done !== undefined;
  }

  #deliver(link: Link, pipe: Pipe): void {
    const all = Buffer.concat(pipe.bytes);
    // Cuts of a few bytes, and of as much as a socket hands over at most.
    const most = this.random() < 0.3 ? 100 : 65_536;
    const size = Math.min(all.length, 1 + Math.floor(this.random() * most));
    pipe.bytes = [all.subarray(size)];
    pipe.length = all.length - size;
    this.#perform(pipe.from, pipe.from.exchange.flushed(link.id, pipe.length, this.now));
    if (!link.isOpen) return;
    const bytes = Uint8Array.from(all.subarray(0, size));
    this.#perform(pipe.to, pipe.to.exchange.received(link.id, bytes, this.now));
  }

  #perform(gateway: Gateway, actions: readonly Action[]): void {
    for (const action of withStores(gateway.exchange, gateway.log, actions, this.now)) {
      const link = this.links[action.connection - 1];
      const pipe = link?.pipes.find(({ from }) => from === gateway);
      if (link === undefined || pipe === undefined || !link.isOpen) continue;
      if (action.type === "send") {
        pipe.bytes.push(Buffer.from(action.bytes));
        pipe.length += action.bytes.length;
        pipe.said += Buffer.from(action.bytes).toString("latin1");
      } else if (action.type === "end") pipe.isClosing = true;
      else this.cut(link);
    }
  }
}

export const MINUTE_MS = 60_000;

export function updates(count: number, from = 0): Update[] {
  return Array.from({ length: count }, (_, n) => made(1, from + n).update);
}

/** Two gateways that are peers; not yet connected. */
export function pair(seed = SEED, version: Gateway["version"] = "1.1") {
  const network = new Network(seed);
  const a = network.gateway("a", ["b"]);
  const b = network.gateway("b", ["a"]);
  for (const gateway of [a, b]) {
    gateway.version = version;
    gateway.restart();
  }
  return { network, a, b };
}
