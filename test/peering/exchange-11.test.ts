/**
 * KX/1.1 between two gateways without sockets: names of logs and receipts, and what a side does
 * with a peer that knows only KX/1.0.
 */
import { describe, expect, test } from "vitest";
import { KEEP_ALL } from "../../src/admit.js";
import { Refusal } from "../../src/errors.js";
import { assembleKey, type TransferableKey } from "../../src/openpgp/key.js";
import { CARRY_ALL } from "../../src/policy.js";
import type { Seq } from "../../src/update.js";
import { SEED } from "../kx/chance.js";
import { type Gateway, MINUTE_MS, Network, pair, updates } from "./network.js";

const state = (gateway: Gateway) => {
  const { version, done, unread } = gateway.exchange.status()[0] ?? {};
  return { version, done, unread };
};

describe("receipts", () => {
  test("tell each side how far the other one has read", () => {
    const { network, a, b } = pair();
    a.mail(...updates(300));
    network.connect(a, b);
    network.run(3000);
    expect(state(a)).toEqual({ version: "1.1", done: 300, unread: 0 });
    a.mail(...updates(1, 1000));
    network.run(0);
    expect(state(a)).toMatchObject({ done: 301, unread: 0 });
    a.mail(...updates(1, 1001));
    network.run(900);
    expect(state(a)).toMatchObject({ done: 301, unread: 1 });
    network.run(100);
    expect(state(a)).toMatchObject({ done: 302, unread: 0 });
    expect(network.count(b, a, "DONE")).toBeLessThanOrEqual(6);
  });

  test("are not sent to a peer of KX/1.0, and no OPEN is", () => {
    const { network, a, b } = pair();
    b.version = "1.0";
    b.restart();
    a.mail(...updates(30));
    network.connect(a, b);
    network.run(MINUTE_MS);
    expect(state(a)).toEqual({ version: "1.0", done: undefined, unread: undefined });
    expect([network.count(a, b, "OPEN"), network.count(b, a, "OPEN")]).toEqual([0, 0]);
    expect([network.count(a, b, "DONE"), network.count(b, a, "DONE")]).toEqual([0, 0]);
    expect([...a.all("peer-complaint"), ...b.all("peer-complaint")]).toEqual([]);
    expect(b.cursor("a")).toBe(30);
    expect(a.all("peer-connected")).toMatchObject([{ version: "1.0" }]);
  });

  test("cost nothing while nothing moves", () => {
    const { network, a, b } = pair();
    a.mail(...updates(30));
    network.connect(a, b);
    network.run(4 * MINUTE_MS);
    const bytes = network.bytes();
    network.run(30_000);
    expect(network.bytes()).toBe(bytes);
  });

  test("replace the LIST that proves reading, for a peer that may get mail", () => {
    const ADDRESS = "pgp-public-keys@b.example";
    const lists = (["1.0", "1.1"] as const).map((version) => {
      const network = new Network(SEED);
      const a = network.gateway("a", ["b"], false, new Map([["b", ADDRESS]]));
      const b = network.gateway("b", ["a"]);
      a.log.lanes.open("b");
      b.version = version;
      b.restart();
      network.connect(a, b);
      network.run(1000);
      for (let n = 0; n < 10; n++) {
        a.mail(...updates(1, n));
        network.run(2000);
      }
      network.run(3000);
      for (let seq = 1; seq <= 10; seq++) {
        expect(a.log.trails.get(seq as Seq), `${version}, update ${seq}`).toContain(ADDRESS);
      }
      return network.count(a, b, "LIST");
    });
    expect(lists[0]).toBeGreaterThanOrEqual(10);
    expect(lists[1]).toBe(0);
  });

  test("do not claim what the peer does not hold", () => {
    const ADDRESS = "pgp-public-keys@b.example";
    const network = new Network(SEED);
    const a = network.gateway("a", ["b"], false, new Map([["b", ADDRESS]]));
    const b = network.gateway("b", ["a"]);
    a.log.lanes.open("b");
    network.connect(a, b);
    network.run(1000);
    a.mail(...updates(1));
    network.run(2000);
    // From now on a serves something else, so that b gives these updates up.
    a.lie = Buffer.from("nonsense");
    a.mail(...updates(2, 10));
    network.run(60 * MINUTE_MS);
    a.lie = undefined;
    a.mail(...updates(1, 20));
    network.run(60 * MINUTE_MS);
    expect(b.cursor("a")).toBe(4);
    expect(state(a)).toMatchObject({ done: 4, unread: 0 });
    expect(b.hashes().length).toBeLessThan(4);
    const claimed = a.hashes().filter((_, n) => {
      return a.log.trails.get((n + 1) as Seq).includes(ADDRESS);
    });
    expect(new Set(claimed)).toEqual(new Set(b.hashes()));
  });

  test("do not claim an update of which policy drops a part, whatever is left", () => {
    const ADDRESS = "pgp-public-keys@b.example";
    const network = new Network(SEED);
    const a = network.gateway("a", ["b"], false, new Map([["b", ADDRESS]]));
    const b = network.gateway("b", ["a"]);
    a.log.lanes.open("b");
    const dropped = [new Refusal("policy-size", "too large")];
    const packets = ({ primary, userIds }: TransferableKey) => {
      const names = userIds.map(({ packet }) => ({ packet, signatures: [] }));
      return { key: assembleKey([primary, ...names]), dropped };
    };
    b.rules = { ...CARRY_ALL, pruning: { ...KEEP_ALL, packets } };
    b.restart();
    network.connect(a, b);
    network.run(1000);
    a.mail(...updates(1));
    network.run(MINUTE_MS);
    expect(b.all("pruned")).toHaveLength(1);
    expect(state(a)).toMatchObject({ done: 1, unread: 0 });
    expect(a.log.trails.get(1 as Seq)).not.toContain(ADDRESS);
    expect(a.exchange.status()[0]?.receiptOf?.(1 as Seq)).toBe("declined");
    b.rules = CARRY_ALL;
    b.restart();
    network.connect(a, b);
    network.run(2000);
    a.mail(...updates(1, 10));
    network.run(MINUTE_MS);
    expect(a.log.trails.get(2 as Seq)).toContain(ADDRESS);
    const { receiptOf } = a.exchange.status()[0] ?? {};
    // The first one was settled on the connection before.
    expect([1, 2, 3].map((seq) => receiptOf?.(seq as Seq))).toEqual([undefined, "held", undefined]);
  });

  test.each([
    ["that do not exist", ["7"]],
    ["that go back", ["3", "2"]],
  ])("for numbers %s are reported and not believed", (_, numbers) => {
    const { network, a, b } = pair();
    a.mail(...updates(5));
    const link = network.connect(a, b);
    network.run(1000);
    const before = a.exchange.status()[0]?.done;
    const pipe = link.pipes.find(({ from }) => from === b);
    if (pipe === undefined) throw new Error("no pipe");
    for (const number of numbers) {
      const bytes = Buffer.from(`zzzz\r\nDONE\r\n${number}\r\n.\r\n`);
      pipe.bytes.push(bytes);
      pipe.length += bytes.length;
    }
    network.run(1000);
    expect(before).toBe(5);
    expect(state(a).done).toBe(5);
    expect(a.all("peer-complaint").at(-1)).toMatchObject({
      problem: expect.stringMatching(/^a DONE for \d, which it cannot have read$/),
    });
  });
});

