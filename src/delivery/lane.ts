/**
 * The lane of one mail site or of the local keyserver. A lane reads the log from its own cursor and
 * delivers each update that the site does not have by its delivery method. Lanes are independent,
 * so a dead site delays no other site. A part may be a mail, a file or a request.
 *
 * The lane is a state machine without timers and promises. `run` yields what the lane waits for: a
 * period of time, a turn of the event loop or the outcome of a delivery. `lane-driver.ts` or the
 * simulation resumes it. Between two yields no other code runs, and the log is written. What it
 * wrote is committed before its next step is carried out (`shared-commit.ts`).
 *
 * 1. An update is skipped if the site is in its trail or was its source. Claims of other sites
 *    about the site count only before the first attempt (`log/trail.ts`). A forgotten update is
 *    skipped as well, even if partly sent. An update of a blocked key is withheld until the key is
 *    unblocked.
 * 2. One part is sent at a time, so that each reply belongs to one mail. The cursor moves after the
 *    part was accepted: a crash in between repeats one part and never loses one.
 * 3. A failure of the neighbour is retried by the schedule. The lane waits, and order is kept. When
 *    the schedule is exhausted, its last delay repeats and the operator is told.
 * 4. A failure of the update is retried after short delays, up to `UPDATE_TRIES` attempts. Then the
 *    update becomes a waiting exception with a schedule of its own, and the next update is tried.
 *    If that fails as well, the neighbour is down: updates are tried one at a time by the schedule,
 *    each time the next one, so that no update blocks the lane. The first success ends this state,
 *    and the updates that failed during it are retried at once. A later update of the same key may
 *    therefore overtake an earlier one. This is harmless, since a keyserver merges both.
 * 5. An update that was read and refused permanently becomes a refused exception, and the lane
 *    continues at once. After `REFUSALS` in a row the site refuses everything: one update at a time
 *    is tried by the schedule. When one is accepted, the refused updates of that run are retried
 *    once. A refusal that names the key does not count: a server may ignore many keys in a row.
 * 6. If a site is behind, updates are combined where the delivery method supports packs. If the
 *    site refuses a pack permanently, or fails on it, its updates are sent one by one, which
 *    identifies the faulty one. After `PACK_TRIES` failures of the neighbour in a row, one update
 *    is sent alone, in case the combined mail causes the failure.
 * 7. Due exceptions are sent before new updates, except while the site is down or refuses
 *    everything. After sending returned updates (`bounces.ts`) the lane waits once more, for as
 *    long as a mail takes to bounce.
 * 8. The lane sends no more parts than the site's rate allows, if a rate is configured.
 * 9. The lane's state is in the log, so that a restart neither hastens nor loses a retry.
 * 10. The operator's orders change the same state: a pause is a retry that never becomes due.
 * 11. In observe mode the lane reports what it would have sent and moves on.
 * 12. A lane whose path is closed (`path.ts`) sends nothing, since KX carries the updates. It moves
 *     over the updates that the site is known to have, which KX records in the trail. It stops at
 *     the first other update until that is recorded or its body expires. When the path opens, the
 *     lane continues from there.
 */
import type { Clock } from "../clock.js";
import type { Diagnostics } from "../diagnostics.js";
import { EXCEPTION_LIMITS, type Exception, type ExceptionCounts } from "../log/exceptions.js";
import type { LaneRow } from "../log/lanes.js";
import type { Site } from "../log/pending.js";
import type { Entry, UpdateLog } from "../log/update-log.js";
import { LogGuard } from "../log-guard.js";
import { isCovered } from "../openpgp/cover.js";
import type { Rules } from "../policy.js";
import { type Rate, TokenBucket } from "../rate.js";
import { delayMs, type Schedule } from "../schedule.js";
import type { Seq, UpdateHash } from "../update.js";
import { BounceHandler, type Pause } from "./bounces.js";
import type { DeliveryMethod, Part } from "./delivery-method.js";
import { type Bundle, LaneQueue } from "./lane-queue.js";
import { LaneReport } from "./lane-report.js";
import { LanePath, type PathSettings, type PathStatus } from "./path.js";
import type { Outcome } from "./relay.js";

type Delivered = Extract<Outcome, { readonly kind: "delivered" }>;
type Temporary = Extract<Outcome, { readonly kind: "temporary" }>;
type Refused = Extract<Outcome, { readonly kind: "refused" }>;

/** A step that a lane yields. */
export type LaneStep =
  /** Wait `ms` milliseconds or until woken. Infinity waits until woken. */
  | { readonly type: "wait"; readonly ms: number }
  /** Yield one turn of the event loop, so that a long log does not starve other work. */
  | { readonly type: "turn" }
  /** Deliver `part`. `updates` are those of which the site has no part yet. */
  | { readonly type: "deliver"; readonly part: Part; readonly updates: readonly UpdateHash[] };

