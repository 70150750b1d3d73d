/**
 * What peers announced and nobody delivers: handed to the log for repair. Nothing of it may be
 * forgotten before it is on disk, so a cursor that moved past it is not stored sooner: `flush`
 * comes first. Reports what no repair can be asked for, and asks for so many a day of what only one
 * peer announced: such a peer may make them up.
 */
import type { Diagnostics } from "../diagnostics.js";
import type { Announcement } from "../kx/messages.js";
import { MAX_NUMBER } from "../kx/messages.js";
import { type Missing, TOO_MANY_REPAIRS } from "../log/repairs.js";
import type { UpdateLog } from "../log/update-log.js";
import type { LogGuard } from "../log-guard.js";
import { TokenBucket } from "../rate.js";
import type { Fingerprint, UpdateHash } from "../update.js";

/** A week of the thesis's load, 900 updates a day, that expired while nobody listened. */
export const MOST_LOSSES = { count: 6300, periodMs: 24 * 3_600_000 } as const;

export interface MissingComponents {
  readonly log: MissingLog;
  readonly guard: LogGuard;
  readonly diagnostics: Diagnostics;
}

/** What missing updates use of the log. */
export interface MissingLog {
  readonly repairs: Pick<UpdateLog["repairs"], "want">;
}

export class MissingUpdates {
  readonly #log: MissingLog;
  readonly #guard: LogGuard;
  readonly #diagnostics: Diagnostics;
  /** What could not be stored; at most what peers may have pending. */
  #unstored: Missing[] = [];
  readonly #budgets = new Map<string, TokenBucket>();

  constructor({ log, guard, diagnostics }: MissingComponents) {
    this.#log = log;
    this.#guard = guard;
    this.#diagnostics = diagnostics;
  }

  /**
   * An update that `neighbours` announced; `at` in milliseconds since 1970. `listed` is how peers
   * list it: what was only noticed is listed first, and lost then, if it is there at all.
   */
  lost(
    hash: UpdateHash,
    listed: readonly Announcement[],
    neighbours: readonly string[],
    at: number,
  ): void {
    if (listed.length === 0) return;
    const fingerprint = listed.find((one) => one.fingerprint !== undefined)?.fingerprint;
    const told = { hash, fingerprint, neighbours: neighbours.join(" ") };
    this.#diagnostics.report("update-lost", told);
    if (fingerprint === undefined) {
      const problem = "no peer said which key it is about";
      return this.#diagnostics.report("repair-failed", { ...told, why: "lost", problem });
    }
    const [only, ...others] = neighbours;
    if (only !== undefined && others.length === 0 && !this.#mayLose(only, at)) {
      const { count } = MOST_LOSSES;
      const problem = `${only} alone announced more than ${count} such updates in a day`;
      return this.#diagnostics.report("repair-failed", { ...told, why: "lost", problem });
    }
    const key = fingerprint as Fingerprint;
    this.#unstored.push({ fingerprint: key, hash, neighbours, why: "lost", at });
    this.flush();
  }

  #mayLose(neighbour: string, at: number): boolean {
    const budget = this.#budgets.get(neighbour) ?? new TokenBucket(MOST_LOSSES, at);
    this.#budgets.set(neighbour, budget);
    if (budget.waitMs(at) > 0) return false;
    budget.take(at);
    return true;
  }

  /** Numbers that a peer no longer lists: which keys they were about nobody knows. */
  gap(neighbour: string, low: number, high: number, at: number): void {
    // After MAX_NUMBER comes 0.
    const numbers = high - low + 1 + (high < low ? MAX_NUMBER + 1 : 0);
    this.#diagnostics.report("peer-gap", { neighbour, low, high, numbers });
    this.#unstored.push({ fingerprint: undefined, neighbours: [neighbour], why: "gap", at });
    this.flush();
  }

  /** Stores what is not stored yet; false when that cannot be done now. */
  flush(): boolean {
    for (let missing = this.#unstored[0]; missing !== undefined; missing = this.#unstored[0]) {
      const one = missing;
      const isNoted = this.#guard.run(() => this.#log.repairs.want(one));
      if (isNoted === undefined) return false;
      this.#unstored.shift();
      if (!isNoted) this.#refused(one);
    }
    return true;
  }

  #refused({ hash, fingerprint, neighbours, why }: Missing): void {
    const fields = { hash, fingerprint, neighbours: neighbours.join(" "), why };
    const asked = fingerprint === undefined ? { neighbour: neighbours[0], reason: why } : {};
    this.#diagnostics.report("repair-failed", { ...fields, ...asked, problem: TOO_MANY_REPAIRS });
  }
}