describe("named logs", () => {
  test("a log that began anew with the same update under the cursor is read whole", () => {
    const [first, ...rest] = updates(6);
    if (first === undefined) throw new Error("no updates");
    const outcomes = (["1.0", "1.1"] as const).map((version) => {
      const { network, a, b } = pair(SEED, version);
      a.mail(first);
      const link = network.connect(a, b);
      network.run(MINUTE_MS);
      // Below the cursor's number b's own copy comes back, as after a restore from peers.
      network.cut(link);
      a.replace();
      a.mail(first, ...rest);
      network.connect(a, b);
      network.run(MINUTE_MS);
      return [b.hashes().length, b.all("peer-reset").length];
    });
    expect(outcomes).toEqual([
      [6, 0],
      [6, 1],
    ]);
  });

  test("the cursor is stored with the name, and a restart needs no listing", () => {
    const { network, a, b } = pair();
    a.mail(...updates(20));
    network.connect(a, b);
    network.run(3 * MINUTE_MS);
    expect(b.log.cursors.get("a")).toMatchObject({ number: 20, log: a.log.name });
    const before = network.count(b, a, "LIST");
    b.restart();
    network.connect(b, a);
    network.run(30_000);
    expect(network.count(b, a, "LIST")).toBe(before);
  });

  test("in observe mode no name is shown", () => {
    const network = new Network(SEED);
    const a = network.gateway("a", ["b"], true);
    const b = network.gateway("b", ["a"]);
    network.connect(a, b);
    network.run(1000);
    const said = network.said(a, b).split("\r\n");
    expect(said).toContain("OPEN");
    expect(said.some((line) => line.startsWith("log "))).toBe(false);
    expect(network.said(b, a)).toContain(`log ${b.log.name}`);
  });
});

describe("a peer that goes back to KX/1.0", () => {
  const isShown = (gateway: Gateway) => gateway.exchange.status()[0]?.isDowngraded;
  const told = (gateway: Gateway) => gateway.all("peer-downgraded");

  test("is shown, and told of once", () => {
    const { network, a, b } = pair();
    a.mail(...updates(3));
    let link = network.connect(a, b);
    network.run(MINUTE_MS);
    expect([isShown(a), isShown(b), told(a)]).toEqual([false, false, []]);
    network.cut(link);
    b.version = "1.0";
    b.restart();
    for (let n = 0; n < 3; n++) {
      link = network.connect(a, b);
      network.run(MINUTE_MS);
      expect([isShown(a), told(a)]).toEqual([true, [{ neighbour: "b" }]]);
      network.cut(link);
      // Also while it is not connected.
      expect(isShown(a)).toBe(true);
    }
    // The side that went back wants KX/1.0 only, and has nothing to be told of.
    expect([isShown(b), told(b)]).toEqual([false, []]);
    b.version = "1.1";
    b.restart();
    network.connect(a, b);
    network.run(MINUTE_MS);
    expect([isShown(a), told(a).length]).toEqual([false, 1]);
  });

  test("is noticed after a restart, by the name of its log at the cursor", () => {
    const { network, a, b } = pair();
    b.mail(...updates(3));
    const link = network.connect(a, b);
    network.run(3 * MINUTE_MS);
    network.cut(link);
    b.version = "1.0";
    b.restart();
    a.restart();
    network.connect(a, b);
    network.run(MINUTE_MS);
    expect([isShown(a), told(a)]).toEqual([true, [{ neighbour: "b" }]]);
  });

  test("is none that never spoke KX/1.1", () => {
    const { network, a, b } = pair();
    b.version = "1.0";
    b.restart();
    network.connect(a, b);
    network.run(MINUTE_MS);
    expect([isShown(a), told(a)]).toEqual([false, []]);
  });
});
