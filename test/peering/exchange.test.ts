/**
 * Two and three gateways without sockets: what travels, what does not, and what it costs.
 */
import { describe, expect, test } from "vitest";
import type { Update } from "../../src/update.js";
import { SEED } from "../kx/chance.js";
import { made } from "../torture/material.js";
import { Network } from "./network.js";

const MINUTE_MS = 60_000;

function updates(count: number, from = 0): Update[] {
  return Array.from({ length: count }, (_, n) => made(1, from + n).update);
}

/** Two gateways that are peers; not yet connected. */
function pair(seed = SEED) {
  const network = new Network(seed);
  const a = network.gateway("a", ["b"]);
  const b = network.gateway("b", ["a"]);
  return { network, a, b };
}

describe(`two gateways, KXGW_SEED=${SEED}`, () => {
  test("bring each other up to date, both ways at once", () => {
    const { network, a, b } = pair();
    a.mail(...updates(1500));
    b.mail(...updates(1500, 1000));
    network.connect(a, b);
    network.run(2 * MINUTE_MS);
    expect(new Set(a.hashes())).toEqual(new Set(b.hashes()));
    expect(a.hashes().length).toBe(2500);
    expect([a.cursor("b"), b.cursor("a")]).toEqual([2500, 2500]);
    for (const [x, y] of [
      [a, b],
      [b, a],
    ] as const) {
      expect(network.count(x, y, "UPDATE")).toBe(1000);
      expect(network.said(x, y)).not.toContain("not available");
      expect(y.all("peer-complaint")).toEqual([]);
    }
  });

  test("catch up on 3000 updates from an empty log, and ask for each once", () => {
    const { network, a, b } = pair();
    a.mail(...updates(3000));
    network.connect(b, a);
    network.run(MINUTE_MS);
    expect(b.hashes().length).toBe(3000);
    expect(new Set(b.hashes())).toEqual(new Set(a.hashes()));
    expect(network.count(b, a, "GETUPDATE")).toBe(3000);
    expect(network.count(b, a, "LIST")).toBeLessThan(10);
    expect(b.cursor("a")).toBe(3000);
    expect(b.log.receiveCursor("a")?.number).toBe(3000);
  });

  test("pass one update on at once", () => {
    const { network, a, b } = pair();
    network.connect(a, b);
    network.run(1000);
    a.mail(...updates(1));
    network.run(0);
    expect(b.hashes()).toEqual(a.hashes());
    expect(network.count(b, a, "LIST")).toBe(0);
  });

  test("greet from where they were after a restart: no listing when nothing is new", () => {
    const { network, a, b } = pair();
    a.mail(...updates(2000));
    network.connect(a, b);
    network.run(2 * MINUTE_MS);
    for (const gateway of [a, b, a, b]) {
      const before = [network.count(a, b, "LIST"), network.count(b, a, "LIST")];
      gateway.restart();
      network.connect(b, a);
      network.run(MINUTE_MS);
      const after = [network.count(a, b, "LIST"), network.count(b, a, "LIST")];
      expect(after).toEqual(before);
    }
    b.restart();
    a.mail(...updates(5, 5000));
    network.connect(b, a);
    network.run(MINUTE_MS);
    expect(b.hashes().length).toBe(2005);
    expect(network.said(b, a)).toContain("\r\nLIST\r\n2000-2999\r\n");
  });

  test("break off anywhere and lose nothing", () => {
    const { network, a, b } = pair();
    a.mail(...updates(300));
    b.mail(...updates(300, 200));
    let link = network.connect(a, b);
    let steps = 0;
    for (let n = 0; n < 40; n++) {
      const until = steps + 30 + Math.floor(network.random() * 60);
      network.run(1000, () => {
        steps += 1;
        if (steps === until) network.cut(link);
      });
      network.cut(link);
      if (n % 3 === 0) (n % 2 === 0 ? a : b).restart();
      link = network.connect(n % 2 === 0 ? a : b, n % 2 === 0 ? b : a);
    }
    network.run(2 * MINUTE_MS);
    expect(new Set(a.hashes())).toEqual(new Set(b.hashes()));
    expect([a.hashes().length, b.hashes().length]).toEqual([500, 500]);
  });
});

