/**
 * One simulated gateway over all its lives: a disk that survives, and a process that does not. Each
 * thing that happens to it is a step: the engine runs, the ledger looks at the log, the actions are
 * performed. A crash in the middle of a step ends the process there, and nothing of what the step
 * would have said leaves the house.
 */

import type { Clock } from "../../src/clock.js";
import { ALONE } from "../../src/cluster/leases.js";
import type { Neighbour } from "../../src/config/config.js";
import type { Diagnostics, EventName, Fields } from "../../src/diagnostics.js";
import { Trouble } from "../../src/errors.js";
import type { ReceiveCursor } from "../../src/log/cursors.js";
import type { RetentionLimits } from "../../src/log/retention.js";
import type { Appended, UpdateLog } from "../../src/log/update-log.js";
import { isSameAddress } from "../../src/mail-address.js";
import type { Action } from "../../src/peering/exchange.js";
import type { Schedule } from "../../src/schedule.js";
import type { Seq, UpdateHash } from "../../src/update.js";
import { UPKEEP_LIMITS } from "../../src/upkeep.js";
import { checkReport } from "../support/reported.js";
import { NodeLink, type SimSite } from "./cluster.js";
import type { Dice } from "./dice.js";
import type { PeerSettings } from "./door.js";
import { Ledger, Violation } from "./ledger.js";
import type { LegacySite } from "./legacy.js";
import { SimHkpServer } from "./local.js";
import type { PolicyName } from "./policies.js";
import type { Answer, Mail, MailHost, Postal } from "./postal.js";
import { Process } from "./process.js";
import type { Event, EventQueue } from "./queue.js";
import { Crash, type Store } from "./store.js";
import type { Host, Line, Streams } from "./streams.js";
import { type Onlooker, watched } from "./taps.js";
import { spoken, type Trace } from "./trace.js";
import { Wiretap } from "./wiretap.js";

/** Some date; worlds begin here. */
export const EPOCH_MS = 1_800_000_000_000;
/** A supervisor starts a process again after this. */
const RESTART_MS = 5000;
/** How long a sender of mail waits for an answer. */
const ANSWER_MS = 60_000;
/** How far clocks may be apart after all their jumps, and upkeep behind. */
const UNSURE_MS = 2 * 60 * 60_000;
/** A batch of updates is half of the time stored at once, and else on its way for up to this. */
const STORE_MS = 300;
/** Steps at one instant; more is a gateway that spins. */
const SPINS = 5000;
/** Every so many steps the caps are looked at. */
const INSPECT_EVERY = 20;

/** What an operator is told of an update that a site may miss. */
const EXCUSES: readonly EventName[] = ["undelivered", "incomplete", "body-expired", "skipped"];

export interface GatewaySettings {
  readonly name: string;
  readonly policy: PolicyName;
  readonly version: "1.0" | "1.1";
  readonly peers: readonly PeerSettings[];
  /** Sites that get mail from us, and those whose mail we take. */
  readonly sites: readonly Neighbour[];
  readonly senders: readonly Neighbour[];
  readonly limits: RetentionLimits;
  readonly reconnect: Schedule;
  readonly retry: Schedule;
  /** How wrong its clock is, milliseconds. */
  readonly skewMs: number;
  /** Whether one relay brings the mail of all sites. */
  readonly sharedRelay: boolean;
}

/** What a gateway stands in. */
export interface Surroundings {
  readonly queue: EventQueue;
  readonly trace: Trace;
  readonly streams: Streams;
  readonly postal: Postal;
  /** Keys that some operator has blocked or removed so far. */
  readonly uncarried: ReadonlySet<string>;
  host(name: string): Host;
  /** The ledger of a peer that does not lie. */
  honest(name: string): Ledger | undefined;
}

/** Says something else, or nothing: how a neighbour lies. Each call is one message. */
export type Mangle = (line: Line, peer: string, bytes: Uint8Array) => void;

