/**
 * The lane of one mail site, or of the local keyserver: it reads the log from the site's own cursor
 * and has its delivery method bring each update that the site does not have. Lanes are independent,
 * so a dead site delays nobody. A part may be a mail, a file or a request.
 *
 * A machine without timers and promises: `run` yields what the lane waits for, a time, a turn of
 * the event loop or the outcome of a delivery, and `lane-driver.ts` or the simulation resumes it.
 * Between two yields nothing else runs. The log is written synchronously, in between.
 *
 *  1. An update is skipped when the site is in its trail or was its source. What others claim of
 *     the site counts before the first try only (`log/trail.ts`). A forgotten update is skipped as
 *     well, half sent or not; one of a blocked key is withheld until it is unblocked.
 *  2. One part at a time, so that each answer belongs to one mail. The cursor moves after the part
 *     was taken: a crash in between repeats one part and never loses one.
 *  3. A failure of the neighbour is tried again by the schedule; the lane waits, and order is kept.
 *     When the schedule has run out its last delay repeats and the operator is told.
 *  4. A failure of the update is tried `UPDATE_TRIES` times after short delays. Then the update
 *     becomes a waiting exception with a schedule of its own, and the next one is tried. When that
 *     fails as well, the neighbour is down: one update at a time is tried by the schedule, each
 *     time the next one, so that no update stops the lane. The first success ends this, and what
 *     failed since then is tried at once. An update may so be overtaken by a later one of its key,
 *     which makes no difference, since a keyserver merges both.
 *  5. An update that was read and refused for good becomes a refused exception, and the lane goes
 *     on at once. After `REFUSALS` in a row the site refuses all: one at a time is tried by the
 *     schedule, and when one is taken, the refused ones of that run are tried again, once. A
 *     refusal that names the key does not count: a server may ignore many keys in a row.
 *  6. When a site is behind, updates go together where the delivery method packs them. When the
 *     site refuses them for good, or fails on them, they go one by one, which shows the update that
 *     is at fault. After `PACK_TRIES` failures of the neighbour in a row one goes alone, in case
 *     the mail makes it fail.
 *  7. Exceptions that are due go before what is new, but while the site is down or refuses all.
 *     After what came back (`bounces.ts`) the lane waits once more, for as long as a mail takes to
 *     come back.
 *  8. No more parts than the site's rate, where it has one.
 *  9. The lane's state is in the log, so that a restart neither hurries nor forgets a retry.
 * 10. The operator's orders change the same state: a pause is a retry that never comes.
 * 11. In observe mode the lane reports what it would have sent and moves on.
 * 12. A lane whose path is shut (`path.ts`) sends nothing, since KX carries the updates. It moves
 *     over those that the site is known to have, which KX notes in the trail, and stops at the
 *     first other one until that is noted or its body expires. When the path opens it goes on
 *     there.
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

/** What a lane waits for. */
export type LaneStep =
  /** So many milliseconds, or until it is woken; Infinity: until it is woken. */
  | { readonly type: "wait"; readonly ms: number }
  /** A turn of the event loop, so that a long log does not keep others from theirs. */
  | { readonly type: "turn" }
  /** The outcome of a delivery. `updates`: those of which the site has no part yet. */
  | { readonly type: "deliver"; readonly part: Part; readonly updates: readonly UpdateHash[] };

/** Yields steps; resumed with the outcome of a delivery, or with nothing after a wait or a turn. */
export type LaneRun<T = void> = Generator<LaneStep, T, Outcome | undefined>;

/** Who a lane serves and how, from the config. */
export interface LaneSettings extends Site {
  readonly retry: Schedule;
  readonly observing: boolean;
  /** Most parts in a time; undefined for as many as it takes. */
  readonly rate?: Rate | undefined;
  /** Names of all sites of the config: a lane of another name and this address is this one. */
  readonly names?: readonly string[];
  /** What may leave; without it everything. */
  readonly rules?: Rules | undefined;
  /** Undefined for a lane that is always open. */
  readonly path?: PathSettings;
}

