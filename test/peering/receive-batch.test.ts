/** When what a peer delivers is stored: many in one transaction, none of them late or lost. */
import { expect, onTestFinished, test } from "vitest";
import type { Clock } from "../../src/clock.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { encodeArmor } from "../../src/openpgp/armor.js";
import type { Action } from "../../src/peering/exchange.js";
import { Exchange } from "../../src/peering/exchange.js";
import { RECEIVE_BATCH_LIMITS } from "../../src/peering/receive-batch.js";
import type { Update } from "../../src/update.js";
import { wire } from "../kx/wire.js";
import { made } from "../torture/material.js";
import { withStores } from "./stores.js";

/** A peer that announces updates and answers GETUPDATEs when it is told to. */
class Giver {
  readonly log = UpdateLog.open(":memory:");
  /** Entries that each append has brought. */
  readonly commits: number[] = [];
  readonly #exchange: Exchange;
  readonly #updates: readonly Update[];
  /** Requests that wait: tag and number. */
  readonly asked: [tag: string, number: number][] = [];
  #now = 1000;
  #held = 0;

  constructor(updates: readonly Update[]) {
    onTestFinished(() => this.log.close());
    this.log.onAppend(() => {
      const { entries } = this.log.counts();
      this.commits.push(entries - this.#held);
      this.#held = entries;
    });
    this.#updates = updates;
    const clock: Clock = { now: () => 1e12, monotonic: () => this.#now, random: () => 0.5 };
    this.#exchange = new Exchange(
      { log: this.log, clock, diagnostics: { report: () => {} } },
      { peers: ["peer"], observing: false },
    );
    this.#take(this.#exchange.opened(1, "peer", false, this.#now));
    this.#say("HELO|1.0");
    this.#say("IHAVE|NOTIFY");
    this.#say(`IHAVE|NOTIFY|${updates.map((update, n) => line(update, n + 1)).join("|")}`);
  }

  get dueAt(): number {
    return (this.#exchange.nextAt() ?? Infinity) - this.#now;
  }

  /** Answers the next `count` requests, each in a read of its own. */
  give(count: number): void {
    for (const [tag, number] of this.asked.splice(0, count)) {
      const update = this.#updates[number - 1];
      if (update === undefined) throw new Error(`asked for ${number}`);
      const armor = encodeArmor(update.body).trimEnd().replaceAll(/\r?\n/g, "|");
      this.#say(`UPDATE|${tag}|${line(update, number)}|${armor}`);
    }
  }

  wait(ms: number): void {
    this.#now += ms;
    this.#take(this.#exchange.tick(this.#now));
  }

  hangUp(): void {
    this.#take(this.#exchange.ended(1, this.#now));
  }

  shutDown(): void {
    this.#take(this.#exchange.shutdown(this.#now));
  }

  #say(message: string): void {
    this.#take(this.#exchange.received(1, wire(`t000|${message}`), this.#now));
  }

  #take(actions: readonly Action[]): void {
    for (const action of withStores(this.#exchange, this.log, actions, this.#now)) {
      if (action.type !== "send") continue;
      const text = Buffer.from(action.bytes).toString("latin1");
      for (const [, tag = "", number] of text.matchAll(/(\S{4})\r\nGETUPDATE\r\n(\d+)\r\n/g)) {
        this.asked.push([tag, Number(number)]);
      }
    }
  }
}

function line({ fingerprint, hash }: Update, number: number): string {
  return `${number} ${fingerprint} ${hash}`;
}

const updates = (count: number) => Array.from({ length: count }, (_, n) => made(21, n, 1).update);

test("one alone is stored at once", () => {
  const giver = new Giver(updates(1));
  giver.give(1);
  expect(giver.commits).toEqual([1]);
});

test("while more are on their way, a few wait for them, and a moment at most", () => {
  const giver = new Giver(updates(8));
  expect(giver.asked.length).toBe(8);
  giver.give(3);
  expect(giver.commits).toEqual([]);
  expect(giver.dueAt).toBe(RECEIVE_BATCH_LIMITS.waitMs);
  giver.wait(RECEIVE_BATCH_LIMITS.waitMs - 1);
  expect(giver.commits).toEqual([]);
  giver.wait(1);
  expect(giver.commits).toEqual([3]);
  expect(giver.log.cursors.get("peer")?.number).toBe(3);
  giver.give(5);
  expect(giver.commits).toEqual([3, 5]);
});

test("enough of them are stored while the rest is on its way", () => {
  const giver = new Giver(updates(600));
  while (giver.asked.length < 128) giver.give(giver.asked.length);
  giver.commits.length = 0;
  giver.give(RECEIVE_BATCH_LIMITS.updates - 1);
  expect(giver.commits).toEqual([]);
  giver.give(1);
  expect(giver.commits).toEqual([RECEIVE_BATCH_LIMITS.updates]);
  expect(giver.asked.length).toBe(128);
});

test("large ones do not pile up", () => {
  const big = Array.from({ length: 8 }, (_, n) => made(22, n, 300_000).update);
  const giver = new Giver(big);
  giver.give(7);
  expect(giver.commits.length).toBeGreaterThan(1);
  expect(Math.max(...giver.commits)).toBeLessThanOrEqual(4);
});

test("what was gathered is stored when the peer hangs up, and when we go down", () => {
  const left = new Giver(updates(8));
  left.give(3);
  left.hangUp();
  expect(left.commits).toEqual([3]);
  expect(left.log.cursors.get("peer")?.number).toBe(3);

  const stopped = new Giver(updates(8));
  stopped.give(2);
  stopped.shutDown();
  expect(stopped.commits).toEqual([2]);
  expect(stopped.log.cursors.get("peer")?.number).toBe(2);
});
