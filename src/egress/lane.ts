/**
 * The lane of one legacy site, or of the keyserver beside us: it reads the log from the site's
 * own cursor and has a courier bring each update that the site does not have. Lanes know nothing
 * of each other, so a dead site delays nobody, and nothing of roads: a part may be a mail, a file
 * or a request.
 *
 *  1. An update is skipped when the site is in its trail or was its source. Whoever announced or
 *     sent it later counts too, since a duplicate's trail is merged into the log's. So is one that
 *     was blocked or forgotten since, half sent or not.
 *  2. One part at a time, so that each answer belongs to one mail. The cursor moves after the part
 *     was taken: a crash in between repeats one part, never loses one.
 *  3. A temporary failure is tried again by the schedule; the lane waits, and order is kept. When
 *     the schedule has run out its last delay repeats and the operator is told: nothing is dropped.
 *  4. A part that was read and refused for good is recorded and passed over, else one key that a
 *     site cannot take would stop all that come after it. After `REFUSALS` in a row it is the site
 *     that is sick and not our mails: each further one is tried through the schedule first. What a
 *     keyserver says of the key itself is no such sign: a Hockeypuck may ignore many in a row.
 *  5. When a site is behind, updates go together where the courier packs them, so that it is not
 *     buried; when it refuses them for good, one by one, so that it names the guilty one. After
 *     `PACK_TRIES` failures in a row one goes alone, in case it is the mail that makes it fail.
 *  6. What came back after it was taken is sent again before anything new (`came-back.ts`), and the
 *     lane goes on when that has had the time to come back once more.
 *  7. No more parts than the site's rate, where it has one.
 *  8. The lane's state is in the log, so that a restart neither hurries nor forgets a retry.
 *  9. The operator's orders go through the same state: a pause is a retry that never comes.
 * 10. In observe mode the lane says what it would have sent and moves on.
 * 11. A lane whose path is shut (`path.ts`) sends nothing: KX carries. It moves over what the site
 *     is known to have, which the KX side writes into the trail, and stops at the first update of
 *     which that is not known, or its body expires: shut lanes hold none. Open, it goes on there.
 */
import { setImmediate } from "node:timers/promises";
import { delayMs, type Schedule } from "../backoff.js";
import type { Clock } from "../clock.js";
import type { Diagnostics } from "../diagnostics.js";
import { LogGuard } from "../log-guard.js";
import type { Rules } from "../policy.js";
import { type Rate, TokenBucket } from "../rate.js";
import type { Seq } from "../update.js";
import type { Lane as Row } from "../updatelog/lanes.js";
import type { Entry, UpdateLog } from "../updatelog/update-log.js";
import { Alarm } from "./alarm.js";
import { CameBack, type Pause } from "./came-back.js";
import type { Courier, Part } from "./courier.js";
import { Freight, type Load } from "./freight.js";
import { LaneReport } from "./lane-report.js";
import { doneWith, LaneState } from "./lane-state.js";
import { PassOver } from "./pass-over.js";
import { type PathSettings, type PathStatus, PathWatch } from "./path-watch.js";
import type { Outcome } from "./transport.js";
import { recordExpired, recordUndelivered } from "./undelivered.js";

/** Who a lane serves and how, from the config. */
export interface LaneSettings {
  readonly name: string;
  /** What stands for it in a trail; undefined when nothing does. */
  readonly address: string | undefined;
  readonly retry: Schedule;
  readonly observing: boolean;
  /** Most parts in a time; undefined for as many as it takes. */
  readonly rate?: Rate | undefined;
  /** What may leave; without it everything. */
  readonly rules?: Rules | undefined;
  /** Undefined for a lane that is always open. */
  readonly path?: PathSettings;
}

/** One site as the operator sees it. */
export interface LaneStatus {
  readonly name: string;
  readonly cursor: number;
  readonly backlog: number;
  readonly attempt: number;
  readonly nextAt: number;
  readonly lastError: string;
  readonly lastErrorAt: number;
  readonly lastSuccessAt: number;
  readonly isPaused: boolean;
  /** Undefined when no gateway runs. */
  readonly path?: PathStatus;
}

