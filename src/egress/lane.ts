/**
 * The lane of one legacy site, or of the keyserver beside us: it reads the log from the site's
 * own cursor and has a courier bring each update that the site does not have. Lanes know nothing
 * of each other, so a dead site delays nobody, and nothing of roads: a part may be a mail, a file
 * or a request.
 *
 *  1. An update is skipped when the site is in its trail or was its source. Whoever announced or
 *     sent it later counts too, since a duplicate's trail is merged into the log's.
 *  2. One part at a time, so that each answer belongs to one update. The cursor moves after the
 *     part was taken: a crash in between repeats one part, never loses one.
 *  3. A temporary failure is tried again by the schedule; the lane waits, and order is kept. When
 *     the schedule has run out its last delay repeats and the operator is told: nothing is dropped.
 *  4. A part that was read and refused for good is recorded and passed over, else one key that a
 *     site cannot take would stop all that come after it.
 *  5. The lane's state is in the log, so that a restart neither hurries nor forgets a retry.
 *  6. The operator's orders go through the same state: a pause is a retry that never comes.
 *  7. In observe mode the lane says what it would have sent and moves on.
 */
import type { Schedule } from "../backoff.js";
import { delayMs } from "../backoff.js";
import type { Clock } from "../clock.js";
import type { Diagnostics } from "../diagnostics.js";
import { Trouble } from "../errors.js";
import { inTrail } from "../mail/sent-trail.js";
import type { Seq } from "../update.js";
import type { Lane as LaneState } from "../updatelog/lanes.js";
import type { Entry, UpdateLog } from "../updatelog/update-log.js";
import { Alarm } from "./alarm.js";
import type { Courier, Part } from "./courier.js";
import type { Outcome } from "./transport.js";

/** Who a lane serves and how, from the config. */
export interface LaneSettings {
  readonly name: string;
  /** What stands for it in a trail; undefined when nothing does. */
  readonly address: string | undefined;
  readonly retry: Schedule;
  readonly observing: boolean;
}

/** `nextAt` of a lane that the operator paused: it outlives a restart, and no clock gets there. */
export const PAUSED_AT = 8_640_000_000_000_000;

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
}

/** Entries read at once; those that the site has cost nothing but reading. */
const PAGE = 200;
/** How long to wait before the log is tried again when it cannot be read or written. */
const TROUBLE_MS = 5000;

export class Lane {
  readonly #settings: LaneSettings;
  readonly #log: UpdateLog;
  readonly #courier: Courier;
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;
  readonly #alarm = new Alarm();
  #state: LaneState;
  /** False from a failure of the log on: nothing is sent before the state can be stored again. */
  #isStored = true;
  #running: Promise<void> | undefined;
  #stopping = false;
  #isPaused: boolean;
  #isBusy = false;

  constructor(
    settings: LaneSettings,
    log: UpdateLog,
    courier: Courier,
    clock: Clock,
    diagnostics: Diagnostics,
  ) {
    this.#settings = settings;
    this.#log = log;
    this.#courier = courier;
    this.#clock = clock;
    this.#diagnostics = diagnostics;
    this.#state = log.openLane(settings.name);
    this.#isPaused = this.#state.nextAt === PAUSED_AT;
  }

