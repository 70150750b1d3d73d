/**
 * A peer with quiet hours or a budget over days of virtual time: nothing is fetched when nothing
 * should be, and everything in time before its body may be gone. Time begins at 22:13:20 UTC.
 */
import { describe, expect, test } from "vitest";
import type { FetchPolicy } from "../../src/kx/fetch-policy.js";
import { SEED } from "../kx/chance.js";
import { MINUTE_MS, Network, pair, updates } from "./network.js";

const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const BEGIN = Date.parse("2023-11-14T22:13:20Z");

const quiet = (from: number, to: number): FetchPolicy => {
  return { rate: undefined, quietHours: { fromMs: from * HOUR_MS, toMs: to * HOUR_MS } };
};

/** Two gateways, connected; b minds these manners towards a. */
function mindful(fetchPolicy: FetchPolicy) {
  const two = pair();
  two.b.fetchPolicy = new Map([["a", fetchPolicy]]);
  two.b.restart();
  two.network.connect(two.b, two.a);
  two.network.run(1000);
  return two;
}

const hourOf = (now: number) => ((((BEGIN + now) % DAY_MS) + DAY_MS) % DAY_MS) / HOUR_MS;

test("nothing is fetched in the quiet hours, and all of it when they are over", () => {
  const { network, a, b } = mindful(quiet(22, 6));
  a.mail(...updates(40));
  const ticks = b.ticks;
  network.run(7 * HOUR_MS);
  expect(network.count(b, a, "GETUPDATE")).toBe(0);
  const [status] = b.exchange.status();
  expect(status).toMatchObject({ missing: 40, held: { why: "quiet-hours" } });
  expect(new Date(status?.held?.until ?? 0).toISOString()).toMatch(/T06:00:00/);
  // It looks again every five minutes, for its own reasons, and does not spin.
  expect(b.ticks - ticks).toBeLessThan(7 * 12 * 5);
  expect(b.cursor("a")).toBeUndefined();
  network.run(HOUR_MS);
  expect(b.hashes()).toEqual(a.hashes());
  expect([b.cursor("a"), b.exchange.status()[0]?.held]).toEqual([40, undefined]);
});

test("another announcer without limits is asked at once", () => {
  const network = new Network(SEED);
  const a = network.gateway("a", ["b", "c"]);
  const b = network.gateway("b", ["a", "c"]);
  const c = network.gateway("c", ["a", "b"]);
  b.fetchPolicy = new Map([["a", quiet(22, 6)]]);
  b.restart();
  for (const [x, y] of [
    [b, a],
    [b, c],
    [c, a],
  ] as const) {
    network.connect(x, y);
  }
  network.run(1000);
  a.mail(...updates(20));
  network.run(MINUTE_MS);
  expect(b.hashes().length).toBe(20);
  expect([network.count(b, a, "GETUPDATE"), network.count(b, c, "GETUPDATE")]).toEqual([0, 20]);
});

test("over the budget what comes waits, and the budget comes back evenly", () => {
  const rate = { count: 10_000, periodMs: HOUR_MS };
  const { network, a, b } = mindful({ rate, quietHours: undefined });
  a.mail(...updates(400));
  const bytes = () => b.all("accepted").reduce((sum, { bytes }) => sum + Number(bytes), 0);
  network.run(MINUTE_MS);
  const burst = bytes();
  expect(burst).toBeGreaterThan(6000);
  expect(burst).toBeLessThan(12_000);
  expect(b.exchange.status()[0]?.held).toMatchObject({ why: "fetch-rate" });
  for (let hour = 1; hour <= 5; hour++) {
    network.run(HOUR_MS);
    expect(bytes() - 10_000).toBeLessThan(hour * 10_000 + 2000);
    expect(bytes() - 10_000).toBeGreaterThan(hour * 10_000 - 4000);
  }
});

describe(`days of it, KXGW_SEED=${SEED}`, () => {
  const BY_DAY = quiet(8, 18);
  const starving = { count: 1000, periodMs: DAY_MS };
  test.each<[string, FetchPolicy]>([
    ["quiet by day", BY_DAY],
    ["a starving budget", { rate: starving, quietHours: undefined }],
    [
      "a starving budget and a long night",
      { rate: starving, quietHours: quiet(20, 19).quietHours },
    ],
  ])("%s: nothing too early, everything before it expires", (_, fetchPolicy) => {
    const { network, a, b } = mindful(fetchPolicy);
    const mailed = new Map<string, number>();
    const fetched = new Map<string, number>();
    b.log.onAppend(() => {
      const newest = b.hashes().slice(fetched.size);
      for (const hash of newest) fetched.set(hash, network.now);
    });
    for (let hour = 0, n = 0; hour < 24 * 6; hour++) {
      if (hour < 24 * 3 && network.random() < 0.5) {
        const some = updates(3, n);
        n += 3;
        a.mail(...some);
        for (const { hash } of some) mailed.set(hash, network.now);
      }
      if (network.random() < 0.1) {
        if (network.random() < 0.5) b.restart();
        else network.cutAll(b);
        network.run(HOUR_MS / 2);
        network.connect(b, a);
      }
      network.run(HOUR_MS / 2);
    }
    // What came last may wait as long as any other.
    network.run(50 * HOUR_MS);
    expect(fetched.size).toBe(mailed.size);
    const ages = [...fetched].map(([hash, at]) => at - (mailed.get(hash) ?? 0));
    expect(Math.max(...ages)).toBeLessThan(50 * HOUR_MS);
    if (fetchPolicy !== BY_DAY) return;
    const byDay = [...fetched.values()].map(hourOf).filter((hour) => hour >= 8 && hour < 18);
    expect(byDay).toEqual([]);
  });
});

describe("a restart", () => {
  /** One minute a day is open, and that is over. */
  const closed: FetchPolicy = {
    rate: undefined,
    quietHours: { fromMs: 22 * HOUR_MS + 13 * MINUTE_MS, toMs: 22 * HOUR_MS + 12 * MINUTE_MS },
  };

  test("forgets neither what waits nor for how long", () => {
    const { network, a, b } = mindful(closed);
    a.mail(...updates(1));
    network.run(20 * MINUTE_MS);
    network.run(23 * HOUR_MS);
    // Open for a minute.
    network.run(HOUR_MS);
    expect(b.hashes().length).toBe(1);
    a.mail(...updates(5, 100));
    const at = network.now;
    for (const _ of [1, 2, 3]) {
      network.run(6 * HOUR_MS);
      b.restart();
      network.connect(b, a);
    }
    network.run(2 * HOUR_MS);
    expect(b.hashes().length).toBe(1);
    expect(b.exchange.status()[0]).toMatchObject({ missing: 5, held: { why: "quiet-hours" } });
    network.run(HOUR_MS * 30);
    expect(b.hashes().length).toBe(6);
    expect(network.now - at).toBeLessThan(72 * HOUR_MS);
  });

  test("fetches at once what is too old by then, or of an age that nobody knows", () => {
    const { network, a, b } = mindful(quiet(0, 24 - 1 / 60));
    network.cutAll(b);
    a.mail(...updates(5));
    network.run(50 * HOUR_MS);
    b.restart();
    network.connect(b, a);
    network.run(MINUTE_MS);
    expect(b.hashes().length).toBe(5);
  });
});
