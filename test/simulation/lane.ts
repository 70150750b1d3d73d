/**
 * The lane of one legacy site in a simulated gateway. It stands for `src/delivery/lane.ts`, whose
 * waiting is timers and promises, and keeps its rules 1 to 6 and 8: trail, one part at a time and
 * the cursor after it, the schedule, refusals, packing, what came back, the state in the log. What
 * it decides with is the real thing: Freight, MailCourier and so outmail and VERP, CameBack, the
 * lanes table. Not here: rates, the operator's orders, observe mode, paths that change.
 *
 * A wait and a delivery are `yield`ed to the gateway, which goes on with the answer.
 */

import type { Clock } from "../../src/clock.js";
import { BounceHandler } from "../../src/delivery/bounces.js";
import type { Part, RelayDelivery } from "../../src/delivery/delivery-method.js";
import { type Bundle, LaneQueue } from "../../src/delivery/lane-queue.js";
import type { Outcome } from "../../src/delivery/relay.js";
import { recordExpired, recordUndelivered } from "../../src/delivery/undelivered.js";
import type { EventName, EventSink, Fields } from "../../src/diagnostics.js";
import { Trouble } from "../../src/errors.js";
import type { LaneRow as LaneState } from "../../src/log/lanes.js";
import type { Entry, UpdateLog } from "../../src/log/update-log.js";
import { delayMs, type Schedule } from "../../src/schedule.js";
import type { Seq, UpdateHash } from "../../src/update.js";

const PACK_TRIES = 3;
const TROUBLE_MS = 5000;
const REFUSALS = 5;
const PROBE_MS = 60_000;

/** What the lane waits for: a time, a signal (Infinity), or the answer to a part. */
export type LaneStep =
  | { readonly type: "wait"; readonly ms: number }
  | {
      readonly type: "deliver";
      readonly part: Part;
      /** Updates of which the site has no part yet. */
      readonly updates: readonly UpdateHash[];
    };

type Run<T> = Generator<LaneStep, T, Outcome | undefined>;

export interface LaneSettings {
  readonly name: string;
  readonly address: string;
  readonly retry: Schedule;
}

export class SimLane {
  readonly name: string;
  readonly #settings: LaneSettings;
  readonly #log: UpdateLog;
  readonly #clock: Clock;
  readonly #diagnostics: EventSink;
  readonly #queue: LaneQueue;
  readonly #bounceHandler: BounceHandler;
  #state: LaneState;
  #isStored = true;
  #refusals = 0;
  #aloneUpTo = 0;
  #isProbing = false;

  /** Throws `Trouble` when the log cannot be written. */
  constructor(
    settings: LaneSettings,
    log: UpdateLog,
    method: RelayDelivery,
    clock: Clock,
    diagnostics: EventSink,
  ) {
    const { name, retry } = settings;
    this.name = name;
    this.#settings = settings;
    this.#log = log;
    this.#clock = clock;
    this.#diagnostics = diagnostics;
    this.#queue = new LaneQueue(settings, log, method, clock);
    this.#bounceHandler = new BounceHandler(name, retry, log, clock, diagnostics);
    this.#state = log.lanes.open(name);
  }

  get cursor(): number {
    return this.#state.cursor;
  }

  /** Whether it has nothing put off, so that a signal is worth waking it for. */
  get isReady(): boolean {
    return this.#state.nextAt === 0;
  }

