/**
 * The repair door fetches lost updates from keyservers (the thesis leaves this to the
 * administrator, section 5.2). Other rooms write what they miss to the log (`log/repairs.ts`). This
 * door chooses the keyservers, asks them, and reports the result.
 *
 *  1. Neighbours that announced or sent the update are asked first, then other neighbours with an
 *     HKP address, then the local keyserver, whose copy of the key may be older than the update. A
 *     site that waits for the key is not asked for it. `#nextSource` has an exception.
 *  2. A keyserver that does not have the key is not asked again. One that fails is asked again by
 *     the schedule, then the next one is asked. If none is left, the update is lost: one error.
 *  3. An answer by mail may take a day. A question by mail is repeated twice.
 *  4. An update that came by another way meanwhile is not asked for.
 */

import type { Clock } from "../clock.js";
import type { Config } from "../config/config.js";
import type { Diagnostics } from "../diagnostics.js";
import type { Repair, RepairAnswer } from "../log/repairs.js";
import type { UpdateLog } from "../log/update-log.js";
import { LogGuard } from "../log-guard.js";
import { canAsk, fewerDays, type MailCommand } from "../mail/command.js";
import type { Rules } from "../policy.js";
import { TokenBucket } from "../rate.js";
import { delayMs } from "../schedule.js";
import type { Fingerprint } from "../update.js";
import { lookUp } from "./repair-hkp.js";
import type { RepairIntake } from "./repair-intake.js";
import { REPAIR_LIMITS, type RepairLimits } from "./repair-limits.js";
import { type AskedSource, RepairSource, type SourceSettings } from "./repair-source.js";

/** Sends a command to a neighbour by mail. */
export type MailQuestion = (
  neighbour: string,
  command: MailCommand,
) => Promise<{ readonly kind: "delivered" | "temporary" | "refused"; readonly words?: string }>;

/** A keyserver that answers HKP, with its name in the log and its address in trails. */
interface Keyserver {
  readonly name: string;
  readonly mail: string | undefined;
  readonly url: string;
}

/** What a `RepairDoor` works with. */
export interface RepairComponents {
  readonly log: Pick<UpdateLog, "has" | "onAppend" | "repairs">;
  readonly intake: Pick<RepairIntake, "take">;
  readonly rules: Pick<Rules, "declines">;
  /** Undefined when no mail can be sent. */
  readonly mail: MailQuestion | undefined;
  /** Told when a key of a reconciliation could not be fetched, so that the next run tries again. */
  readonly unfetched?: ((fingerprint: Fingerprint) => void) | undefined;
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
}

export interface RepairSettings extends Pick<Config, "neighbours" | "mode" | "log" | "policy"> {
  /** The local keyserver; undefined when there is none that answers HKP. */
  readonly local: Keyserver | undefined;
  readonly limits?: RepairLimits;
}

/** Whether only one peer announced the missing update. */
function isOfOne({ why, neighbours }: Repair): boolean {
  return why === "lost" && neighbours.length === 1;
}

const DAY_MS = 24 * 60 * 60_000;
const NOTHING = { appended: 0, known: 0 };

export class RepairDoor {
  readonly #settings: RepairSettings;
  readonly #log: RepairComponents["log"];
  readonly #intake: RepairComponents["intake"];
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;
  readonly #limits: RepairLimits;
  readonly #guard: LogGuard;
  readonly #sources: readonly RepairSource[];
  readonly #rules: Pick<Rules, "declines">;
  readonly #unfetched: (fingerprint: Fingerprint) => void;
  /** Rates of the questions that each peer causes at other keyservers. */
  readonly #budgets = new Map<string, TokenBucket>();
  /** Name of the local keyserver. */
  readonly #local: string | undefined;
  #unsubscribe: (() => void) | undefined;
  #looking: NodeJS.Immediate | undefined;
  #stopping = false;

