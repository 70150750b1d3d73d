/**
 * The bad luck of a world: each kind of fault happens at its own pace, at random, to whoever is
 * there, until `stop`; what lasts is healed then. Knows how to do harm and nothing else.
 */
import type { Dice } from "./dice.js";
import type { Gateway } from "./gateway.js";
import { CLUSTER_FAULTS, type ClusterFault, FAULTS, type Fault } from "./options.js";
import type { EventQueue } from "./queue.js";
import type { Line, Streams } from "./streams.js";
import type { Trace } from "./trace.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

export interface FaultPlan {
  /** Mean time between two of a kind, milliseconds. */
  readonly every: Partial<Record<Fault | ClusterFault, number>>;
  /** The longest that a machine stays away or the network is parted. */
  readonly outageMs: number;
  /** The farthest that a clock jumps. */
  readonly jumpMs: number;
}

/** Hears of a gateway that has lost all that it had, and when it is up again, if that is known. */
export type Lost = (gateway: Gateway, upInMs?: number) => void;

export class Faults {
  readonly #plan: FaultPlan;
  readonly #queue: EventQueue;
  readonly #streams: Streams;
  readonly #gateways: readonly Gateway[];
  readonly #dice: Dice;
  readonly #trace: Trace;
  readonly #lost: Lost;
  #isOver = false;

  constructor(
    plan: FaultPlan,
    queue: EventQueue,
    streams: Streams,
    gateways: readonly Gateway[],
    dice: Dice,
    trace: Trace,
    lost: Lost,
  ) {
    this.#lost = lost;
    this.#plan = plan;
    this.#queue = queue;
    this.#streams = streams;
    this.#gateways = gateways;
    this.#dice = dice;
    this.#trace = trace;
  }

  start(): void {
    for (const fault of [...FAULTS, ...CLUSTER_FAULTS]) {
      const every = this.#plan.every[fault];
      if (every !== undefined) this.#next(fault, every);
    }
  }

  /** Nothing more happens, and what was broken is whole again. */
  stop(): void {
    this.#isOver = true;
    this.#streams.heal();
    for (const gateway of this.#gateways) {
      gateway.store.setFull(false);
      gateway.store.order(undefined);
      gateway.site?.comeBack();
      gateway.link?.mend();
      gateway.link?.order(undefined);
      gateway.start();
    }
  }

