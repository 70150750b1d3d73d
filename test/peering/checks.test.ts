/** Large UPDATEs are checked in slices, with a clock that moves on whenever it is read. */
import { expect, onTestFinished, test } from "vitest";
import { updateOf } from "../../src/admit.js";
import type { Clock } from "../../src/clock.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { encodeArmor } from "../../src/openpgp/armor.js";
import { readKeys } from "../../src/openpgp/key.js";
import { encodePackets, TAG, walkPackets } from "../../src/openpgp/packet.js";
import type { Action } from "../../src/peering/exchange.js";
import { Exchange } from "../../src/peering/exchange.js";
import { SLICE_MS } from "../../src/steps.js";
import type { Seq, Update } from "../../src/update.js";
import { wire } from "../kx/wire.js";
import { made } from "../torture/material.js";
import { withStores } from "./stores.js";

/** A key with so many signatures. */
function large(n: number, signatures: number): Update {
  const packets = [...walkPackets(made(31, n).update.body)].map(({ packet }) => packet);
  const more = Array.from({ length: signatures }, (_, at) => {
    const body = Buffer.alloc(60, 4);
    body.set([4, 0x10, 22, 8, 0, 0, 0, 0, 0, 0]);
    body.writeUInt32BE(Math.imul(at, 0x9e3779b1) >>> 0, 14);
    return { tag: TAG.signature, body };
  });
  const [key] = readKeys(encodePackets([...packets, ...more]));
  if (key === undefined || key instanceof Error) throw new Error("the key that was made is none");
  return updateOf(key);
}

/** A gateway whose peers announce updates and are asked for them. */
class Asker {
  readonly log = UpdateLog.open(":memory:");
  readonly asked: { readonly peer: string; readonly tag: string; readonly number: number }[] = [];
  /** The longest time that an input took by the clock. */
  longest = 0;
  readonly #exchange: Exchange;
  readonly #peers: ReadonlyMap<string, readonly Update[]>;
  #now = 1000;

  constructor(peers: Readonly<Record<string, readonly Update[]>>) {
    onTestFinished(() => this.log.close());
    this.#peers = new Map(Object.entries(peers));
    const monotonic = () => {
      this.#now += 0.5;
      return this.#now;
    };
    const clock: Clock = { now: () => 1e12, monotonic, random: () => 0.5 };
    const names = [...this.#peers.keys()];
    this.#exchange = new Exchange(
      { log: this.log, clock, diagnostics: { report: () => {} } },
      { peers: names, observing: false },
    );
    for (const [peer, updates] of this.#peers) {
      this.#take(peer, this.#exchange.opened(this.#id(peer), peer, false, this.#now));
      this.say(peer, "HELO|1.0");
      this.say(peer, "IHAVE|NOTIFY");
      const lines = updates.map(({ fingerprint, hash }, n) => `${n + 1} ${fingerprint} ${hash}`);
      this.say(peer, `IHAVE|NOTIFY|${lines.join("|")}`);
    }
  }

  /** Answers what was asked of a peer, in one read, with `more` behind it. */
  give(peer: string, more = ""): void {
    const answers = this.asked.flatMap((one) => {
      const update = this.#peers.get(peer)?.[one.number - 1];
      if (one.peer !== peer || update === undefined) return [];
      const armor = encodeArmor(update.body).trimEnd().replaceAll(/\r?\n/g, "|");
      const line = `${one.number} ${update.fingerprint} ${update.hash}`;
      return [wire(`t000|UPDATE|${one.tag}|${line}|${armor}`)];
    });
    this.#input(peer, Buffer.concat([...answers, ...(more === "" ? [] : [wire(more)])]));
  }

  say(peer: string, message: string): void {
    this.#input(peer, wire(`t000|${message}`));
  }

  end(peer: string): void {
    this.#take(peer, this.#exchange.ended(this.#id(peer), this.#now));
  }

  isRead(peer: string): boolean {
    return !this.#exchange.isCongested(this.#id(peer));
  }

