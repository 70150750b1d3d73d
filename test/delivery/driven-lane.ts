/**
 * A lane driven by hand, for the tests of its rules: a log in memory, a clock that the test moves,
 * and a site that answers at once or when the test says so. Nothing here waits.
 */
import { expect, onTestFinished } from "vitest";
import { admit } from "../../src/admit.js";
import type { Clock } from "../../src/clock.js";
import { RelayDelivery } from "../../src/delivery/delivery-method.js";
import { Lane, type LaneRun, type LaneSettings, type LaneStep } from "../../src/delivery/lane.js";
import type { Outcome } from "../../src/delivery/relay.js";
import type { Bounce } from "../../src/log/bounces.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { verpSender } from "../../src/mail/verp.js";
import type { Schedule } from "../../src/schedule.js";
import type { Seq, Update } from "../../src/update.js";
import { Recorder } from "../ingress/door.js";
import { bytes } from "../mail/fixtures.js";
import { ADDRESS, SITE, updates } from "./stage.js";

/** Some date, at which the clock of a test begins. */
const EPOCH_MS = 1_800_000_000_000;

/** A mail that was handed to the site's relay. */
interface Handed {
  readonly raw: string;
  readonly from: string;
  /** Milliseconds of the clock. */
  readonly at: number;
}

/** What the relay says to a mail; "hold": nothing until `finish`. */
export type Answer = (mail: Handed) => Outcome | "hold" | undefined;

export interface Origin {
  readonly neighbour?: string;
  readonly trail?: readonly string[];
  readonly receivedAt?: number;
}

export interface DrivenOptions extends Partial<LaneSettings> {
  readonly maxMailBytes?: number;
  /** The log of an earlier lane, to go on with; its clock goes on too. */
  readonly after?: DrivenLane;
}

export const later = (words = "451 4.3.0 Later"): Outcome => {
  return { kind: "temporary", about: "neighbour", code: Number(words.slice(0, 3)), words };
};
export const refused = (words = "554 5.7.1 Bad key"): Outcome => {
  return { kind: "refused", code: Number(words.slice(0, 3)), words };
};

export class DrivenLane {
  readonly log: UpdateLog;
  readonly diagnostics = new Recorder();
  readonly lane: Lane;
  /** What the relay took, and all that it was handed. */
  readonly taken: Handed[] = [];
  readonly seen: Handed[] = [];
  answer: Answer = () => undefined;
  /** Added to the wall clock alone, as when it is set. */
  setBackMs = 0;
  #ms = 0;
  #outbox: Handed | undefined;
  #run: LaneRun | undefined;
  #step: LaneStep | undefined;
  /** The end of the wait under way. */
  #until = Infinity;
  #isRunning = false;

  constructor({ maxMailBytes = 128_000, after, ...settings }: DrivenOptions = {}) {
    this.log = after?.log ?? UpdateLog.open(":memory:");
    this.#ms = after?.ms ?? 0;
    if (after === undefined) onTestFinished(() => this.log.close());
    const { log, clock, diagnostics } = this;
    const contact = "keymaster@example.org";
    const envelope = { to: ADDRESS, from: contact, site: SITE, maxBytes: maxMailBytes };
    const sender = (first: Seq, last: Seq) =>
      verpSender("pgp-bounces@kx.example.org", "old", first, last, log.bounces.secret);
    const method = new RelayDelivery(envelope, sender, {
      // The answer comes by the machine's own door: `#perform` takes the mail out of the box.
      deliver: async (raw, from) => {
        this.#outbox = { raw: Buffer.from(raw).toString("latin1"), from, at: this.ms };
        return later();
      },
      close: () => {},
    });
    const retry: Schedule = [60_000, 60_000];
    const ours = { name: "old", address: ADDRESS, retry, observing: false, ...settings };
    this.lane = new Lane({ log, method, clock, diagnostics }, ours);
    log.onAppend(() => {
      if (this.lane.readsOn) this.wake();
    });
  }

  /** Milliseconds since the test began. */
  get ms(): number {
    return this.#ms;
  }

