/**
 * One incremental mail into the log, whichever way it came in: head and parts read, recognised, and
 * its keys handed to `key-intake.ts`. The way in (SMTP, LMTP, a spool) has settled who may deliver
 * and turns the outcome into its own words; here is what all mail has in common.
 */
import type { Neighbour } from "../config/config.js";
import type { Diagnostics } from "../diagnostics.js";
import { Refusal } from "../errors.js";
import type { AcceptRates } from "../intake/accept-rates.js";
import type { KeyIntake } from "../intake/key-intake.js";
import { decodedParts } from "../intake/mime.js";
import { authorOf, senderOf } from "../intake/senders.js";
import { readHead } from "../mail/head.js";
import { recognise } from "../mail/incremental.js";
import type { MailAnswers } from "../repair/repair-mail.js";

/** What became of a mail that was understood; a `Refusal` or `Trouble` is thrown otherwise. */
export type Intake =
  | { readonly kind: "stored"; readonly appended: number; readonly duplicates: number }
  /** An automatic answer: thrown away, unless it answers a question of ours. */
  | { readonly kind: "reply" };

export class MailIntake {
  readonly #keys: KeyIntake;
  readonly #diagnostics: Diagnostics;
  readonly #answers: MailAnswers | undefined;

  /** `answers` takes what answers a question of ours; without it there are no questions. */
  constructor(keys: KeyIntake, diagnostics: Diagnostics, answers?: MailAnswers) {
    this.#answers = answers;
    this.#keys = keys;
    this.#diagnostics = diagnostics;
  }

  /** Who may hand in how much. */
  get rates(): AcceptRates {
    return this.#keys.rates;
  }

  /**
   * Takes the mail `message` (head and body, not dot-stuffed) from one of `candidates`, which the
   * mail has to name in trail, envelope or From if it `mustBeNamed`, because no address vouches for
   * it. Resolves when it is on disk. Rejects with `Refusal` when nothing of it can be taken (with
   * `TooFast` for now), with `Trouble` when it could not be stored: then the sender keeps it.
   */
  async take(
    message: Uint8Array,
    candidates: readonly Neighbour[],
    envelopeSender: string,
    mustBeNamed = false,
  ): Promise<Intake> {
    const isTold = candidates.length === 1 && !mustBeNamed;
    if (isTold) this.rates.take(candidates);
    const { fields, bodyStart } = readHead(message);
    const parts = await decodedParts(message, fields, bodyStart);
    const mail = recognise(fields, parts);
    if (mail.command === "reply") {
      const vouched = mustBeNamed ? [] : candidates;
      if (await this.#answers?.take(fields, parts, vouched)) return { kind: "reply" };
      const neighbour = candidates.length === 1 ? candidates[0]?.name : undefined;
      this.#diagnostics.report("reply-swallowed", { neighbour });
      return { kind: "reply" };
    }
    const { trail, from, messageId, armor } = mail;
    const marks = { trail, addresses: [envelopeSender, from] };
    const sender = mustBeNamed ? authorOf(candidates, marks) : senderOf(candidates, marks);
    if (mustBeNamed && sender === undefined) {
      throw new Refusal("unknown-sender", "The mail is from no neighbour of this keyserver.");
    }
    if (!isTold) this.rates.take(sender === undefined ? candidates : [sender]);
    const bytes = message.length;
    const isKnown = !mustBeNamed && candidates.length > 0;
    const taken = await this.#keys.take({ armor, sender, isKnown, trail, messageId, bytes });
    const appended = taken.filter(({ outcome }) => outcome === "appended").length;
    return { kind: "stored", appended, duplicates: taken.length - appended };
  }
}