/**
 * Yields steps. Resumed with the outcome after a delivery, with undefined after a wait or a turn.
 */
export type LaneRun<T = void> = Generator<LaneStep, T, Outcome | undefined>;

/** The site that a lane serves, and the settings from the configuration. */
export interface LaneSettings extends Site {
  readonly retry: Schedule;
  readonly observing: boolean;
  /** Maximum rate of parts. Undefined means unlimited. */
  readonly rate?: Rate | undefined;
  /**
   * Names of all configured sites. A stored lane with another name and this address is this lane.
   */
  readonly names?: readonly string[];
  /** Decides which updates may be sent. If undefined, all may. */
  readonly rules?: Rules | undefined;
  /** Undefined for a lane that is always open. */
  readonly path?: PathSettings;
}

export interface LaneComponents {
  readonly log: LaneLog;
  readonly method: DeliveryMethod;
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
  /** Reports failures of the log. All lanes of a door share one. */
  readonly guard?: LogGuard;
}

/** The parts of the log that a lane uses. */
export type LaneLog = Pick<
  UpdateLog,
  | "body"
  | "bounces"
  | "entry"
  | "exceptions"
  | "lanes"
  | "newest"
  | "pending"
  | "range"
  | "repairs"
  | "skeletons"
  | "trails"
>;

/** The status of one site for the operator. */
export interface LaneStatus extends Site {
  readonly cursor: number;
  /** Number of updates that the site still needs. */
  readonly backlog: number;
  /** Receive time of the oldest of them, milliseconds since 1970; 0 if the backlog is empty. */
  readonly oldest: number;
  readonly attempt: number;
  readonly nextAt: number;
  readonly lastError: string;
  readonly lastErrorAt: number;
  readonly lastSuccessAt: number;
  readonly isPaused: boolean;
  /** Number of exceptions, by state. */
  readonly exceptions: ExceptionCounts;
  /** Whether the site has refused everything for a while. */
  readonly refusesAll: boolean;
  /** Undefined if no gateway is running. */
  readonly path?: PathStatus;
}

/** `nextAt` of a paused lane. It is stored across restarts, and no clock reaches it. */
const PAUSED_AT = 8_640_000_000_000_000;
/** Delay before the log is retried after it could not be read or written. */
const TROUBLE_MS = 5000;
/** Number of entries that are read to find the next update. If the site has all, more are read. */
const NEXT = 8;
/** Rule 4: maximum attempts of one update, and the longest delay between them. */
const UPDATE_TRIES = 3;
const SHORT_MS = 5000;
/** Rule 5. */
const REFUSALS = 20;
/** Rule 6. */
const PACK_TRIES = 3;
/** How often the lane checks whether the blocks of withheld updates have ended. */
const BLOCKS_MS = 60 * 60_000;
const BLOCKS_AT_ONCE = 1000;
/** Rule 7: most mail systems detect a failure within a minute. */
const PROBE_MS = 60_000;
/**
 * Rule 12: how often a closed lane checks whether the site has the missing update. Each check costs
 * one fsync.
 */
const NAP_MS = 1000;

export class Lane {
  readonly #settings: LaneSettings;
  readonly #log: LaneLog;
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;
  readonly #guard: LogGuard;
  readonly #queue: LaneQueue;
  readonly #report: LaneReport;
  readonly #bounceHandler: BounceHandler;
  readonly #bucket: TokenBucket | undefined;
  readonly #path: LanePath;
  #row: LaneRow;
  /** False after a failure of the log, until the row is stored again. */
  #isStored = true;
  /**
   * Writes to be committed with the row. They are kept after a failure of the log, since the row
   * has already moved past their update. A lane does nothing else before they are stored.
   */
  #unsaved: (() => void)[] = [];
  /** Writes since the last step. They may be part of a transaction that is still open. */
  #written: (() => void)[] = [];
  #isPaused: boolean;
  #isStopping = false;
  #isDelivering = false;
  /** Rule 4: number of failures of the next update for a reason of its own. */
  #tries = { seq: 0, count: 0 };
  /** When to check blocks again, on the monotonic clock. */
  #blocksAt = 0;
  /** Updates up to this entry are sent alone, because the site refused them in a pack. */
  #aloneUpTo = 0;
  /** The next delivery shows whether the site accepts mail again. */
  #isProbing = false;
  /** Rule 12: the lane is polling. */
  #isNapping = false;