  constructor(components: RepairComponents, settings: RepairSettings) {
    const { log, intake, rules, mail, clock, diagnostics, unfetched = () => {} } = components;
    const { local, limits = REPAIR_LIMITS } = settings;
    this.#settings = settings;
    this.#log = log;
    this.#intake = intake;
    this.#clock = clock;
    this.#diagnostics = diagnostics;
    this.#limits = limits;
    this.#guard = new LogGuard("repair", clock, diagnostics);
    this.#rules = rules;
    this.#unfetched = unfetched;
    this.#local = local?.name;
    const neighbours = settings.neighbours.flatMap(({ name, mail: address, repair }) => {
      if (repair?.type === "hkp") return [this.#hkp({ name, mail: address, url: repair.url })];
      const canMail = repair?.type === "mail" && mail !== undefined && settings.mode === "bridge";
      return canMail ? [this.#mail(name, mail)] : [];
    });
    this.#sources = [...neighbours, ...(local === undefined ? [] : [this.#hkp(local)])];
  }

  start(): void {
    this.#guard.run(() => this.#log.repairs.keepSources(this.#sources.map(({ name }) => name)));
    this.#unsubscribe = this.#log.onAppend(() => this.#wake());
    this.#wake();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.#unsubscribe?.();
    clearImmediate(this.#looking);
    await Promise.all(this.#sources.map((source) => source.stop()));
  }

  /** Asks a neighbour by mail for its changes of `days`. False if it cannot be asked by mail. */
  askForChanges(neighbour: string, days: number): boolean {
    const source = this.#sources.find(({ name }) => name === neighbour);
    if (source?.via !== "mail") return false;
    const at = this.#clock.now();
    const neighbours = [neighbour];
    return this.#log.repairs.want({
      fingerprint: undefined,
      days,
      why: "backfill",
      neighbours,
      at,
    });
  }

  /** Runs `#look` once for all signals of one turn of the event loop. */
  #wake(): void {
    if (this.#stopping || this.#looking !== undefined) return;
    this.#looking = setImmediate(() => {
      this.#looking = undefined;
      if (this.#guard.run(() => this.#look()) === true) this.#wake();
    });
  }

  /** Handles repairs that wait for a decision. Returns true if there are more. */
  #look(): boolean {
    for (let count = 0; count < this.#limits.atOnce; count++) {
      const repair = this.#log.repairs.next("") ?? this.#nextAnswered();
      if (repair === undefined) {
        for (const source of this.#sources) source.wake();
        return false;
      }
      if (repair.answer === undefined) this.#assign(repair);
      else this.#settle(repair, repair.answer);
    }
    return true;
  }

  #nextAnswered(): Repair | undefined {
    for (const { name, via } of this.#sources) {
      const repair = via === "mail" ? this.#log.repairs.nextAnswered(name) : undefined;
      if (repair !== undefined) return repair;
    }
    return undefined;
  }

