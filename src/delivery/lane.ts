/**
 * The lane of one mail site, or of the local keyserver: it reads the log from the site's own cursor
 * and has its delivery method bring each update that the site does not have. Lanes are independent,
 * so a dead site delays nobody. A part may be a mail, a file or a request.
 *
 * A machine without timers and promises: `run` yields what the lane waits for, a time, a turn of
 * the event loop or the outcome of a delivery, and `lane-driver.ts` or the simulation resumes it.
 * Between two yields nothing else runs. The log is written synchronously, in between.
 *
 *  1. An update is skipped when the site is in its trail or was its source. A later announcement
 *     or duplicate counts too, since its trail is merged into the log's. An update that was blocked
 *     or forgotten since is skipped as well, half sent or not.
 *  2. One part at a time, so that each answer belongs to one mail. The cursor moves after the part
 *     was taken: a crash in between repeats one part and never loses one.
 *  3. A temporary failure is tried again by the schedule; the lane waits, and order is kept. When
 *     the schedule has run out its last delay repeats and the operator is told: nothing is dropped.
 *  4. A part that was read and refused for good is recorded and passed over, else one key that a
 *     site cannot take would stop all that come after it. After `REFUSALS` in a row the fault is
 *     the site's and not the mails': each further one is tried through the schedule first. A
 *     refusal in which the receiver names the key does not count: Hockeypuck may ignore many.
 *  5. When a site is behind, updates go together where the delivery method packs them. When the
 *     site refuses them for good they go one by one, which shows the update that is at fault. After
 *     `PACK_TRIES` failures in a row one goes alone, in case the mail makes the site fail.
 *  6. What came back after it was taken is sent again before anything new (`bounces.ts`). Then the
 *     lane waits once more, for as long as a mail takes to come back.
 *  7. No more parts than the site's rate, where it has one.
 *  8. The lane's state is in the log, so that a restart neither hurries nor forgets a retry.
 *  9. The operator's orders change the same state: a pause is a retry that never comes.
 * 10. In observe mode the lane reports what it would have sent and moves on.
 * 11. A lane whose path is shut (`path.ts`) sends nothing, since KX carries the updates. It moves
 *     over those that the site is known to have, which KX notes in the trail, and stops at the
 *     first other one until that is noted or its body expires. When the path opens it goes on
 *     there.
 */
import type { Clock } from "../clock.js";
import type { Diagnostics } from "../diagnostics.js";
import type { LaneRow } from "../log/lanes.js";
import type { Site } from "../log/pending.js";
import type { Entry, UpdateLog } from "../log/update-log.js";
import { LogGuard } from "../log-guard.js";
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
  | "lanes"
  | "lookup"
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
  /** Undefined when no gateway runs. */
  readonly path?: PathStatus;
}

