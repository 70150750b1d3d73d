/**
 * The updates as the charts draw them, by the way they went: 24 hours by the hour and 30 days by
 * the day, of all neighbours or of one. "Other" ways in are HKP, recon and repair.
 */
import type { EventCounters, Which } from "./event-counters.js";
import { FLOWS } from "./flow.js";
import { HOUR_MS, HOURS } from "./hours.js";

/** Counts by the hour or the day, oldest first; all of one length. */
export interface FlowHours {
  readonly inMail: readonly number[];
  readonly inKx: readonly number[];
  readonly inOther: readonly number[];
  readonly outMail: readonly number[];
  readonly outKx: readonly number[];
}

/** The last `hours` hours, oldest first; the current hour is the last one. */
export function flowHours(
  counters: EventCounters,
  neighbour?: string,
  hours: number = HOURS,
): FlowHours {
  const of = (which: Which) => {
    const own = { ...which, ...(neighbour !== undefined && { neighbour }) };
    const series = counters.series(own, hours);
    return series.map(({ count }) => count);
  };
  return {
    inMail: of(FLOWS.inMail),
    inKx: of(FLOWS.inKx),
    inOther: joinedCounts(of(FLOWS.inHkp), of(FLOWS.inRecon), of(FLOWS.inRepair)),
    outMail: of(FLOWS.outMail),
    outKx: of(FLOWS.outKx),
  };
}

function joinedCounts(...all: readonly (readonly number[])[]): number[] {
  const [first = []] = all;
  return first.map((_, index) => added(all.map((counts) => counts[index] ?? 0)));
}

/** Days in the chart by day, including today. */
export const DAYS = 30;
const DAY_HOURS = 24;

interface PastDays {
  /** The day since 1970 before which they are. */
  readonly today: number;
  readonly flow: FlowHours;
}

/**
 * The days before today, by neighbour: they no longer change, and adding up 700 hours of some
 * hundred counters for each page would cost up to 0.3 s.
 */
const past = new WeakMap<EventCounters, Map<string, PastDays>>();

/** The last `DAYS` days in UTC, oldest first, today last. */
export function flowDays(counters: EventCounters, now: number, neighbour?: string): FlowHours {
  const hours = (Math.floor(now / HOUR_MS) % DAY_HOURS) + 1;
  const before = pastDays(counters, now, hours, neighbour);
  const today = flowHours(counters, neighbour, hours);
  const joined = (way: keyof FlowHours) => [...before[way], added(today[way])];
  return {
    inMail: joined("inMail"),
    inKx: joined("inKx"),
    inOther: joined("inOther"),
    outMail: joined("outMail"),
    outKx: joined("outKx"),
  };
}

/** The days before today, of which `hours` hours have begun. */
function pastDays(
  counters: EventCounters,
  now: number,
  hours: number,
  neighbour: string | undefined,
): FlowHours {
  const today = Math.floor(now / HOUR_MS / DAY_HOURS);
  const known = past.get(counters) ?? new Map<string, PastDays>();
  past.set(counters, known);
  const kept = known.get(neighbour ?? "");
  if (kept?.today === today) return kept.flow;
  const byHour = flowHours(counters, neighbour, (DAYS - 1) * DAY_HOURS + hours);
  const byDay = (way: keyof FlowHours) =>
    Array.from({ length: DAYS - 1 }, (_, day) =>
      added(byHour[way].slice(day * DAY_HOURS, (day + 1) * DAY_HOURS)),
    );
  const flow = {
    inMail: byDay("inMail"),
    inKx: byDay("inKx"),
    inOther: byDay("inOther"),
    outMail: byDay("outMail"),
    outKx: byDay("outKx"),
  };
  known.set(neighbour ?? "", { today, flow });
  return flow;
}

function added(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0);
}
