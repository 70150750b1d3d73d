/**
 * One exchange and a peer that is only text: what a slow, greedy or confused peer costs, seen from
 * the actions that the exchange orders.
 */
import { describe, expect, onTestFinished, test } from "vitest";
import type { Clock } from "../../src/clock.js";
import { type EventName, kindOf } from "../../src/diagnostics.js";
import { Connection } from "../../src/log/connection.js";
import { UpdateLog } from "../../src/log/update-log.js";
import type { Action } from "../../src/peering/exchange.js";
import { Exchange } from "../../src/peering/exchange.js";
import { SEND_QUEUE_LIMITS } from "../../src/peering/send-queue.js";
import { LISTING_LIMITS } from "../../src/peering/serving.js";
import type { Update } from "../../src/update.js";
import { wire } from "../kx/wire.js";
import { checked } from "../support/reported.js";
import { made } from "../torture/material.js";
import { withStores } from "./stores.js";

class Stage {
  readonly #connection = Connection.open(":memory:");
  readonly log = new UpdateLog(this.#connection);
  readonly events: EventName[] = [];
  readonly sessions: [peer: string, isUp: boolean][] = [];
  readonly exchange: Exchange;
  now = 1000;
  sent = 0;
  text = "";
  ended: Action["type"][] = [];

  constructor() {
    onTestFinished(() => this.log.close());
    const clock: Clock = { now: () => 1e12, monotonic: () => this.now, random: () => 0.5 };
    const diagnostics = checked((event) => this.events.push(event));
    this.exchange = new Exchange(
      {
        ...{ log: this.log, clock, diagnostics },
        session: (peer, isUp) => this.sessions.push([peer, isUp]),
      },
      { peers: ["peer"], observing: false },
    );
  }

  hold(updates: readonly Update[]): this {
    const origin = { neighbour: undefined, transport: "mail" } as const;
    this.log.append(updates.map((update) => ({ update, origin, trail: [], receivedAt: 1 })));
    return this.take(this.exchange.grew(this.now));
  }

  /** The next update gets this number. */
  numberFrom(seq: number): this {
    const { db } = this.#connection;
    db.prepare("UPDATE totals SET last = ?, upto = ?").run(seq - 1, seq - 1);
    return this;
  }

  greet(id = 1): this {
    this.take(this.exchange.opened(id, "peer", false, this.now));
    return this.say("HELO|1.0", id).say("IHAVE|NOTIFY", id);
  }

  /** A message without its tag, `|` for line ends. */
  say(message: string, id = 1): this {
    return this.take(this.exchange.received(id, wire(`t000|${message}`), this.now));
  }

  /** All that was sent has left but so many bytes. */
  flush(unsent = 0): this {
    this.text = "";
    return this.take(this.exchange.flushed(1, unsent, this.now));
  }

  /** Lets pass what is due within a second after the other; returns how often something was. */
  settle(): number {
    let ticks = 0;
    for (; ; ticks++) {
      const at = this.exchange.nextAt() ?? Infinity;
      if (at > this.now + 1000 || ticks > 1000) return ticks;
      this.wait(Math.max(1, at - this.now));
    }
  }

  wait(ms: number): this {
    this.now += ms;
    return this.take(this.exchange.tick(this.now));
  }

  take(actions: readonly Action[]): this {
    for (const action of withStores(this.exchange, this.log, actions, this.now)) {
      if (action.type !== "send") this.ended.push(action.type);
      else {
        this.sent += action.bytes.length;
        if (this.text.length < 1e6) this.text += Buffer.from(action.bytes).toString("latin1");
      }
    }
    return this;
  }
}

const BIG = made(3, 0, 60_000).update;

describe("a peer that does not read", () => {
  test("gets 4 MiB, is not read beyond 1000 numbers, and is dropped after a minute", () => {
    const stage = new Stage().hold([BIG]).greet();
    stage.sent = 0;
    for (let n = 0; n < 100 && !stage.exchange.isCongested(1); n++) {
      stage.say(`GETUPDATE${"|1".repeat(50)}`).flush(stage.sent);
    }
    expect(stage.exchange.isCongested(1)).toBe(true);
    expect(stage.sent).toBeGreaterThan(SEND_QUEUE_LIMITS.unsentBytes);
    expect(stage.sent).toBeLessThan(SEND_QUEUE_LIMITS.unsentBytes + 200_000);
    stage.wait(59_999);
    expect(stage.ended).toEqual([]);
    stage.wait(1);
    expect(stage.ended).toEqual(["drop"]);
    expect(stage.exchange.nextAt()).toBeUndefined();
    expect(stage.exchange.status()[0]?.connected).toBe(false);
  });

  test("and reads on later gets everything, as fast as it reads", () => {
    const stage = new Stage().hold([BIG]).greet().flush();
    stage.sent = 0;
    stage.say(`GETUPDATE${"|1".repeat(2000)}`);
    for (let n = 0; n < 2000 && stage.exchange.isCongested(1); n++) stage.flush();
    for (let n = 0; n < 200; n++) stage.flush();
    expect(stage.exchange.isCongested(1)).toBe(false);
    const one = stage.sent / 2000;
    expect(one).toBeGreaterThan(80_000);
    expect(Number.isInteger(one)).toBe(true);
  });

  test("hears no news before it has read on, and then misses none", () => {
    const stage = new Stage().hold([BIG]).greet().flush(SEND_QUEUE_LIMITS.unsentWithNewsBytes);
    for (let n = 0; n < 20; n++) stage.hold([made(4, n).update]).wait(1000);
    expect(stage.text).toBe("");
    stage.flush(SEND_QUEUE_LIMITS.unsentWithNewsBytes - 1).wait(1000);
    const numbers = [...stage.text.matchAll(/^(\d+) [0-9A-F]{40} /gm)].map(([, n]) => Number(n));
    expect(numbers).toEqual(Array.from({ length: 20 }, (_, n) => n + 2));
  });
});

describe("a greedy peer", () => {
  test("with 50,000 numbers that are gone holds nobody up: a hundred answers at a time", () => {
    const stage = new Stage()
      .hold([made(5, 0).update])
      .greet()
      .flush();
    stage.say(`GETUPDATE${"|7".repeat(50_000)}`);
    const lines = stage.text.split("not available").length - 1;
    expect(lines).toBe(100);
    expect(stage.exchange.isCongested(1)).toBe(true);
    let answered = lines;
    for (let n = 0; n < 600; n++) answered += stage.flush().text.split("not available").length - 1;
    expect(answered).toBe(50_000);
    expect(stage.exchange.isCongested(1)).toBe(false);
  });

  test("that asks again and again counts once, and its log lines are limited", () => {
    const stage = new Stage()
      .hold([made(5, 0).update])
      .greet()
      .flush();
    for (let n = 0; n < 30; n++) stage.say("GETUPDATE|1").flush();
    const told = (event: EventName) => stage.events.filter((one) => one === event).length;
    expect([told("served"), told("served-again")]).toEqual([1, 29]);
    expect(kindOf("served-again")).toMatchObject({ isLimited: true });
    expect(kindOf("served-again").outcome).toBeUndefined();
  });

  test("that announces one known update under ever new numbers saves one mail", () => {
    const stage = new Stage()
      .hold([made(5, 0).update])
      .greet()
      .flush();
    const { hash, fingerprint } = made(5, 0).update;
    for (let n = 1; n < 30; n++) stage.say(`IHAVE|NOTIFY|${n} ${fingerprint} ${hash}`).wait(1000);
    expect(stage.events.filter((one) => one === "announced-known")).toHaveLength(1);
  });

  test("with LIST - gets one IHAVE with at most 50,000 lines", () => {
    const stage = new Stage();
    expect(LISTING_LIMITS.lines).toBe(50_000);
    stage.hold(Array.from({ length: 1200 }, (_, n) => made(6, n, 1).update));
    stage.greet().flush().say("LIST|-|5-9|1100-|7").settle();
    expect(stage.text.split("\r\nIHAVE\r\nt000\r\n").length).toBe(2);
    const numbers = [...stage.text.matchAll(/^(\d+) [0-9A-F]{40} /gm)].map(([, n]) => Number(n));
    expect(numbers).toEqual(Array.from({ length: 1200 }, (_, n) => n + 1));
  });

  test.each([
    ["41-", [41, 42, 43]],
    ["43", [43]],
    ["-2", [1, 2]],
    ["42-99999", [42, 43]],
    ["44-", []],
    ["50-40", []],
    ["2147483647", []],
    ["2147483000-5", []],
  ])("LIST %s", (range, expected) => {
    const stage = new Stage().hold(Array.from({ length: 43 }, (_, n) => made(7, n, 1).update));
    stage.greet().flush().say(`LIST|${range}`);
    const numbers = [...stage.text.matchAll(/^(\d+) [0-9A-F]{40} /gm)].map(([, n]) => Number(n));
    expect(numbers).toEqual(expected);
    expect(stage.text).toContain("\r\nIHAVE\r\nt000\r\n");
  });
});

describe("a confused peer", () => {
  test("that floods ends its own connection and nothing else", () => {
    const stage = new Stage()
      .hold([made(5, 0).update])
      .greet(1)
      .greet(2);
    for (let n = 0; n < 100; n++) stage.say("UPDATE|zzzz|1 00000000000000000000000000000000|x", 1);
    expect(stage.ended).toEqual(["end"]);
    stage.text = "";
    stage.say("LIST|1-", 2);
    expect(stage.text).toContain("IHAVE");
  });

  test("that closes while it waits for answers gets them", () => {
    const stage = new Stage().hold([BIG]).greet().flush();
    stage.say("GETUPDATE|1|1").say("CLOSE");
    expect(stage.text.split("\r\nUPDATE\r\n").length - 1).toBe(2);
    expect(stage.ended).toEqual(["end"]);
  });

  test("of a name that is not configured is a mistake of ours", () => {
    const stage = new Stage();
    expect(() => stage.exchange.opened(9, "nobody", false, 0)).toThrow("nobody");
    expect(stage.exchange.received(77, Buffer.from("x"), 0)).toEqual([]);
  });
});

describe("going down", () => {
  test("says CLOSE, stores the cursors and uses no other connection instead", () => {
    const stage = new Stage()
      .hold([made(5, 0).update])
      .greet(1)
      .greet(2);
    const { hash, fingerprint } = made(5, 0).update;
    stage.say(`IHAVE|NOTIFY|1 ${fingerprint} ${hash}`);
    expect(stage.log.cursors.get("peer")).toBeUndefined();
    stage.text = "";
    stage.take(stage.exchange.shutdown(stage.now));
    expect(stage.text.split("\r\nCLOSE\r\n").length - 1).toBe(2);
    expect(stage.log.cursors.get("peer")?.number).toBe(1);
    expect(stage.exchange.status()[0]?.connected).toBe(false);
    // Other gateways of the site have to know it: after a reload this one may not dial any more.
    const told = stage.sessions;
    expect(told).toEqual([
      ["peer", true],
      ["peer", false],
    ]);
  });
});

describe("after a wrap of our own numbers", () => {
  // Seven updates at positions 2^31-3 to 2^31+3, which show as 2147483645 to 2147483647, 0 to 3.
  const NUMBERS = [2_147_483_645, 2_147_483_646, 2_147_483_647, 0, 1, 2, 3];
  const all = (from: number, to = 7) => NUMBERS.slice(from, to);

  test.each([
    ["0-", all(0)],
    ["-", all(0)],
    ["0-2147483647", all(0)],
    ["1-2147483647", [...all(0, 3), ...all(4)]],
    ["2147483646-", all(1)],
    ["2147483646-1", all(1, 5)],
    ["2147483646-2147483647", all(1, 3)],
    ["0-2147483645", [...all(0, 1), ...all(3)]],
    ["0-999", all(3)],
    ["2-", all(5)],
    // Not reached yet in this round: it stands for the one before.
    ["4-", all(0)],
    ["5-2147483000", []],
  ])("LIST %s", (range, expected) => {
    const stage = new Stage().numberFrom(2 ** 31 - 3);
    stage.hold(Array.from({ length: 7 }, (_, n) => made(8, n, 1).update));
    stage.greet().flush().say(`LIST|${range}`);
    const numbers = [...stage.text.matchAll(/^(\d+) [0-9A-F]{40} /gm)].map(([, n]) => Number(n));
    expect(numbers).toEqual(expected);
  });
});

describe("a peer that lists everything again and again", () => {
  test("is answered whole, and in slices", () => {
    const stage = new Stage();
    stage
      .hold(Array.from({ length: 3000 }, (_, n) => made(9, n, 1).update))
      .greet()
      .flush();
    stage.say("LIST|0-");
    expect(stage.text).not.toContain("IHAVE\r\nt000");
    const ticks = stage.settle();
    expect(ticks).toBeGreaterThanOrEqual(2);
    expect(stage.text.match(/^\d+ [0-9A-F]{40} /gm)?.length).toBe(3000);
    expect(stage.text.split("IHAVE\r\nt000").length).toBe(2);
  });

  test("delays the listing of another connection by no more than a few slices", () => {
    const stage = new Stage();
    stage
      .hold(Array.from({ length: 3000 }, (_, n) => made(9, n, 1).update))
      .greet()
      .flush();
    stage.greet(2);
    for (let n = 0; n < 20; n++) stage.say("LIST|0-");
    stage.text = "";
    stage.say("LIST|2999-", 2);
    const asked = stage.now;
    for (let n = 0; n < 100; n++) {
      if (/\r\nt000\r\n2999 .*\r\n3000 .*\r\n\.\r\n/.test(stage.text)) break;
      stage.wait(Math.max(1, (stage.exchange.nextAt() ?? 0) - stage.now));
    }
    expect(stage.now - asked).toBeLessThan(100);
  });
});

describe("CLOSE", () => {
  test("of a peer is answered when all that it asked for has left", () => {
    const stage = new Stage();
    stage
      .hold(Array.from({ length: 3000 }, (_, n) => made(9, n, 1).update))
      .greet()
      .flush();
    stage.say("LIST|0-").say("GETUPDATE|7|9999").say("CLOSE");
    stage.settle();
    const commands = [...stage.text.matchAll(/\r\n(IHAVE|UPDATE|ERROR|CLOSE)\r\n/g)];
    expect(commands.map(([, command]) => command)).toEqual(["IHAVE", "UPDATE", "ERROR", "CLOSE"]);
    expect(stage.ended).toEqual(["end"]);
  });
});
