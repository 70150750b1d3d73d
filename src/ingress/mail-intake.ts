/**
 * One incremental mail into the log, whichever way it came in: head and parts read, recognised,
 * admitted, appended. The way in (SMTP now) has settled who may deliver and turns the outcome into
 * its own words; here is what every way has in common. Nothing is acknowledged before the commit.
 */
import { admit } from "../admit.js";
import type { Clock } from "../clock.js";
import type { Neighbour } from "../config/config.js";
import type { Diagnostics } from "../diagnostics.js";
import type { Refusal } from "../errors.js";
import { readHead } from "../mail/head.js";
import { recognise } from "../mail/incremental.js";
import { mergeTrails } from "../mail/sent-trail.js";
import type { UpdateLog } from "../updatelog/update-log.js";
import { GroupCommit } from "./group-commit.js";
import { decodedParts } from "./mime.js";
import { senderOf } from "./neighbours.js";

/** What became of a mail that was understood; a `Refusal` or `Trouble` is thrown otherwise. */
export type Intake =
  | { readonly kind: "stored"; readonly appended: number; readonly duplicates: number }
  /** An automatic answer: taken, and thrown away. */
  | { readonly kind: "reply" };

export class MailIntake {
  readonly #commit: GroupCommit;
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;

  constructor(log: UpdateLog, clock: Clock, diagnostics: Diagnostics) {
    this.#commit = new GroupCommit(log);
    this.#clock = clock;
    this.#diagnostics = diagnostics;
  }

  /**
   * Takes the mail `message` (head and body, not dot-stuffed) from one of `candidates`. Resolves
   * when it is on disk. Rejects with `Refusal` when nothing of it can be taken, with `Trouble`
   * when it could not be stored: then the sender keeps it.
   */
  async take(
    message: Uint8Array,
    candidates: readonly Neighbour[],
    envelopeSender: string,
  ): Promise<Intake> {
    const { fields, bodyStart } = readHead(message);
    const mail = recognise(fields, await decodedParts(message, fields, bodyStart));
    if (mail.command === "reply") {
      const neighbour = candidates[0]?.name;
      this.#diagnostics.report("reply-swallowed", { neighbour });
      return { kind: "reply" };
    }
    const { trail, from, messageId, armor } = mail;
    const sender = senderOf(candidates, { trail, addresses: [envelopeSender, from] });
    const { updates, refusals } = admit(armor);
    const neighbour = sender?.name;
    if (updates.length === 0) throw worst(refusals);
    for (const { reason, message: problem } of refusals) {
      this.#diagnostics.report("key-refused", { neighbour, messageId, reason, problem });
    }
    // Whoever sends an update has it, whether or not it says so (Hockeypuck writes no trail).
    const passed = sender?.mail === undefined ? trail : mergeTrails(trail, [sender.mail]);
    const origin = { neighbour, transport: "mail" } as const;
    const receivedAt = this.#clock.now();
    const outcomes = await this.#commit.append(
      updates.map((update) => ({ update, origin, trail: passed, receivedAt, messageId })),
    );
    let appended = 0;
    for (const [index, { hash, fingerprint, body }] of updates.entries()) {
      const outcome = outcomes[index];
      if (outcome === undefined) continue;
      const fields = { seq: outcome.seq, hash, fingerprint, neighbour, via: "mail", messageId };
      if (outcome.outcome === "duplicate") {
        this.#diagnostics.report("duplicate", { ...fields, bytes: message.length });
        continue;
      }
      appended += 1;
      this.#diagnostics.report("accepted", { ...fields, bytes: body.length });
      if (outcome.collision) this.#diagnostics.report("collision", fields);
    }
    return { kind: "stored", appended, duplicates: outcomes.length - appended };
  }
}

/** The refusal that the sender should hear: that of a secret key before all others. */
function worst(refusals: readonly Refusal[]): Refusal {
  const secret = refusals.find(({ reason }) => reason === "secret-key");
  const chosen = secret ?? refusals[0];
  if (chosen === undefined) throw new Error("an admission without updates has a refusal");
  return chosen;
}