/** How long to wait before the log is tried again when it cannot be read or written. */
const TROUBLE_MS = 5000;
/** Rule 4. */
const REFUSALS = 5;
/** Rule 5. */
const PACK_TRIES = 3;
/** Rule 6: most mail systems know within a minute. */
const PROBE_MS = 60_000;
/** Rule 11: how often it is looked whether the site has by now what it had not: one fsync each. */
const NAP_MS = 1000;

export class Lane {
  readonly #settings: LaneSettings;
  readonly #log: UpdateLog;
  readonly #freight: Freight;
  readonly #passOver: PassOver;
  readonly #tell: LaneReport;
  readonly #cameBack: CameBack;
  readonly #bucket: TokenBucket | undefined;
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;
  readonly #guard: LogGuard;
  readonly #alarm = new Alarm();
  readonly #state: LaneState;
  /** When mail may leave, and the ear for KX sessions. */
  readonly path: PathWatch;
  #running: Promise<void> | undefined;
  #stopping = false;
  #isBusy = false;
  /** Parts refused for good in a row. */
  #refusals = 0;
  /** Up to this entry each update goes alone, because the site refused them together. */
  #aloneUpTo = 0;
  /** What is sent next shows whether the site takes mail again. */
  #isProbing = false;
  /** Rule 11: it looks again by itself. */
  #isNapping = false;