  get name(): string {
    return this.#settings.name;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** The log grew. */
  wake(): void {
    if (this.#state.nextAt === 0) this.#alarm.ring();
  }

  /** Finishes the part under way and ends. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#alarm.ring();
    await this.#running;
  }

  status(): LaneStatus {
    const { cursor, attempt, nextAt, lastError, lastErrorAt, lastSuccessAt } = this.#state;
    const backlog = Math.max(0, this.#log.newest() - cursor);
    const { name } = this.#settings;
    const isPaused = this.#isPaused;
    const last = { lastError, lastErrorAt, lastSuccessAt };
    return { name, cursor, backlog, attempt, nextAt: isPaused ? 0 : nextAt, ...last, isPaused };
  }

  /** Sends nothing more, over restarts too, until `resume`; the delivery under way is finished. */
  pause(): void {
    this.#isPaused = true;
    this.#save({});
    this.#diagnostics.report("paused", { neighbour: this.name });
  }

  /** Goes on at once, also with what was put off. */
  resume(): void {
    if (this.#isPaused) this.#diagnostics.report("resumed", { neighbour: this.name });
    this.#isPaused = false;
    this.#save({ nextAt: 0 });
    this.#alarm.ring();
  }

  /**
   * Gives up the next update for good, and notes it as undelivered. False when `seq` is not the
   * next one that the site needs, or is being delivered.
   */
  skip(seq: number): boolean {
    if (this.#isBusy) return false;
    const { cursor, part } = this.#state;
    const page = this.#log.range((cursor + 1) as Seq, Number.MAX_SAFE_INTEGER as Seq, PAGE);
    const next = page.find((entry) => part > 0 || !this.#has(entry));
    if (next === undefined || next.seq !== seq) return false;
    const { hash, fingerprint } = next;
    const { name: site } = this;
    const at = this.#clock.now();
    this.#log.recordUndelivered({
      site,
      seq: next.seq,
      code: 0,
      text: "skipped by the operator",
      at,
    });
    this.#diagnostics.report("skipped", { seq, hash, fingerprint, neighbour: site });
    this.#save(doneWith(next.seq));
    this.#alarm.ring();
    return true;
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      try {
        await this.#waitForRetry();
        if (this.#stopping) break;
        // Else a mail would go out again every few seconds for as long as the disk is full.
        if (!this.#isStored) this.#save({});
        this.#isBusy = true;
        const isServed = await this.#serveNext();
        this.#isBusy = false;
        if (!isServed) await this.#alarm.wait(undefined);
      } catch (error) {
        if (!(error instanceof Trouble)) throw error;
        this.#isStored = false;
        this.#isBusy = false;
        const { kind, message: problem, remedy } = error;
        this.#diagnostics.report("log-trouble", { kind, problem, remedy, door: "egress" });
        await this.#alarm.wait(TROUBLE_MS);
      }
    }
  }

  async #waitForRetry(): Promise<void> {
    while (this.#isPaused && !this.#stopping) await this.#alarm.wait(undefined);
    const { nextAt } = this.#state;
    if (nextAt === 0) return;
    // Bounded by the longest delay of the schedule, in case the clock was set back meanwhile.
    const longest = delayMs([Math.max(...this.#settings.retry)], 0, 1);
    const until = this.#clock.monotonic() + Math.min(nextAt - this.#clock.now(), longest);
    for (;;) {
      const wait = until - this.#clock.monotonic();
      // A state that is not the one that was put off is an order of the operator's.
      if (this.#stopping || wait <= 0 || this.#state.nextAt !== nextAt) return;
      await this.#alarm.wait(wait);
    }
  }

  /** Serves the next update that the site needs; false when there is none. */
  async #serveNext(): Promise<boolean> {
    const { cursor, part } = this.#state;
    const page = this.#log.range((cursor + 1) as Seq, Number.MAX_SAFE_INTEGER as Seq, PAGE);
    if (page.length === 0) return false;
    let passed: Seq | undefined;
    for (const entry of page) {
      // An update that is half sent is finished, whoever else has told of it since.
      if (part > 0 || !this.#has(entry)) {
        if (passed !== undefined) this.#state = { ...this.#state, ...doneWith(passed) };
        await this.#serve(entry);
        return true;
      }
      passed = entry.seq;
      const { seq, hash } = entry;
      this.#diagnostics.report("suppressed", { seq, hash, neighbour: this.#settings.name });
    }
    if (passed !== undefined) this.#save(doneWith(passed));
    return true;
  }

  /** Rule 1. */
  #has(entry: Entry): boolean {
    const { name, address } = this.#settings;
    if (entry.origin.neighbour === name) return true;
    return address !== undefined && inTrail(this.#log.trail(entry.seq), address);
  }

  async #serve(entry: Entry): Promise<void> {
    const { seq, hash, fingerprint } = entry;
    const subject = { seq, hash, fingerprint, neighbour: this.#settings.name };
    const parts = this.#partsOf(entry);
    if (parts === undefined) {
      this.#diagnostics.report("body-expired", subject);
      return this.#save(doneWith(seq));
    }
    if (parts.some(({ incomplete }) => incomplete)) this.#diagnostics.report("incomplete", subject);
    if (parts.some(({ oversized }) => oversized)) this.#diagnostics.report("oversized", subject);
    const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
    if (this.#settings.observing) {
      this.#diagnostics.report("would-send", { ...subject, mails: parts.length, bytes });
      return this.#save(doneWith(seq));
    }
    let refused = 0;
    for (const [index, part] of parts.entries()) {
      if (index < this.#state.part) continue;
      const outcome = await part.deliver();
      if (outcome.kind === "temporary") {
        // What was broken off because we go down is no failure of the site.
        if (!this.#stopping) this.#putOff(entry, outcome);
        return;
      }
      if (outcome.kind === "refused") {
        refused += 1;
        this.#recordRefusal(entry, outcome);
      }
      const isLast = index + 1 === parts.length;
      const at = isLast ? doneWith(seq) : { part: index + 1, attempt: 0, nextAt: 0 };
      const now = this.#clock.now();
      this.#save({ ...at, ...(outcome.kind === "delivered" ? { lastSuccessAt: now } : {}) });
      if (this.#stopping && !isLast) return;
    }
    if (refused === parts.length) return;
    const tookMs = this.#clock.now() - entry.receivedAt;
    this.#diagnostics.report("sent", { ...subject, mails: parts.length, bytes, tookMs });
  }

  /** The parts of an entry, undefined when its body is gone. */
  #partsOf({ seq, hash, fingerprint }: Entry): Part[] | undefined {
    const body = this.#log.body(seq);
    if (body === undefined) return undefined;
    const identity = this.#log.identity(fingerprint);
    const trail = this.#log.trail(seq);
    const update = { seq, hash, fingerprint, body, identity, trail };
    return this.#courier.parts(update, this.#clock.now());
  }

  #putOff(entry: Entry, outcome: Outcome & { readonly kind: "temporary" }): void {
    const { retry, name: neighbour } = this.#settings;
    const now = this.#clock.now();
    const { attempt } = this.#state;
    const wait = delayMs(retry, attempt, this.#clock.random());
    const { seq, hash } = entry;
    const { code, words } = outcome;
    const fields = { seq, hash, neighbour, code, words, attempt: attempt + 1, waitMs: wait };
    this.#diagnostics.report(attempt + 1 >= retry.length ? "stalled" : "retry", fields);
    this.#save({
      attempt: attempt + 1,
      nextAt: now + wait,
      lastError: words,
      lastErrorAt: now,
    });
  }

  #recordRefusal(entry: Entry, outcome: Outcome & { readonly kind: "refused" }): void {
    const { seq, hash, fingerprint } = entry;
    const { code, words } = outcome;
    const neighbour = this.#settings.name;
    const at = this.#clock.now();
    this.#log.recordUndelivered({ site: neighbour, seq, code, text: words, at });
    this.#state = { ...this.#state, lastError: words, lastErrorAt: at };
    this.#diagnostics.report("undelivered", { seq, hash, fingerprint, neighbour, code, words });
  }

  #save(change: Partial<LaneState>): void {
    const held = this.#isPaused ? { nextAt: PAUSED_AT } : {};
    this.#state = { ...this.#state, ...change, ...held };
    this.#log.saveLane(this.#settings.name, this.#state);
    this.#isStored = true;
  }
}

/** The lane's position after an entry that needs nothing more, with no retry pending. */
function doneWith(seq: Seq): Partial<LaneState> {
  return { cursor: seq, part: 0, attempt: 0, nextAt: 0 };
}
