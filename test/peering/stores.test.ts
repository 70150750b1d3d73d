/**
 * What the exchange does while a store is under way: a peer is text here, and each outcome comes
 * when the test says so. Nothing is announced, passed or fetched again before it.
 */
import { expect, onTestFinished, test } from "vitest";
import type { Clock } from "../../src/clock.js";
import type { EventName } from "../../src/diagnostics.js";
import { Trouble } from "../../src/errors.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { encodeArmor } from "../../src/openpgp/armor.js";
import type { Action } from "../../src/peering/exchange.js";
import { Exchange } from "../../src/peering/exchange.js";
import type { Store } from "../../src/peering/receiving.js";
import type { Update } from "../../src/update.js";
import { wire } from "../kx/wire.js";
import { made } from "../torture/material.js";
import { append } from "./stores.js";

const FULL = new Trouble("disk-full", "no space left", "Free space.");

/** A gateway with some peers, whose stores wait. */
class Stage {
  readonly log = UpdateLog.open(":memory:");
  readonly events: EventName[] = [];
  readonly stores: Store[] = [];
  readonly asked: { readonly id: number; readonly tag: string; readonly number: number }[] = [];
  /** The numbers from which each LIST asks, by connection. */
  readonly listed: { readonly id: number; readonly range: string }[] = [];
  now = 1000;
  readonly #exchange: Exchange;
  readonly #said = new Map<number, string>();

