/**
 * Armored keys into the log, whichever way they came in: cut down to their news where the operator
 * wants that, admitted, appended, reported. What is in a
 * mail is found by `mail-intake.ts`; HKP hands its key in as it is. Who may deliver has been
 * settled before; the outcome is put into words by the way in. Nothing is acknowledged before the
 * commit.
 */
import { setImmediate } from "node:timers/promises";
import {
  type Admission,
  ALL,
  admitting,
  type Cut,
  type Judgement,
  KEEP_ALL,
  MAX_KEYS,
  type Pruning,
  WHOLE,
} from "../admit.js";
import type { Clock } from "../clock.js";
import type { Neighbour } from "../config/config.js";
import type { Diagnostics } from "../diagnostics.js";
import { Refusal } from "../errors.js";
import { dayOf } from "../log/packet-memory.js";
import type { Appended, Arrival, UpdateLog } from "../log/update-log.js";
import { mergeTrails } from "../mail/sent-trail.js";
import { encodeKey, keyPackets, type TransferableKey } from "../openpgp/key.js";
import { findingNews } from "../openpgp/news.js";
import { encodedSize } from "../openpgp/packet.js";
import { finish, type Steps } from "../steps.js";
import type { Fingerprint, PacketName, Seq, Transport, Update } from "../update.js";
import { AcceptRates } from "./accept-rates.js";
import { GroupCommit } from "./group-commit.js";
import { inSlices } from "./slices.js";

/** Keys and what is known about where they come from. */
export interface Submission {
  readonly armor: readonly Uint8Array[];
  /** Who sent them; undefined when several could have. */
  readonly sender: Pick<Neighbour, "name" | "mail"> | undefined;
  /**
   * Whether the connection is that of a neighbour, or of one of several; by default when the sender
   * is told. Only then the trail counts: a stranger could else name everybody in it, and nobody
   * would be sent the keys.
   */
  readonly isKnown?: boolean;
  /** Addresses that have them. */
  readonly trail: readonly string[];
  readonly messageId: string | undefined;
  /** Size of the message or request that brought them. */
  readonly bytes: number;
  /** Whether it may be one key only, and nothing beside it. */
  readonly single?: boolean;
  /** The road that it came by; mail unless it says so. */
  readonly transport?: Transport;
  /** The key that was asked for: any other is refused. */
  readonly only?: Fingerprint | undefined;
  /** Whether all of it goes on, whatever of it is known: somebody lacks what others were told. */
  readonly whole?: boolean;
}

/** A key that is in the log now, or of which everything was. */
export interface Taken {
  readonly update: Update;
  /** Its entry; undefined for a key of which nothing is news. */
  readonly seq: Seq | undefined;
  readonly outcome: Appended["outcome"];
}

/** How the operator wants it; by default everything is taken, as its news. */
export interface IntakeRules {
  readonly judge?: Judgement;
  readonly pruning?: Pruning;
  readonly rates?: AcceptRates;
  /** Whether keys go on as they came, or only what nobody was told of yet. */
  readonly forward?: "news" | "whole";
}

/** What a submission holds, read and not yet stored. */
export interface Material {
  readonly arrivals: readonly Arrival[];
  /** Keys of which nothing is news. */
  readonly known: readonly Update[];
  /** Whole keys of which a part is news, where a site did not take something of the key. */
  readonly wholes: ReadonlyMap<Fingerprint, Uint8Array>;
  /** Known packets to be remembered from now on. */
  readonly seenAgain: readonly PacketName[];
  /** Bytes of known packets that were left out. */
  readonly spared: number;
  readonly receivedAt: number;
}

/** Names that are written in one transaction. */
const NAMES_AT_ONCE = 1000;

export class KeyIntake {
  /** Who may hand in how much; asked by whoever knows the sender. */
  readonly rates: AcceptRates;
  readonly #log: UpdateLog;
  readonly #commit: GroupCommit;
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;
  readonly #judge: Judgement;
  readonly #pruning: Pruning;
  readonly #forward: "news" | "whole";

