/**
 * Eyes inside the real engine: what the receiving half asks for and what it hears, told to whoever
 * looks on while a gateway takes its step. Nothing is changed; the methods are wrapped once
 * for the whole process and do nothing while nobody looks.
 */
import type Database from "better-sqlite3";
import type { UpdateRequest } from "../../src/kx/open-requests.js";
import type { UpdateLog } from "../../src/log/update-log.js";
import type { PeerOrder } from "../../src/peering/connection.js";
import { Receiving } from "../../src/peering/receiving.js";
import { type AnnouncedName, namesIn, type UpdateHash } from "../../src/update.js";

/** What an onlooker of one gateway hears; `peer` is the name of its neighbour. */
export interface Onlooker {
  /** The log of the gateway, and the database under it: mutants want them. */
  log(): UpdateLog | undefined;
  db(): Database.Database;
  /** The monotonic clock of its process. */
  monotonic(): number;
  /** A GETUPDATE is to leave. */
  asked(peer: string, hash: UpdateHash): void;
  /** A request is over, whatever came of it. */
  answered(peer: string, hash: UpdateHash): void;
  /** All requests at the peer are over. */
  dropped(peer: string): void;
  /** Bytes of an UPDATE came from the peer. */
  progressed(peer: string): void;
}

let present: Onlooker | undefined;

/** Runs `step`, during which `onlooker` sees what happens. */
export function watched<T>(onlooker: Onlooker, step: () => T): T {
  install();
  const before = present;
  present = onlooker;
  try {
    return step();
  } finally {
    present = before;
  }
}

/** The onlooker of the gateway that takes its step now. */
export function presentOnlooker(): Onlooker {
  if (present === undefined) throw new Error("no gateway takes a step");
  return present;
}

let isInstalled = false;

function install(): void {
  if (isInstalled) return;
  isInstalled = true;
  after(Receiving, "orders", (orders: PeerOrder[]) => {
    for (const order of orders) {
      if (order.type !== "get") continue;
      for (const { hash } of order.requests) present?.asked(order.peer, hash);
    }
  });
  const answered = (peer: string, { hash }: UpdateRequest) => present?.answered(peer, hash);
  before(Receiving, "delivered", answered);
  before(Receiving, "gone", answered);
  before(Receiving, "failed", (peer: string, name: AnnouncedName) => {
    present?.answered(peer, namesIn(name).hash);
  });
  before(Receiving, "disconnected", (peer: string) => present?.dropped(peer));
  before(Receiving, "progressed", (peer: string) => present?.progressed(peer));
}

/** Has `look` see the arguments of each call before the method runs. */
function before<C extends { prototype: object }, A extends unknown[]>(
  where: C,
  name: string,
  look: (...parameters: A) => void,
): void {
  const method: unknown = Reflect.get(where.prototype, name);
  if (typeof method !== "function") throw new Error(`there is no ${name} to look at`);
  function looking(this: unknown, ...parameters: A): unknown {
    look(...parameters);
    return (method as (...parameters: A) => unknown).apply(this, parameters);
  }
  Object.defineProperty(where.prototype, name, { value: looking, configurable: true });
}

/** Has `look` see what each call returned. */
function after<C extends { prototype: object }, R>(
  where: C,
  name: string,
  look: (result: R) => void,
): void {
  const method: unknown = Reflect.get(where.prototype, name);
  if (typeof method !== "function") throw new Error(`there is no ${name} to look at`);
  function looking(this: unknown, ...parameters: unknown[]): R {
    const result = (method as (...parameters: unknown[]) => R).apply(this, parameters);
    look(result);
    return result;
  }
  Object.defineProperty(where.prototype, name, { value: looking, configurable: true });
}