  constructor(peers: readonly string[]) {
    onTestFinished(() => this.log.close());
    const clock: Clock = { now: () => 1e12, monotonic: () => this.now, random: () => 0.5 };
    const diagnostics = { report: (event: EventName) => void this.events.push(event) };
    const components = { log: this.log, clock, diagnostics };
    this.#exchange = new Exchange(components, { peers, observing: false });
    this.log.onAppend(() => this.#take(this.#exchange.grew(this.now)));
  }

  /** A connection whose peer has `newest`, or an empty log. */
  greet(id: number, peer: string, newest?: string): void {
    this.#take(this.#exchange.opened(id, peer, false, this.now));
    this.say(id, "HELO|1.0");
    this.say(id, newest === undefined ? "IHAVE|NOTIFY" : `IHAVE|NOTIFY|${newest}`);
  }

  announce(id: number, ...lines: readonly string[]): void {
    this.say(id, `IHAVE|NOTIFY|${lines.join("|")}`);
  }

  say(id: number, message: string): void {
    this.#take(this.#exchange.received(id, wire(`t000|${message}`), this.now));
  }

  /** Answers the first `count` requests on a connection; returns how many there were. */
  give(id: number, updates: readonly Update[], count = Infinity): number {
    const mine = this.asked.filter((one) => one.id === id).slice(0, count);
    for (const one of mine) {
      this.asked.splice(this.asked.indexOf(one), 1);
      const update = updates[one.number - 1];
      if (update === undefined) throw new Error(`asked for ${one.number}`);
      const armor = encodeArmor(update.body).trimEnd().replaceAll(/\r?\n/g, "|");
      this.say(id, `UPDATE|${one.tag}|${line(update, one.number)}|${armor}`);
    }
    return mine.length;
  }

  /** The batch that waits longest is committed, and the exchange hears of it. */
  commit(): void {
    this.hears(this.commitSilently());
  }

  /** Committed; `hears` tells the exchange. */
  commitSilently(): Store {
    const store = this.stores.shift();
    if (store === undefined) throw new Error("no store is under way");
    const outcomes = append(this.log, store);
    if (outcomes instanceof Trouble) throw outcomes;
    this.#outcomes.set(store, outcomes);
    return store;
  }

  readonly #outcomes = new Map<Store, readonly never[] | ReturnType<UpdateLog["append"]>>();

  hears(store: Store): void {
    const outcomes = this.#outcomes.get(store) ?? [];
    this.#take(this.#exchange.stored(store.id, outcomes, this.now));
  }

  fail(): void {
    const store = this.stores.shift();
    if (store === undefined) throw new Error("no store is under way");
    this.#take(this.#exchange.storeFailed(store.id, FULL, this.now));
  }

  wait(ms: number): void {
    this.now += ms;
    this.#take(this.#exchange.tick(this.now));
  }

  /** When the exchange wants to act again, in milliseconds; Infinity for never. */
  get dueIn(): number {
    return (this.#exchange.nextAt() ?? Infinity) - this.now;
  }

  hangUp(id: number): void {
    this.#take(this.#exchange.ended(id, this.now));
  }

  shutDown(): void {
    this.#take(this.#exchange.shutdown(this.now));
  }

  startOver(peer: string): void {
    this.#take(this.#exchange.startOver(peer, this.now));
  }

  isOrderOpen(peer: string): boolean {
    return this.#exchange.isOrderOpen(peer);
  }

  cursor(peer: string): number | undefined {
    return this.#exchange.status().find(({ name }) => name === peer)?.cursor;
  }

  said(id: number): string {
    return this.#said.get(id) ?? "";
  }

  #take(actions: readonly Action[]): void {
    for (const action of actions) {
      if (action.type === "store") this.stores.push(action.store);
      if (action.type !== "send") continue;
      const { connection: id } = action;
      const text = Buffer.from(action.bytes).toString("latin1");
      this.#said.set(id, this.said(id) + text);
      for (const [, tag = "", number] of text.matchAll(/(\S{4})\r\nGETUPDATE\r\n(\d+)\r\n/g)) {
        this.asked.push({ id, tag, number: Number(number) });
      }
      for (const [, range = ""] of text.matchAll(/\r\nLIST\r\n(\S+)\r\n/g)) {
        this.listed.push({ id, range });
      }
    }
  }
}

function line({ fingerprint, hash }: Update, number: number): string {
  return `${number} ${fingerprint} ${hash}`;
}

function lines(updates: readonly Update[]): string[] {
  return updates.map((update, n) => line(update, n + 1));
}

const UPDATES = Array.from({ length: 12 }, (_, n) => made(41, n, 1).update);
const hashesOf = (updates: readonly Update[]) => updates.map(({ hash }) => hash);
const hashesIn = ({ arrivals }: Store) => arrivals.map(({ update }) => update.hash);

test("nothing is announced, reported or passed before the outcome", () => {
  const stage = new Stage(["a", "b"]);
  const [one] = UPDATES;
  if (one === undefined) throw new Error("no update");
  stage.greet(1, "a");
  stage.greet(2, "b");
  stage.announce(1, line(one, 1));
  expect(stage.give(1, UPDATES)).toBe(1);
  expect(stage.stores.map(hashesIn)).toEqual([[one.hash]]);
  expect(stage.stores[0]?.cursor).toEqual({ peer: "a", at: { number: 1, hash: one.hash } });
  stage.wait(1000);
  expect(stage.said(2)).not.toContain(one.hash);
  expect(stage.events).not.toContain("accepted");
  expect([stage.cursor("a"), stage.log.cursors.get("a")]).toEqual([undefined, undefined]);

  stage.commit();
  stage.wait(1000);
  expect(stage.events.filter((event) => event === "accepted")).toHaveLength(1);
  expect(stage.said(2)).toContain(one.hash);
  expect([stage.cursor("a"), stage.log.cursors.get("a")?.number]).toEqual([1, 1]);
});

test("one store of a peer is under way; what arrives meanwhile is the next one", () => {
  const stage = new Stage(["a"]);
  stage.greet(1, "a");
  stage.announce(1, ...lines(UPDATES));
  stage.give(1, UPDATES, 3);
  stage.wait(5);
  expect(stage.stores.map(hashesIn)).toEqual([hashesOf(UPDATES.slice(0, 3))]);
  while (stage.asked.length > 0) stage.give(1, UPDATES);
  stage.wait(5);
  expect(stage.stores).toHaveLength(1);
  // No timer runs for what cannot be stored yet.
  expect(stage.dueIn).toBeGreaterThan(1000);
  stage.commit();
  expect(stage.stores.map(hashesIn)).toEqual([hashesOf(UPDATES.slice(3))]);
  expect(stage.log.cursors.get("a")?.number).toBe(3);
  stage.commit();
  expect([stage.cursor("a"), stage.log.cursors.get("a")?.number]).toEqual([12, 12]);
});

test("each peer has a store of its own, and outcomes may come in another order", () => {
  const stage = new Stage(["a", "b"]);
  const [one, two] = [UPDATES.slice(0, 1), UPDATES.slice(1, 2)];
  stage.greet(1, "a");
  stage.greet(2, "b");
  stage.announce(1, ...lines(one));
  stage.announce(2, ...lines(two));
  stage.give(1, one);
  stage.give(2, two);
  expect(stage.stores.map(hashesIn)).toEqual([hashesOf(one), hashesOf(two)]);
  const [ofA, ofB] = [stage.commitSilently(), stage.commitSilently()];
  stage.hears(ofB);
  stage.hears(ofA);
  expect([stage.cursor("a"), stage.cursor("b")]).toEqual([1, 1]);
});

test("what is being stored is not fetched from another peer, however long it takes", () => {
  const stage = new Stage(["a", "b"]);
  const one = UPDATES.slice(0, 1);
  stage.greet(1, "a");
  stage.greet(2, "b");
  stage.announce(1, ...lines(one));
  stage.give(1, one);
  stage.announce(2, ...lines(one));
  // A request that is not answered is given up after 10 s.
  for (let second = 0; second < 50; second += 1) stage.wait(1000);
  expect(stage.asked).toEqual([]);
  expect(stage.events).not.toContain("fetch-timeout");
  stage.commit();
  stage.wait(1000);
  expect([stage.cursor("a"), stage.cursor("b"), stage.asked]).toEqual([1, 1, []]);
});

test("a peer that hangs up leaves its store under way; its cursor is the stored one", () => {
  const stage = new Stage(["a", "b"]);
  const one = UPDATES.slice(0, 1);
  stage.greet(1, "a");
  stage.greet(2, "b");
  stage.announce(1, ...lines(one));
  stage.give(1, one);
  stage.announce(2, ...lines(one));
  stage.hangUp(1);
  stage.wait(1000);
  expect(stage.asked).toEqual([]);
  stage.commit();
  expect([stage.cursor("a"), stage.log.cursors.get("a")?.number]).toEqual([1, 1]);
  expect(stage.cursor("b")).toBe(1);
  // It comes again: it is listed from there on.
  stage.greet(3, "a", line(one[0] as Update, 1));
  expect(stage.listed.filter(({ id }) => id === 3)).toEqual([]);
});

test("a peer that comes again before the outcome is not asked for the same again", () => {
  const stage = new Stage(["a"]);
  const one = UPDATES.slice(0, 1);
  stage.greet(1, "a");
  stage.announce(1, ...lines(one));
  stage.give(1, one);
  stage.hangUp(1);
  stage.greet(2, "a", ...lines(one));
  const tag = /(\S{4})\r\nLIST\r\n/.exec(stage.said(2))?.[1];
  stage.say(2, `IHAVE|${tag}|${lines(one)[0]}`);
  stage.wait(5000);
  expect(stage.asked).toEqual([]);
  stage.commit();
  stage.wait(60_000);
  expect([stage.cursor("a"), stage.log.cursors.get("a")?.number]).toEqual([1, 1]);
});

test("what fails is nobody's failure: it is asked for again 5 s later", () => {
  const stage = new Stage(["a"]);
  const one = UPDATES.slice(0, 1);
  stage.greet(1, "a");
  stage.announce(1, ...lines(one));
  stage.give(1, one);
  stage.fail();
  expect(stage.events).toContain("log-trouble");
  stage.wait(4999);
  expect(stage.asked).toEqual([]);
  stage.wait(1);
  expect(stage.asked.map(({ number }) => number)).toEqual([1]);
  stage.give(1, one);
  stage.commit();
  expect([stage.cursor("a"), stage.log.cursors.get("a")?.number]).toEqual([1, 1]);
  expect(stage.events).not.toContain("update-lost");
});

test("what fails after its peer has gone is fetched from the other who announced it", () => {
  const stage = new Stage(["a", "b"]);
  const one = UPDATES.slice(0, 1);
  stage.greet(1, "a");
  stage.greet(2, "b");
  stage.announce(1, ...lines(one));
  stage.give(1, one);
  stage.announce(2, ...lines(one));
  stage.hangUp(1);
  stage.fail();
  stage.wait(5000);
  expect(stage.asked.map(({ id, number }) => [id, number])).toEqual([[2, 1]]);
  stage.give(2, one);
  stage.commit();
  expect([stage.cursor("a"), stage.cursor("b")]).toEqual([undefined, 1]);
});

test("the log may show what was stored before the outcome comes", () => {
  const stage = new Stage(["a", "b"]);
  const one = UPDATES.slice(0, 1);
  stage.greet(1, "a");
  stage.greet(2, "b");
  stage.announce(1, ...lines(one));
  stage.give(1, one);
  const store = stage.commitSilently();
  stage.wait(1000);
  expect(stage.said(2)).toContain(one[0]?.hash);
  expect([stage.cursor("a"), stage.events.includes("accepted")]).toEqual([1, false]);
  stage.hears(store);
  expect(stage.events.filter((event) => event === "accepted")).toHaveLength(1);
  stage.wait(61_000);
  expect(stage.stores).toEqual([]);
});

test("a cursor that was reset while it was stored is forgotten after that", () => {
  const stage = new Stage(["a"]);
  const one = UPDATES.slice(0, 1);
  stage.greet(1, "a");
  stage.announce(1, ...lines(one));
  stage.give(1, one);
  stage.hangUp(1);
  stage.startOver("a");
  expect(stage.isOrderOpen("a")).toBe(true);
  stage.commit();
  expect(stage.log.cursors.get("a")?.number).toBe(1);
  expect(stage.cursor("a")).toBeUndefined();
  expect(stage.isOrderOpen("a")).toBe(true);
  stage.wait(0);
  expect(stage.stores.map(({ cursor }) => cursor)).toEqual([{ peer: "a", at: undefined }]);
  stage.commit();
  expect(stage.log.cursors.get("a")).toBeUndefined();
  expect(stage.isOrderOpen("a")).toBe(false);
});

test("an order to start over is open until the cursor from before is not on disk", () => {
  const stage = new Stage(["a"]);
  const one = UPDATES.slice(0, 1);
  stage.startOver("a");
  expect(stage.isOrderOpen("a")).toBe(false);
  stage.greet(1, "a");
  stage.announce(1, ...lines(one));
  stage.give(1, one);
  // The first cursor is on its way to the disk, and does not get there.
  stage.startOver("a");
  expect(stage.isOrderOpen("a")).toBe(true);
  stage.fail();
  expect(stage.isOrderOpen("a")).toBe(false);
});

test("a cursor that cannot be stored is tried again a second later", () => {
  const stage = new Stage(["a"]);
  const origin = { neighbour: undefined, transport: "mail" } as const;
  const one = UPDATES.slice(0, 1);
  stage.log.append(one.map((update) => ({ update, origin, trail: [], receivedAt: 1 })));
  stage.greet(1, "a");
  stage.announce(1, ...lines(one));
  stage.say(1, "IHAVE|NOTIFY");
  stage.wait(59_999);
  expect([stage.cursor("a"), stage.stores]).toEqual([1, []]);
  stage.wait(1);
  expect(stage.stores.map(({ arrivals }) => arrivals.length)).toEqual([0]);
  stage.fail();
  stage.wait(999);
  expect(stage.stores).toEqual([]);
  stage.wait(1);
  stage.commit();
  expect(stage.log.cursors.get("a")?.number).toBe(1);
});

test("what waits behind a store is stored after it when we go down", () => {
  const stage = new Stage(["a"]);
  stage.greet(1, "a");
  stage.announce(1, ...lines(UPDATES));
  stage.give(1, UPDATES, 3);
  stage.wait(5);
  stage.give(1, UPDATES, 5);
  stage.shutDown();
  expect(stage.stores).toHaveLength(1);
  stage.commit();
  expect(stage.stores).toHaveLength(1);
  stage.commit();
  expect(stage.stores).toEqual([]);
  expect(stage.log.counts().entries).toBe(8);
});
