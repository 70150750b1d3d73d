/** The tally: totals, hours, the latest reports, and what a restart recalls from the log. */
import { describe, expect, it } from "vitest";
import type { EventSink } from "../../src/diagnostics.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { EventCounters } from "../../src/status/event-counters.js";
import { HOUR_MS, HOURS, Hours } from "../../src/status/hours.js";
import { RECENT_LIMITS } from "../../src/status/recent-reports.js";
import { restoreCounters } from "../../src/status/sent-journal.js";
import { arrival } from "../log/material.js";

const NOW = 500_000 * HOUR_MS + 1000;

function tallyAt(start: number) {
  const time = { now: start };
  const heard: string[] = [];
  const clock = { now: () => time.now, monotonic: () => 0, random: () => 0 };
  const counters = new EventCounters({
    next: { report: (event) => void heard.push(event) },
    clock,
  });
  /** Takes reports with some of their fields. */
  const sink: EventSink = counters;
  return { time, heard, counters, sink };
}

describe("hours", () => {
  it("forget what is older than a day, one hour at a time", () => {
    const hours = new Hours();
    for (let hour = 0; hour < 100; hour++) {
      hours.add(NOW + hour * HOUR_MS, { count: hour, bytes: 1 });
    }
    const series = hours.series(NOW + 99 * HOUR_MS);
    expect(series.map(({ count }) => count)).toEqual(
      Array.from({ length: HOURS }, (_, index) => 76 + index),
    );
    expect(hours.series(NOW + 101 * HOUR_MS).map(({ count }) => count)).toEqual([
      ...Array.from({ length: 22 }, (_, index) => 78 + index),
      0,
      0,
    ]);
    expect(hours.series(NOW + 1000 * HOUR_MS).every(({ count }) => count === 0)).toBe(true);
  });

  it("survive a clock that is set back", () => {
    const hours = new Hours();
    hours.add(NOW, { count: 1, bytes: 0 });
    hours.add(NOW - 5 * HOUR_MS, { count: 2, bytes: 0 });
    hours.add(NOW - 30 * HOUR_MS, { count: 4, bytes: 0 });
    const series = hours.series(NOW - 5 * HOUR_MS).map(({ count }) => count);
    expect(series.at(-1)).toBe(1);
    expect(series.at(-6)).toBe(2);
    expect(series.reduce((sum, count) => sum + count)).toBe(3);
  });
});

describe("the tally", () => {
  it("counts by event, neighbour, road and reason, and hands on", () => {
    const { counters, sink, heard, time } = tallyAt(NOW);
    sink.report("accepted", { neighbour: "a", via: "mail", bytes: 10 });
    sink.report("accepted", { neighbour: "a", via: "kx", bytes: 20 });
    time.now += HOUR_MS;
    sink.report("accepted", { neighbour: "b", via: "kx", bytes: 30 });
    expect(heard).toEqual(["accepted", "accepted", "accepted"]);
    expect(counters.total("accepted")).toEqual({ count: 3, bytes: 60 });
    expect(counters.sum({ events: ["accepted"], via: "kx" })).toEqual({ count: 2, bytes: 50 });
    expect(counters.lastAt({ events: ["accepted"], neighbour: "a" })).toBe(NOW);
    const series = counters.series({ events: ["accepted"] }).map(({ count }) => count);
    expect(series.slice(-3)).toEqual([0, 2, 1]);
    time.now += 23 * HOUR_MS;
    expect(counters.day({ events: ["accepted"] }).count).toBe(1);
    expect(counters.total("accepted").count).toBe(3);
  });

  it("keeps the latest reports, never debug, never more than its limit", () => {
    const { counters, sink } = tallyAt(NOW);
    for (let n = 0; n < RECENT_LIMITS.routine + 50; n++) {
      sink.report("accepted", { seq: n });
      sink.report("duplicate", { seq: n });
    }
    const recent = counters.recent();
    expect(recent).toHaveLength(RECENT_LIMITS.routine);
    expect(recent[0]?.fields.seq).toBe(RECENT_LIMITS.routine + 49);
    expect(recent.every(({ event }) => event === "accepted")).toBe(true);
  });

  it("tells listeners of everything until they leave", () => {
    const { counters, sink } = tallyAt(NOW);
    const told: string[] = [];
    const leave = counters.onReport(({ event }) => void told.push(event));
    sink.report("duplicate", {});
    leave();
    sink.report("accepted", {});
    expect(told).toEqual(["duplicate"]);
  });

  it("recalls a day of arrivals and deliveries from the log, and no totals", () => {
    const log = UpdateLog.open(":memory:");
    const ages = [30 * HOUR_MS, 3 * HOUR_MS, 1000];
    log.append(ages.map((age, n) => arrival(n, { receivedAt: NOW - age })));
    const took = {
      neighbour: "far",
      way: "lane",
      at: NOW - 2000,
      how: "relayed",
      reply: "",
    } as const;
    log.sendings.note([
      { ...took, seq: 3 as never },
      { ...took, seq: 1 as never, at: 1 },
    ]);
    const { counters } = tallyAt(NOW);
    restoreCounters(log, counters, NOW);
    log.close();
    expect(counters.day({ events: ["accepted"], neighbour: "oldpks", via: "mail" }).count).toBe(2);
    expect(counters.lastAt({ events: ["accepted"] })).toBe(NOW - 1000);
    expect(counters.day({ events: ["sent"], neighbour: "far" }).count).toBe(1);
    expect(counters.lastAt({ events: ["sent"] })).toBe(NOW - 2000);
    expect(counters.total("accepted").count).toBe(0);
    expect(counters.counts()).toEqual([]);
  });
});
