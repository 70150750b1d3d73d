/**
 * The updates of 24 hours as the charts draw them, by the hour and the way they went: of all
 * neighbours, or of one. "Other" ways in are HKP, recon and repair.
 */
import type { EventCounters, Which } from "./event-counters.js";
import { FLOWS } from "./flow.js";

/** Counts by the hour, oldest first; all of one length. */
export interface FlowHours {
  readonly inMail: readonly number[];
  readonly inKx: readonly number[];
  readonly inOther: readonly number[];
  readonly outMail: readonly number[];
  readonly outKx: readonly number[];
}

export function flowHours(counters: EventCounters, neighbour?: string): FlowHours {
  const of = (which: Which) => {
    const series = counters.series({ ...which, ...(neighbour !== undefined && { neighbour }) });
    return series.map(({ count }) => count);
  };
  return {
    inMail: of(FLOWS.inMail),
    inKx: of(FLOWS.inKx),
    inOther: added(of(FLOWS.inHkp), of(FLOWS.inRecon), of(FLOWS.inRepair)),
    outMail: of(FLOWS.outMail),
    outKx: of(FLOWS.outKx),
  };
}

function added(...all: readonly (readonly number[])[]): number[] {
  const [first = []] = all;
  return first.map((_, index) => all.reduce((sum, counts) => sum + (counts[index] ?? 0), 0));
}
