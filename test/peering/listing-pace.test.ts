/**
 * How fast lines are listed: for one peer, and for all together.
 */
import { expect, test } from "vitest";
import { ListingPace } from "../../src/peering/listing-pace.js";

/** Lines that are listed in `ms` when slices of 250 are wanted as fast as they may be. */
function listed(pace: ListingPace, peers: readonly string[], from: number, ms: number): number[] {
  const lines = peers.map(() => 0);
  for (let now = from; now < from + ms; now++) {
    for (const [n, peer] of peers.entries()) {
      if (pace.waitMs(peer, now) > 0) continue;
      pace.took(peer, 250, now);
      lines[n] = (lines[n] ?? 0) + 250;
    }
  }
  return lines;
}

test("a first listing of 100,000 updates passes within seconds", () => {
  expect(listed(new ListingPace(), ["a"], 0, 8100)[0]).toBeGreaterThanOrEqual(200_000);
});

test("a peer that lists on and on gets 5000 lines a second", () => {
  const pace = new ListingPace();
  listed(pace, ["a"], 0, 20_000);
  expect((listed(pace, ["a"], 20_000, 100_000)[0] ?? 0) / 100).toBeCloseTo(5000, -2);
});

test("all together get 25,000 lines a second, and a single line waits 10 ms at most", () => {
  const pace = new ListingPace();
  const many = Array.from({ length: 30 }, (_, n) => `peer ${n}`);
  const sum = listed(pace, many, 0, 10_000).reduce((all, one) => all + one, 0);
  expect(sum / 10).toBeGreaterThan(24_000);
  expect(sum / 10).toBeLessThan(26_000);
  expect(pace.waitMs("honest", 10_000)).toBeLessThanOrEqual(10);
});

test("a peer that has used up its lines costs the next one no wait", () => {
  const pace = new ListingPace();
  pace.took("a", 200_000, 0);
  expect(pace.waitMs("a", 10_000)).toBe(0);
  const other = new ListingPace();
  other.took("a", 250, 0);
  expect(other.waitMs("b", 10)).toBe(0);
});