  constructor(log: UpdateLog, clock: Clock, diagnostics: Diagnostics, rules: IntakeRules = {}) {
    const { judge = ALL, pruning = KEEP_ALL, forward = "news" } = rules;
    const { rates = new AcceptRates([], clock) } = rules;
    this.rates = rates;
    this.#log = log;
    this.#judge = judge;
    this.#pruning = pruning;
    this.#forward = forward;
    this.#commit = new GroupCommit(log);
    this.#clock = clock;
    this.#diagnostics = diagnostics;
  }

  /**
   * Takes the keys that can be taken and resolves when they are on disk. Rejects with `Refusal`
   * when there is none among them, with `Trouble` when they could not be stored: then the sender
   * keeps them.
   */
  async take(submission: Submission): Promise<Taken[]> {
    const material = await inSlices(this.#reading(submission), this.#clock);
    const outcomes = await this.#commit.append(material.arrivals);
    const { seenAgain, receivedAt, ...others } = material;
    for (let at = 0; at < seenAgain.length; at += NAMES_AT_ONCE) {
      this.#log.packets.remember(seenAgain.slice(at, at + NAMES_AT_ONCE), receivedAt);
      await setImmediate();
    }
    return this.stored(submission, { ...others, receivedAt, seenAgain: [] }, outcomes);
  }

  /** What is to be appended for a submission. Throws `Refusal` when nothing of it can be taken. */
  read(submission: Submission): Material {
    return finish(this.#reading(submission));
  }

  *#reading(submission: Submission): Steps<Material> {
    const { armor, sender, trail, messageId, single = false, transport = "mail" } = submission;
    const receivedAt = this.#clock.now();
    const seenAgain: PacketName[] = [];
    const spared = { bytes: 0 };
    const wholes = new Map<Fingerprint, Uint8Array>();
    const cut = submission.whole ? WHOLE : this.#cut(receivedAt, seenAgain, spared, wholes);
    const judge = this.#judgement(submission.only);
    const maxKeys = single ? 1 : MAX_KEYS;
    const options = { judge, cut, pruning: this.#pruning, maxKeys };
    const { refusals, pruned, ...admission } = yield* admitting(armor, options);
    const { updates, known } = this.#sorted(admission);
    const found = updates.length + known.length;
    const neighbour = sender?.name;
    if (found === 0 || (single && refusals.length > 0)) throw worst(refusals);
    for (const { reason, message: problem, fingerprint } of refusals) {
      const why = { fingerprint, reason, problem };
      this.#diagnostics.report("key-refused", { neighbour, messageId, ...why });
    }
    for (const { fingerprint, packets, why } of pruned) {
      const { reason, message: problem } = why;
      const about = { fingerprint, packets, reason, problem };
      this.#diagnostics.report("pruned", { neighbour, messageId, ...about });
    }
    // Whoever sends an update has it, whether or not it says so (Hockeypuck writes no trail).
    const told = (submission.isKnown ?? sender !== undefined) ? trail : [];
    const passed = sender?.mail === undefined ? told : mergeTrails(told, [sender.mail]);
    const origin = { neighbour, transport };
    const arrivals = updates.map((update) => {
      return { update, origin, trail: passed, receivedAt, messageId };
    });
    return { arrivals, known, wholes, seenAgain, spared: spared.bytes, receivedAt };
  }

  /** A known update by its own name is a duplicate that the log can tell who has it. */
  #sorted(admission: Pick<Admission, "updates" | "known">): Pick<Admission, "updates" | "known"> {
    const updates = [...admission.updates];
    const known: Update[] = [];
    for (const update of admission.known) {
      (this.#log.has(update.hash) ? updates : known).push(update);
    }
    return { updates, known };
  }

  /** Reports what became of a submission once its arrivals are on disk. */
  stored(
    { sender, messageId, bytes, transport: via = "mail" }: Submission,
    { arrivals, known, wholes, seenAgain, spared, receivedAt }: Material,
    outcomes: readonly Appended[],
  ): Taken[] {
    const neighbour = sender?.name;
    const taken: Taken[] = [];
    for (const [index, { update }] of arrivals.entries()) {
      const outcome = outcomes[index];
      if (outcome === undefined) continue;
      const { hash, fingerprint, body } = update;
      const fields = { seq: outcome.seq, hash, fingerprint, neighbour, via, messageId };
      taken.push({ update, seq: outcome.seq, outcome: outcome.outcome });
      if (outcome.outcome === "duplicate") {
        this.#diagnostics.report("duplicate", { ...fields, bytes });
        continue;
      }
      this.#diagnostics.report("accepted", { ...fields, bytes: body.length });
      if (outcome.collision) this.#diagnostics.report("collision", fields);
    }
    if (spared > 0) {
      this.#diagnostics.report("trimmed", { neighbour, via, messageId, bytes: spared });
    }
    if (seenAgain.length > 0) this.#log.packets.remember(seenAgain, receivedAt);
    this.#log.learn(known, receivedAt);
    this.#offer(taken, { known, wholes, receivedAt }, sender?.name);
    for (const update of known) {
      const { hash, fingerprint } = update;
      const fields = { hash, fingerprint, neighbour, via, messageId, bytes };
      this.#diagnostics.report("duplicate", { ...fields, reason: "no-news" });
      taken.push({ update, seq: undefined, outcome: "duplicate" });
    }
    return taken;
  }

  /** Offers what came again, by whatever road, to the sites that did not take the key. */
  #offer(
    taken: readonly Taken[],
    { known, wholes, receivedAt }: Pick<Material, "known" | "wholes" | "receivedAt">,
    from: string | undefined,
  ): void {
    const again = taken.filter(({ outcome }) => outcome === "duplicate");
    const parts = [...wholes].map(([fingerprint, body]) => ({ fingerprint, body }));
    this.#log.cameAgain(
      [
        ...again.map(({ update, seq }) => ({ ...cameAs(update, from), seq })),
        ...[...known, ...parts].map((update) => cameAs(update, from)),
      ],
      receivedAt,
    );
  }

