/**
 * The process of a simulated gateway, from its start to its end: the real exchange, upkeep, gate
 * and lanes over a log, with the door and the intake of the simulation around them. Holds what is
 * lost in a crash and nothing else. All that it does happens in steps of its gateway.
 */
import type { Clock } from "../../src/clock.js";
import type { Leases } from "../../src/cluster/leases.js";
import { provenBy, RelayDelivery } from "../../src/delivery/delivery-method.js";
import { Lane, type LaneRun, type LaneSettings, type LaneStep } from "../../src/delivery/lane.js";
import type { Outcome } from "../../src/delivery/relay.js";
import { resumeTogether } from "../../src/delivery/shared-commit.js";
import type { Diagnostics } from "../../src/diagnostics.js";
import { Trouble } from "../../src/errors.js";
import type { UpdateLog } from "../../src/log/update-log.js";
import { LogGuard } from "../../src/log-guard.js";
import { verpSender } from "../../src/mail/verp.js";
import { isSameAddress } from "../../src/mail-address.js";
import { type Action, Exchange } from "../../src/peering/exchange.js";
import type { Store } from "../../src/peering/receiving.js";
import { Policy } from "../../src/policy.js";
import type { Seq, UpdateHash } from "../../src/update.js";
import { UPKEEP_LIMITS, Upkeep } from "../../src/upkeep.js";
import { append } from "../peering/stores.js";
import type { Place, SimSite } from "./cluster.js";
import { type DoorWays, SimDoor } from "./door.js";
import type { GatewaySettings } from "./gateway.js";
import { type Acknowledged, SimIntake } from "./intake.js";
import { Violation } from "./ledger.js";
import { addressOf } from "./legacy.js";
import { type Offer, SimHkp } from "./local.js";
import { settingsFor } from "./policies.js";
import type { Mail } from "./postal.js";
import type { Event } from "./queue.js";
import type { Line } from "./streams.js";

const MAIL_BYTES = 128_000;
/** The lane of the keyserver beside the gateway. */
export const LOCAL = "local";
const LOCAL_RETRY = [5000, 15_000, 60_000, 10 * 60_000] as const;
/** How long an outcome waits for those of other lanes: so long that groups are common. */
const TOGETHER_MS = 100;
/** An outcome that a part does not wait for. */
const LATER = new Proxy({}, { get: () => () => {} }) as never;

/** What the process needs from its gateway. */
export interface ProcessWays extends Omit<DoorWays, "now" | "random" | "store"> {
  acknowledged: Acknowledged;
  /** Hands a mail to the relay; `answered` is a step of this process, if it still lives then. */
  handOver(mail: Mail, updates: readonly UpdateHash[], answered: (outcome: Outcome) => void): void;
  /** Offers packets to the keyserver beside the gateway, if there is one. */
  readonly local: ((offer: Offer, answered: (outcome: Outcome) => void) => void) | undefined;
  /** At most so many milliseconds until a group of mails is committed. */
  commitMs(): number;
  /** Whether a transaction of the log is open. */
  isWriting(): boolean;
  /** Milliseconds that a batch takes to the log, or its outcome back; drawn for each. */
  storeMs(): number;
  readonly leases: Leases;
  /** The site of a node. */
  readonly site: SimSite | undefined;
}

/** A lane and what it waits for. */
interface Driven {
  readonly lane: Lane;
  readonly run: LaneRun;
  wake: Event | undefined;
  isDelivering: boolean;
  /** The mail that the site took last, by its place in the log. */
  taken: Place | undefined;
  /** The lease of its site was lost: it does nothing any more. */
  isLost: boolean;
}

/** Lanes that go on, each after the outcome of a delivery or without one. */
type Group = readonly { readonly lane: Driven; readonly outcome?: Outcome }[];

export class Process {
  readonly log: UpdateLog;
  readonly exchange: Exchange;
  readonly door: SimDoor;
  readonly intake: SimIntake;
  /** Its connections, which end with it. */
  readonly lines = new Set<Line>();
  readonly #clock: Clock;
  readonly #ways: ProcessWays;
  readonly #upkeep: Upkeep;
  /** In the order of the settings, while this process has their leases. */
  readonly #lanes: (Driven | undefined)[] = [];
  #isStarted = false;
  /** Lanes that were answered and wait for others. */
  #answered: Group = [];
  #hasGrown = false;
  #isSettling = false;
  #outbox: Mail | undefined;
  #offer: Offer | undefined;

