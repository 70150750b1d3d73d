/**
 * The result of a comparison of all keys with a peer (`reconciling.ts`), as the operator sees it
 * and as it is stored. Values without rules.
 */

/** The result of a run, or its state so far. */
export interface ReconcileReport {
  /** `budget`: it found more than one run fetches, and goes on at the next one. */
  readonly state: "running" | "done" | "budget" | "failed";
  /** Why it failed. */
  readonly problem: string | undefined;
  readonly isDryRun: boolean;
  /** Milliseconds since 1970; `endedAt` is undefined while it runs. */
  readonly startedAt: number;
  readonly endedAt: number | undefined;
  /** Keys of both sides, and those that are the same at both as far as was compared. */
  readonly here: number;
  readonly there: number;
  readonly common: number;
  readonly onlyHere: number;
  readonly onlyThere: number;
  readonly differing: number;
  readonly questions: number;
  /** Keys that went into the repair queue, and those that were in it from an earlier run. */
  readonly queued: number;
  readonly fetching: number;
  /** Keys that were fetched before, or are declined, and that did not change at the peer. */
  readonly staying: number;
  /** Keys for which the repair queue had no space. */
  readonly postponed: number;
  /** Keys that the peer was told to fetch. */
  readonly told: number;
}
