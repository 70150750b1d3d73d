/**
 * What the KX side tells the log of who has what: two gateways without sockets, of which one would
 * mail to the other as well.
 */
import { describe, expect, it } from "vitest";
import { HOLDINGS_LIMITS } from "../../src/peering/peer-holdings.js";
import type { Seq } from "../../src/update.js";
import { SEED } from "../kx/chance.js";
import { Network, updates } from "./network.js";

const ADDRESS = "pgp-public-keys@b.example";

/** `a` has a lane for `b`. */
function world() {
  const network = new Network(SEED);
  const a = network.gateway("a", ["b"], false, new Map([["b", ADDRESS]]));
  const b = network.gateway("b", ["a"]);
  a.log.lanes.open("b");
  const has = (n: number) => a.log.trails.get(n as Seq).includes(ADDRESS);
  return { network, a, b, has };
}

describe("who has what", () => {
  it("is in the log a second after the fetch, long before the peer announces it", () => {
    const { network, a, b, has } = world();
    network.connect(a, b);
    network.run(100);
    a.mail(...updates(3));
    network.run(100);
    expect(b.hashes()).toHaveLength(3);
    expect(has(1)).toBe(false);
    network.run(HOLDINGS_LIMITS.everyMs + 300);
    expect([1, 2, 3].map(has)).toEqual([true, true, true]);
    expect(network.count(b, a, "IHAVE")).toBeLessThan(8);
  });

  it("is in the log when both had it by another road", () => {
    const { network, a, b, has } = world();
    a.mail(...updates(2));
    b.mail(...updates(2));
    network.connect(a, b);
    network.run(5000);
    expect([1, 2].map(has)).toEqual([true, true]);
    expect(a.all("served")).toEqual([]);
  });

  it("is in the log of a peer that gets no mail too, for the time after a restart", () => {
    const { network, b, a } = world();
    b.mail(...updates(3));
    a.mail(...updates(2));
    network.connect(a, b);
    network.run(90_000);
    // `b` mails nothing to `a`, which had two of them and settled the third that it fetched.
    const known = [1, 2, 3].map((n) => b.log.sendings.of(n as Seq).map(({ how }) => how));
    expect(known).toEqual([["announced"], ["announced"], ["settled"]]);
    expect(b.log.trails.get(1 as Seq)).toEqual([]);
  });

  it("says nothing of what left and was not proven to be read", () => {
    const { network, a, b, has } = world();
    const link = network.connect(a, b);
    network.run(1000);
    a.mail(...updates(1));
    network.run(10_000, () => {
      // The wire breaks with the body on it.
      if (a.all("served").length > 0) network.cut(link);
    });
    expect(a.all("served")).toHaveLength(1);
    expect(has(1)).toBe(false);
  });

  it("costs one transaction a second at the most, and none for what needs no note", () => {
    const { network, a, b } = world();
    network.connect(a, b);
    let writes = 0;
    const note = a.log.trails.note.bind(a.log.trails);
    a.log.trails.note = (holders) => {
      writes += 1;
      note(holders);
    };
    for (let second = 0; second < 10; second++) {
      for (let n = 0; n < 10; n++) {
        a.mail(...updates(5, 50 * second + 5 * n));
        network.run(100);
      }
    }
    network.run(5000);
    expect(b.hashes()).toHaveLength(500);
    expect(writes).toBeGreaterThan(0);
    expect(writes).toBeLessThanOrEqual(13);
    // Behind the lane's cursor nothing matters any more.
    const before = writes;
    const lane = a.log.lanes.open("b");
    a.log.lanes.save("b", { ...lane, cursor: 500 as Seq });
    network.cutAll(b);
    b.restart();
    network.connect(a, b);
    network.run(90_000);
    expect(writes).toBe(before);
  });
});