  /** Its life, from here to the end of the process. */
  *run(): Run<never> {
    for (;;) {
      try {
        yield* this.#waitForRetry();
        if (!this.#isStored) this.#save({});
        const pause = this.#bounceHandler.absorb(this.#state.cursor);
        if (pause !== undefined) {
          this.#isProbing = true;
          const at = { lastError: pause.words, lastErrorAt: this.#clock.now() };
          this.#save({ nextAt: pause.until, ...at });
        } else yield* this.#step();
      } catch (error) {
        if (!(error instanceof Trouble)) throw error;
        this.#isStored = false;
        const { kind, message: problem, remedy } = error;
        this.#diagnostics.report("log-trouble", { kind, problem, remedy, door: "egress" });
        yield { type: "wait", ms: TROUBLE_MS };
      }
    }
  }

  *#waitForRetry(): Run<void> {
    const { nextAt } = this.#state;
    if (nextAt === 0) return;
    const longest = delayMs([Math.max(...this.#settings.retry)], 0, 1);
    const until = this.#clock.monotonic() + Math.min(nextAt - this.#clock.now(), longest);
    for (;;) {
      const wait = until - this.#clock.monotonic();
      // From here on nothing is put off: else nobody would wake the lane when the log grows.
      if (wait <= 0) return this.#note({ nextAt: 0 });
      yield { type: "wait", ms: wait };
    }
  }

  *#step(): Run<void> {
    const isServed = yield* this.#serveNext();
    if (!isServed) yield { type: "wait", ms: Number.POSITIVE_INFINITY };
    else if (this.#isProbing && this.#state.nextAt === 0) {
      this.#isProbing = false;
      this.#save({ nextAt: this.#clock.now() + Math.min(PROBE_MS, this.#settings.retry[0]) });
    }
  }

  *#serveNext(): Run<boolean> {
    const { cursor, part, attempt, lastErrorAt } = this.#state;
    const again = part > 0 ? undefined : this.#log.bounces.nextWaiting(this.name);
    if (again !== undefined) {
      const entry = this.#log.entry(again);
      if (entry !== undefined && !this.#queue.skips(entry, 0)) yield* this.#serve(entry, true);
      else this.#log.bounces.forget(this.name, again);
      return true;
    }
    const page = this.#queue.after(cursor);
    if (page.length === 0) return false;
    let passed: Seq | undefined;
    for (const [index, entry] of page.entries()) {
      if (!this.#queue.skips(entry, index === 0 ? part : 0)) {
        if (passed !== undefined) this.#note(doneWith(passed));
        const isNew = this.#state.part === 0 && entry.seq > this.#aloneUpTo;
        const mayPack = isNew && attempt < PACK_TRIES;
        const load = mayPack ? this.#queue.load(page.slice(index), lastErrorAt) : undefined;
        yield* load === undefined ? this.#serve(entry, false) : this.#serveLoad(load);
        return true;
      }
      passed = entry.seq;
      this.#report("suppressed", entry);
    }
    if (passed !== undefined) this.#save(doneWith(passed));
    return true;
  }

  *#serve(entry: Entry, again: boolean): Run<void> {
    const parts = this.#queue.parts(entry);
    if (parts === undefined) {
      const at = this.#clock.now();
      recordExpired(this.#log, this.#diagnostics, { site: this.name, entry, at });
      return this.#finish(entry, again);
    }
    if (parts.some(({ incomplete }) => incomplete)) this.#report("incomplete", entry);
    const from = again ? 0 : this.#state.part;
    let refused = 0;
    for (const [index, part] of parts.entries()) {
      if (index < from) continue;
      const outcome = this.#judge(yield* this.#deliver(part, index > 0 ? [] : [entry]));
      if (outcome.kind === "temporary") return this.#putOff(entry, outcome);
      if (outcome.kind === "refused") {
        refused += 1;
        const { code, words } = outcome;
        const at = this.#clock.now();
        const what = { site: this.name, entry, code, words, at };
        recordUndelivered(this.#log, this.#diagnostics, what);
      }
      const change = outcome.kind === "delivered" ? { lastSuccessAt: this.#clock.now() } : {};
      if (index + 1 === parts.length) this.#finish(entry, again, change);
      else if (!again) this.#save({ part: index + 1, attempt: 0, nextAt: 0, ...change });
    }
    if (refused < parts.length) this.#report("sent", entry, { mails: parts.length });
  }

  *#serveLoad({ entries, last, passed, part }: Bundle): Run<void> {
    const [first] = entries;
    const outcome = yield* this.#deliver(part, entries);
    if (outcome.kind === "temporary") return this.#putOff(first, outcome);
    if (outcome.kind === "refused") {
      this.#aloneUpTo = last.seq;
      return this.#report("unpacked", first, { updates: entries.length });
    }
    this.#refusals = 0;
    this.#save({ ...doneWith(last.seq), lastSuccessAt: this.#clock.now() });
    for (const entry of passed) this.#report("suppressed", entry);
    for (const entry of entries) this.#report("sent", entry, { packed: entries.length });
  }

  *#deliver(part: Part, entries: readonly Entry[]): Run<Outcome> {
    const updates = entries.map(({ hash }) => hash);
    this.leaving(entries);
    const outcome = yield { type: "deliver", part, updates };
    if (outcome === undefined) throw new Error("a delivery without an outcome");
    return outcome;
  }

  /** What is stored before the site has answered: nothing. A mutant moves the cursor here. */
  leaving(_entries: readonly Entry[]): void {}

  #judge(outcome: Outcome): Outcome {
    if (outcome.kind === "delivered") this.#refusals = 0;
    if (outcome.kind !== "refused") return outcome;
    this.#refusals += 1;
    const { retry } = this.#settings;
    if (this.#refusals <= REFUSALS || this.#state.attempt >= retry.length) return outcome;
    return { ...outcome, kind: "temporary" };
  }

  #finish({ seq }: Entry, again: boolean, change: Partial<LaneState> = {}): void {
    if (again) this.#log.bounces.sent(this.name, seq);
    this.#save({ ...(again ? { attempt: 0, nextAt: 0 } : doneWith(seq)), ...change });
  }

  #putOff(entry: Entry, outcome: Outcome & { readonly kind: "temporary" }): void {
    const { retry } = this.#settings;
    const now = this.#clock.now();
    const { attempt } = this.#state;
    const wait = delayMs(retry, attempt, this.#clock.random());
    const event = attempt + 1 >= retry.length ? "stalled" : "retry";
    this.#report(event, entry, { words: outcome.words, attempt: attempt + 1, waitMs: wait });
    const error = { lastError: outcome.words, lastErrorAt: now };
    this.#save({ attempt: attempt + 1, nextAt: now + wait, ...error });
  }

  #report(event: EventName, { seq, hash, fingerprint }: Entry, fields: Fields = {}): void {
    this.#diagnostics.report(event, { seq, hash, fingerprint, neighbour: this.name, ...fields });
  }

  #note(change: Partial<LaneState>): void {
    this.#state = { ...this.#state, ...change };
  }

  #save(change: Partial<LaneState>): void {
    this.#note(change);
    this.#log.lanes.save(this.name, this.#state);
    this.#isStored = true;
  }
}

function doneWith(seq: Seq): Partial<LaneState> {
  return { cursor: seq, part: 0, attempt: 0, nextAt: 0 };
}
