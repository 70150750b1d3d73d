/** The lines of events on the page: what 25 of them cover, the filter, and what a mask hides. */
import { describe, expect, it } from "vitest";
import type { EventSink } from "../../src/diagnostics.js";
import { EventCounters } from "../../src/status/event-counters.js";
import type { EventFilter } from "../../src/status/event-lines.js";
import { eventLines, filterOf, SHOWN } from "../../src/status/event-lines.js";

const NO_FILTER = filterOf(new URLSearchParams());
const NOW = 1_800_000_000_000;

function counted() {
  const time = { now: NOW };
  const clock = { now: () => time.now, monotonic: () => 0, random: () => 0 };
  const counters = new EventCounters({ next: { report: () => {} }, clock });
  const sink: EventSink = counters;
  const lines = (filter: Partial<EventFilter> = {}, mask = false) =>
    eventLines(counters.runs(), { ...NO_FILTER, ...filter }, mask);
  return { time, sink, lines };
}

describe("25 lines", () => {
  it("cover hours of a gateway that delivers to twenty neighbours, and last night's fault", () => {
    const { time, sink, lines } = counted();
    sink.report("log-trouble", { kind: "full", problem: "disk full", remedy: "", door: "smtp" });
    for (let second = 0; second < 8 * 3600; second += 4) {
      time.now = NOW + second * 1000;
      sink.report("accepted", { neighbour: "pks1", via: "mail", seq: second });
      for (let n = 0; n < 20; n++) sink.report("sent", { neighbour: `ks-${n}`, seq: second });
    }
    const { lines: all } = lines();
    expect(all.length).toBeLessThanOrEqual(SHOWN.lines);
    expect(all.at(-1)).toMatchObject({ event: "log-trouble", words: "disk full" });
    const sent = all.filter(({ event }) => event === "sent");
    expect(sent[0]?.neighbours).toHaveLength(20);
    const covered = time.now - Math.min(...sent.map(({ firstAt }) => firstAt));
    expect(covered).toBeGreaterThan(7 * 3_600_000);
    const accepted = all.filter(({ event }) => event === "accepted");
    expect(accepted[0]?.neighbours).toEqual(["pks1"]);
    expect(accepted.reduce((sum, { count }) => sum + count, 0)).toBe(7200);
  });

  it("give half of the page to trouble, and the rest too when there is no routine", () => {
    const { sink, lines } = counted();
    for (let n = 0; n < 60; n++) sink.report("retry", { neighbour: `n${n}`, words: "451" });
    expect(lines().lines).toHaveLength(SHOWN.lines);
    expect(lines().left).toBe(60 - SHOWN.lines);
    for (const event of ["ready", "reloaded", "stopping"] as const) sink.report(event, {});
    const events = lines().lines.map(({ event }) => event);
    expect(events.filter((event) => event === "retry")).toHaveLength(SHOWN.lines - 3);
  });
});

describe("the filter", () => {
  it("takes neighbour, level and words together", () => {
    const { sink, lines } = counted();
    sink.report("retry", { neighbour: "a", words: "451 Queue is FULL" });
    sink.report("retry", { neighbour: "b", words: "451 queue is full" });
    sink.report("stalled", { neighbour: "a", words: "no answer" });
    sink.report("sent", { neighbour: "a", words: "250 queued as 4F00" });
    const found = (filter: Partial<EventFilter>) =>
      lines(filter).lines.map(({ event, neighbours }) => `${event} ${neighbours}`);
    expect(found({ neighbour: "a" })).toEqual(["sent a", "stalled a", "retry a"]);
    expect(found({ level: "warn" })).toEqual(["stalled a", "retry b", "retry a"]);
    expect(found({ level: "error" })).toEqual(["stalled a"]);
    expect(found({ words: "full QUEUE" })).toEqual(["retry b", "retry a"]);
    expect(found({ words: "full", neighbour: "a" })).toEqual(["retry a"]);
    expect(found({ words: "queued as" })).toEqual(["sent a"]);
    expect(found({ words: "nothing like it" })).toEqual([]);
  });

  it("is read from a URL, with nonsense as no filter", () => {
    const read = (text: string) => filterOf(new URLSearchParams(text));
    expect(read("")).toEqual({ neighbour: "", level: "all", words: "" });
    expect(read("neighbour=a&level=warn&words=%20x%20")).toEqual({
      ...{ neighbour: "a", level: "warn", words: "x" },
    });
    expect(read("level=debug")).toEqual(NO_FILTER);
    expect(read(`words=${"x".repeat(1000)}`).words).toHaveLength(100);
  });

  it("does not find by what a mask hides", () => {
    const { sink, lines } = counted();
    const words = "451 4.3.0 <pgp-public-keys@pks.example.net> at 192.0.2.77: busy";
    sink.report("retry", { neighbour: "a", words });
    sink.report("recon-down", { neighbour: "sks.example.org:11370", problem: "refused" });
    expect(lines({ words: "192.0.2.77" }).lines).toHaveLength(1);
    for (const hidden of ["192.0.2.77", "pks.example", "public-keys", "sks.example"]) {
      expect(lines({ words: hidden }, true).lines).toEqual([]);
    }
    expect(lines({ neighbour: "sks.example.org:11370" }, true).lines).toEqual([]);
    expect(JSON.stringify(lines({}, true))).not.toMatch(/192\.0\.2|pks\.example|sks\.example/);
    expect(lines({ words: "busy" }, true).lines).toHaveLength(1);
  });
});
