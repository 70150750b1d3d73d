/**
 * Processes one incremental mail, whichever way it came in: parses head and parts, recognises the
 * command, and passes the keys to `key-intake.ts`. The way in (SMTP, LMTP, spool) decides before
 * who may deliver, and afterwards turns the outcome into its own reply.
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

/** The outcome of a mail. A `Refusal` or `Trouble` is thrown if it was not accepted. */
export type Intake =
  | { readonly kind: "stored"; readonly appended: number; readonly duplicates: number }
  /** An automatic answer. It is dropped unless it answers a command of the gateway. */
  | { readonly kind: "reply" };

/** What a `MailIntake` works with. */
export interface MailIntakeComponents {
  readonly keys: Pick<KeyIntake, "rates" | "take">;
  readonly diagnostics: Diagnostics;
  /** Takes the answers to mailed commands; undefined when no commands are mailed. */
  readonly answers?: Pick<MailAnswers, "take">;
}

export class MailIntake {
  readonly #keys: MailIntakeComponents["keys"];
  readonly #diagnostics: Diagnostics;
  readonly #answers: MailIntakeComponents["answers"];

  constructor({ keys, diagnostics, answers }: MailIntakeComponents) {
    this.#answers = answers;
    this.#keys = keys;
    this.#diagnostics = diagnostics;
  }

  /** The accept rates of the neighbours. */
  get rates(): AcceptRates {
    return this.#keys.rates;
  }

  /**
   * Takes the mail `message` (head and body, not dot-stuffed) from one of `candidates`. With
   * `mustBeNamed`, which is set if no address identifies the sender, the mail must name one of them
   * in its trail, envelope or From. Resolves when the mail is on disk. Rejects with `Refusal` if
   * nothing of it can be taken (`TooFast` if it may be sent again later), and with `Trouble` if it
   * could not be stored; the sender then keeps it.
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
      throw new Refusal(
        "unknown-sender",
        "The mail names no neighbour of this keyserver as its sender.",
      );
    }
    if (!isTold) this.rates.take(sender === undefined ? candidates : [sender]);
    const bytes = message.length;
    const isKnown = !mustBeNamed && candidates.length > 0;
    const taken = await this.#keys.take({ armor, sender, isKnown, trail, messageId, bytes });
    const appended = taken.filter(({ outcome }) => outcome === "appended").length;
    return { kind: "stored", appended, duplicates: taken.length - appended };
  }
}