  /** Rule 1. */
  #assign(repair: Repair): void {
    if (this.#isHere(repair)) return this.#log.repairs.forget(repair.what);
    const { fingerprint } = repair;
    const declined = fingerprint && this.#rules.declines(fingerprint);
    if (declined) return this.#refuse(repair, declined.message);
    const source = this.#nextSource(repair);
    if (source === undefined) return this.#giveUp(repair);
    const waitMs = this.#foreignWaitMs(repair, source.name);
    if (waitMs > this.#limits.othersMs) {
      const words = `too many keys that only ${repair.neighbours[0]} announced`;
      return this.#giveUp({ ...repair, refused: { ...repair.refused, [source.name]: words } });
    }
    const nextAt = Math.max(repair.nextAt, this.#clock.now() + waitMs);
    this.#log.repairs.save({ ...repair, source: source.name, nextAt });
    source.wake();
  }

  /**
   * Rule 1. An update that only one peer announced may be invented, so that the peer chooses what
   * keyservers are asked for. For such an update the local keyserver is asked second, and the rate
   * of questions to keyservers other than the peer's own is limited (`others`). A question waits
   * for at most `othersMs`.
   */
  #nextSource(repair: Repair): RepairSource | undefined {
    const { fingerprint, neighbours, sites, refused } = repair;
    const others = this.#sources
      .filter(({ name, via }) => via === "hkp" && name !== this.#local)
      .map(({ name }) => name);
    const rest = isOfOne(repair) ? [this.#local, ...others] : [...others, this.#local];
    // What differs at a peer is known from the peer alone, and only its keyserver has it for sure.
    const all = repair.why === "reconcile" ? neighbours : [...neighbours, ...rest];
    return [...new Set(all)]
      .map((wanted) => this.#sources.find(({ name }) => name === wanted))
      .filter((one) => one !== undefined)
      .filter(({ name }) => !(name in refused) && !sites.includes(name))
      .find(({ name, via }) => {
        if (fingerprint === undefined) return via === "mail" && name === neighbours[0];
        return via === "hkp" || canAsk(fingerprint);
      });
  }

  /** How long a question waits that one peer causes at a keyserver other than its own. */
  #foreignWaitMs(repair: Repair, source: string): number {
    const [announcer] = repair.neighbours;
    if (announcer === undefined || source === announcer || !isOfOne(repair)) return 0;
    const now = this.#clock.monotonic();
    const budget = this.#budgets.get(announcer) ?? new TokenBucket(this.#limits.others, now);
    this.#budgets.set(announcer, budget);
    const waitMs = budget.waitMs(now);
    if (waitMs <= this.#limits.othersMs) budget.take(now);
    return waitMs;
  }

  /** Whether the local keyserver's copy may be older than the missing update. */
  #mayBeOlder(repair: Repair, { appended }: RepairAnswer): boolean {
    const { source, sites } = repair;
    if (source !== this.#local || !isOfOne(repair) || appended > 0 || sites.length > 0) {
      return false;
    }
    const refused = { ...repair.refused, [source]: "" };
    return this.#nextSource({ ...repair, refused }) !== undefined;
  }

  /** Rule 4. */
  #isHere({ why, hash }: Repair): boolean {
    return why === "lost" && hash !== undefined && this.#log.has(hash);
  }

  #hkp(keyserver: Keyserver): RepairSource {
    const { hkpPace: pace, rest, requestMs } = this.#limits;
    // Twice the size limit of an update, in armor.
    const limits = { requestMs, bytes: 3 * this.#settings.policy.maxUpdateBytes };
    const ask = async (repair: Repair, signal: AbortSignal): Promise<AskedSource> => {
      const { fingerprint } = repair;
      if (fingerprint === undefined) throw new Error("HKP has no list of changes");
      if (this.#isHere(repair)) return { kind: "taken", words: "", ...NOTHING };
      const found = await lookUp(keyserver.url, fingerprint, limits, signal);
      if (found.kind !== "found") return { ...found, ...NOTHING };
      return await this.#intake.take(repair, keyserver, [found.text]);
    };
    return this.#source({ name: keyserver.name, via: "hkp", pace, rest, ask });
  }

  #mail(name: string, mail: MailQuestion): RepairSource {
    const { mailPace: pace, rest, mailTries } = this.#limits;
    const ask = async (repair: Repair): Promise<AskedSource> => {
      const { fingerprint, attempts } = repair;
      if (this.#isHere(repair)) return { kind: "taken", words: "", ...NOTHING };
      if (attempts >= mailTries) return { kind: "absent", words: "does not answer", ...NOTHING };
      const command: MailCommand =
        fingerprint === undefined
          ? { verb: "last", days: this.#daysOf(repair) }
          : { verb: "get", fingerprint };
      // Stored before the mail is sent: the answer may arrive before the relay replies.
      const asked = { days: command.verb === "last" ? command.days : 0, answer: undefined };
      this.#log.repairs.save({ ...repair, ...asked, askedAt: this.#clock.now() });
      const { kind, words = "" } = await mail(name, command);
      if (kind === "delivered") return { kind: "asked" };
      if (kind === "temporary") return { kind: "later", words };
      return { kind: "absent", words, ...NOTHING };
    };
    return this.#source({ name, via: "mail", pace, rest, ask });
  }

  #source(settings: SourceSettings): RepairSource {
    const settle = (repair: Repair, answer: AskedSource) => {
      // Other rooms may have added neighbours or sites to the row meanwhile.
      const now = this.#log.repairs.get(repair.what);
      if (now?.source === settings.name) this.#settle(now, answer);
    };
    const components = {
      repairs: this.#log.repairs,
      clock: this.#clock,
      guard: this.#guard,
      settle,
    };
    return new RepairSource(components, settings);
  }

  /** By default as many days as the log remembers updates. */
  #daysOf({ days }: Repair): number {
    return days > 0 ? days : Math.max(1, Math.ceil(this.#settings.log.rememberMs / DAY_MS));
  }

  #settle(repair: Repair, answer: AskedSource): void {
    switch (answer.kind) {
      case "asked":
        return this.#asked(repair);
      case "later":
        return this.#putOff(repair, answer.words, false);
      case "taken":
        if (this.#mayBeOlder(repair, answer)) return this.#passOn(repair, "has nothing new");
        return this.#done(repair, answer);
      case "refused":
        return this.#refuse(repair, answer.words);
      case "absent":
        if (!this.#fewer(repair, answer.words)) this.#passOn(repair, answer.words);
        return;
      case "failed":
        return this.#putOff(repair, answer.words);
      default:
        answer satisfies never;
    }
  }

  /** Rule 3. */
  #asked(repair: Repair): void {
    const { days, source, attempts } = repair;
    const nextAt = this.#clock.now() + this.#limits.mailMs;
    this.#log.repairs.save({ ...repair, attempts: attempts + 1, nextAt });
    this.#diagnostics.report("repair-asked", {
      ...subjectOf(repair),
      neighbour: source,
      days: days || undefined,
    });
  }

  #done(repair: Repair, { appended, known }: RepairAnswer): void {
    const { source, wantedAt } = repair;
    const via = this.#sources.find(({ name }) => name === source)?.via;
    const tookMs = this.#clock.now() - wantedAt;
    this.#log.repairs.forget(repair.what);
    this.#diagnostics.report("repaired", {
      ...subjectOf(repair),
      neighbour: source,
      via,
      appended,
      known,
      tookMs,
    });
  }

  /** Asks for fewer days if a pksd refuses the number. Returns false for any other answer. */
  #fewer(repair: Repair, words: string): boolean {
    if (repair.fingerprint !== undefined) return false;
    if (/^No matching keys/i.test(words)) {
      this.#done(repair, { kind: "taken", words, ...NOTHING });
      return true;
    }
    const days = fewerDays(words, repair.days);
    if (days === undefined) return false;
    const nextAt = this.#clock.now();
    const again = { days, attempts: 0, nextAt, askedAt: 0, answer: undefined };
    this.#log.repairs.save({ ...repair, ...again });
    this.#diagnostics.report("repair-retry", {
      ...subjectOf(repair),
      neighbour: repair.source,
      words,
      days,
    });
    return true;
  }

  /** Rule 2. */
  #putOff(repair: Repair, words: string, counts = true): void {
    const { schedule } = this.#limits;
    const { source } = repair;
    if (counts && repair.attempts >= schedule.length) {
      if (repair.why === "reconcile" && repair.fingerprint) this.#unfetched(repair.fingerprint);
      return this.#passOn(repair, words);
    }
    const waitMs = delayMs(schedule, counts ? repair.attempts : 0, this.#clock.random());
    const nextAt = this.#clock.now() + waitMs;
    const attempts = repair.attempts + (counts ? 1 : 0);
    this.#log.repairs.save({ ...repair, attempts, nextAt, askedAt: 0, answer: undefined });
    this.#diagnostics.report("repair-retry", {
      ...subjectOf(repair),
      neighbour: source,
      words,
      waitMs,
    });
  }

  #passOn(repair: Repair, words: string): void {
    const refused = { ...repair.refused, [repair.source]: words };
    const fresh = { attempts: 0, nextAt: this.#clock.now(), askedAt: 0, answer: undefined };
    const next = { ...repair, ...fresh, refused, source: "" };
    this.#log.repairs.save(next);
    this.#assign(next);
  }

  #giveUp(repair: Repair): void {
    const { neighbours, refused, fingerprint, why } = repair;
    const said = Object.entries(refused).map(([name, words]) => `${name}: ${words}`);
    const unasked =
      this.#settings.mode === "observe"
        ? 'no keyserver to ask: nothing is asked by mail in mode = "observe"'
        : "no keyserver to ask: no matching repair in the config";
    const problem = said.length === 0 ? unasked : said.join("; ");
    this.#log.repairs.forget(repair.what);
    if (why === "reconcile" && fingerprint && said.length === 0) this.#unfetched(fingerprint);
    // A repair without a fingerprint is for all changes of one neighbour.
    const asked = fingerprint === undefined ? { neighbour: neighbours[0], reason: why } : {};
    const fields = { neighbours: neighbours.join(" "), problem, ...asked };
    this.#diagnostics.report("repair-failed", { ...subjectOf(repair), ...fields });
  }

  #refuse(repair: Repair, problem: string): void {
    this.#log.repairs.forget(repair.what);
    this.#diagnostics.report("update-refused", {
      ...subjectOf(repair),
      neighbour: repair.source || undefined,
      problem,
    });
  }
}

/** Fields of every event about a repair. */
function subjectOf({ fingerprint, hash, why }: Repair) {
  return { hash, fingerprint, why };
}
