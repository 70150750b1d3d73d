/**
 * Runs a lane (`lane.ts`) in real time: waits with timers, performs its deliveries, and wakes it
 * when the log grows or an order arrives. It makes no decisions. The simulation drives the same
 * lane without this class.
 */
import { setImmediate } from "node:timers/promises";
import type { Lane, LaneRun, LaneStatus, LaneStep } from "./lane.js";
import type { Outcome } from "./relay.js";
import type { SharedCommit } from "./shared-commit.js";
import { Wakeup } from "./wakeup.js";

export class LaneDriver {
  readonly #lane: Lane;
  readonly #commits: SharedCommit;
  readonly #wakeup = new Wakeup();
  #running: Promise<void> | undefined;
  #isAbandoned = false;

  /** All lanes of a door share `commits`. */
  constructor(lane: Lane, commits: SharedCommit) {
    this.#lane = lane;
    this.#commits = commits;
  }

  get name(): string {
    return this.#lane.name;
  }

  /** Whether mail may be sent now. */
  get isOpen(): boolean {
    return this.#lane.isOpen;
  }

  /** Whether a delivery is under way. An order does not end it. */
  get isDelivering(): boolean {
    return this.#lane.isDelivering;
  }

  status(): LaneStatus {
    return this.#lane.status();
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Call this when the log has grown. */
  wake(): void {
    if (this.#lane.readsOn) this.#wakeup.ring();
  }

  /** Finishes the part in progress and stops. */
  async stop(): Promise<void> {
    this.#lane.stop();
    this.#wakeup.ring();
    await this.#running;
  }

  /**
   * Ends at once, without a trace in the log: another gateway runs this lane now. The outcome of
   * the delivery in progress is dropped, so that gateway repeats its part.
   */
  abandon(): void {
    this.#isAbandoned = true;
    this.#lane.stop();
    this.#wakeup.ring();
  }

  /** Reports that the first KX session with the neighbour began, or that the last one ended. */
  session(isUp: boolean): void {
    this.#lane.session(isUp);
    this.#wakeup.ring();
  }

  /** Stops sending until `resume`, across restarts. The delivery in progress is finished. */
  pause(): void {
    this.#lane.pause();
  }

  /** Resumes sending at once, and cancels a pending retry delay. */
  resume(): void {
    this.#lane.resume();
    this.#wakeup.ring();
  }

  /** Sends exceptions again: one, all, or those already waiting. Returns how many. */
  reopen(which?: number | "all"): number {
    const count = this.#lane.reopen(which);
    this.#wakeup.ring();
    return count;
  }

  /**
   * Gives up an update that is next or waiting. Returns false if `seq` is neither, or is in
   * delivery.
   */
  skip(seq: number): boolean {
    const isSkipped = this.#lane.skip(seq);
    if (isSkipped) this.#wakeup.ring();
    return isSkipped;
  }

  async #run(): Promise<void> {
    const run = this.#untilAbandoned(this.#lane.run());
    for (let next = run.next(undefined); next.done !== true; ) {
      next = await this.#commits.resume(run, await this.#perform(next.value));
    }
  }

  /** The run of the lane, which is not resumed after `abandon`. */
  *#untilAbandoned(run: LaneRun): LaneRun {
    for (let next = run.next(undefined); next.done !== true; ) {
      let resume: () => IteratorResult<LaneStep, void>;
      try {
        const outcome = yield next.value;
        resume = () => run.next(outcome);
      } catch (error) {
        resume = () => run.throw(error);
      }
      if (this.#isAbandoned) return;
      next = resume();
    }
  }

  async #perform(step: LaneStep): Promise<Outcome | undefined> {
    if (step.type === "deliver") return await this.#commits.deliver(step.part);
    if (step.type === "turn") await setImmediate();
    else await this.#wakeup.wait(step.ms);
    return undefined;
  }
}