describe("an update", () => {
  test("is stored before a word is said about it, with the cursor in the same transaction", () => {
    const network = new Network(SEED);
    const a = network.gateway("a", ["b"]);
    const b = network.gateway("b", ["a", "c"]);
    const c = network.gateway("c", ["b"]);
    for (const [x, y] of [
      [a, b],
      [b, c],
    ] as const) {
      network.connect(x, y);
    }
    network.run(1000);
    const seen: unknown[] = [];
    b.log.onAppend(() => {
      seen.push([b.hashes().length, b.log.receiveCursor("a")?.number, network.said(b, c).length]);
    });
    const silent = network.said(b, c).length;
    a.mail(...updates(1));
    network.run(0);
    expect(seen).toEqual([[1, 1, silent]]);
    expect(c.hashes()).toEqual(a.hashes());
  });

  test("that is known causes no traffic but its announcement, by whichever road it came", () => {
    const { network, a, b } = pair();
    network.connect(a, b);
    network.run(1000);
    const [first, second] = updates(2);
    if (!first || !second) throw new Error("no updates");
    a.mail(first);
    b.mail(first);
    network.run(MINUTE_MS * 2);
    expect(network.count(a, b, "GETUPDATE") + network.count(b, a, "GETUPDATE")).toBeLessThan(2);
    const before = network.count(a, b, "GETUPDATE") + network.count(b, a, "GETUPDATE");
    b.mail(second);
    network.run(MINUTE_MS * 2);
    const bytes = network.bytes();
    a.mail(second);
    network.run(MINUTE_MS * 2);
    expect([network.bytes(), b.cursor("a")]).toEqual([bytes, 2]);
    const after = network.count(a, b, "GETUPDATE") + network.count(b, a, "GETUPDATE");
    expect(after).toBe(before + 1);
  });

  test("goes round a ring once, and then nothing moves", () => {
    const network = new Network(SEED);
    const ring = ["a", "b", "c"].map((name, n, names) =>
      network.gateway(
        name,
        names.filter((_, m) => m !== n),
      ),
    );
    const [a, b, c] = ring;
    if (!a || !b || !c) throw new Error("no ring");
    network.connect(a, b);
    network.connect(b, c);
    network.connect(c, a);
    network.run(1000);
    a.mail(...updates(50));
    c.mail(...updates(50, 25));
    network.run(2 * MINUTE_MS);
    for (const gateway of ring) expect(gateway.hashes().length).toBe(75);
    const pairs = ring.flatMap((x) => ring.filter((y) => y !== x).map((y) => [x, y] as const));
    const fetched = pairs.reduce((sum, [x, y]) => sum + network.count(x, y, "UPDATE"), 0);
    expect(fetched).toBe(75 * 3 - 100);
    const ticks = ring.map((gateway) => gateway.ticks);
    const bytes = network.bytes();
    network.run(2 * MINUTE_MS);
    expect(network.bytes()).toBe(bytes);
    for (const [n, gateway] of ring.entries()) {
      expect(gateway.ticks - (ticks[n] ?? 0)).toBeLessThan(3);
    }
  });

  test("that arrives by mail while it is being fetched is fetched no more", () => {
    const { network, a, b } = pair();
    const link = network.connect(a, b);
    network.run(1000);
    const [update] = updates(1);
    if (update === undefined) throw new Error("no update");
    a.mail(update);
    const toA = link.pipes.find(({ from }) => from === b);
    if (toA === undefined) throw new Error("no pipe");
    toA.isStopped = true;
    network.run(1000);
    expect(b.exchange.status()[0]).toMatchObject({ missing: 1, inFlight: 1 });
    b.mail(update);
    network.run(0);
    expect(b.exchange.status()[0]).toMatchObject({ missing: 0, inFlight: 0, cursor: 1 });
    toA.isStopped = false;
    network.run(MINUTE_MS * 2);
    expect(b.hashes().length).toBe(1);
    expect(b.all("update-lost")).toEqual([]);
  });
});