  #next(fault: Fault | ClusterFault, every: number): void {
    this.#queue.after(this.#dice.wait(every), fault, () => {
      if (this.#isOver) return;
      if (this.#happens(fault)) this.#trace.sometimes(`fault: ${fault}`);
      this.#next(fault, every);
    });
  }

  /** False when there is nothing to which it could happen. */
  #happens(fault: Fault | ClusterFault): boolean {
    if (isOfCluster(fault)) return this.#happensToNode(fault);
    const gateway = this.#dice.pick(this.#gateways);
    const { lines } = this.#streams;
    const line = lines.length === 0 ? undefined : this.#dice.pick(lines);
    switch (fault) {
      case "cut":
        if (line !== undefined) this.#streams.destroy(line);
        return line !== undefined;
      case "half-close":
        if (line !== undefined) this.#streams.end(line, this.#dice.pick([...line.open]));
        return line !== undefined;
      case "half-open":
        return line !== undefined && this.#halfOpen(line);
      case "clog":
        if (line !== undefined) this.#clog(line, this.#span(1000, 10 * MINUTE_MS));
        return line !== undefined;
      case "swizzle":
        return this.#swizzle();
      case "partition":
        return this.#part();
      case "kill":
      case "power loss":
        if (!gateway.isUp) return false;
        gateway.kill(fault === "power loss", this.#span(1000, this.#plan.outageMs));
        return true;
      case "crash before commit":
      case "crash after commit":
        gateway.store.order(fault);
        return gateway.isUp;
      case "io error":
        gateway.store.order("io error");
        return gateway.isUp;
      case "disk full":
        return this.#fill(gateway);
      case "disk lost":
        gateway.loseDisk(this.#span(1000, this.#plan.outageMs));
        this.#lost(gateway);
        return true;
      case "clock jump":
        gateway.jump(this.#dice.int(-this.#plan.jumpMs, this.#plan.jumpMs));
        return true;
      case "disk lost while hung":
        this.#loseWhileHung(gateway);
        return true;
      case "disk restored":
        return this.#restore(gateway);
      case "version changed":
        gateway.changeVersion(this.#span(1000, 10_000));
        return true;
      default:
        return fault satisfies never;
    }
  }

  #happensToNode(fault: ClusterFault): boolean {
    const nodes = this.#gateways.filter(({ site }) => site !== undefined);
    const gateway = this.#dice.pick(nodes);
    const { site, link } = gateway;
    if (site === undefined || link === undefined) return false;
    // Half of the outages are shorter than a session lives without a word.
    const ms = this.#dice.chance(0.5)
      ? this.#span(500, 20_000)
      : this.#span(20_000, this.#plan.outageMs);
    switch (fault) {
      case "node paused":
        if (gateway.isPaused) return false;
        gateway.pause(ms);
        return true;
      case "node cut off":
        link.cut();
        this.#queue.after(ms, `${gateway.label} reaches the database`, () => link.mend());
        return true;
      case "database away":
        if (site.isDown) return false;
        site.goAway();
        this.#queue.after(ms, `the database of ${gateway.name} is back`, () => site.comeBack());
        return true;
      case "answer lost":
      case "crash between commits":
        link.order(fault);
        return true;
      default:
        return fault satisfies never;
    }
  }

  /**
   * The connections of a gateway hang, its disk is lost, and it connects anew while its peers still
   * hold the old connections: some at once, some when its new log has grown.
   */
  #loseWhileHung(gateway: Gateway): void {
    const { now } = this.#queue;
    const until = now + this.#span(MINUTE_MS, 20 * MINUTE_MS);
    for (const line of this.#streams.linesOf(gateway)) {
      for (const { from } of line.directions) this.#streams.clog(line, from, until);
    }
    const restartMs = this.#span(1000, 10_000);
    const aloneMs = this.#dice.chance(0.5) ? 0 : this.#span(1000, 2 * MINUTE_MS);
    this.#streams.block(gateway, now + restartMs + aloneMs);
    gateway.loseDisk(restartMs);
    this.#lost(gateway, restartMs);
  }

  /** A gateway gets back its log of some time ago; a gateway without a backup makes one. */
  #restore(gateway: Gateway): boolean {
    // A copy is not restored but loaded again.
    if (gateway.site !== undefined) return false;
    if (!gateway.store.hasBackup) {
      gateway.store.backUp();
      return false;
    }
    gateway.restoreDisk(this.#span(1000, this.#plan.outageMs));
    this.#lost(gateway);
    return true;
  }

  /** One side believes the line to be gone, the other hears nothing. */
  #halfOpen(line: Line): boolean {
    const [side] = this.#dice.shuffled([...line.open]);
    if (side === undefined) return false;
    this.#streams.forget(line, side);
    side.closed(line);
    return true;
  }

  #clog(line: Line, ms: number): void {
    const [way] = this.#dice.shuffled(line.directions);
    if (way !== undefined) this.#streams.clog(line, way.from, this.#queue.now + ms);
  }

  /** Gateways are clogged one by one, and come back in another order. */
  #swizzle(): boolean {
    const chosen = this.#dice.shuffled(this.#gateways).slice(0, 3);
    for (const gateway of chosen) {
      const ms = this.#span(1000, 5 * MINUTE_MS);
      this.#queue.after(this.#dice.int(0, 10_000), `${gateway.name} is clogged`, () => {
        if (this.#isOver) return;
        for (const line of this.#streams.linesOf(gateway)) {
          for (const { from } of line.directions) {
            this.#streams.clog(line, from, this.#queue.now + ms);
          }
        }
      });
    }
    return true;
  }

  #part(): boolean {
    const sides = new Map(this.#gateways.map(({ name }) => [name, this.#dice.int(0, 1)]));
    this.#streams.partition(sides);
    this.#queue.after(this.#span(5000, this.#plan.outageMs), "the partition heals", () => {
      if (!this.#isOver) this.#streams.partition(new Map());
    });
    return true;
  }

  #fill(gateway: Gateway): boolean {
    if (gateway.store.isFull) return false;
    gateway.store.setFull(true);
    this.#queue.after(this.#span(5000, 20 * MINUTE_MS), `${gateway.name} has space`, () => {
      gateway.store.setFull(false);
    });
    return true;
  }

  #span(least: number, most: number): number {
    return this.#dice.span(least, Math.max(least, most));
  }
}

function isOfCluster(fault: Fault | ClusterFault): fault is ClusterFault {
  return (CLUSTER_FAULTS as readonly string[]).includes(fault);
}

/** How bad it gets in a world: outages of some length, clocks that jump. */
export function planOf(every: FaultPlan["every"], isLong: boolean): FaultPlan {
  return {
    every,
    outageMs: isLong ? 4 * HOUR_MS : 15 * MINUTE_MS,
    jumpMs: isLong ? 10 * MINUTE_MS : HOUR_MS,
  };
}
