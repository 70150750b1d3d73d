/**
 * Keeps the refused files of a spool in `refused/` for the operator: for `keep_refused`, and at
 * most so many files and bytes, the latest ones. Removals are reported. Files are removed by age
 * only after the clock has run evenly for an hour, so that a wrong date removes nothing.
 */
import { mkdir, rename, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../clock.js";
import type { Diagnostics } from "../diagnostics.js";
import { codeOf, Foremost, filesIn, latestFirst, type Seen } from "./spool-files.js";

const REFUSED = "refused";

export const REFUSED_LIMITS = {
  /** More than a person reads. A directory of this size is still fast. */
  files: 5000,
  /** A single mail may have 32 MiB. The spool may be on a small disk. */
  bytes: 256 * 1024 ** 2,
  /** New files and bytes after which the limits are checked again. */
  slackFiles: 500,
  slackBytes: 32 * 1024 ** 2,
  /** Interval of the check for old files, and how long the clock must run evenly before it. */
  everyMs: 3_600_000,
  /** Names in one report. */
  names: 20,
} as const;

export type RefusedLimits = { readonly [K in keyof typeof REFUSED_LIMITS]: number };

/** What `RefusedFiles` works with. */
export interface RefusedComponents {
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
}

export interface RefusedSettings {
  /** The directory that the files come from. */
  readonly spool: string;
  /** How long a refused file is kept. */
  readonly keepMs: number;
  readonly limits?: RefusedLimits;
}

export class RefusedFiles {
  readonly #path: string;
  readonly #keepMs: number;
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;
  readonly #limits: RefusedLimits;
  readonly #startedAt: { readonly date: number; readonly monotonic: number };
  #sweptAt = -Infinity;
  #newFiles = 0;
  #newBytes = 0;

  constructor(
    { clock, diagnostics }: RefusedComponents,
    { spool, keepMs, limits = REFUSED_LIMITS }: RefusedSettings,
  ) {
    this.#path = join(spool, REFUSED);
    this.#keepMs = keepMs;
    this.#clock = clock;
    this.#diagnostics = diagnostics;
    this.#limits = limits;
    this.#startedAt = { date: clock.now(), monotonic: clock.monotonic() };
  }

  /** Moves a file from the spool to `refused/`. Throws the error of the system. */
  async take(from: string, { name, size, modifiedMs }: Seen): Promise<void> {
    await mkdir(this.#path, { recursive: true });
    // A pipe reuses its file names.
    await rename(from, join(this.#path, `${name}.${Math.trunc(modifiedMs)}`));
    this.#newFiles += 1;
    this.#newBytes += size;
  }

  /** Removes files over a limit, if a check is due. Throws the error of the system. */
  async sweep(): Promise<void> {
    const now = this.#clock.monotonic();
    const { everyMs, slackFiles, slackBytes } = this.#limits;
    const isFull = this.#newFiles >= slackFiles || this.#newBytes >= slackBytes;
    if (!isFull && now < this.#sweptAt + everyMs) return;
    this.#sweptAt = now;
    this.#newFiles = 0;
    this.#newBytes = 0;
    try {
      await this.#removeSurplus();
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error;
    }
  }

  async #removeSurplus(): Promise<void> {
    const { files, bytes } = this.#limits;
    const latest = new Foremost(files, latestFirst);
    const removed = new Removed(this.#limits.names);
    for await (const batch of filesIn(this.#path, () => true)) {
      for (const file of batch) await this.#remove(latest.add(file), "too many", removed);
    }
    const { kept, out } = latest.finish();
    await this.#remove(out, "too many", removed);
    const before = this.#oldestDate();
    let total = 0;
    for (const file of kept) {
      total += file.size;
      const isOld = before !== undefined && file.changedMs < before;
      if (isOld) await this.#remove([file], "too old", removed);
      else if (total > bytes) await this.#remove([file], "too large together", removed);
    }
    removed.report(this.#path, this.#diagnostics);
  }

  /** Files changed before this date are too old. Undefined if the clock is not trusted. */
  #oldestDate(): number | undefined {
    const { everyMs } = this.#limits;
    const elapsed = this.#clock.monotonic() - this.#startedAt.monotonic;
    const drift = this.#clock.now() - this.#startedAt.date - elapsed;
    if (elapsed < everyMs || Math.abs(drift) > everyMs) return undefined;
    return this.#clock.now() - this.#keepMs;
  }

  async #remove(files: readonly Seen[], why: string, removed: Removed): Promise<void> {
    for (const file of files) {
      try {
        await unlink(join(this.#path, file.name));
        removed.add(file, why);
      } catch (error) {
        if (codeOf(error) !== "ENOENT") throw error;
      }
    }
  }
}

/** Collects the files that one check removed, for one report for each reason. */
class Removed {
  readonly #most: number;
  readonly #byReason = new Map<string, { names: string[]; files: number; bytes: number }>();

  constructor(most: number) {
    this.#most = most;
  }

  add({ name, size }: Seen, reason: string): void {
    const sum = this.#byReason.get(reason) ?? { names: [], files: 0, bytes: 0 };
    this.#byReason.set(reason, sum);
    sum.files += 1;
    sum.bytes += size;
    if (sum.names.length < this.#most) sum.names.push(name);
  }

  report(file: string, diagnostics: Diagnostics): void {
    for (const [reason, { names, files, bytes }] of this.#byReason) {
      diagnostics.report("refused-removed", { file, reason, files, bytes, names });
    }
  }
}