  /** Reads the stored state or creates it. Throws `Trouble`. */
  constructor(components: LaneComponents, settings: LaneSettings) {
    const { log, clock, diagnostics, guard } = components;
    const { name, address, rate, names } = settings;
    this.#settings = settings;
    this.#log = log;
    this.#clock = clock;
    this.#diagnostics = diagnostics;
    this.#guard = guard ?? new LogGuard("egress", clock, diagnostics);
    this.#queue = new LaneQueue(components, settings);
    this.#report = new LaneReport(components, name);
    this.#bounceHandler = new BounceHandler({ log, clock, report: this.#report }, settings);
    this.#bucket = rate && new TokenBucket(rate, clock.monotonic());
    this.#path = new LanePath(components, name, settings.path);
    const onRename = (former: string) =>
      diagnostics.report("lane-renamed", { neighbour: name, former });
    this.#row = log.lanes.open(name, { address, names: names ?? [], onRename });
    this.#isPaused = this.#row.nextAt === PAUSED_AT;
    // A retry later than the longest delay was scheduled while the clock was ahead.
    const latest = clock.now() + this.#longestMs();
    if (!this.#isPaused && this.#row.nextAt > latest) this.#save({ nextAt: latest });
  }

  get name(): string {
    return this.#settings.name;
  }

  /** Whether mail may be sent now (rule 12). */
  get isOpen(): boolean {
    return this.#path.isOpen;
  }

  /** Whether a delivery is under way. An order does not end it. */
  get isDelivering(): boolean {
    return this.#isDelivering;
  }

  /**
   * Whether to wake the lane when the log grows. False while it waits for a fixed time or polls.
   */
  get readsOn(): boolean {
    return !this.#isNapping && (this.#row.nextAt === 0 || !this.#path.isOpen);
  }

  status(): LaneStatus {
    const { name, address } = this.#settings;
    return { ...laneStatus(this.#log, { name, address }, this.#row), path: this.#path.status() };
  }

  // Orders. After `session`, `resume`, `skip` and `stop` the driver ends the current wait. A
  // delivery is finished first.

  /** Reports that the first KX session with the neighbour began, or that the last one ended. */
  session(isUp: boolean): void {
    this.#path.session(isUp);
  }

  /** Stops sending until `resume`, across restarts. Throws `Trouble`. */
  pause(): void {
    this.#isPaused = true;
    this.#save({});
    this.#diagnostics.report("paused", { neighbour: this.name });
  }

  /** Ends a pause and any other delay. Throws `Trouble`. */
  resume(): void {
    if (this.#isPaused) this.#diagnostics.report("resumed", { neighbour: this.name });
    this.#isPaused = false;
    this.#save({ nextAt: 0 });
  }

  /**
   * Gives up an update: the next one that the site needs, or a waiting exception. Returns false if
   * `seq` is neither, or if a delivery is in progress. Throws `Trouble`.
   */
  skip(seq: number): boolean {
    if (this.#isDelivering) return false;
    if (!this.#isStored) this.#save({});
    const waiting = this.#log.exceptions.get(this.name, seq as Seq)?.state === "waiting";
    const entry = waiting ? this.#log.entry(seq as Seq) : this.#next();
    if (entry === undefined || entry.seq !== seq) return false;
    const change = waiting ? { attempt: 0, nextAt: 0 } : doneWith(entry.seq);
    this.#save(change, () => this.#report.skipped(entry));
    return true;
  }

  /**
   * Sends exceptions again: one, all, or without `which` those already waiting. Returns their
   * number. Throws `Trouble`.
   */
  reopen(which?: number | "all"): number {
    const { exceptions } = this.#log;
    const now = this.#clock.now();
    if (which === undefined) return exceptions.retry(this.name, now);
    const updates = exceptions.reopen(this.name, which as Seq | "all", now);
    const neighbour = this.name;
    if (updates > 0) {
      this.#diagnostics.report("reopened", { neighbour, updates, reason: "by the operator" });
    }
    return updates;
  }

  /** Ends `run` after the part in progress. */
  stop(): void {
    this.#isStopping = true;
  }

  /** Returns the next update after the cursor that is to be sent. */
  #next(): Entry | undefined {
    for (const seq of this.#log.pending.seqs(this.#settings)) {
      if (seq <= this.#row.cursor) continue;
      const entry = this.#log.entry(seq);
      if (entry !== undefined && this.#queue.withholds(entry) === undefined) return entry;
    }
    return undefined;
  }

  /**
   * Runs the lane until `stop`. Only one run at a time is allowed. To resume it means that all that
   * it wrote before is on disk. If that failed, it is resumed by `throw` with the `Trouble`, and
   * stores its row again.
   */
  *run(): LaneRun {
    const steps = this.#steps();
    for (let next = steps.next(undefined); next.done !== true; ) {
      let outcome: Outcome | undefined;
      try {
        outcome = yield next.value;
      } catch (error) {
        this.#unsaved.unshift(...this.#written);
        this.#written = [];
        this.#blocksAt = 0;
        next = steps.throw(error);
        continue;
      }
      this.#written = [];
      next = steps.next(outcome);
    }
  }

  /** The main loop of the lane. */
  *#steps(): LaneRun {
    let isTroubled = false;
    while (!this.#isStopping) {
      try {
        if (isTroubled) yield { type: "wait", ms: TROUBLE_MS };
        isTroubled = false;
        this.#path.report();
        if (this.#path.isOpen) yield* this.#waitForRetry();
        if (this.#isStopping) break;
        // Store an unsaved row first. Otherwise a mail would be sent again while the disk is full.
        if (!this.#isStored) this.#save({});
        this.#lookAtBlocks();
        const pause = this.#bounceHandler.absorb(this.#row.cursor);
        if (pause !== undefined) this.#obey(pause);
        else if (!this.#path.isOpen) yield* this.#rest();
        else if (!(yield* this.#waitForRate())) yield* this.#step();
      } catch (error) {
        this.#guard.tell(error);
        this.#isStored = false;
        isTroubled = true;
      }
    }
  }

  /** Waits at most `ms`, and no longer than until the path changes. */
  *#wait(ms: number): LaneRun {
    yield { type: "wait", ms: Math.min(ms, this.#path.waitMs()) };
    this.#path.report();
  }

  /** Waits until no retry or pause is pending, the path closes, or the lane stops. */
  *#waitForRetry(): LaneRun {
    const mayWait = () => !this.#isStopping && this.#path.isOpen;
    while (this.#row.nextAt !== 0 && mayWait()) {
      const { nextAt } = this.#row;
      // Bounded by the longest delay of the schedule, in case the clock has been set back.
      const put = Math.min(nextAt - this.#clock.now(), this.#longestMs());
      const until = this.#isPaused ? Infinity : this.#clock.monotonic() + put;
      // An order may change `nextAt` while the lane waits.
      while (this.#row.nextAt === nextAt && mayWait()) {
        const wait = until - this.#clock.monotonic();
        // Clear the retry. Otherwise the lane would not be woken when the log grows.
        if (wait <= 0) this.#note({ nextAt: 0 });
        else yield* this.#wait(wait);
      }
    }
  }

  /** Updates withheld for a block that has ended become waiting exceptions. */
  #lookAtBlocks(): void {
    const now = this.#clock.monotonic();
    const { exceptions } = this.#log;
    if (now < this.#blocksAt || exceptions.isEmpty) return;
    const keys = exceptions.blockedKeys(this.name, BLOCKS_AT_ONCE);
    this.#blocksAt = keys.length === 0 ? now : now + BLOCKS_MS;
    for (const key of keys) {
      if (this.#queue.isBlocked(key)) continue;
      const updates = exceptions.unblocked(key, this.#clock.now());
      const about = { neighbour: this.name, updates, fingerprint: key };
      this.#diagnostics.report("reopened", { ...about, reason: "the block has ended" });
    }
  }

  /** Rule 7. */
  #obey({ until, words }: Pause): void {
    this.#isProbing = true;
    this.#save({ nextAt: until, lastError: words, lastErrorAt: this.#clock.now() });
  }

  /**
   * Rule 8: returns true if the lane had to wait for the rate. The caller then evaluates everything
   * again.
   */
  *#waitForRate(): LaneRun<boolean> {
    const wait = this.#bucket?.waitMs(this.#clock.monotonic()) ?? 0;
    if (wait > 0) yield* this.#wait(wait);
    return wait > 0;
  }

  /**
   * Rule 12: moves over entries that need no mail, or waits for more of them or for the path to
   * open.
   */
  *#rest(): LaneRun {
    if (this.#moveOver()) {
      yield { type: "turn" };
      return;
    }
    this.#isNapping = this.#log.newest() > this.#row.cursor;
    yield* this.#wait(this.#isNapping ? NAP_MS : Infinity);
    this.#isNapping = false;
  }

  /** Moves over at most a page of entries that need no mail. Returns false if there are none. */
  #moveOver(): boolean {
    const { cursor } = this.#row;
    const [next] = this.#queue.after(cursor, 1);
    if (next === undefined || !this.#needsNoMail(next)) return false;
    const passed: Entry[] = [];
    for (const entry of this.#queue.after(cursor)) {
      if (!this.#needsNoMail(entry)) break;
      passed.push(entry);
    }
    this.#save(doneWith((passed.at(-1) ?? next).seq), () => {
      for (const entry of passed) {
        if (this.#settings.observing || this.#queue.skips(entry, 0)) this.#passed(entry);
        else this.#report.of("unfetched", entry);
      }
    });
    return true;
  }

  #needsNoMail(entry: Entry): boolean {
    if (this.#settings.observing || this.#queue.skips(entry, 0)) return true;
    return this.#log.body(entry.seq) === undefined;
  }

  /** Serves the next update, or waits until there is one. */
  *#step(): LaneRun {
    const isServed = yield* this.#serveNext();
    if (!isServed) yield* this.#wait(this.#untilDue());
    else if (this.#isProbing && this.#row.nextAt === 0) {
      this.#isProbing = false;
      this.#save({ nextAt: this.#clock.now() + Math.min(PROBE_MS, this.#settings.retry[0]) });
    }
  }

  /** Time until the next action if the log does not grow. */
  #untilDue(): number {
    const next = this.#settings.observing ? undefined : this.#log.exceptions.next(this.name);
    const due = next === undefined ? Infinity : this.#waitMsFor(next);
    const blocks = this.#blocksAt - this.#clock.monotonic();
    return Math.min(due, blocks > 0 ? blocks : Infinity);
  }

  /** Time until an exception is due, bounded in case the clock has been set back. */
  #waitMsFor({ nextAt, at }: Exception): number {
    const now = this.#clock.now();
    return at > now + this.#longestMs() ? 0 : Math.max(0, nextAt - now);
  }

  /** Rule 7: returns the due exception, if it precedes new updates. */
  #dueException(isNewWaiting: boolean): Exception | undefined {
    if (this.#settings.observing || this.#row.part > 0) return undefined;
    const next = this.#log.exceptions.next(this.name);
    if (next === undefined || this.#waitMsFor(next) > 0) return undefined;
    const isDown = this.#row.failed > 1 || this.#row.refused >= REFUSALS;
    return isDown && isNewWaiting && next.reason !== "bounced" ? undefined : next;
  }

  /** Serves the next update that the site needs. Returns false if there is none. */
  *#serveNext(): LaneRun<boolean> {
    const { cursor, part, attempt, lastErrorAt } = this.#row;
    let page = this.#queue.after(cursor, NEXT);
    let due = this.#dueException(page.length > 0);
    while (due !== undefined && due.seq > cursor) {
      // It bounced although its answer was lost. It is sent in its turn.
      this.#log.exceptions.resent(this.name, due.seq);
      due = this.#dueException(page.length > 0);
    }
    if (due !== undefined) {
      const entry = this.#log.entry(due.seq);
      if (entry === undefined) this.#log.exceptions.settle(this.name, due.seq);
      else yield* this.#serve(entry, due);
      return true;
    }
    if (page.length === 0) return false;
    const passed: Entry[] = [];
    for (let entry = page[0]; entry !== undefined; entry = page[passed.length]) {
      if (!this.#queue.skips(entry, passed.length === 0 ? part : 0)) {
        this.#pass(passed, false);
        const isNew = this.#row.part === 0 && entry.seq > this.#aloneUpTo;
        const mayPack = isNew && attempt < PACK_TRIES && !this.#settings.observing;
        const load = mayPack ? this.#queue.load(entry, lastErrorAt) : undefined;
        yield* load === undefined ? this.#serve(entry) : this.#serveLoad(load);
        return true;
      }
      passed.push(entry);
      if (passed.length === NEXT) page = this.#queue.after(cursor);
    }
    this.#pass(passed, true);
    yield { type: "turn" };
    return true;
  }

  /**
   * Moves over updates that are not sent to the site. Without `must` the next `save` stores the
   * move.
   */
  #pass(passed: readonly Entry[], must: boolean): void {
    const last = passed.at(-1);
    if (last === undefined) return;
    const report = () => {
      for (const entry of passed) this.#passed(entry);
    };
    const isNoted = passed.some((entry) => this.#queue.withholds(entry) === "blocked");
    if (must || isNoted) return this.#save(doneWith(last.seq), report);
    this.#note(doneWith(last.seq));
    report();
  }

  /** Delivers an update. `again` is its exception, if it has one; the cursor then stays. */
  *#serve(entry: Entry, again?: Exception): LaneRun {
    const { exceptions } = this.#log;
    // A form received before a block is not sent, although a revocation may be.
    const mayOffer = again !== undefined && !this.#queue.isBlocked(entry.fingerprint);
    const offered = mayOffer ? exceptions.offerOf(this.name, entry.seq) : undefined;
    yield* this.#serveForm(entry, again, offered);
    if (offered === undefined || exceptions.offerOf(this.name, entry.seq) !== undefined) return;
    if (this.#isStopping || !this.#path.isOpen || this.#row.nextAt !== 0) return;
    // The offer has been answered. The update itself is sent at once, before another offer.
    const rest = exceptions.get(this.name, entry.seq);
    if (rest?.state === "waiting") yield* this.#serveForm(entry, rest);
  }

  /** Delivers an update as stored in the log, or the form `offered` instead. */
  *#serveForm(entry: Entry, again?: Exception, offered?: Uint8Array): LaneRun {
    const known = this.#log.skeletons.get(entry.fingerprint);
    const parts = this.#queue.parts(entry, offered);
    if (parts === undefined) {
      this.#write(() => this.#report.expired(entry));
      return this.#finish(entry, again);
    }
    if (parts.some(({ incomplete }) => incomplete)) this.#report.of("incomplete", entry);
    if (parts.some(({ oversized }) => oversized)) this.#report.of("oversized", entry);
    const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
    if (this.#settings.observing) {
      this.#report.of("would-send", entry, { mails: parts.length, bytes });
      return this.#finish(entry, again);
    }
    const from = again ? 0 : this.#row.part;
    let refusal = from > 0 ? this.#refusalOf(entry) : undefined;
    let proof: Delivered | undefined;
    const replies: string[] = [];
    for (const [index, part] of parts.entries()) {
      if (index < from) continue;
      if (this.#queue.withholds(entry) !== undefined) return this.#withheld(entry, again);
      const outcome = yield* this.#deliver(part, [entry], index === 0);
      if (outcome.kind === "temporary") return this.#failed(entry, again, outcome);
      if (outcome.kind === "delivered") {
        proof = outcome;
        replies.push(outcome.reply);
      }
      if (outcome.kind === "refused") refusal ??= again ? outcome : this.#refuse(entry, outcome);
      const isLast = index + 1 === parts.length;
      if (!isLast && !again) {
        const change = proof === outcome ? { lastSuccessAt: this.#clock.now() } : {};
        this.#save({ part: index + 1, attempt: 0, nextAt: 0, ...change });
      }
      if ((this.#isStopping || !this.#path.isOpen) && !isLast) return;
    }
    if (refusal !== undefined) {
      this.#refused(entry, refusal, again, offered);
      // The key was completed while the refused parts were in delivery.
      if (this.#queue.isStale(known, entry)) {
        const now = this.#clock.now();
        this.#write(() => this.#log.exceptions.completed(entry.fingerprint, now));
      }
      return;
    }
    if (proof === undefined) return this.#finish(entry, again);
    this.#took([entry], again, offered);
    // Each mail has a queue id of its own.
    const reply = [...new Set(replies)].join("; ");
    this.#report.sent(entry, parts.length, bytes, { ...proof, reply });
  }

  /** Rule 6. */
  *#serveLoad({ entries, last, passed, part }: Bundle): LaneRun {
    const [first] = entries;
    const outcome = yield* this.#deliver(part, entries, true);
    if (outcome.kind === "temporary" && (outcome.about === "neighbour" || this.#isStopping)) {
      return this.#putOff(first, outcome);
    }
    if (outcome.kind !== "delivered") {
      this.#aloneUpTo = last.seq;
      const { code, words } = outcome;
      this.#report.of("unpacked", first, { updates: entries.length, code, words });
      return;
    }
    this.#took(entries);
    for (const entry of passed) this.#write(() => this.#passed(entry));
    const share = Math.round(part.bytes / entries.length);
    for (const entry of entries) this.#report.sent(entry, 1, share, outcome, entries.length);
  }

  /** `isFirst`: the site has no part of the updates yet. */
  *#deliver(part: Part, entries: readonly Entry[], isFirst: boolean): LaneRun<Outcome> {
    this.#bucket?.take(this.#clock.monotonic());
    this.#isDelivering = true;
    const seqs = entries.map(({ seq }) => seq);
    this.#log.lanes.tries(this.name, seqs);
    const updates = isFirst ? entries.map(({ hash }) => hash) : [];
    try {
      const outcome = yield { type: "deliver", part, updates };
      if (outcome === undefined) throw new Error("a delivery without an outcome");
      return outcome;
    } finally {
      this.#log.lanes.tries(this.name);
      this.#isDelivering = false;
    }
  }

  /** Records that the site accepted these next updates, or one that was an exception. */
  #took(entries: readonly Entry[], again?: Exception, offered?: Uint8Array): void {
    const now = this.#clock.now();
    const { failed, refused, badSince } = this.#row;
    const [wasDown, refusedAll] = [failed > 1, refused >= REFUSALS];
    const { exceptions } = this.#log;
    const change = { lastSuccessAt: now, failed: 0, refused: 0, badSince: 0 };
    const last = entries.at(-1);
    if (last === undefined) return;
    const place = again ? { attempt: 0, nextAt: 0 } : doneWith(last.seq);
    let updates = 0;
    this.#save({ ...place, ...change }, () => {
      for (const entry of entries) this.#settle(entry, again, offered);
      if (wasDown || refusedAll) {
        updates = exceptions.recovered(this.name, badSince, now, refusedAll);
      }
    });
    if (updates === 0) return;
    const reason = "the site takes updates again";
    this.#diagnostics.report("reopened", { neighbour: this.name, updates, reason });
  }

  /**
   * Ends the exceptions whose content the site has accepted completely, in the entry or in the
   * offer.
   */
  #settle(entry: Entry, again: Exception | undefined, offered: Uint8Array | undefined): void {
    const { exceptions } = this.#log;
    const rows = exceptions.ofKey(this.name, entry.fingerprint);
    if (rows.length === 0) return;
    const taken = offered ?? this.#log.body(entry.seq);
    for (const row of rows) {
      const isIt = row.seq === again?.seq;
      if (isIt && offered === undefined) {
        // A mail that bounced once may bounce again.
        if (row.reason === "bounced") exceptions.resent(this.name, row.seq);
        else exceptions.settle(this.name, row.seq);
      } else if (taken !== undefined && isCovered(this.#log.body(row.seq), taken)) {
        exceptions.settle(this.name, row.seq);
      } else if (isIt) this.#answered(row);
    }
  }

  /** The offer has been answered. The update itself is next, unless it was given up. */
  #answered(row: Exception): void {
    const state = row.reason === "skipped" ? "withheld" : "waiting";
    this.#log.exceptions.set({ ...row, state, nextAt: this.#clock.now() });
    this.#log.exceptions.dropOffer(this.name, row.seq);
  }

  /** Handles a temporary failure of an update. */
  #failed(entry: Entry, again: Exception | undefined, outcome: Temporary): void {
    // A delivery aborted by the shutdown of the gateway is not a failure of the site.
    if (this.#isStopping) return;
    if (outcome.about === "neighbour") return this.#putOff(entry, outcome);
    if (again !== undefined) return this.#failedAgain(entry, again, outcome);
    const { seq } = entry;
    const count = (this.#tries.seq === seq ? this.#tries.count : 0) + 1;
    this.#tries = { seq, count };
    if (this.#row.failed === 0 && count < UPDATE_TRIES) {
      const { retry } = this.#settings;
      const wait = Math.min(SHORT_MS, delayMs(retry, count - 1, this.#clock.random()));
      return this.#putOff(entry, outcome, wait);
    }
    this.#setAside(entry, outcome, count);
  }

  /** Rule 4. */
  #setAside(entry: Entry, outcome: Temporary, count: number): void {
    const { retry } = this.#settings;
    const now = this.#clock.now();
    const failed = this.#row.failed + 1;
    const isDown = failed > 1;
    const wait = isDown ? delayMs(retry, failed - 2, this.#clock.random()) : 0;
    const own = delayMs(retry, 0, this.#clock.random());
    const place = isDown ? { attempt: failed - 1, nextAt: now + wait } : {};
    const error = { lastError: outcome.words, lastErrorAt: now };
    const change = { ...doneWith(entry.seq), ...place, ...error, failed };
    this.#save({ ...change, badSince: this.#row.badSince || now }, () =>
      this.#report.setAside(entry, outcome, count, own),
    );
    if (!isDown) return;
    const { code, words } = outcome;
    const event = failed > retry.length ? "stalled" : "retry";
    this.#report.of(event, entry, { code, words, attempt: failed - 1, waitMs: wait });
  }

  /** An exception failed again. Its own schedule continues. */
  #failedAgain(entry: Entry, again: Exception, { code = 0, words }: Temporary): void {
    const { retry } = this.#settings;
    const now = this.#clock.now();
    const tries = again.tries + 1;
    const wait = delayMs(retry, tries - 1, this.#clock.random());
    // If the clock was set back, a date in the future would mean "due now".
    const at = Math.min(again.at, now);
    const row = { ...again, at, code, text: words, tries, nextAt: now + wait };
    this.#save({ attempt: 0, nextAt: 0, lastError: words, lastErrorAt: now }, () => {
      this.#log.exceptions.set(row);
    });
    const event = tries >= retry.length ? "stalled" : "retry";
    this.#report.of(event, entry, { code, words, attempt: tries, waitMs: wait });
  }

  /**
   * Returns the recorded refusal of earlier parts. The site does not have all of the update,
   * whatever its reply to the other parts.
   */
  #refusalOf({ seq }: Entry): Refused | undefined {
    const row = this.#log.exceptions.get(this.name, seq);
    if (row === undefined) return undefined;
    return { kind: "refused", code: row.code, words: row.text, isOfKey: true };
  }

  /**
   * Records the refusal of a part of a new update. For an update that is sent again, the row
   * changes after all parts are answered, so that a restart in between sends all of them.
   */
  #refuse(entry: Entry, outcome: Refused): Refused {
    this.#write(() => this.#report.refused(entry, "refused", outcome));
    this.#note({ lastError: outcome.words, lastErrorAt: this.#clock.now() });
    return outcome;
  }

  /** Rule 5. A refusal applies to the form that was sent: the update itself or the offer. */
  #refused(entry: Entry, outcome: Refused, again?: Exception, offered?: Uint8Array): void {
    const { code, words, isOfKey = false } = outcome;
    const { exceptions } = this.#log;
    const now = this.#clock.now();
    const refused = this.#row.refused + (isOfKey ? 0 : 1);
    const steps = refused - REFUSALS;
    const wait = steps < 0 ? 0 : delayMs(this.#settings.retry, steps, this.#clock.random());
    const place =
      steps < 0 ? { attempt: 0, nextAt: 0 } : { attempt: steps + 1, nextAt: now + wait };
    const error = again ? { lastError: words, lastErrorAt: now } : doneWith(entry.seq);
    this.#save({ ...error, ...place, refused, badSince: this.#row.badSince || now }, () => {
      if (again) this.#report.refused(entry, "refused", outcome);
      if (again && offered) this.#answered(again);
      else if (exceptions.offerOf(this.name, entry.seq)) this.#waitForOffer(entry);
    });
    if (steps !== 0 || isOfKey) return;
    const about = { neighbour: this.name, updates: refused };
    this.#diagnostics.report("refuses-all", { ...about, code, words });
  }

  /** Another form of the key arrived during the delivery. It is due in an hour. */
  #waitForOffer({ seq }: Entry): void {
    const { exceptions } = this.#log;
    const row = exceptions.get(this.name, seq);
    const nextAt = this.#clock.now() + EXCEPTION_LIMITS.everyMs;
    if (row) exceptions.set({ ...row, state: "waiting", nextAt });
  }

  /** The update is sent to no site any more, even if partly sent. */
  #withheld(entry: Entry, again: Exception | undefined): void {
    if (again === undefined) return this.#save(doneWith(entry.seq), () => this.#passed(entry));
    // A trail does not settle an exception. A row that stayed due would be served without end.
    if (this.#queue.withholds(entry) === "blocked") return this.#report.blocked(entry);
    this.#passed(entry);
    this.#log.exceptions.settle(this.name, entry.seq);
  }

  /** The update needs no further action. */
  #finish({ seq }: Entry, again: Exception | undefined): void {
    if (again === undefined) return this.#save(doneWith(seq));
    this.#log.exceptions.settle(this.name, seq);
    this.#save({ attempt: 0, nextAt: 0 });
  }

  /** Rule 3. `shortly` is the delay for an update that failed for a reason of its own. */
  #putOff(entry: Entry, outcome: Temporary, shortly?: number): void {
    if (this.#isStopping) return;
    const { retry } = this.#settings;
    const now = this.#clock.now();
    const { attempt } = this.#row;
    const wait = shortly ?? delayMs(retry, attempt, this.#clock.random());
    const { code, words } = outcome;
    const isLong = shortly === undefined && attempt + 1 >= retry.length;
    const event = isLong ? "stalled" : "retry";
    this.#report.of(event, entry, { code, words, attempt: attempt + 1, waitMs: wait });
    const error = { lastError: words, lastErrorAt: now };
    this.#save({ attempt: attempt + 1, nextAt: now + wait, ...error });
  }

  /** The update is not sent to the site: the site has it, or it is withheld. */
  #passed(entry: Entry): void {
    const reason = this.#queue.withholds(entry);
    const isNoted = reason === "blocked" && !this.#settings.observing;
    if (isNoted && !this.#log.pending.has(this.#settings, entry)) this.#report.blocked(entry);
    else this.#report.passed(entry, reason);
  }

  /** Changes the row. The next `save` stores it. Only `resume` ends a pause. */
  #note(change: Partial<LaneRow>): void {
    const held = this.#isPaused ? { nextAt: PAUSED_AT } : {};
    this.#row = { ...this.#row, ...change, ...held };
  }

  /**
   * Changes the row and stores it together with the writes of `also`. Throws `Trouble`. The row in
   * memory is changed nevertheless, and the next call stores it with these writes.
   */
  #save(change: Partial<LaneRow>, also?: () => void): void {
    this.#note(change);
    if (also !== undefined) this.#unsaved.push(also);
    this.#isStored = false;
    this.#log.lanes.save(this.name, this.#row, () => {
      for (const write of this.#unsaved) write();
    });
    this.#written.push(...this.#unsaved);
    this.#unsaved = [];
    this.#isStored = true;
  }

