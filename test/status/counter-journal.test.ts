/** Counters over a restart and a kill: what is kept, what a kill loses, and what it costs. */
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { Metrics } from "../../src/admin/metrics.js";
import type { EventSink } from "../../src/diagnostics.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { CounterJournal, restoreCounterRows } from "../../src/status/counter-journal.js";
import { EventCounters } from "../../src/status/event-counters.js";
import { HOUR_MS, KEPT_HOURS } from "../../src/status/hours.js";
import { preparedSources } from "../admin/prepared.js";
import { scratch } from "../support/scratch.js";

const NOW = 500_000 * HOUR_MS + 1000;
const ACCEPTED = { events: ["accepted"] } as const;

/** A process with the log at `path`; nothing is written unless the test says so. */
function begin(path: string, start: number) {
  const log = UpdateLog.open(path);
  const time = { now: start };
  const clock = { now: () => time.now, monotonic: () => time.now, random: () => 0.5 };
  const counters = new EventCounters({ next: { report: () => {} }, clock });
  const isRestored = restoreCounterRows(log, counters, time.now);
  const kept = new CounterJournal({ log, counters, clock });
  onTestFinished(() => {
    log.close();
  });
  const sink: EventSink = counters;
  return { log, time, counters, sink, kept, isRestored };
}

it("a stop keeps all of them: totals, hours, times", () => {
  const path = join(scratch(), "updates.db");
  const first = begin(path, NOW);
  expect(first.isRestored).toBe(false);
  first.sink.report("accepted", { neighbour: "a", via: "mail", bytes: 10 });
  first.time.now += HOUR_MS;
  first.sink.report("accepted", { neighbour: "a", via: "mail", bytes: 5 });
  first.sink.report("mail-refused", { reason: "too-large", problem: "p" });
  const counts = first.counters.counts();
  first.kept.stop();
  first.log.close();

  const second = begin(path, NOW + 2 * HOUR_MS);
  expect(second.isRestored).toBe(true);
  expect(second.counters.counts()).toEqual(expect.arrayContaining(counts));
  expect(second.counters.counts()).toHaveLength(counts.length);
  expect(second.counters.lastAt(ACCEPTED)).toBe(NOW + HOUR_MS);
  const hours = second.counters.series(ACCEPTED).map(({ count }) => count);
  expect(hours.slice(-4)).toEqual([0, 1, 1, 0]);
  second.sink.report("accepted", { neighbour: "a", via: "mail", bytes: 1 });
  expect(second.counters.sum(ACCEPTED)).toEqual({ count: 3, bytes: 16 });
});

it("a kill loses what was counted since the last minute, but nothing a scrape saw", async () => {
  const path = join(scratch(), "updates.db");
  const first = begin(path, NOW);
  const { sources } = preparedSources();
  const metrics = new Metrics({
    ...sources,
    counters: first.counters,
    keepCounters: () => first.kept.flushForScrape(),
  });
  onTestFinished(() => metrics.close());
  first.sink.report("bounce", { neighbour: "a", reason: "site" });
  const seen = 'kxgw_bounces_total{peer="a",class="site"} 1';
  expect((await metrics.scrape(undefined)).body).toContain(seen);
  first.sink.report("bounce", { neighbour: "a", reason: "site" });
  // Killed: nothing more is written. A reader of the file sees what the next start will see.
  const reader = UpdateLog.open(path, { readonly: true });
  const [stored] = reader.counterRows.all(10, 0);
  expect(stored?.row).toMatchObject({ event: "bounce", neighbour: "a", count: 1 });
  reader.close();
});

it("keeps 30 days by the hour, and no more", () => {
  const path = join(scratch(), "updates.db");
  const { log, time, sink, kept, counters } = begin(path, NOW);
  for (let hour = 0; hour < KEPT_HOURS + 50; hour++) {
    sink.report("accepted", { neighbour: "a", bytes: 1 });
    kept.flush();
    time.now += HOUR_MS;
  }
  expect(counters.series(ACCEPTED, KEPT_HOURS)).toHaveLength(KEPT_HOURS);
  const [stored] = log.counterRows.all(10, 0);
  expect(stored?.row.count).toBe(KEPT_HOURS + 50);
  expect(stored?.hours.length).toBeLessThanOrEqual(KEPT_HOURS + 1);
});

it("writes nothing while nothing counts, and only what changed", () => {
  const { log, sink, kept } = begin(":memory:", NOW);
  const saved: number[] = [];
  const save = log.counterRows.save.bind(log.counterRows);
  log.counterRows.save = (all, oldest) => {
    saved.push(all.length);
    save(all, oldest);
  };
  kept.flush();
  sink.report("accepted", { neighbour: "a", bytes: 1 });
  sink.report("accepted", { neighbour: "b", bytes: 1 });
  kept.flush();
  kept.flush();
  sink.report("accepted", { neighbour: "b", bytes: 1 });
  kept.flush();
  expect(saved).toEqual([2, 1]);
});

it("leaves out an event that this release does not have", () => {
  const { log, counters, time } = begin(":memory:", NOW);
  const row = { neighbour: "a", reason: "", via: "", count: 3, bytes: 0, since: NOW, lastAt: NOW };
  log.counterRows.save([{ row: { ...row, event: "of-a-later-release" }, hours: [] }]);
  log.counterRows.save([{ row: { ...row, event: "accepted" }, hours: [] }]);
  restoreCounterRows(log, counters, time.now);
  expect(counters.counts().map(({ event, count }) => [event, count])).toEqual([["accepted", 3]]);
});

it("a start with a right clock counts again after one that was a year ahead", () => {
  const path = join(scratch(), "updates.db");
  const first = begin(path, NOW);
  first.sink.report("accepted", { neighbour: "a", via: "mail", bytes: 10 });
  first.kept.flush();
  first.time.now = NOW + 365 * 24 * HOUR_MS;
  first.sink.report("accepted", { neighbour: "a", via: "mail", bytes: 10 });
  first.kept.stop();
  first.log.close();

  const second = begin(path, NOW + HOUR_MS);
  expect(second.counters.sum(ACCEPTED)).toEqual({ count: 2, bytes: 20 });
  expect(second.counters.lastAt(ACCEPTED)).toBe(NOW + HOUR_MS);
  second.sink.report("accepted", { neighbour: "a", via: "mail", bytes: 1 });
  expect(second.counters.series(ACCEPTED).at(-1)).toEqual({ count: 1, bytes: 1 });
});
