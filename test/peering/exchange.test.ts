/**
 * Two and three gateways without sockets: what travels, what does not, and what it costs.
 */
import { describe, expect, test } from "vitest";
import type { Seq } from "../../src/update.js";
import { SEED } from "../kx/chance.js";
import { MINUTE_MS, Network, pair, updates } from "./network.js";

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
    expect(b.log.cursors.get("a")?.number).toBe(3000);
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
    // What b got from a it announces after a minute, and a minute later a has stored its cursor.
    network.run(3 * MINUTE_MS);
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
      seen.push([b.hashes().length, b.log.cursors.get("a")?.number, network.said(b, c).length]);
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

  test.each([
    ["ring", 3],
    ["ring", 5],
    ["full mesh", 4],
    ["full mesh", 5],
  ] as const)("goes round a %s of %i once, and then nothing moves", (shape, size) => {
    const network = new Network(SEED);
    const names = ["a", "b", "c", "d", "e"].slice(0, size);
    const ring = names.map((name) =>
      network.gateway(
        name,
        names.filter((other) => other !== name),
      ),
    );
    const [a, , c] = ring;
    if (!a || !c) throw new Error("no ring");
    for (const [n, from] of ring.entries()) {
      for (const [m, to] of ring.entries()) {
        const isBeside = m === n + 1 || (n === 0 && m === size - 1);
        if (n < m && (shape === "full mesh" || isBeside)) network.connect(from, to);
      }
    }
    network.run(1000);
    a.mail(...updates(50));
    c.mail(...updates(50, 25));
    network.run(2 * MINUTE_MS);
    for (const gateway of ring) expect(gateway.hashes().length).toBe(75);
    const pairs = ring.flatMap((x) => ring.filter((y) => y !== x).map((y) => [x, y] as const));
    const fetched = pairs.reduce((sum, [x, y]) => sum + network.count(x, y, "UPDATE"), 0);
    expect(fetched).toBe(75 * size - 100);
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

describe("a peer that lost its log connects beside the connection that died", () => {
  // Below, at and above what the other side holds of the log that is gone, which is 5.
  test.each(
    (["1.0", "1.1"] as const).flatMap((one) => [1, 4, 5, 6, 40].map((n) => [one, n] as const)),
  )("in KX/%s with %i updates in the new one: all of them come", (version, count) => {
    const { network, a, b } = pair(SEED, version);
    a.mail(...updates(5));
    network.connect(a, b);
    network.run(MINUTE_MS);
    a.replace();
    a.mail(...updates(count, 1000));
    network.connect(a, b);
    network.run(MINUTE_MS);
    expect(new Set(b.hashes())).toEqual(
      new Set([...updates(5), ...a.log.range(...all(count))].map(({ hash }) => hash)),
    );
    expect(b.cursor("a")).toBe(a.log.newest());
    expect(b.all("peer-reset").length).toBe(1);
    network.run(10 * MINUTE_MS);
    // The name of the log shows at once that the older connection is dead.
    const reason = version === "1.0" ? "silent" : "dropped";
    expect(b.all("peer-disconnected").map((fields) => fields.reason)).toEqual([reason]);
  });

  test("twice within 10 minutes: the second log is listed when they are over, by itself", () => {
    const { network, a, b } = pair();
    a.mail(...updates(5));
    network.connect(a, b);
    network.run(MINUTE_MS);
    for (const from of [1000, 2000]) {
      a.replace();
      a.mail(...updates(4, from));
      network.connect(a, b);
      network.run(MINUTE_MS);
    }
    const lacks = () => a.hashes().filter((hash) => !b.hashes().includes(hash)).length;
    expect(lacks()).toBe(4);
    const before = network.count(a, b, "IHAVE");
    network.run(9 * MINUTE_MS);
    expect(lacks()).toBe(0);
    expect(b.cursor("a")).toBe(a.log.newest());
    // Nothing was announced meanwhile.
    expect(network.said(a, b).slice(-2000)).not.toContain("NOTIFY");
    expect(network.count(a, b, "IHAVE")).toBeGreaterThan(before);
  });

  test("empty, and what it gets then comes as well, also after a restart of the other side", () => {
    const { network, a, b } = pair();
    a.mail(...updates(5));
    network.connect(a, b);
    network.run(MINUTE_MS);
    a.replace();
    network.connect(a, b);
    network.run(1000);
    a.mail(...updates(3, 1000));
    network.run(MINUTE_MS);
    b.restart();
    a.mail(...updates(2, 2000));
    network.connect(b, a);
    network.run(MINUTE_MS);
    expect(new Set(b.hashes())).toEqual(new Set(a.hashes()));
    expect(b.hashes().length).toBe(10);
  });
});

/** Parameters of `range` for the first entries of a log. */
function all(count: number): [Seq, Seq, number] {
  return [1 as Seq, (count + 5) as Seq, count + 5];
}