  get clock(): Clock {
    return {
      now: () => EPOCH_MS + this.#ms - this.setBackMs,
      monotonic: () => this.#ms,
      random: () => 0,
    };
  }

  /** Milliseconds until it goes on by itself; Infinity: it has to be woken. */
  get waitMs(): number {
    expect(this.#step?.type).toBe("wait");
    return this.#until - this.#ms;
  }

  get row() {
    return this.log.lanes.get("old");
  }

  /** Names of the updates that the relay took, in order. */
  get hashes(): (string | undefined)[] {
    return this.taken.flatMap(({ raw }) => {
      const [, hash, part] = /^Message-ID: <([0-9a-f]+)\.\d+\.(\w+)@/m.exec(raw) ?? [];
      if (part?.startsWith("p") !== true) return [hash];
      return admit([bytes(raw)]).updates.map((update) => update.hash);
    });
  }

  start(): this {
    this.#run = this.lane.run();
    this.#go(undefined);
    return this;
  }

  /** Ends the run; true when it ended at once. */
  stop(): boolean {
    this.lane.stop();
    this.wake();
    return this.#step === undefined;
  }

  /** Ends the wait under way, if there is one. */
  wake(): void {
    if (this.#step?.type === "wait") this.#go(undefined);
  }

  /** Lets so much time pass. */
  pass(ms: number): void {
    const end = this.#ms + ms;
    while (this.#step?.type === "wait" && this.#until <= end) {
      this.#ms = Math.max(this.#ms, this.#until);
      this.#go(undefined);
    }
    this.#ms = end;
  }

  /** The outcome of the delivery that was held. */
  finish(outcome: Outcome = { kind: "delivered", how: "relayed", reply: "250 Ok" }): void {
    expect(this.#step?.type).toBe("deliver");
    const mail = this.seen.at(-1);
    if (outcome.kind === "delivered" && mail !== undefined) this.taken.push(mail);
    this.#go(outcome);
  }

  session(isUp: boolean): void {
    this.lane.session(isUp);
    this.wake();
  }

  resume(): void {
    this.lane.resume();
    this.wake();
  }

  put(update: Update | undefined, from: Origin = {}): Seq {
    if (update === undefined) throw new Error("no such update");
    const { neighbour, trail = [], receivedAt = this.clock.now() } = from;
    const origin = { neighbour, transport: "mail" } as const;
    const [outcome] = this.log.append([{ update, origin, trail, receivedAt }]);
    return outcome?.seq ?? (0 as Seq);
  }

  /** Appends the n-th update. */
  add(n: number, from?: Origin): Seq {
    return this.put(updates[n], from);
  }

  /** A mail with the update, or with those from `first` on, comes back. */
  comesBack(seq: number, about: Bounce["about"] = "site", more: Partial<Bounce> = {}): void {
    const numbers = { first: seq as Seq, seq: seq as Seq };
    const said = { about, code: 550, text: "No such user", at: this.clock.now() };
    this.log.bounces.note({ site: "old", ...numbers, ...said, ...more });
  }

  #go(outcome: Outcome | undefined): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    let given = outcome;
    for (;;) {
      const next = this.#run?.next(given);
      this.#step = next?.done === false ? next.value : undefined;
      given = undefined;
      if (this.#step?.type === "turn") continue;
      if (this.#step?.type !== "deliver") break;
      given = this.#perform(this.#step);
      if (given === undefined) break;
    }
    this.#until = this.#step?.type === "wait" ? this.#ms + this.#step.ms : Infinity;
    this.#isRunning = false;
  }

  #perform({ part }: LaneStep & { readonly type: "deliver" }): Outcome | undefined {
    void part.deliver();
    const mail = this.#outbox;
    this.#outbox = undefined;
    if (mail === undefined) throw new Error("a part without a mail");
    this.seen.push(mail);
    const answer = this.answer(mail) ?? { kind: "delivered", how: "relayed", reply: "250 Ok" };
    if (answer === "hold") return undefined;
    if (answer.kind === "delivered") this.taken.push(mail);
    return answer;
  }
}
