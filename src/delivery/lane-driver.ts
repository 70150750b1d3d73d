/**
 * Runs a lane (`lane.ts`) in real time: waits with timers, performs its deliveries, and wakes it
 * for news and for orders. Decides nothing; the simulation drives the same lane without it.
 */
import { setImmediate } from "node:timers/promises";
import type { Lane, LaneStatus, LaneStep } from "./lane.js";
import type { Outcome } from "./relay.js";
import { Wakeup } from "./wakeup.js";

export class LaneDriver {
  readonly #lane: Lane;
  readonly #wakeup = new Wakeup();
  #running: Promise<void> | undefined;

  constructor(lane: Lane) {
    this.#lane = lane;
  }

  get name(): string {
    return this.#lane.name;
  }

  /** Whether mail may leave now. */
  get isOpen(): boolean {
    return this.#lane.isOpen;
  }

  status(): LaneStatus {
    return this.#lane.status();
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** The log grew. */
  wake(): void {
    if (this.#lane.readsOn) this.#wakeup.ring();
  }

  /** Finishes the part under way and ends. */
  async stop(): Promise<void> {
    this.#lane.stop();
    this.#wakeup.ring();
    await this.#running;
  }

  /** A KX session with the neighbour began, or the last one ended. */
  session(isUp: boolean): void {
    this.#lane.session(isUp);
    this.#wakeup.ring();
  }

  /** Sends nothing more, over restarts too, until `resume`; the delivery under way is finished. */
  pause(): void {
    this.#lane.pause();
  }

  /** Goes on at once, also with what was put off. */
  resume(): void {
    this.#lane.resume();
    this.#wakeup.ring();
  }

  /** Sends exceptions again: one, all, or those that wait anyway. Returns how many. */
  reopen(which?: number | "all"): number {
    const count = this.#lane.reopen(which);
    this.#wakeup.ring();
    return count;
  }

  /** Gives up an update that is next or waits; false when `seq` is neither, or on its way. */
  skip(seq: number): boolean {
    const isSkipped = this.#lane.skip(seq);
    if (isSkipped) this.#wakeup.ring();
    return isSkipped;
  }

  async #run(): Promise<void> {
    const run = this.#lane.run();
    for (let next = run.next(undefined); next.done !== true; ) {
      next = run.next(await this.#perform(next.value));
    }
  }

  async #perform(step: LaneStep): Promise<Outcome | undefined> {
    if (step.type === "deliver") return await step.part.deliver();
    if (step.type === "turn") await setImmediate();
    else await this.#wakeup.wait(step.ms);
    return undefined;
  }
}