  /** Throws `Trouble` when the log cannot be used. */
  constructor(
    settings: GatewaySettings,
    addresses: { readonly domain: string; readonly address: string },
    log: UpdateLog,
    clock: Clock,
    diagnostics: Diagnostics,
    ways: ProcessWays,
  ) {
    this.log = log;
    this.#clock = clock;
    this.#ways = ways;
    const peers = settings.peers.map(({ name }) => name);
    const rules = new Policy(settingsFor(settings.policy), log, clock);
    const oldVersion = new Set(settings.version === "1.0" ? peers : []);
    this.exchange = new Exchange(
      { log, clock, diagnostics, rules },
      { peers, observing: false, oldVersion },
    );
    this.door = new SimDoor(settings.peers, this.exchange, settings.reconnect, {
      ...ways,
      store: (store) => this.#store(store),
      now: () => clock.monotonic(),
      random: () => clock.random(),
    });
    const intake = {
      bounce: `bounces@${addresses.domain}`,
      neighbours: settings.senders,
      candidates: (host: string) =>
        settings.senders.filter(({ mail = "" }) => {
          return settings.sharedRelay || isSameAddress(mail, addressOf(host));
        }),
    };
    const { acknowledged } = ways;
    this.intake = new SimIntake(intake, log, clock, diagnostics, rules, acknowledged, (commit) => {
      ways.later(ways.commitMs(), "commits", () => {
        commit();
        this.#settleSoon();
      });
    });
    this.#upkeep = new Upkeep({ log, clock, diagnostics }, () => settings.limits);
    const guard = new LogGuard("egress", clock, diagnostics);
    const names = [...settings.sites.map(({ name }) => name), LOCAL];
    const components = { log, clock, diagnostics, guard };
    const { domain, address } = addresses;
    for (const { name, mail: to = "" } of settings.sites) {
      const envelope = { to, from: address, site: address, maxBytes: MAIL_BYTES };
      const sender = (first: Seq, last: Seq) =>
        verpSender(`bounces@${domain}`, name, first, last, log.bounces.secret);
      const method = new RelayDelivery(envelope, sender, {
        // Nothing can be awaited here: the mail is taken out of the box, the answer comes later.
        deliver: (raw, from, recipient) => {
          this.#outbox = { from: settings.name, sender: from, recipient, raw };
          return LATER;
        },
        close: () => {},
      });
      const { retry } = settings;
      const site = { name, address: to, retry, observing: false, names, rules };
      this.#lease(site, () => new Lane({ ...components, method }, site));
    }
    const { local } = ways;
    if (local === undefined) return;
    const method = new SimHkp((offer) => {
      this.#offer = offer;
    });
    const beside = { name: LOCAL, address: undefined, retry: LOCAL_RETRY, observing: false, rules };
    this.#lease(beside, () => new Lane({ ...components, method }, beside));
  }

