/** Times of deliveries that outlive the process: written in batches, forgotten with entries. */
import { join } from "node:path";
import { expect, it } from "vitest";
import type { EventSink } from "../../src/diagnostics.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { EventCounters } from "../../src/status/event-counters.js";
import { JOURNAL_LIMITS, SentJournal } from "../../src/status/sent-journal.js";
import { arrival, HOUR_MS, seq } from "../log/material.js";
import { scratch } from "../support/scratch.js";

const NOW = 1_800_000_000_000;

function journal(path = ":memory:") {
  const log = UpdateLog.open(path);
  const time = { now: NOW };
  const clock = { now: () => time.now, monotonic: () => time.now, random: () => 0.5 };
  const counters = new EventCounters({ next: { report: () => {} }, clock });
  /** Takes reports with some of their fields. */
  const sink: EventSink = counters;
  return { log, time, sink, kept: new SentJournal({ log, counters, clock }) };
}

it("keeps when an update went to whom, over a restart", () => {
  const path = join(scratch(), "updates.db");
  const { log, time, sink, kept } = journal(path);
  sink.report("sent", { seq: 7, neighbour: "old", how: "relayed", words: "250 queued as 4F" });
  sink.report("retry", { seq: 8, neighbour: "old" });
  sink.report("served", { seq: 7, neighbour: "new" });
  time.now += 1000;
  sink.report("served", { seq: 7, neighbour: "new" });
  sink.report("sent", { neighbour: "old" });
  expect(log.sendings.of(seq(7))).toEqual([]);
  kept.stop();
  sink.report("sent", { seq: 9, neighbour: "old" });
  log.close();

  const again = UpdateLog.open(path, { readonly: true });
  const kept7 = again.sendings.latest(1, 10).sort((a, b) => a.way.localeCompare(b.way));
  expect(kept7).toEqual([
    { seq: 7, neighbour: "new", way: "kx", at: NOW + 1000, how: "fetched", reply: "" },
    { seq: 7, neighbour: "old", way: "lane", at: NOW, how: "relayed", reply: "250 queued as 4F" },
  ]);
  again.close();
});

it("writes many at once", () => {
  const { log, sink, kept } = journal();
  const { most } = JOURNAL_LIMITS;
  for (let n = 1; n < most; n++) sink.report("sent", { seq: n, neighbour: "old" });
  expect(log.sendings.of(seq(1))).toEqual([]);
  sink.report("sent", { seq: most, neighbour: "old" });
  expect(log.sendings.latest(1, 2 * most)).toHaveLength(most);
  kept.stop();
  log.close();
});

it("lives with a log that cannot be written, and asks it no more often than before", () => {
  const path = join(scratch(), "updates.db");
  UpdateLog.open(path).close();
  const log = UpdateLog.open(path, { readonly: true });
  const clock = { now: () => NOW, monotonic: () => NOW, random: () => 0.5 };
  const counters = new EventCounters({ next: { report: () => {} }, clock });
  const sink: EventSink = counters;
  const kept = new SentJournal({ log, counters, clock });
  let tries = 0;
  const { note } = log.sendings;
  log.sendings.note = (all) => {
    tries += 1;
    note.call(log.sendings, all);
  };
  const { most } = JOURNAL_LIMITS;
  for (let n = 0; n < 3 * most; n++) sink.report("sent", { seq: n, neighbour: "old" });
  expect(tries).toBe(5);
  expect(counters.total("log-trouble").count).toBeGreaterThan(0);
  kept.stop();
  log.close();
});

it("forgets them with the entries, and none before", () => {
  const { log, kept } = journal();
  log.append([1, 2, 3].map((n) => arrival(n, { receivedAt: NOW + n })));
  const one = { neighbour: "old", way: "lane", at: NOW, how: "relayed", reply: "" } as const;
  log.sendings.note([1, 2, 3].map((n) => ({ ...one, seq: seq(n) })));
  const limits = { retainMs: 96 * HOUR_MS, rememberMs: 720 * HOUR_MS };
  log.retention.expire(NOW + limits.rememberMs, limits, 100);
  expect(log.sendings.latest(1, 9)).toHaveLength(3);
  log.retention.expire(NOW + 2 + limits.rememberMs, limits, 100);
  expect(log.sendings.latest(1, 9).map((row) => row.seq)).toEqual([3]);
  kept.stop();
  log.close();
});
