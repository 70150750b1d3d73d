/**
 * Gateways without sockets among which one lies, has forgotten, only observes, or has a full disk.
 */
import { describe, expect, test } from "vitest";
import { SEED } from "../kx/chance.js";
import { made } from "../torture/material.js";
import { MINUTE_MS, Network, pair, updates } from "./network.js";

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
    a.log.retention.expire(
      1_700_000_000_000 + 100 * 3_600_000,
      { retainMs: 1, rememberMs: 1e12 },
      9,
    );
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
    expect(b.log.cursors.get("a")?.number).toBe(20);
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
    expect([b.cursor("a"), b.log.cursors.get("a")]).toEqual([20, undefined]);
    b.isDiskFull = false;
    network.run(MINUTE_MS);
    expect(b.log.cursors.get("a")?.number).toBe(20);
  });
});
