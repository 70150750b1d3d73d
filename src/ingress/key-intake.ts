/**
 * Armored keys into the log, whichever way they came in: admitted, appended, reported. What is in a
 * mail is found by `mail-intake.ts`; HKP hands its key in as it is. Who may deliver has been
 * settled before; the outcome is put into words by the way in. Nothing is acknowledged before the
 * commit.
 */
import { ALL, admit, type Judgement } from "../admit.js";
import type { Clock } from "../clock.js";
import type { Neighbour } from "../config/config.js";
import type { Diagnostics } from "../diagnostics.js";
import { Refusal } from "../errors.js";
import { mergeTrails } from "../mail/sent-trail.js";
import type { Update } from "../update.js";
import type { Appended, Arrival, UpdateLog } from "../updatelog/update-log.js";
import { AcceptRates } from "./accept-rates.js";
import { GroupCommit } from "./group-commit.js";

/** Keys and what is known about where they come from. */
export interface Submission {
  readonly armor: readonly Uint8Array[];
  /** Who sent them; undefined when several could have. */
  readonly sender: Neighbour | undefined;
  /** Addresses that have them. */
  readonly trail: readonly string[];
  readonly messageId: string | undefined;
  /** Size of the message or request that brought them. */
  readonly bytes: number;
  /** Whether it may be one key only, and nothing beside it. */
  readonly single?: boolean;
}

/** A key that is in the log now. */
export interface Taken {
  readonly update: Update;
  readonly outcome: Appended["outcome"];
}

export class KeyIntake {
  /** Who may hand in how much; asked by whoever knows the sender. */
  readonly rates: AcceptRates;
  readonly #commit: GroupCommit;
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;
  readonly #judge: Judgement;

  constructor(
    log: UpdateLog,
    clock: Clock,
    diagnostics: Diagnostics,
    judge: Judgement = ALL,
    rates = new AcceptRates([], clock),
  ) {
    this.rates = rates;
    this.#judge = judge;
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
    const arrivals = this.arrivals(submission);
    return this.stored(submission, arrivals, await this.#commit.append(arrivals));
  }

  /** What is to be appended for a submission. Throws `Refusal` when there is nothing. */
  arrivals({ armor, sender, trail, messageId, single = false }: Submission): Arrival[] {
    const { updates, refusals } = admit(armor, this.#judge);
    const neighbour = sender?.name;
    if (updates.length === 0 || (single && refusals.length > 0)) throw worst(refusals);
    if (single && updates.length > 1) {
      throw new Refusal("several-keys", "There is more than one key in it.");
    }
    for (const { reason, message: problem } of refusals) {
      this.#diagnostics.report("key-refused", { neighbour, messageId, reason, problem });
    }
    // Whoever sends an update has it, whether or not it says so (Hockeypuck writes no trail).
    const passed = sender?.mail === undefined ? trail : mergeTrails(trail, [sender.mail]);
    const origin = { neighbour, transport: "mail" } as const;
    const receivedAt = this.#clock.now();
    return updates.map((update) => ({ update, origin, trail: passed, receivedAt, messageId }));
  }

  /** Reports what became of the arrivals of a submission, once that is on disk. */
  stored(
    { sender, messageId, bytes }: Submission,
    arrivals: readonly Arrival[],
    outcomes: readonly Appended[],
  ): Taken[] {
    const taken: Taken[] = [];
    for (const [index, { update }] of arrivals.entries()) {
      const outcome = outcomes[index];
      if (outcome === undefined) continue;
      const { hash, fingerprint, body } = update;
      const neighbour = sender?.name;
      const fields = { seq: outcome.seq, hash, fingerprint, neighbour, via: "mail", messageId };
      taken.push({ update, outcome: outcome.outcome });
      if (outcome.outcome === "duplicate") {
        this.#diagnostics.report("duplicate", { ...fields, bytes });
        continue;
      }
      this.#diagnostics.report("accepted", { ...fields, bytes: body.length });
      if (outcome.collision) this.#diagnostics.report("collision", fields);
    }
    return taken;
  }
}

/** The refusal that the sender should hear: that of a secret key before all others. */
function worst(refusals: readonly Refusal[]): Refusal {
  const secret = refusals.find(({ reason }) => reason === "secret-key");
  const chosen = secret ?? refusals[0];
  if (chosen === undefined) throw new Error("an admission without updates has a refusal");
  return chosen;
}
