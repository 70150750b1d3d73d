/**
 * A report of an event as the counters keep it, and as the page and the journey of an update
 * read it.
 */
import type { EventName, Fields, Level } from "../diagnostics.js";

/** One report; `at` in milliseconds since 1970, `id` grows by one per report. */
export interface Report {
  readonly id: number;
  readonly at: number;
  readonly event: EventName;
  readonly level: Level;
  readonly fields: Fields;
}
