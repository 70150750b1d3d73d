/**
 * Updates that peers announced and none of them delivers: they are written to the log for repair. A
 * cursor that moved past such an update is not stored before the update is noted: `flush` comes
 * first. What cannot be repaired is reported. Of updates that only one peer announced a limited
 * number a day is noted, because such a peer may have made them up.
 */
import type { Diagnostics } from "../diagnostics.js";
import type { Announcement } from "../kx/messages.js";
import { MAX_NUMBER } from "../kx/messages.js";
import { type Missing, TOO_MANY_REPAIRS } from "../log/repairs.js";
import type { UpdateLog } from "../log/update-log.js";
import type { LogGuard } from "../log-guard.js";
import { TokenBucket } from "../rate.js";
import type { Fingerprint, UpdateHash } from "../update.js";

/** A week of the thesis's load, 900 updates a day, that expired without a connection. */
const MOST_LOSSES = { count: 6300, periodMs: 24 * 3_600_000 } as const;

export interface MissingComponents {
  readonly log: MissingLog;
  readonly guard: LogGuard;
  readonly diagnostics: Diagnostics;
}

/** What missing updates use of the log. */
export interface MissingLog {
  readonly repairs: Pick<UpdateLog["repairs"], "wantAll">;
}

export class MissingUpdates {
  readonly #log: MissingLog;
  readonly #guard: LogGuard;
  readonly #diagnostics: Diagnostics;
  /** What could not be stored yet; at most as many as peers may have pending. */
  #unstored: Missing[] = [];
  readonly #budgets = new Map<string, TokenBucket>();

  constructor({ log, guard, diagnostics }: MissingComponents) {
    this.#log = log;
    this.#guard = guard;
    this.#diagnostics = diagnostics;
  }

  /**
   * An update that `neighbours` announced is lost; `at` in milliseconds since 1970. `listed` is
   * how peers list it. One that was only in a notice is ignored: it is listed first.
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

  /**
   * Numbers that a peer no longer lists; it is not known which keys they were about. Stored by the
   * next `flush`.
   */
  gap(neighbour: string, low: number, high: number, at: number): void {
    // After MAX_NUMBER comes 0.
    const numbers = high - low + 1 + (high < low ? MAX_NUMBER + 1 : 0);
    this.#diagnostics.report("peer-gap", { neighbour, low, high, numbers });
    // All gaps of a peer are one row, and a listing may show hundreds: the caller flushes.
    const isSame = (one: Missing) => one.why === "gap" && one.neighbours[0] === neighbour;
    if (this.#unstored.some(isSame)) return;
    this.#unstored.push({ fingerprint: undefined, neighbours: [neighbour], why: "gap", at });
  }

  /** Stores what is not stored yet, in one transaction; false if that fails now. */
  flush(): boolean {
    const all = this.#unstored;
    if (all.length === 0) return true;
    const noted = this.#guard.run(() => this.#log.repairs.wantAll(all));
    if (noted === undefined) return false;
    this.#unstored = [];
    for (const [index, one] of all.entries()) if (noted[index] !== true) this.#refused(one);
    return true;
  }

  #refused({ hash, fingerprint, neighbours, why }: Missing): void {
    const fields = { hash, fingerprint, neighbours: neighbours.join(" "), why };
    const asked = fingerprint === undefined ? { neighbour: neighbours[0], reason: why } : {};
    this.#diagnostics.report("repair-failed", { ...fields, ...asked, problem: TOO_MANY_REPAIRS });
  }
}
