/** The counts of the charts: by the hour, by the day in UTC, of all neighbours or of one. */
import { expect, it } from "vitest";
import type { EventSink } from "../../src/diagnostics.js";
import { EventCounters } from "../../src/status/event-counters.js";
import { DAYS, flowDays, flowHours } from "../../src/status/flow-hours.js";
import { HOUR_MS } from "../../src/status/hours.js";

/** 05:30 UTC of a day. */
const NOW = Date.UTC(2026, 10, 30, 5, 30);

function counted() {
  const time = { now: NOW };
  const clock = { now: () => time.now, monotonic: () => 0, random: () => 0 };
  const counters = new EventCounters({ next: { report: () => {} }, clock });
  const sink: EventSink = counters;
  return { time, counters, sink };
}

it("each way in its own row, of all and of one", () => {
  const { counters, sink } = counted();
  for (const via of ["mail", "kx", "hkp", "recon", "repair"]) {
    sink.report("accepted", { neighbour: "a", via });
    sink.report("accepted", { neighbour: "b", via });
  }
  sink.report("sent", { neighbour: "a" });
  sink.report("served", { neighbour: "b" });
  const last = (flow: ReturnType<typeof flowHours>) =>
    [flow.inMail, flow.inKx, flow.inOther, flow.outMail, flow.outKx].map((row) => row.at(-1));
  expect(last(flowHours(counters))).toEqual([2, 2, 6, 1, 1]);
  expect(last(flowHours(counters, "a"))).toEqual([1, 1, 3, 1, 0]);
  expect(last(flowDays(counters, NOW, "b"))).toEqual([1, 1, 3, 0, 1]);
});

it("thirty days end with today, which goes on counting", () => {
  const { time, counters, sink } = counted();
  const begin = NOW - 32 * 24 * HOUR_MS;
  for (time.now = begin; time.now < NOW; time.now += HOUR_MS) {
    sink.report("sent", { neighbour: "a" });
  }
  time.now = NOW;
  const first = flowDays(counters, NOW).outMail;
  expect(first).toHaveLength(DAYS);
  expect(first.slice(0, -1)).toEqual(Array.from({ length: DAYS - 1 }, () => 24));
  // 00:30 to 04:30; the hour of 05:30 is not over.
  expect(first.at(-1)).toBe(5);
  sink.report("sent", { neighbour: "a" });
  expect(flowDays(counters, NOW).outMail.at(-1)).toBe(6);
  time.now = NOW + 24 * HOUR_MS;
  sink.report("sent", { neighbour: "a" });
  expect(flowDays(counters, time.now).outMail.slice(-3)).toEqual([24, 6, 1]);
});