describe("an idle hour", () => {
  test("is a LIST in 5 minutes and no storm of timers", () => {
    const { network, a, b } = pair();
    a.mail(...updates(20));
    network.connect(a, b);
    network.run(2 * MINUTE_MS);
    const [ticks, bytes] = [a.ticks + b.ticks, network.bytes()];
    network.run(60 * MINUTE_MS);
    expect(a.ticks + b.ticks - ticks).toBeLessThan(60);
    expect(network.bytes() - bytes).toBeLessThan(24 * 300);
    expect(network.count(a, b, "LIST") + network.count(b, a, "LIST")).toBeGreaterThan(11);
    expect([a.all("peer-disconnected"), b.all("peer-disconnected")]).toEqual([[], []]);
  });

  test("of empty logs is no different", () => {
    const { network, a, b } = pair();
    network.connect(a, b);
    network.run(60 * MINUTE_MS);
    expect(a.ticks + b.ticks).toBeLessThan(60);
    expect(network.bytes()).toBeLessThan(10_000);
    a.mail(...updates(1));
    network.run(0);
    expect(b.hashes().length).toBe(1);
  });

  test("of a peer that has died is the end of its connection", () => {
    const { network, a, b } = pair();
    const link = network.connect(a, b);
    network.run(1000);
    for (const pipe of link.pipes) pipe.isStopped = true;
    network.run(10 * MINUTE_MS);
    expect(a.all("peer-disconnected")).toHaveLength(1);
    expect(b.all("peer-disconnected")).toHaveLength(1);
  });
});

describe("two connections of one peer", () => {
  test("end as one, without a reset and without a loss", () => {
    for (let seed = SEED; seed < SEED + 20; seed++) {
      const { network, a, b } = pair(seed);
      a.mail(...updates(100));
      network.connect(a, b);
      network.connect(b, a);
      let sent = 0;
      network.run(MINUTE_MS, () => {
        if (network.random() < 0.02 && sent < 100) {
          a.mail(...updates(1, 1000 + sent));
          b.mail(...updates(1, 2000 + sent));
          sent += 1;
        }
      });
      network.run(2 * MINUTE_MS);
      const open = network.links.filter(({ isOpen }) => isOpen);
      // Both may choose the same moment; then both dial anew.
      expect(open.length).toBeLessThanOrEqual(1);
      if (open.length === 0) network.connect(a, b);
      network.run(2 * MINUTE_MS);
      expect(new Set(a.hashes()), `seed ${seed}`).toEqual(new Set(b.hashes()));
      expect([...a.all("peer-reset"), ...b.all("peer-reset")], `seed ${seed}`).toEqual([]);
      expect([...a.all("peer-complaint"), ...b.all("peer-complaint")]).toEqual([]);
    }
  });

  test("go on over the other one when one breaks", () => {
    const { network, a, b } = pair();
    const first = network.connect(a, b);
    network.run(0);
    network.connect(b, a);
    network.run(0);
    a.mail(...updates(200));
    network.run(0, () => {
      if (b.hashes().length > 20) network.cut(first);
    });
    network.run(2 * MINUTE_MS);
    expect(b.hashes().length).toBe(200);
    expect([...a.all("peer-reset"), ...b.all("peer-reset")]).toEqual([]);
  });
});

describe("a liar among the peers", () => {
  test("does not keep the right body from another peer out, nor what is right of its own", () => {
    for (let seed = SEED; seed < SEED + 10; seed++) {
      const network = new Network(seed);
      const liar = network.gateway("liar", ["c"]);
      const honest = network.gateway("honest", ["c"]);
      const c = network.gateway("c", ["liar", "honest"]);
      network.connect(c, liar);
      network.connect(c, honest);
      network.run(1000);
      const shared = updates(40);
      liar.lie = made(2, 0).update.body;
      liar.mail(...shared);
      honest.mail(...shared);
      network.run(1000);
      expect(new Set(c.hashes()), `seed ${seed}`).toEqual(new Set(honest.hashes()));
      expect(c.hashes()).not.toContain(made(2, 0).update.hash);
      expect(c.cursor("honest")).toBe(40);
      for (const fields of c.all("update-wrong")) {
        expect(fields).toMatchObject({ neighbour: "liar", reason: "hash-mismatch" });
      }
      liar.lie = undefined;
      liar.mail(...updates(5, 100));
      network.run(MINUTE_MS);
      expect(c.hashes().length).toBe(45);
    }
  });

  test("is asked again for an hour, and then it is one line to the operator", () => {
    const { network, a, b } = pair();
    a.lie = made(2, 0).update.body;
    a.mail(...updates(1));
    network.connect(a, b);
    network.run(35 * MINUTE_MS);
    expect([b.cursor("a"), b.all("update-lost").length]).toEqual([undefined, 0]);
    network.run(25 * MINUTE_MS);
    const { hash, fingerprint } = made(1, 0).update;
    expect(b.all("update-lost")).toEqual([{ hash, fingerprint, neighbours: "a" }]);
    expect([b.cursor("a"), b.hashes()]).toEqual([1, []]);
    expect(network.count(b, a, "GETUPDATE")).toBe(4);
  });

  test("a body that has expired is one line to the operator, and holds up nothing", () => {
    const { network, a, b } = pair();
    a.mail(...updates(10));
    a.log.expire(1_700_000_000_000 + 100 * 3_600_000, { retainMs: 1, rememberMs: 1e12 }, 9);
    network.connect(a, b);
    network.run(MINUTE_MS);
    expect([b.cursor("a"), b.hashes().length]).toEqual([10, 1]);
    expect([b.all("update-gone").length, b.all("update-lost").length]).toEqual([9, 9]);
  });
});