/** A gateway that is one of several of a site. */
export interface Node {
  readonly site: SimSite;
  /** What it is called beside the name of its site. */
  readonly label: string;
}

/** What a step brings about: actions to perform, or nothing of interest. */
type Done = readonly Action[] | unknown;

export class Gateway implements Host, MailHost, Diagnostics {
  /** As its neighbours call it; the nodes of a site have the same. */
  readonly name: string;
  /** What it is called in the trace. */
  readonly label: string;
  readonly domain: string;
  readonly address: string;
  readonly settings: GatewaySettings;
  readonly ledger: Ledger;
  store: Store;
  readonly wiretap: Wiretap;
  /** Whether some process of it knew KX/1.0 only: then its logs have no name for its peers. */
  hasSpoken10: boolean;
  #version: GatewaySettings["version"];
  /** Set for a liar. */
  mangle: Mangle | undefined;
  /** What the operator calls its sites now, by their names in the settings. */
  readonly #names = new Map<string, string>();
  readonly #local: SimHkpServer | undefined;
  readonly #world: Surroundings;
  readonly #dice: Dice;
  readonly #onlooker: Onlooker;
  readonly #node: Node | undefined;
  #link: NodeLink | undefined;
  /** Steps that wait for the end of a pause. */
  #paused: (() => void)[] | undefined;
  #process: Process | undefined;
  #bootAt = 0;
  #tick: Event | undefined;
  #restart: Event | undefined;
  #clockOffsetMs: number;
  #jumpedAt = Number.NEGATIVE_INFINITY;
  #troubledAt = Number.NEGATIVE_INFINITY;
  #steps = 0;
  #spins = 0;
  #spinsAt = -1;