  /** Policy, and before it that a key is the one that was asked for. */
  #judgement(wanted: Fingerprint | undefined): Judgement {
    if (wanted === undefined) return this.#judge;
    return (key) =>
      key.fingerprint === wanted
        ? this.#judge(key)
        : new Refusal("wrong-key", "The key is not the one that was asked for.");
  }

  /** What goes on of a key. Known packets not seen yet on the day of `now` go into `seenAgain`. */
  #cut(
    now: number,
    seenAgain: PacketName[],
    spared: { bytes: number },
    wholes: Map<Fingerprint, Uint8Array>,
  ): Cut {
    if (this.#forward === "whole") return WHOLE;
    const today = dayOf(now);
    const isKnown = (name: PacketName) => {
      const day = this.#log.packets.lastSeen(name);
      if (day !== undefined && day < today) seenAgain.push(name);
      return day !== undefined;
    };
    const { exceptions } = this.#log;
    return function* (key) {
      const news = yield* findingNews(key, isKnown, now);
      if (news === undefined || news === key) return news;
      spared.bytes += sizeOf(key) - sizeOf(news);
      if (exceptions.hasKey(key.fingerprint)) wholes.set(key.fingerprint, encodeKey(key));
      return news;
    };
  }
}

function cameAs(
  { fingerprint, body }: Pick<Update, "fingerprint" | "body">,
  from: string | undefined,
) {
  return { fingerprint, seq: undefined, body, from };
}

function sizeOf(key: TransferableKey): number {
  return encodedSize(keyPackets(key));
}

/** The refusal that the sender should hear: that of a secret key before all others. */
function worst(refusals: readonly Refusal[]): Refusal {
  const secret = refusals.find(({ reason }) => reason === "secret-key");
  const chosen = secret ?? refusals[0];
  if (chosen === undefined) throw new Error("an admission without updates has a refusal");
  return chosen;
}