  constructor(
    settings: LaneSettings,
    log: UpdateLog,
    courier: Courier,
    clock: Clock,
    diagnostics: Diagnostics,
    guard = new LogGuard("egress", clock, diagnostics),
  ) {
    this.#settings = settings;
    this.#guard = guard;
    this.#log = log;
    this.#clock = clock;
    this.#diagnostics = diagnostics;
    this.#freight = new Freight(settings, log, courier, clock);
    const { name, retry, rate, observing } = settings;
    this.#cameBack = new CameBack(name, retry, log, clock, diagnostics);
    this.#bucket = rate && new TokenBucket(rate, clock.monotonic());
    this.#state = new LaneState(name, retry, log, clock, this.#alarm);
    this.#tell = new LaneReport(name, this.#freight, clock, diagnostics);
    const lent = { name, observing, log, freight: this.#freight, state: this.#state };
    this.#passOver = new PassOver({ ...lent, tell: this.#tell });
    this.path = new PathWatch(name, settings.path, clock, diagnostics, this.#alarm);
  }

  get name(): string {
    return this.#settings.name;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** The log grew. */
  wake(): void {
    if (this.#isNapping || (this.#state.row.nextAt !== 0 && this.path.isOpen)) return;
    this.#alarm.ring();
  }

  /** Finishes the part under way and ends. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#state.stopWaiting();
    await this.#running;
  }

  status(): LaneStatus {
    const { cursor, attempt, nextAt, lastError, lastErrorAt, lastSuccessAt } = this.#state.row;
    const { name } = this.#settings;
    const again = this.#log.returns.waiting(name);
    const backlog = Math.max(0, this.#log.newest() - cursor) + again;
    const { isPaused } = this.#state;
    const last = { lastError, lastErrorAt, lastSuccessAt };
    const path = this.path.status();
    const common = { name, cursor, backlog, attempt, ...last, isPaused, path };
    return { ...common, nextAt: isPaused ? 0 : nextAt };
  }

  /** Sends nothing more, over restarts too, until `resume`; the delivery under way is finished. */
  pause(): void {
    this.#state.pause();
    this.#diagnostics.report("paused", { neighbour: this.name });
  }

  /** Goes on at once, also with what was put off. */
  resume(): void {
    if (this.#state.isPaused) this.#diagnostics.report("resumed", { neighbour: this.name });
    this.#state.resume();
  }

  /**
   * Gives up the next update for good, and notes it as undelivered. False when `seq` is not the
   * next one that the site needs, or is being delivered.
   */
  skip(seq: number): boolean {
    const again = this.#log.returns.nextWaiting(this.name);
    const next = again === undefined ? this.#nextInLog() : this.#log.entry(again);
    if (this.#isBusy || next === undefined || next.seq !== seq) return false;
    const note = { code: 0, text: "skipped by the operator", at: this.#clock.now() };
    this.#log.recordUndelivered({ site: this.name, seq: next.seq, ...note });
    this.#tell.of("skipped", next);
    if (again !== undefined) this.#log.returns.forget(this.name, next.seq);
    this.#state.save(again === undefined ? doneWith(next.seq) : { attempt: 0, nextAt: 0 });
    this.#alarm.ring();
    return true;
  }

  #nextInLog(): Entry | undefined {
    const { cursor, part } = this.#state.row;
    return this.#freight.after(cursor).find((entry) => !this.#freight.skips(entry, part));
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      try {
        if (this.path.isOpen) await this.#state.wait(() => !this.path.isOpen);
        if (this.#stopping) break;
        this.#state.makeGood();
        const pause = this.#cameBack.absorb(this.#state.row.cursor);
        if (pause !== undefined) this.#heed(pause);
        else if (!this.path.isOpen) await this.#rest();
        else if (await this.#hasPace()) await this.#step();
      } catch (error) {
        this.#guard.tell(error);
        this.#state.lost();
        this.#isBusy = false;
        await this.#alarm.wait(TROUBLE_MS);
      }
    }
  }

  /** Serves what is next, or waits until there is something. */
  async #step(): Promise<void> {
    this.#isBusy = true;
    const isServed = await this.#serveNext();
    this.#isBusy = false;
    if (!isServed) await this.#alarm.wait(this.path.waitMs());
    else if (this.#isProbing && this.#state.row.nextAt === 0) {
      this.#isProbing = false;
      this.#state.save({ nextAt: this.#clock.now() + Math.min(PROBE_MS, this.#settings.retry[0]) });
    }
  }

  /** Rule 6. */
  #heed({ until, words }: Pause): void {
    this.#isProbing = true;
    this.#state.save({ nextAt: until, lastError: words, lastErrorAt: this.#clock.now() });
  }

  /** Rule 7: waits until a part may go out; false when something else is to be seen to first. */
  async #hasPace(): Promise<boolean> {
    const wait = this.#bucket?.waitMs(this.#clock.monotonic()) ?? 0;
    if (wait > 0) await this.#alarm.wait(wait);
    return wait === 0;
  }

  /** Rule 11: moves over what needs no mail, and waits for more of it or for the path to open. */
  async #rest(): Promise<void> {
    if (this.#passOver.step()) {
      await setImmediate();
      return;
    }
    this.#isNapping = this.#log.newest() > this.#state.row.cursor;
    const wait = Math.min(this.path.waitMs() ?? Infinity, this.#isNapping ? NAP_MS : Infinity);
    await this.#alarm.wait(wait);
    this.#isNapping = false;
  }

  /** Serves the next update that the site needs; false when there is none. */
  async #serveNext(): Promise<boolean> {
    const { cursor, part, attempt, lastErrorAt } = this.#state.row;
    const again = part > 0 ? undefined : this.#log.returns.nextWaiting(this.name);
    if (again !== undefined) {
      await this.#serveAgain(again);
      return true;
    }
    const page = this.#freight.after(cursor);
    if (page.length === 0) return false;
    let passed: Seq | undefined;
    for (const [index, entry] of page.entries()) {
      if (!this.#freight.skips(entry, index === 0 ? part : 0)) {
        if (passed !== undefined) this.#state.note(doneWith(passed));
        const isNew = this.#state.row.part === 0 && entry.seq > this.#aloneUpTo;
        const mayPack = isNew && attempt < PACK_TRIES && !this.#settings.observing;
        const load = mayPack ? this.#freight.load(page.slice(index), lastErrorAt) : undefined;
        await (load === undefined ? this.#serve(entry) : this.#serveLoad(load));
        return true;
      }
      passed = entry.seq;
      this.#tell.passed(entry);
    }
    if (passed !== undefined) this.#state.save(doneWith(passed));
    await setImmediate();
    return true;
  }

  async #serveAgain(seq: Seq): Promise<void> {
    const entry = this.#log.entry(seq);
    if (!this.#passOver.isDoneWith(seq) && entry !== undefined) await this.#serve(entry, true);
  }

  /** Delivers an update; `again` when it had come back, which leaves the cursor where it is. */
  async #serve(entry: Entry, again = false): Promise<void> {
    const parts = this.#freight.parts(entry);
    if (parts === undefined) {
      const at = this.#clock.now();
      recordExpired(this.#log, this.#diagnostics, { site: this.name, entry, at });
      return this.#finish(entry, again);
    }
    if (parts.some(({ incomplete }) => incomplete)) this.#tell.of("incomplete", entry);
    if (parts.some(({ oversized }) => oversized)) this.#tell.of("oversized", entry);
    const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
    if (this.#settings.observing) {
      this.#tell.of("would-send", entry, { mails: parts.length, bytes });
      return this.#finish(entry, again);
    }
    let refused = 0;
    const from = again ? 0 : this.#state.row.part;
    for (const [index, part] of parts.entries()) {
      if (index < from) continue;
      if (this.#freight.withholds(entry) !== undefined) {
        this.#tell.passed(entry);
        return this.#finish(entry, again);
      }
      const outcome = this.#judge(await this.#deliver(part));
      if (outcome.kind === "temporary") return this.#putOff(entry, outcome);
      if (outcome.kind === "refused") {
        refused += 1;
        this.#recordRefusal(entry, outcome);
      }
      const change = outcome.kind === "delivered" ? { lastSuccessAt: this.#clock.now() } : {};
      const isLast = index + 1 === parts.length;
      if (isLast) this.#finish(entry, again, change);
      else if (!again) this.#state.save({ part: index + 1, attempt: 0, nextAt: 0, ...change });
      if ((this.#stopping || !this.path.isOpen) && !isLast) return;
    }
    if (refused < parts.length) this.#tell.sent(entry, parts.length, bytes);
  }

  /** Rule 5. */
  async #serveLoad({ entries, last, passed, part }: Load): Promise<void> {
    const [first] = entries;
    const outcome = await this.#deliver(part);
    if (outcome.kind === "temporary") return this.#putOff(first, outcome);
    if (outcome.kind === "refused") {
      this.#aloneUpTo = last.seq;
      const { code, words } = outcome;
      this.#tell.of("unpacked", first, { updates: entries.length, code, words });
      return;
    }
    this.#refusals = 0;
    this.#state.save({ ...doneWith(last.seq), lastSuccessAt: this.#clock.now() });
    for (const entry of passed) this.#tell.passed(entry);
    const share = Math.round(part.bytes / entries.length);
    for (const entry of entries) this.#tell.sent(entry, 1, share, entries.length);
  }

  async #deliver(part: Part): Promise<Outcome> {
    this.#bucket?.take(this.#clock.monotonic());
    return await part.deliver();
  }

  /** Rule 4: what is refused until its schedule has run out is passed over all the same. */
  #judge(outcome: Outcome): Outcome {
    if (outcome.kind === "delivered") this.#refusals = 0;
    if (outcome.kind !== "refused" || outcome.isOfKey) return outcome;
    this.#refusals += 1;
    const { retry } = this.#settings;
    if (this.#refusals <= REFUSALS || this.#state.row.attempt >= retry.length) return outcome;
    return { ...outcome, kind: "temporary" };
  }

  /** An update needs nothing more. */
  #finish({ seq }: Entry, again: boolean, change: Partial<Row> = {}): void {
    if (again) this.#log.returns.sent(this.name, seq);
    this.#state.save({ ...(again ? { attempt: 0, nextAt: 0 } : doneWith(seq)), ...change });
  }

  #putOff(entry: Entry, outcome: Outcome & { readonly kind: "temporary" }): void {
    // What was broken off because we go down is no failure of the site.
    if (this.#stopping) return;
    const { retry } = this.#settings;
    const now = this.#clock.now();
    const { attempt } = this.#state.row;
    const wait = delayMs(retry, attempt, this.#clock.random());
    const { code, words } = outcome;
    const event = attempt + 1 >= retry.length ? "stalled" : "retry";
    this.#tell.of(event, entry, { code, words, attempt: attempt + 1, waitMs: wait });
    this.#state.save({
      attempt: attempt + 1,
      nextAt: now + wait,
      lastError: words,
      lastErrorAt: now,
    });
  }

  #recordRefusal(entry: Entry, outcome: Outcome & { readonly kind: "refused" }): void {
    const { code, words } = outcome;
    const at = this.#clock.now();
    recordUndelivered(this.#log, this.#diagnostics, { site: this.name, entry, code, words, at });
    this.#state.note({ lastError: words, lastErrorAt: at });
  }
}