describe("observe mode", () => {
  test("takes everything in and gives nothing out", () => {
    const network = new Network(SEED);
    const a = network.gateway("a", ["b"]);
    const b = network.gateway("b", ["a"], true);
    a.mail(...updates(50));
    b.mail(...updates(50, 100));
    network.connect(a, b);
    network.run(5 * MINUTE_MS);
    expect([a.hashes().length, b.hashes().length]).toEqual([50, 100]);
    b.mail(...updates(1, 500));
    network.run(5 * MINUTE_MS);
    expect(network.said(b, a)).toMatch(/\r\nIHAVE\r\nNOTIFY\r\n\.\r\n/);
    expect(network.said(b, a)).not.toMatch(/\r\n[0-9]+ [0-9A-F]{40} /);
  });
});

describe("trouble with the log", () => {
  test("for an hour is nobody's failure: everything comes when there is room again", () => {
    const { network, a, b } = pair();
    b.isDiskFull = true;
    a.mail(...updates(20));
    network.connect(a, b);
    network.run(60 * MINUTE_MS);
    expect([b.hashes().length, b.cursor("a")]).toEqual([0, undefined]);
    expect(b.all("update-lost")).toEqual([]);
    expect(b.all("log-trouble").length).toBeGreaterThan(10);
    // Every 5 s a window of 8 and more, not a storm of them.
    expect(network.count(b, a, "GETUPDATE")).toBeLessThan(3600 * 6);
    b.isDiskFull = false;
    network.run(MINUTE_MS);
    expect([b.hashes().length, b.cursor("a")]).toEqual([20, 20]);
    expect(b.log.receiveCursor("a")?.number).toBe(20);
  });

  test("does not keep it from serving what it has", () => {
    const { network, a, b } = pair();
    a.mail(...updates(20));
    a.isDiskFull = true;
    network.connect(a, b);
    network.run(MINUTE_MS);
    expect(b.hashes().length).toBe(20);
  });

  test("at the greeting ends the connection: shown as empty, it would reset the peer", () => {
    const { network, a, b } = pair();
    a.mail(...updates(20));
    network.connect(a, b);
    network.run(MINUTE_MS);
    network.cutAll(a);
    a.isBroken = true;
    const link = network.connect(a, b);
    network.run(MINUTE_MS);
    expect(link.isOpen).toBe(false);
    expect([b.all("peer-reset"), b.cursor("a")]).toEqual([[], 20]);
    a.isBroken = false;
    network.connect(a, b);
    network.run(MINUTE_MS);
    expect(network.count(b, a, "LIST")).toBe(1);
  });

  test("in the middle of everything is over when it is over", () => {
    const { network, a, b } = pair();
    a.mail(...updates(200));
    network.connect(a, b);
    network.run(10 * MINUTE_MS, () => {
      for (const gateway of [a, b]) gateway.isBroken = network.random() < 0.02;
      if (network.links.every(({ isOpen }) => !isOpen)) network.connect(a, b);
    });
    for (const gateway of [a, b]) gateway.isBroken = false;
    network.cutAll(a);
    network.connect(a, b);
    network.run(2 * MINUTE_MS);
    expect(new Set(b.hashes())).toEqual(new Set(a.hashes()));
    expect(b.all("update-lost")).toEqual([]);
  });

  test("while a cursor is to be stored only delays that", () => {
    const { network, a, b } = pair();
    const shared = updates(20);
    a.mail(...shared);
    b.mail(...shared);
    b.isDiskFull = true;
    network.connect(a, b);
    network.run(MINUTE_MS);
    expect([b.cursor("a"), b.log.receiveCursor("a")]).toEqual([20, undefined]);
    b.isDiskFull = false;
    network.run(MINUTE_MS);
    expect(b.log.receiveCursor("a")?.number).toBe(20);
  });
});
