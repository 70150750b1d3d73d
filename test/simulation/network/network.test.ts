/**
 * The counted worlds: that their graphs are what they say, that the model says what the real engine
 * says on small worlds, and that the same seed gives the same world.
 */
import { describe, expect, it } from "vitest";
import { dice } from "../../torture/check.js";
import { made } from "../../torture/material.js";
import { runEngine } from "./engine.js";
import { EventQueue, type Happening } from "./events.js";
import { flood } from "./flood.js";
import { runWorld, scenarios } from "./scenarios.js";
import { barabasiAlbert, chain, edgeCount, randomRegular, twoClusters } from "./topology.js";

const SIZES = [600, 900, 1500];

describe("the queue", () => {
  it("hands out what was put in by time, and what is of one time in its order", () => {
    const queue = new EventQueue();
    const random = dice(5);
    const put = Array.from({ length: 5000 }, (_, n) => ({ at: Math.floor(random() * 500), n }));
    for (const { at, n } of put) queue.push(at, 1, n, n + 7, 3);
    const taken: { at: number; n: number }[] = [];
    const next: Happening = { at: 0, kind: 0, a: 0, b: 0, c: 0 };
    while (queue.take(next)) {
      expect([next.kind, next.b, next.c]).toEqual([1, next.a + 7, 3]);
      taken.push({ at: next.at, n: next.a });
    }
    expect(taken).toEqual(put.toSorted((one, other) => one.at - other.at || one.n - other.n));
  });
});

describe("graphs", () => {
  it.each([
    ["regular", randomRegular(30, 4, dice(1)), 60],
    ["of a mean degree", randomRegular(30, 5.5, dice(1)), 83],
    ["with hubs", barabasiAlbert(50, 3, dice(1)), 3 + 46 * 3 + 3],
    ["of two clusters", twoClusters(40, 4, dice(1)), 81],
    ["a chain", chain(20), 19],
  ])("%s: both ways, connected, without loops", (_, topology, edges) => {
    const { neighbours } = topology;
    expect(edgeCount(topology)).toBe(edges);
    for (const [n, others] of neighbours.entries()) {
      expect(others).not.toContain(n);
      for (const other of others) expect(neighbours[other]).toContain(n);
    }
    const seen = new Set([0]);
    for (const n of seen) for (const other of neighbours[n] ?? []) seen.add(other);
    expect(seen.size).toBe(neighbours.length);
  });
});

describe("the model of KX", () => {
  it.each([
    ["a chain", chain(4)],
    ["a ring of two and more", randomRegular(6, 3, dice(3))],
    ["all with all", randomRegular(5, 4, dice(3))],
  ])("counts what the real engine says: %s", (_, topology) => {
    const random = dice(11);
    const servers = topology.neighbours.length;
    const births = Array.from({ length: 25 }, (_, n) => {
      const { update } = made(3, n, SIZES[n % SIZES.length]);
      const server = Math.floor(random() * servers);
      return { at: 700 * n, server, update, size: update.body.length };
    });
    const real = runEngine(topology, births, 7);
    const model = flood({ topology, births, dice: dice(2), isKx: () => true });
    expect(real.isComplete).toBe(true);
    const { gets, updates, lines } = real;
    expect(model.kx).toMatchObject({ gets, updates, lines });
    expect(updates).toBe(births.length * (servers - 1));
    expect(lines).toBe(births.length * 2 * edgeCount(topology));
    const bytes = model.bytes * servers * births.length;
    expect(Math.abs(bytes / real.bytes - 1)).toBeLessThan(0.01);
  });
});

describe("worlds", () => {
  const plans = scenarios(4, true).flatMap((scenario) => scenario.plans);

  it("are the same when the seed is", () => {
    for (const plan of plans.slice(0, 10)) {
      expect(runWorld(plan, SIZES)).toEqual(runWorld(plan, SIZES));
    }
    const [plan] = plans;
    if (plan === undefined) throw new Error("no plans");
    expect(runWorld({ ...plan, seed: 5 }, SIZES).bytes).not.toBe(runWorld(plan, SIZES).bytes);
  });

  it("bring every update everywhere where nothing is lost for good", () => {
    const kx = plans.filter(({ protocol, mixed }) => protocol === "KX" && mixed === undefined);
    expect(kx.length).toBeGreaterThan(5);
    for (const plan of kx) expect([plan, runWorld(plan, SIZES).undelivered]).toEqual([plan, 0]);
  });

  it("mail costs one copy less than there are neighbours, KX and the tree one", () => {
    const plan = { servers: 30, topology: "regular 6", updates: 100, load: 1, seed: 9 } as const;
    const copies = (protocol: "mail" | "KX" | "multicast") =>
      runWorld({ ...plan, protocol }, SIZES).copies;
    expect(copies("mail")).toBeCloseTo(5, 0);
    expect(copies("KX")).toBeCloseTo(29 / 30, 3);
    expect(copies("multicast")).toBeCloseTo(29 / 30, 3);
  });
});
