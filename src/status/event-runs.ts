/**
 * Runs of equal reports: the same event, neighbour and reason, with the number of reports and the
 * last one. With them a page of a few lines covers hours, also on a gateway that reports a hundred
 * deliveries a second. A run ends after an hour, so that the runs of a day show
 * when something happened, and after half an hour without such a report. Bounded, in memory only;
 * warnings and errors have a share of their own. Time comes with the reports.
 */
import type { EventName, Level } from "../diagnostics.js";
import type { Report } from "./report.js";

export const RUN_LIMITS = {
  /** Runs of level info, and of level warn and error. */
  routine: 500,
  trouble: 500,
  longestMs: 3_600_000,
  gapMs: 1_800_000,
} as const;

export interface Run {
  readonly event: EventName;
  readonly level: Level;
  readonly neighbour: string | undefined;
  /** Number of updates; a report may be about several. */
  readonly count: number;
  /** Milliseconds since 1970. */
  readonly firstAt: number;
  /** The last report of the run. */
  readonly last: Report;
}

export class EventRuns {
  readonly #routine = new Share(RUN_LIMITS.routine);
  readonly #trouble = new Share(RUN_LIMITS.trouble);

  add(report: Report): void {
    if (report.level === "debug") return;
    (report.level === "info" ? this.#routine : this.#trouble).add(report);
  }

  /** Newest first, by the last report of each. */
  all(): Run[] {
    return [...this.#routine.runs(), ...this.#trouble.runs()].sort((a, b) => b.last.id - a.last.id);
  }
}

class Share {
  readonly #most: number;
  /** Runs that may go on, by their key, in the order of their last report. */
  readonly #open = new Map<string, Run>();
  /** Runs that have ended, oldest first. */
  readonly #ended: Run[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  add(report: Report): void {
    const { event, level, at, fields } = report;
    const neighbour = typeof fields.neighbour === "string" ? fields.neighbour : undefined;
    const count = typeof fields.numbers === "number" ? fields.numbers : 1;
    const key = `${event} ${neighbour ?? ""} ${String(fields.reason ?? "")}`;
    const known = this.#open.get(key);
    this.#open.delete(key);
    const goesOn =
      known !== undefined &&
      at - known.firstAt < RUN_LIMITS.longestMs &&
      at - known.last.at < RUN_LIMITS.gapMs;
    if (goesOn) {
      this.#open.set(key, { ...known, count: known.count + count, last: report });
      return;
    }
    if (known !== undefined) this.#ended.push(known);
    this.#open.set(key, { event, level, neighbour, count, firstAt: at, last: report });
    if (this.#open.size + this.#ended.length > this.#most) this.#dropOldest();
  }

  runs(): Run[] {
    return [...this.#ended, ...this.#open.values()];
  }

  #dropOldest(): void {
    const [first] = this.#open;
    const [ended] = this.#ended;
    if (ended !== undefined && (first === undefined || ended.last.id < first[1].last.id)) {
      this.#ended.shift();
    } else if (first !== undefined) this.#open.delete(first[0]);
  }
}
