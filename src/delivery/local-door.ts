/**
 * Delivers updates to the local keyserver: one lane with its own cursor over the log, like the lane
 * of a site, with the delivery method that [local] configures.
 */
import type { Clock } from "../clock.js";
import { ALONE, type Leases } from "../cluster/leases.js";
import type { Config, LocalDelivery } from "../config/config.js";
import type { Diagnostics } from "../diagnostics.js";
import type { UpdateLog } from "../log/update-log.js";
import { domainOf } from "../mail-address.js";
import type { Envelope } from "../outmail.js";
import type { Rules } from "../policy.js";
import type { KeyCompletion } from "./completion.js";
import type { DeliveryMethod } from "./delivery-method.js";
import { Lane, type LaneLog, type LaneStatus } from "./lane.js";
import { LaneDriver } from "./lane-driver.js";
import { LeasedLane } from "./leased-lane.js";
import { HkpDelivery } from "./local-hkp.js";
import { ProgramDelivery } from "./local-program.js";
import { pksdName, SPOOL_TIMES, SpoolDelivery, type SpoolTimes, sksName } from "./local-spool.js";
import { SharedCommit } from "./shared-commit.js";

/** The lane's name in the log and in reports. No neighbour can have this name. */
export const LOCAL_LANE = "[local]";

/** Time that the delivery in progress has to finish at shutdown. */
const STOP_MS = 10_000;

export interface LocalDoorComponents {
  readonly log: LaneLog & Pick<UpdateLog, "onAppend">;
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
  /** Finds user ids for keys of which the log knows none. */
  readonly completion?: KeyCompletion | undefined;
  /** By default this gateway runs the lane. */
  readonly leases?: Leases | undefined;
}

export interface LocalDoorSettings {
  readonly config: Pick<Config, "hkp" | "mode" | "site">;
  readonly local: LocalDelivery;
  /** Decides which updates may be sent. If undefined, all may. */
  readonly rules?: Rules | undefined;
  readonly times?: SpoolTimes;
}

export class LocalDoor {
  readonly #lane: LeasedLane;
  readonly #log: LocalDoorComponents["log"];
  #unsubscribe: (() => void) | undefined;

  constructor(
    { log, clock, diagnostics, completion, leases = ALONE }: LocalDoorComponents,
    { config, local, rules, times = SPOOL_TIMES }: LocalDoorSettings,
  ) {
    this.#log = log;
    const { address: site, contact } = config.site;
    const { address, kind, maxMailBytes: maxBytes, retry } = local;
    const envelope = { to: address ?? site, from: contact, site, maxBytes, kind };
    const waiting = (path: string, waitedMs: number) =>
      diagnostics.report("spool-waits", { neighbour: LOCAL_LANE, path, waitedMs });
    const observing = config.mode === "observe";
    const settings = { name: LOCAL_LANE, address, retry, observing, rules };
    const open = () => {
      const given = { waiting, clock, times, completion };
      const method = methodOf(local, envelope, hkpBase(config), given);
      const lane = new Lane({ log, method, clock, diagnostics }, settings);
      return { driver: new LaneDriver(lane, new SharedCommit(log.lanes, clock)), method };
    };
    this.#lane = new LeasedLane({ log, leases, open }, { name: LOCAL_LANE, address });
  }

  start(): void {
    this.#lane.start();
    this.#unsubscribe = this.#log.onAppend(() => this.#lane.wake());
  }

  /**
   * Waits at most `withinMs` for the delivery in progress. An aborted delivery is repeated later.
   */
  async stop(withinMs = STOP_MS): Promise<void> {
    this.#unsubscribe?.();
    await this.#lane.stop(withinMs);
  }

  /** Its only lane, for the operator's orders. */
  lane(name: string): LeasedLane | undefined {
    return name === LOCAL_LANE ? this.#lane : undefined;
  }

  status(): LaneStatus {
    return this.#lane.status();
  }
}

/** The URL at which the gateway accepts keys over HKP, as other servers may know it. */
function hkpBase({ hkp, site }: Pick<Config, "hkp" | "site">): string | undefined {
  const port = hkp?.listen[0]?.port ?? 0;
  return port === 0 ? undefined : `hkp://${domainOf(site.address)}:${port}`;
}

function methodOf(
  local: LocalDelivery,
  envelope: Envelope,
  base: string | undefined,
  given: {
    readonly completion: KeyCompletion | undefined;
    readonly waiting: (path: string, ms: number) => void;
    readonly clock: Clock;
    readonly times: SpoolTimes;
  },
): DeliveryMethod {
  switch (local.type) {
    case "pksd": {
      const { directory, notify } = local;
      const place = { directory, fileName: pksdName, notify, waiting: given.waiting };
      return new SpoolDelivery(place, envelope, given);
    }
    case "sks": {
      const { directory } = local;
      const place = { directory, fileName: sksName, notify: undefined, waiting: given.waiting };
      return new SpoolDelivery(place, envelope, given);
    }
    case "hkp":
      return new HkpDelivery(local.url, envelope.site, base, local.kind, given.completion);
    case "command":
      return new ProgramDelivery(local.command, envelope, given.completion);
    default:
      return local satisfies never;
  }
}
