/** Repeated lines: some are written, the others counted in one; and counters see all of them. */
import { describe, expect, it } from "vitest";
import { REPEAT_LIMITS, RepeatLimit } from "../../src/cli/repeat-limit.js";
import { type EventName, type EventSink, eventsWith, type Fields } from "../../src/diagnostics.js";
import { EventCounters } from "../../src/status/event-counters.js";

const { lines, windowMs, windows } = REPEAT_LIMITS;

function limited() {
  const written: [EventName, Fields][] = [];
  const time = { now: 1000 };
  const clock = { now: () => 0, monotonic: () => time.now, random: () => 0 };
  const next = { report: (event: EventName, fields = {}) => void written.push([event, fields]) };
  const limit = new RepeatLimit({ next, clock });
  const counters = new EventCounters({ next: limit, clock });
  /** Takes reports with some of their fields. */
  const sink: EventSink = counters;
  return { written, time, limit, counters, sink };
}

describe("repeated lines", () => {
  it("are written up to the limit, and then counted in one line", () => {
    const { written, time, limit, counters, sink } = limited();
    for (let n = 0; n < lines + 4711; n += 1) sink.report("update-lost", { seq: n });
    expect(written).toHaveLength(lines);
    time.now += windowMs - 1;
    limit.sweep();
    expect(written).toHaveLength(lines);
    time.now += 1;
    limit.sweep();
    const note = "4711 more of these events in the last minute";
    expect(written.at(-1)).toEqual(["update-lost", { neighbour: undefined, more: 4711, note }]);
    expect(counters.total("update-lost").count).toBe(lines + 4711);
    sink.report("update-lost", { seq: 1 });
    expect(written.at(-1)).toEqual(["update-lost", { seq: 1 }]);
  });

  it("need no summary when there was nothing more", () => {
    const { written, time, limit } = limited();
    for (let n = 0; n < lines; n += 1) limit.report("bounce", { neighbour: "old" });
    time.now += windowMs;
    limit.sweep();
    limit.flush();
    expect(written).toHaveLength(lines);
  });

  it("are summed up by the next event of any kind, in its order, and at the end", () => {
    const { written, time, limit } = limited();
    for (let n = 0; n <= lines; n += 1) limit.report("peer-complaint", { neighbour: "b" });
    time.now += windowMs;
    limit.report("accepted", { seq: 1 });
    expect(written.slice(-2)).toMatchObject([
      ["peer-complaint", { neighbour: "b", more: 1 }],
      ["accepted", { seq: 1 }],
    ]);
    for (let n = 0; n <= lines; n += 1) limit.report("peer-complaint", { neighbour: "b" });
    limit.flush();
    expect(written.at(-1)).toMatchObject(["peer-complaint", { neighbour: "b", more: 1 }]);
  });

  it("of one neighbour or event take nothing from another", () => {
    const { written, limit } = limited();
    for (let n = 0; n < 100; n += 1) limit.report("mail-refused", { neighbour: "a" });
    limit.report("mail-refused", { neighbour: "b" });
    limit.report("mail-refused", { client: "192.0.2.1" });
    limit.report("key-refused", { neighbour: "a" });
    expect(written).toHaveLength(lines + 3);
  });

  it("are remembered for so many neighbours and no more", () => {
    const { written, time, limit } = limited();
    for (let n = 0; n < windows + 500; n += 1) limit.report("bounce", { neighbour: `n${n}` });
    expect(written).toHaveLength(windows + lines);
    time.now += windowMs;
    limit.sweep();
    expect(written.at(-1)).toMatchObject(["bounce", { neighbour: undefined, more: 500 - lines }]);
  });

  it("are never those of an update's life, nor of the process", () => {
    const { written, limit } = limited();
    const free: EventName[] = ["accepted", "sent", "served", "undelivered", "body-expired"];
    const limitedOnes = eventsWith({ isLimited: true });
    for (const event of [...free, "ready", "log-trouble", "collision"] as EventName[]) {
      expect(limitedOnes).not.toContain(event);
    }
    for (let n = 0; n < 1000; n += 1) limit.report("accepted", { seq: n });
    expect(written).toHaveLength(1000);
  });
});