  /** `local` is the keyserver beside it; `node` is set for one of several gateways of a site. */
  constructor(
    settings: GatewaySettings,
    store: Store,
    world: Surroundings,
    dice: Dice,
    local?: LegacySite,
    node?: Node,
  ) {
    this.#node = node;
    this.label = node?.label ?? settings.name;
    this.#local = local && new SimHkpServer(local);
    this.settings = settings;
    this.#version = settings.version;
    this.hasSpoken10 = settings.version === "1.0";
    this.name = settings.name;
    this.domain = `${settings.name}.example`;
    this.address = `keys@${this.domain}`;
    this.store = store;
    this.#world = world;
    this.#dice = dice;
    this.#clockOffsetMs = settings.skewMs;
    const ledger = new Ledger(this.label, world.uncarried, settings.policy, node?.site);
    this.ledger = ledger;
    this.wiretap = new Wiretap(ledger);
    const { queue } = world;
    this.#onlooker = {
      log: () => this.#process?.log,
      db: () => this.store.db,
      monotonic: () => queue.now - this.#bootAt,
      asked: (peer, hash) => ledger.asked(peer, hash, queue.now),
      answered: (peer, hash) => ledger.answered(peer, hash),
      dropped: (peer) => ledger.dropped(peer),
      progressed: (peer) => ledger.progressed(peer, queue.now),
    };
  }

  /** The site that it shares with others. */
  get site(): SimSite | undefined {
    return this.#node?.site;
  }

  /** The way to the database of the site, while it is up. */
  get link(): NodeLink | undefined {
    return this.#link;
  }

  get isPaused(): boolean {
    return this.#paused !== undefined;
  }

  get isUp(): boolean {
    return this.#process !== undefined;
  }

  get process(): Process | undefined {
    return this.#process;
  }

  /** Its wall clock. */
  now(): number {
    return Math.round(EPOCH_MS + this.#world.queue.now + this.#clockOffsetMs);
  }

  /** Its wall clock is set to another time. */
  jump(ms: number): void {
    this.#clockOffsetMs += ms;
    this.#jumpedAt = this.#world.queue.now;
  }

  start(): void {
    if (this.#restart !== undefined) this.#restart.isCancelled = true;
    this.#restart = undefined;
    if (this.#process !== undefined) return;
    const { queue, trace } = this.#world;
    this.#bootAt = queue.now;
    const bootAt = queue.now;
    const clock: Clock = {
      now: () => this.now(),
      monotonic: () => queue.now - bootAt,
      random: () => this.#dice.next(),
    };
    trace.line(queue.now, `${this.label} is up`);
    try {
      const log = this.#open();
      this.ledger.begun(log, queue.now);
      this.#watchCursors(log);
      this.#process = this.#begin(log, clock);
      this.#link?.follow(log);
    } catch (error) {
      if (!(error instanceof Trouble) && !(error instanceof Crash)) throw error;
      trace.sometimes("start failed");
      return this.kill();
    }
    this.#step((process) => process.start());
  }

  /** The log, or the copy when it has all that the database has, if that answers. */
  #open(): UpdateLog {
    if (this.#node === undefined) return this.store.open();
    const { site, label } = this.#node;
    const step = (work: (log: UpdateLog) => void) => this.#step(({ log }) => work(log));
    const link = new NodeLink(site, { label, step, diagnostics: this });
    this.#link = link;
    const log = this.store.open(link);
    link.load(log);
    return log;
  }

  #begin(log: UpdateLog, clock: Clock): Process {
    const { streams, postal } = this.#world;
    const local = this.#local;
    const { site, label } = this.#node ?? { label: this.label };
    const link = this.#link;
    return new Process(this.#named(), this, log, clock, this, {
      dial: (peer) => streams.dial(this, this.#world.host(peer)),
      write: (line, peer, bytes) => this.#write(line, peer, bytes),
      end: (line) => streams.end(line, this),
      destroy: (line) => streams.destroy(line, this),
      later: (delay, what, step) => this.#later(delay, what, step),
      acknowledged: (hashes) => {
        this.ledger.acknowledged(log, hashes);
        const entries = hashes.flatMap((hash) => log.heldAs(hash) ?? []);
        site?.acknowledged(
          label,
          entries.map(({ seq }) => seq),
        );
        // Claims that do not count are not in the trail.
        for (const entry of entries) {
          this.ledger.has([entry.hash], log.trails.get(entry.seq));
        }
      },
      handOver: (mail, updates, answered) => {
        this.wiretap.mailed(mail, updates, firstTries(log, mail.recipient, updates));
        const process = this.#process;
        const isAlive = () => this.#process === process;
        postal.handOver(mail, isAlive, (outcome) => {
          const wasRead = outcome.kind !== "temporary" || outcome.about === "update";
          if (wasRead) this.ledger.handed(updates, mail.recipient, this.#world.queue.now);
          if (this.#process === process) this.#step(() => answered(outcome));
        });
      },
      local:
        local &&
        ((offer, answered) => {
          this.wiretap.posted();
          this.#later(this.#dice.int(5, 500), "hears of its keyserver", () => {
            const outcome = local.take(offer);
            if (outcome.kind === "refused") this.#world.trace.sometimes("local refuses");
            answered(outcome);
          });
        }),
      commitMs: () => this.#dice.int(0, 20),
      leases: link?.leases ?? ALONE,
      site,
      isWriting: () => this.store.db.inTransaction,
      storeMs: () => (this.#dice.next() < 0.5 ? 0 : this.#dice.int(0, STORE_MS)),
    });
  }

  /** The settings with the names and the version that the operator gives now. */
  #named(): GatewaySettings {
    const { sites, senders, limits } = this.settings;
    const rename = (all: readonly Neighbour[]) =>
      all.map((one) => ({ ...one, name: this.nameOf(one.name) }));
    const hold = limits.hold && {
      ...limits.hold,
      sites: limits.hold.sites.map((name) => this.nameOf(name)),
    };
    const named = { sites: rename(sites), senders: rename(senders) };
    const version = this.#version;
    return { ...this.settings, ...named, version, limits: { ...limits, hold } };
  }

  /** What the operator calls a site of the settings now. */
  nameOf(site: string): string {
    return this.#names.get(site) ?? site;
  }

  /** The operator calls a site otherwise, and restarts the process for it. */
  rename(site: string, name: string): void {
    this.#names.set(site, name);
    this.kill(false, 1000);
  }

  /** An order of the operator, or a look at the log; false when there is no process for it. */
  operate(work: (process: Process) => void): boolean {
    if (this.#process === undefined) return false;
    this.#step((process) => {
      try {
        work(process);
      } catch (error) {
        // A full disk, as the operator is told.
        if (!(error instanceof Trouble)) throw error;
      }
    });
    return true;
  }

  /** The process is gone; `silently`, with the whole machine, so that no peer hears of it. */
  kill(silently = false, restartMs = RESTART_MS): void {
    const process = this.#process;
    this.#process = undefined;
    this.ledger.killed();
    this.#link?.end(silently);
    this.#link = undefined;
    this.#paused = undefined;
    this.store.crash();
    const { queue, streams, trace } = this.#world;
    trace.line(queue.now, `${this.label} is down`);
    if (this.#tick !== undefined) this.#tick.isCancelled = true;
    for (const line of process?.lines ?? []) {
      this.wiretap.closed(line.id);
      if (silently) streams.forget(line, this);
      else streams.destroy(line, this);
    }
    if (this.#restart !== undefined) this.#restart.isCancelled = true;
    this.#restart = queue.after(restartMs, `${this.label} starts`, () => this.start());
  }

  /** The machine is gone, and another one with an empty disk takes its place. */
  loseDisk(restartMs: number): void {
    this.kill(true, restartMs);
    this.store = this.store.replaced();
    // A copy is loaded again.
    if (this.#node === undefined) this.ledger.lost();
  }

  /** Its process does nothing for so long, and knows nothing of it. */
  pause(ms: number): void {
    const process = this.#process;
    if (process === undefined || this.#paused !== undefined) return;
    const held: (() => void)[] = [];
    this.#paused = held;
    this.#link?.pause();
    this.#world.queue.after(ms, `${this.label} goes on`, () => {
      if (this.#paused !== held) return;
      this.#paused = undefined;
      this.#link?.resume();
      for (const step of held) if (this.#process === process) step();
    });
  }

  /** The machine is gone, and one with the backup of its log takes its place. */
  restoreDisk(restartMs: number): void {
    this.kill(true, restartMs);
    this.store = this.store.restored();
    this.ledger.lost();
  }

  /** The operator installs another release, and restarts the process for it. */
  changeVersion(restartMs: number): void {
    // A liar lies in the text of KX/1.0.
    if (this.mangle !== undefined) return;
    this.#version = this.#version === "1.0" ? "1.1" : "1.0";
    this.hasSpoken10 = true;
    this.kill(false, restartMs);
  }

  /** One thing that happens to the process. A crash within it is the end of the process. */
  #step(work: (process: Process) => Done): void {
    const process = this.#process;
    if (process === undefined) return;
    if (this.#paused !== undefined) {
      this.#paused.push(() => this.#step(work));
      return;
    }
    this.#guardTime();
    try {
      const actions = watched(this.#onlooker, () => work(process));
      this.ledger.look(process.log, this.#world.queue.now);
      this.#inspect(process);
      if (Array.isArray(actions)) process.door.perform(actions);
      if (this.#process === process) this.#schedule(process);
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
      this.#world.trace.sometimes(error.message);
      this.kill();
    }
  }

  /** A step of this process later, and of no other. */
  #later(delay: number, what: string, step: () => Done): Event {
    let mine = this.#process;
    const event = this.#world.queue.after(delay, `${this.label} ${what}`, () => {
      // What is ordered while the process is built belongs to it, too.
      mine ??= this.#process;
      // After a pause it may have been cancelled.
      if (this.#process === mine) this.#step(() => (event.isCancelled ? undefined : step()));
    });
    return event;
  }

  #schedule(process: Process): void {
    if (this.#tick !== undefined) this.#tick.isCancelled = true;
    const at = process.exchange.nextAt();
    this.#tick =
      at === undefined
        ? undefined
        : this.#world.queue.at(this.#bootAt + at, `${this.label} ticks`, () => {
            this.#step(() => process.tick());
          });
  }

  #guardTime(): void {
    const { now } = this.#world.queue;
    this.#spins = this.#spinsAt === now ? this.#spins + 1 : 0;
    this.#spinsAt = now;
    if (this.#spins > SPINS) throw new Violation("time passes", `${this.label} spins`);
  }

  #inspect(process: Process): void {
    this.#steps += 1;
    if (this.#steps % INSPECT_EVERY !== 0) return;
    this.ledger.overdue(this.#world.queue.now, process.log);
    this.ledger.counted(process.exchange.status().map(({ inFlight }) => inFlight));
  }

  /** Sees each cursor in a peer's log that is stored. */
  #watchCursors(log: UpdateLog): void {
    const { ledger } = this;
    const moved = (peer: string, at: ReceiveCursor | undefined) => {
      ledger.look(log, this.#world.queue.now);
      const oldest = this.#world.queue.now - this.settings.limits.rememberMs + UNSURE_MS;
      ledger.moved(peer, at, this.#world.honest(peer), oldest);
    };
    const { append, cursors } = log;
    for (const { name } of this.settings.peers) {
      const at = cursors.get(name);
      if (at !== undefined) ledger.resumed(name, at);
    }
    const { set, forget } = cursors;
    // A cursor that is stored with arrivals counts when they are committed.
    let isAppending = false;
    log.append = (arrivals, ...moves) => {
      isAppending = true;
      let outcomes: Appended[];
      try {
        outcomes = append.call(log, arrivals, ...moves);
      } finally {
        isAppending = false;
      }
      for (const { peer, at } of moves) moved(peer, at);
      return outcomes;
    };
    cursors.set = (peer, at) => {
      set.call(cursors, peer, at);
      if (!isAppending) moved(peer, at);
    };
    cursors.forget = (peer) => {
      forget.call(cursors, peer);
      if (!isAppending) moved(peer, undefined);
    };
  }

  // What it tells its operator.

  report(event: EventName, fields: Fields = {}): void {
    checkReport(event, fields);
    const { queue, trace } = this.#world;
    trace.line(queue.now, `${this.label} ${event} ${spoken(fields)}`);
    trace.sometimes(event);
    if (fields.reason === "no-news") trace.sometimes("no news");
    const { hash, neighbour, seq } = fields;
    if (typeof hash === "string") {
      if (event === "update-gone" || event === "update-lost" || event === "update-refused") {
        this.ledger.givenUp.add(hash);
      }
      const site = siteOf(String(neighbour));
      if (EXCUSES.includes(event)) this.ledger.excused.add(`${site} ${fields.fingerprint}`);
      if (event === "body-expired") this.ledger.expired.add(`${site} ${fields.fingerprint}`);
      if (event === "fetch-timeout") this.ledger.answered(String(neighbour), hash as never);
    }
    if (event === "peer-reset") this.ledger.dropped(String(neighbour));
    if (event === "log-trouble") this.#troubledAt = queue.now;
    if (event === "served" || event === "served-again") this.#checkAge(Number(seq));
  }

  /** Nothing older than the retention is served, unless expiry was in trouble, or held. */
  #checkAge(seq: number): void {
    const log = this.#process?.log;
    const entry = log?.entry(seq as Seq);
    const { hold, retainMs, rememberMs } = this.settings.limits;
    if (log === undefined || entry === undefined || seq === log.newest()) return;
    // Nothing expires in the first hour after a start or a jump.
    const graceMs = UPKEEP_LIMITS.settleMs + UPKEEP_LIMITS.everyMs + 10_000;
    // The newest entry stays; from the next one on it has as long as upkeep takes.
    const succeededAt = this.ledger.entries.get(seq + 1)?.at ?? 0;
    const since = Math.max(this.#bootAt, this.#jumpedAt, this.#troubledAt, succeededAt);
    if (this.#world.queue.now - since <= graceMs) return;
    const age = this.now() - entry.receivedAt;
    if (age <= (hold === undefined ? retainMs : rememberMs) + graceMs) return;
    const text = `${this.name} serves ${seq}, received ${age} ms ago`;
    throw new Violation("nothing older than the retention is served", text);
  }

  // Mail in, and keys that users hand in.

  deliver(mail: Mail, answer: (answer: Answer | undefined) => void): void {
    if (this.#process === undefined) return answer(undefined);
    let isAnswered = false;
    const once = (said: Answer | undefined) => {
      if (isAnswered) return;
      isAnswered = true;
      timeout.isCancelled = true;
      answer(said);
    };
    const { queue } = this.#world;
    const timeout = queue.after(ANSWER_MS, "no answer to a mail", () => once(undefined));
    this.#step(({ intake }) => intake.mail(mail, once));
  }

  /**
   * A key from somebody unknown, who may claim that the sites of a trail have it. `answer` hears
   * "taken" once it is stored, or something else, or nothing.
   */
  submit(armor: string, answer: (answer: Answer) => void, trail: readonly string[] = []): void {
    const bytes = Buffer.from(armor, "latin1");
    const who = { sender: undefined, trail, messageId: undefined };
    this.#step(({ intake }) => {
      intake.submit({ armor: [bytes], ...who, bytes: bytes.length }, answer);
    });
  }

  // Streams.

  accepts(from: string): boolean {
    return !this.isPaused && (this.#process?.door.accepts(from) ?? false);
  }

  opened(line: Line, peer: string, dialled: boolean): void {
    if (this.#process === undefined) return this.#world.streams.destroy(line, this);
    this.#process.lines.add(line);
    this.#step(({ door }) => {
      this.#link?.refresh();
      return door.opened(line, peer, dialled);
    });
  }

  unreachable(peer: string): void {
    this.#step(({ door }) => door.unreachable(peer));
  }

  received(line: Line, bytes: Uint8Array): void {
    this.wiretap.heard(line.id, bytes);
    this.#step(({ door }) => door.received(line, bytes));
  }

  flushed(line: Line, unsentBytes: number): void {
    this.#step(({ door }) => door.flushed(line, unsentBytes));
  }

  finished(line: Line): void {
    this.#step(({ door }) => door.finished(line));
  }

  closed(line: Line): void {
    this.#process?.lines.delete(line);
    this.#step(({ door }) => {
      // A process that was paused until now may have written to the line since it was closed.
      this.wiretap.closed(line.id);
      return door.closed(line);
    });
  }

  isCongested(line: Line): boolean {
    return this.isPaused || (this.#process?.exchange.isCongested(line.id) ?? false);
  }

  #write(line: Line, peer: string, bytes: Uint8Array): void {
    const log = this.#process?.log;
    if (this.mangle !== undefined) return this.mangle(line, peer, bytes);
    const { queue } = this.#world;
    const to = { name: peer, ledger: this.#world.honest(peer) };
    if (log !== undefined) this.wiretap.said(line.id, bytes, log, queue.now, to);
    this.#world.trace.bytes(bytes);
    this.#world.streams.write(line, this, bytes);
  }
}

/** The name of a site in the settings, by one that an operator gives it. */
function siteOf(name: string): string {
  return name.replace(/-\d+$/, "");
}

/** A name that an operator may give a site. */
export function renamed(site: string, times: number): string {
  return `${site}-${times}`;
}

/** Those of the updates that the site has no exception for: of others only its own word counts. */
function firstTries(
  log: UpdateLog,
  recipient: string,
  updates: readonly UpdateHash[],
): UpdateHash[] {
  const lane = log.lanes.addressed().find(({ address }) => isSameAddress(address, recipient));
  return updates.filter((hash) => {
    const entry = log.entryByHash(hash);
    return !lane || !entry || log.exceptions.get(lane.site, entry.seq) === undefined;
  });
}