  /** Writes at once, and again with the row if the transaction fails later. Throws `Trouble`. */
  #write(work: () => void): void {
    work();
    this.#written.push(work);
  }

  /** The longest delay of the schedule. */
  #longestMs(): number {
    return delayMs([Math.max(...this.#settings.retry)], 0, 1);
  }
}

/** Returns the status of a lane from the log. It also works while no gateway is running. */
export function laneStatus(
  log: Pick<UpdateLog, "exceptions" | "pending">,
  { name, address }: Site,
  row: LaneRow,
): LaneStatus {
  const { cursor, attempt, nextAt, lastError, lastErrorAt, lastSuccessAt } = row;
  const { count: backlog, oldest } = log.pending.of({ name, address });
  const isPaused = nextAt === PAUSED_AT;
  const last = { lastError, lastErrorAt, lastSuccessAt };
  const site = { name, address, cursor, backlog, oldest, attempt, ...last };
  const exceptions = log.exceptions.counts(name);
  const refusesAll = row.refused >= REFUSALS;
  return { ...site, isPaused, nextAt: isPaused ? 0 : nextAt, exceptions, refusesAll };
}

/** The position of a lane after an entry that needs no further action, with no retry pending. */
function doneWith(seq: Seq): Partial<LaneRow> {
  return { cursor: seq, part: 0, attempt: 0, nextAt: 0 };
}
