/** What is lost at a peer is stored in one transaction, and its gaps in one row. */
import { expect, test } from "vitest";
import { systemClock } from "../../src/clock.js";
import type { Missing } from "../../src/log/repairs.js";
import { LogGuard } from "../../src/log-guard.js";
import { MissingUpdates } from "../../src/peering/missing-updates.js";
import { checked } from "../support/reported.js";

test("the gaps of a listing are one row for each peer, written when the listing is over", () => {
  const written: (readonly Missing[])[] = [];
  const wantAll = (all: readonly Missing[]) => {
    written.push([...all]);
    return all.map(() => true);
  };
  let gaps = 0;
  const diagnostics = checked((event) => {
    if (event === "peer-gap") gaps += 1;
  });
  const guard = new LogGuard("test", systemClock, diagnostics);
  const missing = new MissingUpdates({ log: { repairs: { wantAll } }, guard, diagnostics });
  for (let n = 0; n < 500; n++) {
    for (const peer of ["a", "b"]) missing.gap(peer, 10 * n, 10 * n + 5, 1000);
  }
  expect(gaps).toBe(1000);
  expect(written).toEqual([]);
  expect(missing.flush()).toBe(true);
  expect(written.map((rows) => rows.map(({ neighbours }) => neighbours))).toEqual([[["a"], ["b"]]]);
  expect(missing.flush()).toBe(true);
  expect(written).toHaveLength(1);
});