/** `nextAt` of a lane that the operator paused: kept over a restart, and no clock gets there. */
export const PAUSED_AT = 8_640_000_000_000_000;
/** How long to wait before the log is tried again when it cannot be read or written. */
const TROUBLE_MS = 5000;
/** Rule 4. */
const REFUSALS = 5;
/** Rule 5. */
const PACK_TRIES = 3;
/** Rule 6: most mail systems know within a minute. */
const PROBE_MS = 60_000;
/** Rule 11: how often a shut lane looks whether the site has what it lacked: one fsync each. */
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
  #isPaused: boolean;
  #isStopping = false;
  #isDelivering = false;
  /** Parts refused for good in a row. */
  #refusals = 0;
  /** Up to this entry each update goes alone, because the site refused them together. */
  #aloneUpTo = 0;
  /** What is sent next shows whether the site takes mail again. */
  #isProbing = false;
  /** Rule 11: the lane looks again by itself. */
  #isNapping = false;

  /** Reads the stored state, or creates it. Throws `Trouble`. */
  constructor(components: LaneComponents, settings: LaneSettings) {
    const { log, clock, diagnostics, guard } = components;
    const { name, rate } = settings;
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
    this.#row = log.lanes.open(name);
    this.#isPaused = this.#row.nextAt === PAUSED_AT;
    // A retry that is further away than any delay was put off by a clock that was ahead.
    const latest = clock.now() + this.#longestMs();
    if (!this.#isPaused && this.#row.nextAt > latest) this.#save({ nextAt: latest });
  }

  get name(): string {
    return this.#settings.name;
  }

  /** Whether mail may leave now (rule 11). */
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
   * Gives up the next update for good, and notes it as undelivered. False when `seq` is not the
   * next one that the site needs, or a delivery is under way. Throws `Trouble`.
   */
  skip(seq: number): boolean {
    const next = this.#isDelivering ? undefined : this.#next();
    if (next === undefined || next.seq !== seq) return false;
    const isAgain = this.#log.bounces.isWaiting(this.name, next.seq);
    this.#report.skipped(next);
    if (isAgain) this.#log.bounces.forget(this.name, next.seq);
    this.#save(isAgain ? { attempt: 0, nextAt: 0 } : doneWith(next.seq));
    return true;
  }

  /** `run` ends after the part under way. */
  stop(): void {
    this.#isStopping = true;
  }

  /** The next update that leaves. */
  #next(): Entry | undefined {
    for (const seq of this.#log.pending.seqs(this.#settings)) {
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

  /** Rule 6. */
  #obey({ until, words }: Pause): void {
    this.#isProbing = true;
    this.#save({ nextAt: until, lastError: words, lastErrorAt: this.#clock.now() });
  }

  /** Rule 7: true when no part was allowed yet and the lane waited; then it looks at all anew. */
  *#waitForRate(): LaneRun<boolean> {
    const wait = this.#bucket?.waitMs(this.#clock.monotonic()) ?? 0;
    if (wait > 0) yield* this.#wait(wait);
    return wait > 0;
  }

  /** Rule 11: moves over what needs no mail, or waits for more of it or for the path to open. */
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
    const again = this.#log.bounces.nextWaiting(this.name);
    if (again !== undefined && this.#dropBounce(again)) return true;
    const { cursor } = this.#row;
    const [next] = this.#queue.after(cursor, 1);
    if (next === undefined || !this.#needsNoMail(next)) return false;
    let last = next.seq;
    for (const entry of this.#queue.after(cursor)) {
      if (!this.#needsNoMail(entry)) break;
      if (this.#settings.observing || this.#queue.skips(entry, 0)) this.#passed(entry);
      else this.#report.of("unfetched", entry);
      last = entry.seq;
    }
    this.#save(doneWith(last));
    return true;
  }

  #needsNoMail(entry: Entry): boolean {
    if (this.#settings.observing || this.#queue.skips(entry, 0)) return true;
    return this.#log.body(entry.seq) === undefined;
  }

  /** Takes an update that came back off the list unless the site needs it; true when it did. */
  #dropBounce(seq: Seq): boolean {
    const entry = this.#log.entry(seq);
    if (entry !== undefined && !this.#queue.skips(entry, 0)) return false;
    this.#log.bounces.forget(this.name, seq);
    if (entry !== undefined) this.#passed(entry);
    return true;
  }

  /** Serves what is next, or waits until there is something. */
  *#step(): LaneRun {
    const isServed = yield* this.#serveNext();
    if (!isServed) yield* this.#wait(Infinity);
    else if (this.#isProbing && this.#row.nextAt === 0) {
      this.#isProbing = false;
      this.#save({ nextAt: this.#clock.now() + Math.min(PROBE_MS, this.#settings.retry[0]) });
    }
  }

  /** Serves the next update that the site needs; false when there is none. */
  *#serveNext(): LaneRun<boolean> {
    const { cursor, part, attempt, lastErrorAt } = this.#row;
    const again = part > 0 ? undefined : this.#log.bounces.nextWaiting(this.name);
    if (again !== undefined) {
      const entry = this.#log.entry(again);
      if (!this.#dropBounce(again) && entry !== undefined) yield* this.#serve(entry, true);
      return true;
    }
    const page = this.#queue.after(cursor);
    if (page.length === 0) return false;
    let passed: Seq | undefined;
    for (const [index, entry] of page.entries()) {
      if (!this.#queue.skips(entry, index === 0 ? part : 0)) {
        if (passed !== undefined) this.#note(doneWith(passed));
        const isNew = this.#row.part === 0 && entry.seq > this.#aloneUpTo;
        const mayPack = isNew && attempt < PACK_TRIES && !this.#settings.observing;
        const load = mayPack ? this.#queue.load(page.slice(index), lastErrorAt) : undefined;
        yield* load === undefined ? this.#serve(entry, false) : this.#serveLoad(load);
        return true;
      }
      passed = entry.seq;
      this.#passed(entry);
    }
    if (passed !== undefined) this.#save(doneWith(passed));
    yield { type: "turn" };
    return true;
  }

  /** Delivers an update; `again` when it came back, which leaves the cursor where it is. */
  *#serve(entry: Entry, again: boolean): LaneRun {
    const parts = this.#queue.parts(entry);
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
    let refused = 0;
    const from = again ? 0 : this.#row.part;
    for (const [index, part] of parts.entries()) {
      if (index < from) continue;
      if (this.#queue.withholds(entry) !== undefined) {
        this.#passed(entry);
        return this.#finish(entry, again);
      }
      const outcome = this.#judge(yield* this.#deliver(part, index > 0 ? [] : [entry]));
      if (outcome.kind === "temporary") return this.#putOff(entry, outcome);
      if (outcome.kind === "refused") {
        refused += 1;
        this.#report.undelivered(entry, outcome);
        this.#note({ lastError: outcome.words, lastErrorAt: this.#clock.now() });
      }
      const change = outcome.kind === "delivered" ? { lastSuccessAt: this.#clock.now() } : {};
      const isLast = index + 1 === parts.length;
      if (isLast) this.#finish(entry, again, change);
      else if (!again) this.#save({ part: index + 1, attempt: 0, nextAt: 0, ...change });
      if ((this.#isStopping || !this.#path.isOpen) && !isLast) return;
    }
    if (refused < parts.length) this.#report.sent(entry, parts.length, bytes);
  }

  /** Rule 5. */
  *#serveLoad({ entries, last, passed, part }: Bundle): LaneRun {
    const [first] = entries;
    const outcome = yield* this.#deliver(part, entries);
    if (outcome.kind === "temporary") return this.#putOff(first, outcome);
    if (outcome.kind === "refused") {
      this.#aloneUpTo = last.seq;
      const { code, words } = outcome;
      this.#report.of("unpacked", first, { updates: entries.length, code, words });
      return;
    }
    this.#refusals = 0;
    this.#save({ ...doneWith(last.seq), lastSuccessAt: this.#clock.now() });
    for (const entry of passed) this.#passed(entry);
    const share = Math.round(part.bytes / entries.length);
    for (const entry of entries) this.#report.sent(entry, 1, share, entries.length);
  }

  *#deliver(part: Part, entries: readonly Entry[]): LaneRun<Outcome> {
    this.#bucket?.take(this.#clock.monotonic());
    this.#isDelivering = true;
    try {
      const outcome = yield { type: "deliver", part, updates: entries.map(({ hash }) => hash) };
      if (outcome === undefined) throw new Error("a delivery without an outcome");
      return outcome;
    } finally {
      this.#isDelivering = false;
    }
  }

  /** Rule 4: a part that is refused until its schedule has run out is passed over all the same. */
  #judge(outcome: Outcome): Outcome {
    if (outcome.kind === "delivered") this.#refusals = 0;
    if (outcome.kind !== "refused" || outcome.isOfKey) return outcome;
    this.#refusals += 1;
    const { retry } = this.#settings;
    if (this.#refusals <= REFUSALS || this.#row.attempt >= retry.length) return outcome;
    return { ...outcome, kind: "temporary", about: "neighbour" };
  }

  /** An update needs nothing more. */
  #finish({ seq }: Entry, again: boolean, change: Partial<LaneRow> = {}): void {
    if (again) this.#log.bounces.sent(this.name, seq);
    this.#save({ ...(again ? { attempt: 0, nextAt: 0 } : doneWith(seq)), ...change });
  }

  #putOff(entry: Entry, outcome: Outcome & { readonly kind: "temporary" }): void {
    // A delivery that was broken off because the gateway stops is no failure of the site.
    if (this.#isStopping) return;
    const { retry } = this.#settings;
    const now = this.#clock.now();
    const { attempt } = this.#row;
    const wait = delayMs(retry, attempt, this.#clock.random());
    const { code, words } = outcome;
    const event = attempt + 1 >= retry.length ? "stalled" : "retry";
    this.#report.of(event, entry, { code, words, attempt: attempt + 1, waitMs: wait });
    const error = { lastError: words, lastErrorAt: now };
    this.#save({ attempt: attempt + 1, nextAt: now + wait, ...error });
  }

  #passed(entry: Entry): void {
    this.#report.passed(entry, this.#queue.withholds(entry));
  }

  /** Changes the row; the next `save` stores it. A pause outlasts every change but `resume`. */
  #note(change: Partial<LaneRow>): void {
    const held = this.#isPaused ? { nextAt: PAUSED_AT } : {};
    this.#row = { ...this.#row, ...change, ...held };
  }

  /** Changes the row and stores it. Throws `Trouble`; the row is changed nevertheless. */
  #save(change: Partial<LaneRow>): void {
    this.#note(change);
    this.#log.lanes.save(this.name, this.#row);
    this.#isStored = true;
  }

  /** The longest delay of the schedule. */
  #longestMs(): number {
    return delayMs([Math.max(...this.#settings.retry)], 0, 1);
  }
}

/** The status of a lane out of the log, as it is also while no gateway runs. */
export function laneStatus(
  log: Pick<UpdateLog, "pending">,
  { name, address }: Site,
  row: LaneRow,
): LaneStatus {
  const { cursor, attempt, nextAt, lastError, lastErrorAt, lastSuccessAt } = row;
  const { count: backlog, oldest } = log.pending.of({ name, address });
  const isPaused = nextAt === PAUSED_AT;
  const last = { lastError, lastErrorAt, lastSuccessAt };
  const site = { name, address, cursor, backlog, oldest, attempt, ...last };
  return { ...site, isPaused, nextAt: isPaused ? 0 : nextAt };
}

/** The lane's position after an entry that needs nothing more, with no retry pending. */
function doneWith(seq: Seq): Partial<LaneRow> {
  return { cursor: seq, part: 0, attempt: 0, nextAt: 0 };
}