export interface LaneComponents {
  readonly log: LaneLog;
  readonly method: DeliveryMethod;
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
  /** Reports trouble of the log; one for all lanes of a door. */
  readonly guard?: LogGuard;
}

/** What a lane uses of the log. */
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

/** One site as the operator sees it. */
export interface LaneStatus extends Site {
  readonly cursor: number;
  /** Updates that the site still needs. */
  readonly backlog: number;
  /** When the first of them was received, milliseconds since 1970; 0 when there is none. */
  readonly oldest: number;
  readonly attempt: number;
  readonly nextAt: number;
  readonly lastError: string;
  readonly lastErrorAt: number;
  readonly lastSuccessAt: number;
  readonly isPaused: boolean;
  /** What it did not take, by state. */
  readonly exceptions: ExceptionCounts;
  /** Whether it has refused everything for a while. */
  readonly refusesAll: boolean;
  /** Undefined when no gateway runs. */
  readonly path?: PathStatus;
}

/** `nextAt` of a lane that the operator paused: kept over a restart, and no clock gets there. */
export const PAUSED_AT = 8_640_000_000_000_000;
/** How long to wait before the log is tried again when it cannot be read or written. */
const TROUBLE_MS = 5000;
/** Rule 4: of one update, and the longest delay between them. */
const UPDATE_TRIES = 3;
const SHORT_MS = 5000;
/** Rule 5. */
const REFUSALS = 20;
/** Rule 6. */
const PACK_TRIES = 3;
/** How often withheld updates are looked at whether the block of their key has ended. */
const BLOCKS_MS = 60 * 60_000;
const BLOCKS_AT_ONCE = 1000;
/** Rule 7: most mail systems know within a minute. */
const PROBE_MS = 60_000;
/** Rule 12: how often a shut lane looks whether the site has what it lacked: one fsync each. */
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
  /** False from a failure of the log on, until the row is stored again. */
  #isStored = true;
  /**
   * What is to be written with the row: also after a failure of the log, since the row has moved
   * over the update that it is about. A lane does nothing before it is stored.
   */
  #unsaved: (() => void)[] = [];
  #isPaused: boolean;
  #isStopping = false;
  #isDelivering = false;
  /** Rule 4: how often the next update has failed for itself. */
  #tries = { seq: 0, count: 0 };
  /** When to look at blocks again, by the monotonic clock. */
  #blocksAt = 0;
  /** Up to this entry each update goes alone, because the site refused them together. */
  #aloneUpTo = 0;
  /** What is sent next shows whether the site takes mail again. */
  #isProbing = false;
  /** Rule 12: the lane looks again by itself. */
  #isNapping = false;

  /** Reads the stored state, or creates it. Throws `Trouble`. */
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
    // A retry that is further away than any delay was put off by a clock that was ahead.
    const latest = clock.now() + this.#longestMs();
    if (!this.#isPaused && this.#row.nextAt > latest) this.#save({ nextAt: latest });
  }

  get name(): string {
    return this.#settings.name;
  }

  /** Whether mail may leave now (rule 12). */
  get isOpen(): boolean {
    return this.#path.isOpen;
  }

  /** Whether to wake it when the log grew: not when it waits for a time or looks by itself. */
  get readsOn(): boolean {
    return !this.#isNapping && (this.#row.nextAt === 0 || !this.#path.isOpen);
  }

  status(): LaneStatus {
    const { name, address } = this.#settings;
    return { ...laneStatus(this.#log, { name, address }, this.#row), path: this.#path.status() };
  }

  // Orders. After `session`, `resume`, `skip` and `stop` the driver ends the wait under way; a
  // delivery is finished first.

  /** A KX session with the neighbour began, or the last one ended. */
  session(isUp: boolean): void {
    this.#path.session(isUp);
  }

  /** Sends nothing more, over restarts too, until `resume`. Throws `Trouble`. */
  pause(): void {
    this.#isPaused = true;
    this.#save({});
    this.#diagnostics.report("paused", { neighbour: this.name });
  }

  /** Ends a pause, and whatever else is waited for. Throws `Trouble`. */
  resume(): void {
    if (this.#isPaused) this.#diagnostics.report("resumed", { neighbour: this.name });
    this.#isPaused = false;
    this.#save({ nextAt: 0 });
  }

  /**
   * Gives up an update: the next one that the site needs, or one that waits as an exception. False
   * when `seq` is neither, or a delivery is under way. Throws `Trouble`.
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
   * Sends exceptions again: one, all, or without `which` those that wait anyway. Returns how many
   * there are. Throws `Trouble`.
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

  /** `run` ends after the part under way. */
  stop(): void {
    this.#isStopping = true;
  }

  /** The next update after the cursor that leaves. */
  #next(): Entry | undefined {
    for (const seq of this.#log.pending.seqs(this.#settings)) {
      if (seq <= this.#row.cursor) continue;
      const entry = this.#log.entry(seq);
      if (entry !== undefined && this.#queue.withholds(entry) === undefined) return entry;
    }
    return undefined;
  }

  /** The life of the lane; ends after `stop`. Only one run at a time. */
  *run(): LaneRun {
    while (!this.#isStopping) {
      try {
        this.#path.report();
        if (this.#path.isOpen) yield* this.#waitForRetry();
        if (this.#isStopping) break;
        // A row that was lost is stored, else a mail would go out again while the disk is full.
        if (!this.#isStored) this.#save({});
        this.#lookAtBlocks();
        const pause = this.#bounceHandler.absorb(this.#row.cursor);
        if (pause !== undefined) this.#obey(pause);
        else if (!this.#path.isOpen) yield* this.#rest();
        else if (!(yield* this.#waitForRate())) yield* this.#step();
      } catch (error) {
        this.#guard.tell(error);
        this.#isStored = false;
        yield { type: "wait", ms: TROUBLE_MS };
      }
    }
  }

  /** Waits at most `ms`, and no longer than until the path changes. */
  *#wait(ms: number): LaneRun {
    yield { type: "wait", ms: Math.min(ms, this.#path.waitMs()) };
    this.#path.report();
  }

  /** Waits until nothing is put off or paused any more, the path is shut, or the lane stops. */
  *#waitForRetry(): LaneRun {
    const mayWait = () => !this.#isStopping && this.#path.isOpen;
    while (this.#row.nextAt !== 0 && mayWait()) {
      const { nextAt } = this.#row;
      // Bounded by the longest delay of the schedule, in case the clock was set back meanwhile.
      const put = Math.min(nextAt - this.#clock.now(), this.#longestMs());
      const until = this.#isPaused ? Infinity : this.#clock.monotonic() + put;
      // An order may change `nextAt` while the lane waits.
      while (this.#row.nextAt === nextAt && mayWait()) {
        const wait = until - this.#clock.monotonic();
        // From here on nothing is put off: else the lane would not be woken when the log grows.
        if (wait <= 0) this.#note({ nextAt: 0 });
        else yield* this.#wait(wait);
      }
    }
  }

  /** What was withheld for blocks that have ended meanwhile waits from now on. */
  #lookAtBlocks(): void {
    const now = this.#clock.monotonic();
    if (now < this.#blocksAt) return;
    const { exceptions } = this.#log;
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

  /** Rule 8: true when no part was allowed yet and the lane waited; then it looks at all anew. */
  *#waitForRate(): LaneRun<boolean> {
    const wait = this.#bucket?.waitMs(this.#clock.monotonic()) ?? 0;
    if (wait > 0) yield* this.#wait(wait);
    return wait > 0;
  }

  /** Rule 12: moves over what needs no mail, or waits for more of it or for the path to open. */
  *#rest(): LaneRun {
    if (this.#moveOver()) {
      yield { type: "turn" };
      return;
    }
    this.#isNapping = this.#log.newest() > this.#row.cursor;
    yield* this.#wait(this.#isNapping ? NAP_MS : Infinity);
    this.#isNapping = false;
  }

  /** Moves over what needs no mail, at most a page; false when there is nothing to move over. */
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

  /** Serves what is next, or waits until there is something. */
  *#step(): LaneRun {
    const isServed = yield* this.#serveNext();
    if (!isServed) yield* this.#wait(this.#untilDue());
    else if (this.#isProbing && this.#row.nextAt === 0) {
      this.#isProbing = false;
      this.#save({ nextAt: this.#clock.now() + Math.min(PROBE_MS, this.#settings.retry[0]) });
    }
  }

  /** How long nothing has to be done unless the log grows. */
  #untilDue(): number {
    const next = this.#settings.observing ? undefined : this.#log.exceptions.next(this.name);
    const due = next === undefined ? Infinity : this.#waitMsFor(next);
    const blocks = this.#blocksAt - this.#clock.monotonic();
    return Math.min(due, blocks > 0 ? blocks : Infinity);
  }

  /** Bounded by the longest delay of the schedule, in case the clock was set back meanwhile. */
  #waitMsFor({ nextAt, at }: Exception): number {
    const now = this.#clock.now();
    return at > now + this.#longestMs() ? 0 : Math.max(0, nextAt - now);
  }

  /** Rule 7: the exception that is due, where it goes first. */
  #dueException(isNewWaiting: boolean): Exception | undefined {
    if (this.#settings.observing || this.#row.part > 0) return undefined;
    const next = this.#log.exceptions.next(this.name);
    if (next === undefined || this.#waitMsFor(next) > 0) return undefined;
    const isDown = this.#row.failed > 1 || this.#row.refused >= REFUSALS;
    return isDown && isNewWaiting && next.reason !== "bounced" ? undefined : next;
  }

  /** Serves the next update that the site needs; false when there is none. */
  *#serveNext(): LaneRun<boolean> {
    const { cursor, part, attempt, lastErrorAt } = this.#row;
    const page = this.#queue.after(cursor);
    const due = this.#dueException(page.length > 0);
    if (due !== undefined) {
      const entry = this.#log.entry(due.seq);
      if (entry === undefined) this.#log.exceptions.settle(this.name, due.seq);
      else yield* this.#serve(entry, due);
      return true;
    }
    if (page.length === 0) return false;
    const passed: Entry[] = [];
    for (const [index, entry] of page.entries()) {
      if (!this.#queue.skips(entry, index === 0 ? part : 0)) {
        this.#pass(passed, false);
        const isNew = this.#row.part === 0 && entry.seq > this.#aloneUpTo;
        const mayPack = isNew && attempt < PACK_TRIES && !this.#settings.observing;
        const load = mayPack ? this.#queue.load(page.slice(index), lastErrorAt) : undefined;
        yield* load === undefined ? this.#serve(entry) : this.#serveLoad(load);
        return true;
      }
      passed.push(entry);
    }
    this.#pass(passed, true);
    yield { type: "turn" };
    return true;
  }

  /** Moves over updates that the site is not sent; without `must` the next `save` stores it. */
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

  /** Delivers an update; `again` is its exception when it has one, and the cursor stays then. */
  *#serve(entry: Entry, again?: Exception): LaneRun {
    const { exceptions } = this.#log;
    // What came before a block does not leave, although a revocation may.
    const mayOffer = again !== undefined && !this.#queue.isBlocked(entry.fingerprint);
    const offered = mayOffer ? exceptions.offerOf(this.name, entry.seq) : undefined;
    yield* this.#serveForm(entry, again, offered);
    if (offered === undefined || exceptions.offerOf(this.name, entry.seq) !== undefined) return;
    if (this.#isStopping || !this.#path.isOpen || this.#row.nextAt !== 0) return;
    // The offer has its answer. The update itself goes at once, before something else is offered.
    const rest = exceptions.get(this.name, entry.seq);
    if (rest?.state === "waiting") yield* this.#serveForm(entry, rest);
  }

  /** Delivers an update as it is in the log, or `offered` instead of it. */
  *#serveForm(entry: Entry, again?: Exception, offered?: Uint8Array): LaneRun {
    const known = this.#log.skeletons.get(entry.fingerprint);
    const parts = this.#queue.parts(entry, offered);
    if (parts === undefined) {
      this.#report.expired(entry);
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
    for (const [index, part] of parts.entries()) {
      if (index < from) continue;
      if (this.#queue.withholds(entry) !== undefined) return this.#withheld(entry, again);
      const outcome = yield* this.#deliver(part, [entry], index === 0);
      if (outcome.kind === "temporary") return this.#failed(entry, again, outcome);
      if (outcome.kind === "delivered") proof = outcome;
      else refusal ??= again ? outcome : this.#refuse(entry, outcome);
      const isLast = index + 1 === parts.length;
      if (!isLast && !again) {
        const change = proof === outcome ? { lastSuccessAt: this.#clock.now() } : {};
        this.#save({ part: index + 1, attempt: 0, nextAt: 0, ...change });
      }
      if ((this.#isStopping || !this.#path.isOpen) && !isLast) return;
    }
    if (refusal !== undefined) {
      this.#refused(entry, refusal, again, offered);
      // More of the key came while the refused parts were on their way.
      if (this.#queue.isStale(known, entry)) {
        this.#log.exceptions.completed(entry.fingerprint, this.#clock.now());
      }
      return;
    }
    if (proof === undefined) return this.#finish(entry, again);
    this.#took([entry], again, offered);
    this.#report.sent(entry, parts.length, bytes, proof);
  }

  /** Rule 6. */
  *#serveLoad({ entries, last, passed, part }: Bundle): LaneRun {
    const [first] = entries;
    const outcome = yield* this.#deliver(part, entries, true);
    const isOfMail = outcome.kind === "refused" || outcome.kind === "temporary";
    if (outcome.kind === "temporary" && (outcome.about === "neighbour" || this.#isStopping)) {
      return this.#putOff(first, outcome);
    }
    if (isOfMail) {
      this.#aloneUpTo = last.seq;
      const { code, words } = outcome;
      this.#report.of("unpacked", first, { updates: entries.length, code, words });
      return;
    }
    this.#took(entries);
    for (const entry of passed) this.#passed(entry);
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

  /** The site took all of these, which are next, or one that was an exception. */
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

  /** Ends the exceptions of which the site took all, in the entry or in what was offered. */
  #settle(entry: Entry, again: Exception | undefined, offered: Uint8Array | undefined): void {
    const { exceptions } = this.#log;
    const rows = exceptions.ofKey(this.name, entry.fingerprint);
    if (rows.length === 0) return;
    const taken = offered ?? this.#log.body(entry.seq);
    for (const row of rows) {
      const isIt = row.seq === again?.seq;
      if (isIt && offered === undefined) {
        // A mail that has come back may come back again.
        if (row.reason === "bounced") exceptions.resent(this.name, row.seq);
        else exceptions.settle(this.name, row.seq);
      } else if (taken !== undefined && isCovered(this.#log.body(row.seq), taken)) {
        exceptions.settle(this.name, row.seq);
      } else if (isIt) this.#answered(row);
    }
  }

  /** What was offered has its answer: the update itself goes next, unless it was given up. */
  #answered(row: Exception): void {
    const state = row.reason === "skipped" ? "withheld" : "waiting";
    this.#log.exceptions.set({ ...row, state, nextAt: this.#clock.now() });
    this.#log.exceptions.dropOffer(this.name, row.seq);
  }

  /** An update failed for now. */
  #failed(entry: Entry, again: Exception | undefined, outcome: Temporary): void {
    // A delivery that was broken off because the gateway stops is no failure of the site.
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

  /** An exception failed once more: its own schedule goes on. */
  #failedAgain(entry: Entry, again: Exception, { code = 0, words }: Temporary): void {
    const { retry } = this.#settings;
    const now = this.#clock.now();
    const tries = again.tries + 1;
    const wait = delayMs(retry, tries - 1, this.#clock.random());
    // After the clock was set back, a date that it has not reached again would mean "now".
    const at = Math.min(again.at, now);
    const row = { ...again, at, code, text: words, tries, nextAt: now + wait };
    this.#save({ attempt: 0, nextAt: 0, lastError: words, lastErrorAt: now }, () => {
      this.#log.exceptions.set(row);
    });
    const event = tries >= retry.length ? "stalled" : "retry";
    this.#report.of(event, entry, { code, words, attempt: tries, waitMs: wait });
  }

  /**
   * What is on record of parts that went before: the site does not have all of the update, whatever
   * it says of the other parts.
   */
  #refusalOf({ seq }: Entry): Refused | undefined {
    const row = this.#log.exceptions.get(this.name, seq);
    if (row === undefined) return undefined;
    return { kind: "refused", code: row.code, words: row.text, isOfKey: true };
  }

  /**
   * Records the refusal of a part of a new update. Of one that is sent again the row changes when
   * all parts are answered, so that a restart in between sends all of them.
   */
  #refuse(entry: Entry, outcome: Refused): Refused {
    this.#report.refused(entry, "refused", outcome);
    this.#note({ lastError: outcome.words, lastErrorAt: this.#clock.now() });
    return outcome;
  }

  /** Rule 5. A refusal is about the form that was sent, the update itself or what was offered. */
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

  /** Another form of the key came while the update was on its way, and is due in an hour. */
  #waitForOffer({ seq }: Entry): void {
    const { exceptions } = this.#log;
    const row = exceptions.get(this.name, seq);
    const nextAt = this.#clock.now() + EXCEPTION_LIMITS.everyMs;
    if (row) exceptions.set({ ...row, state: "waiting", nextAt });
  }

  /** Nobody gets the update any more, half sent or not. */
  #withheld(entry: Entry, again: Exception | undefined): void {
    if (again === undefined) return this.#save(doneWith(entry.seq), () => this.#passed(entry));
    this.#passed(entry);
    const isBlocked = this.#queue.withholds(entry) === "blocked";
    if (!isBlocked) this.#log.exceptions.settle(this.name, entry.seq);
  }

  /** An update needs nothing more. */
  #finish({ seq }: Entry, again: Exception | undefined): void {
    if (again === undefined) return this.#save(doneWith(seq));
    this.#log.exceptions.settle(this.name, seq);
    this.#save({ attempt: 0, nextAt: 0 });
  }

  /** Rule 3; `shortly` is the delay of an update that failed for itself. */
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

  /** The site is not sent an update: it has it, or nobody gets it. */
  #passed(entry: Entry): void {
    const reason = this.#queue.withholds(entry);
    const isNoted = reason === "blocked" && !this.#settings.observing;
    if (isNoted && !this.#log.pending.has(this.#settings, entry)) this.#report.blocked(entry);
    else this.#report.passed(entry, reason);
  }

  /** Changes the row; the next `save` stores it. A pause outlasts every change but `resume`. */
  #note(change: Partial<LaneRow>): void {
    const held = this.#isPaused ? { nextAt: PAUSED_AT } : {};
    this.#row = { ...this.#row, ...change, ...held };
  }

  /**
   * Changes the row and stores it, with what `also` writes. Throws `Trouble`; the row is changed
   * nevertheless, and the next call stores it with what `also` writes.
   */
  #save(change: Partial<LaneRow>, also?: () => void): void {
    this.#note(change);
    if (also !== undefined) this.#unsaved.push(also);
    this.#isStored = false;
    this.#log.lanes.save(this.name, this.#row, () => {
      for (const write of this.#unsaved) write();
    });
    this.#unsaved = [];
    this.#isStored = true;
  }

  /** The longest delay of the schedule. */
  #longestMs(): number {
    return delayMs([Math.max(...this.#settings.retry)], 0, 1);
  }
}

/** The status of a lane out of the log, as it is also while no gateway runs. */
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

/** The lane's position after an entry that needs nothing more, with no retry pending. */
function doneWith(seq: Seq): Partial<LaneRow> {
  return { cursor: seq, part: 0, attempt: 0, nextAt: 0 };
}
