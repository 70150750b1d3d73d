/**
 * The lane of a site in a gateway that may have to share it: it exists while this gateway has the
 * lease of the site. A gateway that is alone has it always. What was stored by the last holder is
 * where the next one begins.
 */
import type { Leases } from "../cluster/leases.js";
import type { LaneRow } from "../log/lanes.js";
import type { Site } from "../log/pending.js";
import type { DeliveryMethod } from "./delivery-method.js";
import { type LaneLog, type LaneStatus, laneStatus } from "./lane.js";
import type { LaneDriver } from "./lane-driver.js";

/** A lane with what it sends by. */
export interface OpenLane {
  readonly driver: LaneDriver;
  readonly method: DeliveryMethod;
}

export interface LeasedLaneComponents {
  readonly log: Pick<LaneLog, "exceptions" | "lanes" | "pending">;
  readonly leases: Leases;
  /** Opens the lane from what is stored. Throws `Trouble`. */
  readonly open: () => OpenLane;
  /** The names of all sites of the configuration. */
  readonly names?: readonly string[];
}

/** The state of a lane that no gateway has opened. */
const NEVER_OPENED: LaneRow = {
  ...{ cursor: 0, part: 0, attempt: 0, nextAt: 0, lastError: "", lastErrorAt: 0 },
  ...{ lastSuccessAt: 0, failed: 0, refused: 0, badSince: 0 },
};

export class LeasedLane {
  readonly #site: Site;
  readonly #log: LeasedLaneComponents["log"];
  readonly #open: () => OpenLane;
  readonly #release: () => void;
  #lane: OpenLane | undefined;
  #isStarted = false;
  /** Whether there is a KX session with the site. */
  #isUp = false;

  /** Opens the lane if the lease is free at once, and does not start it. Throws `Trouble`. */
  constructor({ log, leases, open, names = [] }: LeasedLaneComponents, site: Site) {
    this.#site = site;
    this.#log = log;
    this.#open = open;
    // What a gateway accepts before one of them has the lease is for the site, too.
    log.lanes.begin(site.name, { address: site.address, names });
    this.#release = leases.ask(`lane:${site.name}`, {
      take: () => this.#take(),
      lose: () => this.#lose(),
    });
  }

  get name(): string {
    return this.#site.name;
  }

  /** The lane, while this gateway runs it. */
  get driver(): LaneDriver | undefined {
    return this.#lane?.driver;
  }

  /** Whether mail may be sent now. A lane of another gateway counts as open. */
  get isOpen(): boolean {
    return this.driver?.isOpen ?? true;
  }

  start(): void {
    this.#isStarted = true;
    this.driver?.start();
  }

  wake(): void {
    this.driver?.wake();
  }

  session(isUp: boolean): void {
    this.#isUp = isUp;
    this.driver?.session(isUp);
  }

  /** The status of the lane; of one that another gateway runs, what it has stored. */
  status(): LaneStatus {
    if (this.driver !== undefined) return this.driver.status();
    return laneStatus(this.#log, this.#site, this.#log.lanes.get(this.name) ?? NEVER_OPENED);
  }

  /**
   * Finishes the part in progress, stops, and gives the lease back. A part that takes longer than
   * `withinMs` is aborted.
   */
  async stop(withinMs: number): Promise<void> {
    this.#isStarted = false;
    const lane = this.#lane;
    if (lane !== undefined) {
      const deadline = setTimeout(() => lane.method.close(), withinMs);
      const stopped = lane.driver.stop();
      lane.method.stopConnecting?.();
      await stopped;
      clearTimeout(deadline);
      lane.method.close();
    }
    this.#lane = undefined;
    this.#release();
  }

  #take(): void {
    const lane = this.#open();
    this.#lane = lane;
    if (this.#isUp) lane.driver.session(true);
    if (this.#isStarted) lane.driver.start();
  }

  #lose(): void {
    const lane = this.#lane;
    this.#lane = undefined;
    lane?.driver.abandon();
    lane?.method.close();
  }
}
