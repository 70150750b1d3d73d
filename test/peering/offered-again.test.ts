/**
 * An update that was withheld when a peer passed its number comes to the peer when it is announced
 * once more: near and far below the cursor, over both versions, connected or not.
 */
import { describe, expect, test } from "vitest";
import { OfferedAgain } from "../../src/peering/offered-again.js";
import { CARRY_ALL, type Rules } from "../../src/policy.js";
import type { Seq } from "../../src/update.js";
import { SEED } from "../kx/chance.js";
import { MINUTE_MS, pair, updates } from "./network.js";

/** `b` has what `a` has but for these updates, which `a` withheld. */
function withheld(version: "1.0" | "1.1", count: number, ...seqs: number[]) {
  const { network, a, b } = pair(SEED, version);
  let isBlocked = true;
  const withholds: Rules["withholds"] = ({ seq }) =>
    isBlocked && seqs.includes(seq) ? "blocked" : undefined;
  a.rules = { ...CARRY_ALL, withholds };
  a.restart();
  a.mail(...updates(count));
  const link = network.connect(b, a);
  network.run(2 * MINUTE_MS);
  const lacking = () => {
    const held = new Set(b.hashes());
    return a.hashes().filter((hash) => !held.has(hash)).length;
  };
  const free = () => {
    isBlocked = false;
    a.offered.add(seqs as Seq[]);
    a.hasGrown = true;
  };
  return { network, a, b, link, lacking, free };
}

describe.each(["1.0", "1.1"] as const)("over KX/%s", (version) => {
  test.each([
    ["near", 20, [3, 7]],
    ["far", 3500, [2, 1700]],
  ])("%s below the cursor", (_, count, seqs) => {
    const { network, a, b, lacking, free } = withheld(version, count, ...seqs);
    expect(lacking()).toBe(2);
    network.run(10 * MINUTE_MS);
    expect(lacking()).toBe(2);
    free();
    network.run(8 * MINUTE_MS);
    expect(lacking()).toBe(0);
    expect(b.cursor("a")).toBe(count);
    expect([...a.all("peer-complaint"), ...b.all("peer-complaint")]).toEqual([]);
    expect(b.all("peer-reset")).toEqual([]);
  });

  test("of a key with hundreds of updates", () => {
    const seqs = Array.from({ length: 350 }, (_, n) => n + 2);
    const { network, lacking, free } = withheld(version, 400, ...seqs);
    expect(lacking()).toBe(350);
    free();
    network.run(2 * MINUTE_MS);
    expect(lacking()).toBe(0);
  });

  test("to a peer that connects later", () => {
    const { network, a, b, link, lacking, free } = withheld(version, 20, 3);
    network.cut(link);
    free();
    network.run(MINUTE_MS);
    expect(lacking()).toBe(1);
    network.connect(b, a);
    network.run(3 * MINUTE_MS);
    expect(lacking()).toBe(0);
  });

  test("costs a peer that has it two listings, and no update", () => {
    const { network, a, b, free } = withheld(version, 20);
    const before = network.count(b, a, "LIST");
    a.offered.add([3 as Seq]);
    free();
    network.run(5 * MINUTE_MS);
    expect(network.count(b, a, "LIST") - before).toBeLessThanOrEqual(3);
    expect(a.all("served-again")).toEqual([]);
  });
});

test("the newest are kept, and positions stay valid", () => {
  const offered = new OfferedAgain();
  const seqs = Array.from({ length: 1500 }, (_, n) => (n + 1) as Seq);
  offered.add(seqs.slice(0, 900));
  const { next } = offered.from(0, 800);
  expect(next).toBe(800);
  offered.add(seqs.slice(900));
  expect(offered.from(next, 2)).toEqual({ seqs: [801, 802], next: 802 });
  expect(offered.from(0, 1)).toEqual({ seqs: [501], next: 501 });
  expect(offered.from(1499, 100)).toEqual({ seqs: [1500], next: 1500 });
  expect(offered.from(1500, 100)).toEqual({ seqs: [], next: 1500 });
});
