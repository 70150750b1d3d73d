/**
 * Armored keys into the log, whichever way they came in: cut down to their news if the operator
 * wants that, admitted, stored, reported. `mail-intake.ts` finds the keys of a mail; HKP hands its
 * key over as it is. The way in has decided before who may deliver, and writes the reply. Nothing
 * is acknowledged before the commit.
 */
import { setImmediate } from "node:timers/promises";
import {
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
import type { AppendPort } from "../log/append-port.js";
import { dayOf } from "../log/packet-memory.js";
import type { Appended, Arrival, UpdateLog } from "../log/update-log.js";
import { mergeTrails } from "../mail/sent-trail.js";
import { encodeKey, keyPackets, type TransferableKey } from "../openpgp/key.js";
import { findingNews } from "../openpgp/news.js";
import { encodedSize } from "../openpgp/packet.js";
import type { UpdateName } from "../openpgp/update-hash.js";
import { finish, type Steps } from "../steps.js";
import type { Fingerprint, PacketName, Seq, Transport, Update } from "../update.js";
import { AcceptRates } from "./accept-rates.js";
import { inSlices } from "./slices.js";

/** Keys, and what is known of their origin. */
export interface Submission {
  readonly armor: readonly Uint8Array[];
  /** The sender; undefined if several neighbours may have sent them. */
  readonly sender: Pick<Neighbour, "name" | "mail"> | undefined;
  /**
   * Whether the connection is that of a neighbour, or of one of several; by default when the sender
   * is given. The trail counts only then: otherwise a stranger could name all sites in it, and the
   * keys would be sent to none.
   */
  readonly isKnown?: boolean;
  /** Addresses of sites that have them. */
  readonly trail: readonly string[];
  readonly messageId: string | undefined;
  /** Size of the message or request that brought them. */
  readonly bytes: number;
  /** Whether exactly one key is allowed. */
  readonly single?: boolean;
  /** The transport; mail by default. */
  readonly transport?: Transport;
  /** The key that was asked for; any other is refused. */
  readonly only?: Fingerprint | undefined;
  /** Called once with the refusal of each key that is not taken, before anything is stored. */
  readonly onRefused?: (refusals: readonly Refusal[]) => void;
  /** Whether keys are forwarded whole, although parts are known: a site may lack these parts. */
  readonly whole?: boolean;
}

/** A key that is in the log now, or of which every packet was known. */
export interface Taken {
  readonly update: Update;
  /** Its entry; undefined for a key without news. */
  readonly seq: Seq | undefined;
  readonly outcome: Appended["outcome"];
}

/** What the operator configured; by default every key is accepted, cut down to its news. */
export interface IntakeRules {
  readonly judge?: Judgement;
  readonly pruning?: Pruning;
  readonly rates?: AcceptRates;
  /** Whether keys are forwarded whole, or only the packets that are not known yet. */
  readonly forward?: "news" | "whole";
}

export interface KeyIntakeComponents {
  readonly log: KeyIntakeLog;
  readonly appends: AppendPort;
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
}

/** What the intake of keys uses of the log. */
export type KeyIntakeLog = Pick<UpdateLog, "cameAgain" | "exceptions" | "isCurrent" | "packets">;

/** A submission that was read and is not stored yet. */
export interface Material {
  readonly arrivals: readonly Arrival[];
  /** Whole keys of which a part is news, where a site did not take something of the key. */
  readonly wholes: ReadonlyMap<Fingerprint, Uint8Array>;
  /** Known packets whose date of last sight is to be renewed. */
  readonly seenAgain: readonly PacketName[];
  /** Bytes of known packets that were left out. */
  readonly trimmed: number;
  readonly receivedAt: number;
}

/** Names that are written in one transaction. */
const NAMES_AT_ONCE = 1000;

export class KeyIntake {
  /** How much each neighbour may hand in; checked by the way in, which knows the sender. */
  readonly rates: AcceptRates;
  readonly #log: KeyIntakeLog;
  readonly #appends: AppendPort;
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;
  readonly #judge: Judgement;
  readonly #pruning: Pruning;
  readonly #forward: "news" | "whole";

  constructor(components: KeyIntakeComponents, rules: IntakeRules = {}) {
    const { log, appends, clock, diagnostics } = components;
    const { judge = ALL, pruning = KEEP_ALL, forward = "news" } = rules;
    const { rates = new AcceptRates([], clock) } = rules;
    this.rates = rates;
    this.#log = log;
    this.#judge = judge;
    this.#pruning = pruning;
    this.#forward = forward;
    this.#appends = appends;
    this.#clock = clock;
    this.#diagnostics = diagnostics;
  }

  /**
   * Stores the keys that are acceptable and resolves when they are on disk. Rejects with `Refusal`
   * if none of them is, and with `Trouble` if they could not be stored: the sender keeps them.
   */
  async take(submission: Submission): Promise<Taken[]> {
    const material = await inSlices(this.#reading(submission), this.#clock);
    const outcomes = await this.#appends.submit({ arrivals: material.arrivals });
    const { seenAgain, receivedAt, ...others } = material;
    for (let at = 0; at < seenAgain.length; at += NAMES_AT_ONCE) {
      this.#log.packets.remember(seenAgain.slice(at, at + NAMES_AT_ONCE), receivedAt);
      await setImmediate();
    }
    return this.stored(submission, { ...others, receivedAt, seenAgain: [] }, outcomes);
  }

  /** Reads a submission. Throws `Refusal` if no key of it is acceptable. */
  read(submission: Submission): Material {
    return finish(this.#reading(submission));
  }

  *#reading(submission: Submission): Steps<Material> {
    const { armor, sender, trail, messageId, single = false, transport = "mail" } = submission;
    const receivedAt = this.#clock.now();
    const seenAgain: PacketName[] = [];
    const trimmed = { bytes: 0 };
    const wholes = new Map<Fingerprint, Uint8Array>();
    const cut = submission.whole ? WHOLE : this.#cut(receivedAt, seenAgain, trimmed, wholes);
    const judge = this.#judgement(submission.only);
    const maxKeys = single ? 1 : MAX_KEYS;
    const isHeld = (name: UpdateName) => this.#log.isCurrent(name, receivedAt);
    const options = { judge, cut, pruning: this.#pruning, isHeld, maxKeys };
    const { updates, refusals, pruned } = yield* admitting(armor, options);
    const found = updates.length;
    const neighbour = sender?.name;
    submission.onRefused?.(refusals);
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
    const told = (submission.isKnown ?? sender !== undefined) ? trail : [];
    // The sender of an update has it, even if its trail does not say so (Hockeypuck writes none).
    const passed = sender?.mail === undefined ? told : mergeTrails(told, [sender.mail]);
    const origin = { neighbour, transport };
    const arrivals = updates.map((update) => {
      const evenKnown = submission.whole;
      return { update, origin, trail: passed, receivedAt, messageId, evenKnown };
    });
    return { arrivals, wholes, seenAgain, trimmed: trimmed.bytes, receivedAt };
  }

  /** Reports the outcomes of a submission whose arrivals are on disk. */
  stored(
    { sender, messageId, bytes, transport: via = "mail" }: Submission,
    { arrivals, wholes, seenAgain, trimmed, receivedAt }: Material,
    outcomes: readonly Appended[],
  ): Taken[] {
    const neighbour = sender?.name;
    const taken: Taken[] = [];
    for (const [index, { update }] of arrivals.entries()) {
      const outcome = outcomes[index];
      if (outcome === undefined) continue;
      const { hash, fingerprint, body } = update;
      const about = { hash, fingerprint, neighbour, via, messageId };
      taken.push({ update, seq: outcome.seq, outcome: outcome.outcome });
      if (outcome.outcome === "duplicate") {
        const { seq } = outcome;
        const reason = seq === undefined ? "no-news" : undefined;
        this.#diagnostics.report("duplicate", { ...about, seq, bytes, reason });
        continue;
      }
      const fields = { ...about, seq: outcome.seq };
      this.#diagnostics.report("accepted", { ...fields, bytes: body.length });
      if (outcome.collision) this.#diagnostics.report("collision", fields);
    }
    if (trimmed > 0) {
      this.#diagnostics.report("trimmed", { neighbour, via, messageId, bytes: trimmed });
    }
    if (seenAgain.length > 0) this.#log.packets.remember(seenAgain, receivedAt);
    this.#offer(taken, { wholes, receivedAt }, sender?.name);
    return taken;
  }

  /** Offers what came again, by whatever road, to the sites that did not take the key. */
  #offer(
    taken: readonly Taken[],
    { wholes, receivedAt }: Pick<Material, "wholes" | "receivedAt">,
    from: string | undefined,
  ): void {
    const again = taken.filter(({ outcome }) => outcome === "duplicate");
    const parts = [...wholes].map(([fingerprint, body]) => ({ fingerprint, body }));
    this.#log.cameAgain(
      [
        ...again.map(({ update, seq }) => ({ ...cameAs(update, from), seq })),
        ...parts.map((part) => cameAs(part, from)),
      ],
      receivedAt,
    );
  }

  /** Policy; before it the check that the key is the one that was asked for. */
  #judgement(wanted: Fingerprint | undefined): Judgement {
    if (wanted === undefined) return this.#judge;
    return (key) =>
      key.fingerprint === wanted
        ? this.#judge(key)
        : new Refusal("wrong-key", "The key is not the one that was asked for.");
  }

  /** The news of a key. Known packets not yet seen on the day of `now` go into `seenAgain`. */
  #cut(
    now: number,
    seenAgain: PacketName[],
    trimmed: { bytes: number },
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
      trimmed.bytes += sizeOf(key) - sizeOf(news);
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

/** The refusal that the sender gets: that of a secret key before all others. */
function worst(refusals: readonly Refusal[]): Refusal {
  const secret = refusals.find(({ reason }) => reason === "secret-key");
  const chosen = secret ?? refusals[0];
  if (chosen === undefined) throw new Error("an admission without updates has a refusal");
  return chosen;
}
