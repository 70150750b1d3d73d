/**
 * The latest reports of level info and above, in memory. Warnings and errors have a share of their
 * own, and so has each neighbour: a busy gateway reports its deliveries by the hundred in a few
 * seconds, and these must push out neither a fault of last night nor the last words of a neighbour
 * that is down. Everything is bounded.
 */
import type { Report } from "./report.js";

export const RECENT_LIMITS = {
  /** Of level info. */
  routine: 200,
  /** Of level warn and error. */
  trouble: 200,
  /** Of one neighbour, routine and trouble each. */
  ofNeighbour: 50,
  /** Neighbours with reports of their own; names come from the configuration. */
  neighbours: 1000,
} as const;

export class RecentReports {
  readonly #all = new Shares(RECENT_LIMITS.routine, RECENT_LIMITS.trouble);
  readonly #byNeighbour = new Map<string, Shares>();

  add(report: Report): void {
    if (report.level === "debug") return;
    this.#all.add(report);
    const { neighbour } = report.fields;
    if (typeof neighbour !== "string") return;
    let own = this.#byNeighbour.get(neighbour);
    if (own === undefined) {
      if (this.#byNeighbour.size >= RECENT_LIMITS.neighbours) return;
      own = new Shares(RECENT_LIMITS.ofNeighbour, RECENT_LIMITS.ofNeighbour);
      this.#byNeighbour.set(neighbour, own);
    }
    own.add(report);
  }

  /** Newest first. */
  all(): Report[] {
    return this.#all.newestFirst();
  }

  /** Those of one neighbour, newest first. */
  of(neighbour: string): Report[] {
    return this.#byNeighbour.get(neighbour)?.newestFirst() ?? [];
  }
}

/** Two lists of limited length, oldest first. */
class Shares {
  readonly #routine: Report[] = [];
  readonly #trouble: Report[] = [];
  readonly #limits: readonly [routine: number, trouble: number];

  constructor(routine: number, trouble: number) {
    this.#limits = [routine, trouble];
  }

  add(report: Report): void {
    const isRoutine = report.level === "info";
    const list = isRoutine ? this.#routine : this.#trouble;
    list.push(report);
    if (list.length > this.#limits[isRoutine ? 0 : 1]) list.shift();
  }

  newestFirst(): Report[] {
    return [...this.#routine, ...this.#trouble].sort((a, b) => b.id - a.id);
  }
}
