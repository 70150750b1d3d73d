/**
 * Restores the counters of the last 24 hours from the log after a
 * start, so that the page does not show "never". It reads a bounded number of rows; on
 * a busy day the early hours are missing.
 */

import type { UpdateLog } from "../log/update-log.js";
import type { Seq } from "../update.js";
import type { EventCounters } from "./event-counters.js";
import { HOUR_MS, HOURS } from "./hours.js";

/** Takes 30 ms to read. */
const ENTRIES = 10_000;

/** Counts the newest arrivals and deliveries; `now` in milliseconds since 1970. */
export function restoreCounters(log: UpdateLog, counters: EventCounters, now: number): void {
  const newest = log.newest();
  const from = Math.max(1, newest - ENTRIES + 1) as Seq;
  for (const { origin, size, receivedAt } of log.range(from, newest as Seq, ENTRIES)) {
    if (receivedAt <= now - HOURS * HOUR_MS) continue;
    const { neighbour, transport: via } = origin;
    counters.recall("accepted", { neighbour, via, bytes: size }, receivedAt);
  }
  for (const { neighbour, way, at } of log.sendings.latest(from, ENTRIES)) {
    if (at <= now - HOURS * HOUR_MS) continue;
    counters.recall(way === "kx" ? "served" : "sent", { neighbour }, at);
  }
}