  /** What `LeasedLane` does: the lane exists while this process has the lease of its site. */
  #lease(site: LaneSettings, open: () => Lane): void {
    const { name, address, names = [] } = site;
    this.log.lanes.begin(name, { address, names });
    const index = this.#lanes.length;
    this.#lanes.push(undefined);
    this.#ways.leases.ask(`lane:${name}`, {
      take: () => {
        const lane = driven(open());
        this.#lanes[index] = lane;
        this.#ways.site?.takes(name);
        if (this.#isStarted) this.#drive([{ lane }]);
      },
      lose: () => this.loseLane(index),
    });
  }

  /** The lane ends without a trace in the log. */
  loseLane(index: number): void {
    const lane = this.#lanes[index];
    this.#lanes[index] = undefined;
    if (lane === undefined) return;
    lane.isLost = true;
    if (lane.wake !== undefined) lane.wake.isCancelled = true;
  }

  get #held(): Driven[] {
    return this.#lanes.flatMap((lane) => lane ?? []);
  }

  /** The lanes, for the operator's orders. */
  get lanes(): Lane[] {
    return this.#held.map(({ lane }) => lane);
  }

  /** An order of the operator, which ends what its lane waits for. */
  order(name: string, give: (lane: Lane) => void): void {
    const found = this.#held.find(({ lane }) => lane.name === name);
    if (found === undefined) return;
    try {
      give(found.lane);
    } catch (error) {
      // A full disk, as the operator is told.
      if (!(error instanceof Trouble)) throw error;
    }
    if (!found.isDelivering) this.#drive([{ lane: found }]);
  }

  /** Whether every lane has read all there is and nothing waits to be sent again. */
  get lanesAreDone(): boolean {
    const newest = this.log.newest();
    return this.#held.every(
      ({ lane, isDelivering }) =>
        lane.status().cursor >= newest &&
        !isDelivering &&
        this.log.exceptions.counts(lane.name).waiting === 0,
    );
  }

  start(): void {
    this.log.onAppend(() => this.#grew());
    this.door.start();
    this.#keepUp(0);
    this.#isStarted = true;
    this.#drive(this.#held.map((lane) => ({ lane })));
  }

  tick(): Action[] {
    return this.exchange.tick(this.#clock.monotonic());
  }

  #grew(): void {
    if (this.#hasGrown) return;
    this.#hasGrown = true;
    this.#ways.later(0, "grew", () => {
      this.#hasGrown = false;
      const woken = this.#held.filter(({ lane, isDelivering }) => lane.readsOn && !isDelivering);
      this.#drive(woken.map((lane) => ({ lane })));
      const actions = this.exchange.grew(this.#clock.monotonic());
      this.door.grew();
      return actions;
    });
  }

  /** What `GroupCommit` does with the trails of duplicates. */
  #settleSoon(): void {
    if (this.#isSettling || this.log.trails.gathered === 0) return;
    this.#isSettling = true;
    this.#ways.later(1000, "settles", () => {
      this.#isSettling = false;
      try {
        this.log.trails.settle();
      } catch (error) {
        if (!(error instanceof Trouble)) throw error;
      }
    });
  }

  /**
   * What `GroupCommit` and `tcp.ts` do, with the delays of a log that is not in the process: the
   * commit is a step of its own, and so is the outcome. A crash may come before and between.
   */
  #store(store: Store): void {
    this.#ways.later(this.#ways.storeMs(), "stores", () => {
      const outcomes = append(this.log, store);
      this.#settleSoon();
      this.#ways.later(this.#ways.storeMs(), "hears of a store", () => {
        const now = this.#clock.monotonic();
        return outcomes instanceof Trouble
          ? this.exchange.storeFailed(store.id, outcomes, now)
          : this.exchange.stored(store.id, outcomes, now);
      });
    });
  }

  #keepUp(delay: number): void {
    this.#ways.later(delay, "upkeep", () => {
      const more = this.#upkeep.step();
      this.#keepUp(more ? 0 : UPKEEP_LIMITS.everyMs);
    });
  }

  /** The outcome of a delivery: those of a moment are taken together. */
  #answer(lane: Driven, outcome: Outcome): void {
    this.#answered = [...this.#answered, { lane, outcome }];
    if (this.#answered.length > 1) return;
    this.#ways.later(TOGETHER_MS, "lanes go on", () => {
      const group = this.#answered;
      this.#answered = [];
      this.#drive(group);
    });
  }

  /** What `lane-driver.ts` and `shared-commit.ts` in `src/delivery/` do in real time. */
  #drive(group: Group): void {
    for (const { lane } of group) {
      if (lane.wake !== undefined) lane.wake.isCancelled = true;
      lane.wake = undefined;
      lane.isDelivering = false;
    }
    // A step of the gateway is not interrupted, so nobody else has a turn.
    for (let rest = group.filter(({ lane }) => !lane.isLost); rest.length > 0; ) {
      const resumptions = rest.map(({ lane: { run }, outcome }) => ({ run, outcome }));
      const resumed = resumeTogether(this.log.lanes, resumptions);
      const steps = resumed.map((next, index) => {
        const lane = rest[index]?.lane;
        if (next.done === true || lane === undefined) {
          throw new Error("a lane that nobody stopped has ended");
        }
        return { lane, step: next.value };
      });
      for (const { lane, step } of steps) this.#perform(lane, step);
      rest = steps.filter(({ step }) => step.type === "turn");
    }
  }

  #perform(lane: Driven, step: LaneStep): void {
    if (step.type === "wait") {
      if (step.ms === Number.POSITIVE_INFINITY) return;
      const { name } = lane.lane;
      lane.wake = this.#ways.later(step.ms, `lane ${name}`, () => this.#drive([{ lane }]));
    } else if (step.type === "deliver") {
      const { part, updates } = step;
      void part.deliver();
      const [mail, offer] = [this.#outbox, this.#offer];
      this.#outbox = undefined;
      this.#offer = undefined;
      lane.isDelivering = true;
      if (offer !== undefined) {
        return this.#ways.local?.(offer, (said) => this.#answer(lane, said));
      }
      if (mail === undefined) throw new Error("a part without a mail");
      this.#assertStored(lane);
      this.#ways.handOver(mail, updates, (said) => {
        if (lane.isLost) return;
        const outcome = provenBy(part, said);
        if (outcome.kind === "delivered") this.#taken(lane, placeOf(mail));
        this.#answer(lane, outcome);
      });
    }
  }

  #taken(lane: Driven, place: Place | undefined): void {
    lane.taken = place;
    const { name } = lane.lane;
    // Not what is tried again of an update that the lane has left behind.
    const isNext = place !== undefined && place.seq > lane.lane.status().cursor;
    if (isNext) this.#ways.site?.taken(name, place);
  }

  /** A mail leaves when the last one is stored as taken: a crash repeats at most one of a lane. */
  #assertStored({ lane, taken }: Driven): void {
    const row = this.log.lanes.get(lane.name);
    if (taken === undefined || row === undefined) return;
    const isStored = row.cursor >= taken.seq || row.part >= taken.part;
    if (isStored && !this.#ways.isWriting()) return;
    const text = `${lane.name} goes on, and ${taken.seq} is not on disk as taken`;
    throw new Violation("a crash repeats at most one part", text);
  }
}

/** What the Message-ID says of a mail. All of a pack is sent at once. */
function placeOf({ raw }: Mail): Place | undefined {
  const text = Buffer.from(raw).toString("latin1");
  const [, seq, part] = /^Message-ID: <[0-9a-f]+\.(\d+)\.(p?\d+)@/m.exec(text) ?? [];
  if (seq === undefined || part === undefined) return undefined;
  return { seq: Number(seq), part: part.startsWith("p") ? Infinity : Number(part) };
}

function driven(lane: Lane): Driven {
  return {
    lane,
    run: lane.run(),
    wake: undefined,
    isDelivering: false,
    taken: undefined,
    isLost: false,
  };
}
