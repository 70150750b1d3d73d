/**
 * Resumes the lanes of a door. Those that are ready within a millisecond are resumed in one
 * transaction and share its fsync. What a lane yields is returned after the commit, so that it
 * sends nothing before its last outcome is on disk, and a crash repeats at most one part per lane.
 *
 * An outcome waits a millisecond for others while further deliveries are in progress, if the last
 * group had several. A lane that was woken does not wait: it may have a new update to send.
 */
import type { Clock } from "../clock.js";
import { Trouble } from "../errors.js";
import type { Lanes } from "../log/lanes.js";
import type { Part } from "./delivery-method.js";
import type { LaneRun, LaneStep } from "./lane.js";
import type { Outcome } from "./relay.js";

/** A lane that goes on: after a delivery with its outcome, otherwise with undefined. */
export interface Resumption {
  readonly run: LaneRun;
  readonly outcome: Outcome | undefined;
}

/** The next step of a lane, or the end of its run. */
export type Resumed = IteratorResult<LaneStep, void>;

const GROUP_LIMITS = {
  /** Longest wait of an outcome for others. */
  waitMs: 1,
  /** How long lanes are resumed in one transaction; one that builds a large pack takes longer. */
  runMs: 20,
} as const;

/**
 * Resumes lanes in one transaction until `isEnough`, at least one. Returns their next steps, which
 * may be carried out: all that the lanes wrote is on disk. A lane alone writes as it needs. If the
 * transaction fails, the lanes are told, and yield a wait. Throws what is not `Trouble`.
 */
export function resumeTogether(
  lanes: Pick<Lanes, "together">,
  group: readonly Resumption[],
  isEnough: () => boolean = () => false,
): Resumed[] {
  const resumed: Resumed[] = [];
  const resume = () => {
    for (const { run, outcome } of group) {
      resumed.push(run.next(outcome));
      if (isEnough()) return;
    }
  };
  if (group.length === 1) {
    resume();
    return resumed;
  }
  try {
    lanes.together(resume);
    return resumed;
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    // Without a transaction, each lane takes its outcome and finds the trouble itself.
    if (resumed.length === 0) resume();
    else {
      for (const [index, { run }] of group.slice(0, resumed.length).entries()) {
        if (resumed[index]?.done !== true) resumed[index] = run.throw(error);
      }
    }
    return resumed;
  }
}

interface Waiting extends Resumption {
  readonly resolve: (resumed: Resumed) => void;
  readonly reject: (error: unknown) => void;
}

/** The same in real time, for all lanes of a door. */
export class SharedCommit {
  readonly #lanes: Pick<Lanes, "together">;
  readonly #clock: Pick<Clock, "monotonic">;
  #waiting: Waiting[] = [];
  /** Number of deliveries in progress. */
  #underWay = 0;
  /** Whether the last group had several lanes. */
  #areMany = false;
  #isLooking = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(lanes: Pick<Lanes, "together">, clock: Pick<Clock, "monotonic">) {
    this.#lanes = lanes;
    this.#clock = clock;
  }

  /** Delivers a part. While it is in progress, the outcomes of other lanes may wait for it. */
  async deliver(part: Part): Promise<Outcome> {
    this.#underWay += 1;
    try {
      return await part.deliver();
    } finally {
      this.#underWay -= 1;
    }
  }

  /** Resumes a lane. Resolves with its next step when all that it wrote is on disk. */
  resume(run: LaneRun, outcome: Outcome | undefined): Promise<Resumed> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ run, outcome, resolve, reject });
      this.#lookSoon();
    });
  }

  #lookSoon(): void {
    if (this.#isLooking) return;
    this.#isLooking = true;
    setImmediate(() => {
      this.#isLooking = false;
      this.#look();
    });
  }

  #look(): void {
    const isWoken = this.#waiting.some(({ outcome }) => outcome === undefined);
    const isAlone = this.#waiting.length === 1 && !this.#areMany;
    if (isWoken || isAlone || this.#underWay === 0) this.#go();
    else this.#timer ??= setTimeout(() => this.#go(), GROUP_LIMITS.waitMs);
  }

  #go(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const group = this.#waiting;
    const until = this.#clock.monotonic() + GROUP_LIMITS.runMs;
    const isEnough = () => this.#clock.monotonic() > until;
    this.#areMany = group.length > 1;
    try {
      const resumed = resumeTogether(this.#lanes, group, isEnough);
      this.#waiting = group.slice(resumed.length);
      for (const [index, one] of resumed.entries()) group[index]?.resolve(one);
      if (this.#waiting.length > 0) this.#lookSoon();
    } catch (error) {
      this.#waiting = [];
      for (const { reject } of group) reject(error);
    }
  }
}
