/** The latest reports and their runs: what a flood of routine must not push out. */
import { expect, it } from "vitest";
import type { Level } from "../../src/diagnostics.js";
import type { Report } from "../../src/status/event-counters.js";
import { EventRuns, RUN_LIMITS } from "../../src/status/event-runs.js";
import { RECENT_LIMITS, RecentReports } from "../../src/status/recent-reports.js";

const NOW = 1_800_000_000_000;

let ids = 0;
function report(neighbour: string | undefined, level: Level, at: number, more = {}): Report {
  ids += 1;
  const event = level === "info" ? "sent" : level === "debug" ? "suppressed" : "retry";
  return { id: ids, at, event, level, fields: { ...(neighbour && { neighbour }), ...more } };
}

it("ten thousand deliveries push out neither a warning nor the words of a quiet neighbour", () => {
  const recent = new RecentReports();
  recent.add(report("down", "warn", NOW, { words: "connection refused" }));
  recent.add(report("quiet", "info", NOW));
  for (let n = 0; n < 10_000; n++) recent.add(report("busy", "info", NOW + n));
  recent.add(report("busy", "debug", NOW));
  const all = recent.all();
  expect(all).toHaveLength(RECENT_LIMITS.routine + 1);
  expect(all.at(-1)?.fields.words).toBe("connection refused");
  expect(all.map(({ id }) => id)).toEqual(all.map(({ id }) => id).toSorted((a, b) => b - a));
  expect(recent.of("quiet")).toHaveLength(1);
  expect(recent.of("busy")).toHaveLength(RECENT_LIMITS.ofNeighbour);
  expect(recent.of("nobody")).toEqual([]);
});

it("a flood of warnings leaves room for routine, and both are bounded", () => {
  const recent = new RecentReports();
  recent.add(report("a", "info", NOW));
  for (let n = 0; n < 10_000; n++) recent.add(report(undefined, "warn", NOW));
  expect(recent.all()).toHaveLength(RECENT_LIMITS.trouble + 1);
  for (let n = 0; n < 3000; n++) recent.add(report(`n${n}`, "info", NOW));
  expect(recent.of("n2999")).toEqual([]);
  expect(recent.of("n100")).toHaveLength(1);
});

it("a run has its number, its beginning and its last report", () => {
  const runs = new EventRuns();
  for (let n = 0; n < 412; n++) {
    runs.add(report("pks1", "info", NOW + n * 1000, { seq: n }));
    runs.add(report("pks2", "info", NOW + n * 1000, { seq: n, numbers: 2 }));
  }
  const [second, first, ...rest] = runs.all();
  expect(rest).toEqual([]);
  expect(first).toMatchObject({ event: "sent", neighbour: "pks1", count: 412, firstAt: NOW });
  expect(first?.last.fields.seq).toBe(411);
  expect(second).toMatchObject({ neighbour: "pks2", count: 824 });
});

it("a run ends after a pause, and after an hour without one", () => {
  const runs = new EventRuns();
  runs.add(report("a", "warn", NOW));
  runs.add(report("a", "warn", NOW + RUN_LIMITS.gapMs - 1));
  runs.add(report("a", "warn", NOW + 2 * RUN_LIMITS.gapMs));
  expect(runs.all().map(({ count }) => count)).toEqual([1, 2]);
  const steady = new EventRuns();
  for (let at = 0; at < 3 * RUN_LIMITS.longestMs; at += 60_000) {
    steady.add(report("a", "info", NOW + at));
  }
  expect(steady.all().map(({ count }) => count)).toEqual([60, 60, 60]);
});

it("runs of different reasons are different, and their number is bounded by age", () => {
  const runs = new EventRuns();
  runs.add(report("a", "warn", NOW, { reason: "x" }));
  runs.add(report("a", "warn", NOW, { reason: "y" }));
  expect(runs.all()).toHaveLength(2);
  for (let n = 0; n < 2 * RUN_LIMITS.trouble; n++) runs.add(report(`n${n}`, "warn", NOW + n));
  const left = runs.all();
  expect(left).toHaveLength(RUN_LIMITS.trouble);
  expect(left.at(-1)?.neighbour).toBe(`n${RUN_LIMITS.trouble}`);
  // A run that goes on is young, however long ago it began.
  const mixed = new EventRuns();
  for (let n = 0; n < 3 * RUN_LIMITS.routine; n++) {
    mixed.add(report("steady", "info", NOW + n));
    mixed.add(report(`n${n}`, "info", NOW + n));
  }
  expect(mixed.all().find(({ neighbour }) => neighbour === "steady")?.count).toBe(
    3 * RUN_LIMITS.routine,
  );
});