  tick(): void {
    const began = this.#now;
    const [first = ""] = this.#peers.keys();
    this.#take(first, this.#exchange.tick(this.#now));
    this.longest = Math.max(this.longest, this.#now - began);
  }

  get isDue(): boolean {
    return (this.#exchange.nextAt() ?? Infinity) <= this.#now;
  }

  /** Hashes in the log, in order. */
  get stored(): string[] {
    return this.log.range(1 as Seq, 1000 as Seq, 1000).map(({ hash }) => hash);
  }

  #id(peer: string): number {
    return [...this.#peers.keys()].indexOf(peer) + 1;
  }

  #input(peer: string, bytes: Uint8Array): void {
    const began = this.#now;
    this.#take(peer, this.#exchange.received(this.#id(peer), bytes, this.#now));
    this.longest = Math.max(this.longest, this.#now - began);
  }

  #take(peer: string, actions: readonly Action[]): void {
    for (const action of withStores(this.#exchange, this.log, actions, this.#now)) {
      if (action.type !== "send") continue;
      const text = Buffer.from(action.bytes).toString("latin1");
      for (const [, tag = "", number] of text.matchAll(/(\S{4})\r\nGETUPDATE\r\n(\d+)\r\n/g)) {
        this.asked.push({ peer, tag, number: Number(number) });
      }
    }
  }
}

const [big, bigger] = [large(0, 20_000), large(1, 20_000)];
const small = (n: number) => made(32, n).update;
/** Nothing may take longer than a slice and the few looks at the clock around it. */
const MOST_MS = SLICE_MS + 5;

test("an input takes a slice at most; what comes behind a large update waits for it", () => {
  const peer = new Asker({ a: [small(0), big, small(1), small(2)] });
  peer.longest = 0;
  peer.give("a");
  expect(peer.isRead("a")).toBe(false);
  const ticks = whileBusy(peer, "a");
  expect(ticks).toBeGreaterThan(3);
  expect(peer.longest).toBeLessThanOrEqual(MOST_MS);
  expect(peer.stored).toEqual([small(0), big, small(1), small(2)].map(({ hash }) => hash));
  expect(peer.log.cursors.get("a")?.number).toBe(4);
});

test("another peer is read meanwhile, and two that are checked take turns", () => {
  const peers = new Asker({ a: [big], b: [bigger], c: [small(0), small(1)] });
  peers.give("a");
  peers.give("b");
  expect([peers.isRead("a"), peers.isRead("b"), peers.isRead("c")]).toEqual([false, false, true]);
  peers.give("c");
  expect(peers.stored).toEqual([small(0).hash, small(1).hash]);
  whileBusy(peers, "a");
  whileBusy(peers, "b");
  expect(peers.stored.slice(2).toSorted()).toEqual([big.hash, bigger.hash].toSorted());
  expect(["a", "b"].map((peer) => peers.log.cursors.get(peer)?.number)).toEqual([1, 1]);
  expect(peers.longest).toBeLessThanOrEqual(MOST_MS);
});

test.each([
  ["says CLOSE", "t001|CLOSE"],
  ["is gone", ""],
])("what a peer delivered before it %s is stored", (_, last) => {
  const peer = new Asker({ a: [big, small(0)] });
  peer.give("a", last);
  peer.end("a");
  expect(peer.stored).toEqual([]);
  for (let n = 0; n < 10_000 && peer.stored.length < 2; n += 1) peer.tick();
  expect(peer.stored).toEqual([big.hash, small(0).hash]);
});

test("a large update that is another one than announced is not stored and not waited for", () => {
  const peer = new Asker({ a: [{ ...big, hash: bigger.hash }, small(0)] });
  peer.give("a");
  whileBusy(peer, "a");
  expect(peer.stored).toEqual([small(0).hash]);
  expect(peer.log.cursors.get("a")).toBeUndefined();
});

/** Goes on until the peer is read again; returns how often. */
function whileBusy(asker: Asker, peer: string): number {
  let ticks = 0;
  while (!asker.isRead(peer)) {
    if (!asker.isDue || ticks > 10_000) throw new Error("nothing is due while a peer waits");
    asker.tick();
    ticks += 1;
  }
  return ticks;
}
