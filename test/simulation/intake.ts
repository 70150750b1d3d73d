/**
 * Mail into a simulated gateway. It stands for the SMTP door, whose streams and promises have no
 * place here: what comes in within a moment is appended in one transaction (as GroupCommit does),
 * and each sender hears the outcome after the commit. Head, dialect, trail and sender are read by
 * the real `readHead`, `plainBody`, `recognise` and `senderOf`, keys go through the real gate
 * (`KeyIntake`), bounces through the real judgement and `BounceIntake`. All mails here are plain or
 * a delivery report, so no MIME parser is wanted.
 */
import type { Judgement } from "../../src/admit.js";
import type { Clock } from "../../src/clock.js";
import type { Neighbour } from "../../src/config/config.js";
import type { Diagnostics } from "../../src/diagnostics.js";
import { Refusal, Trouble } from "../../src/errors.js";
import { BounceIntake } from "../../src/ingress/bounce-intake.js";
import { GroupCommit } from "../../src/intake/group-commit.js";
import { KeyIntake, type Material, type Submission } from "../../src/intake/key-intake.js";
import { plainBody } from "../../src/intake/mime.js";
import { senderOf } from "../../src/intake/senders.js";
import type { Arrival, UpdateLog } from "../../src/log/update-log.js";
import { judgeBounce } from "../../src/mail/delivery-report.js";
import { readHead } from "../../src/mail/head.js";
import { recognise } from "../../src/mail/incremental.js";
import { isBounceAddress } from "../../src/mail/verp.js";
import type { Rules } from "../../src/policy.js";
import type { UpdateHash } from "../../src/update.js";
import type { Answer, Mail } from "./postal.js";

export interface IntakeSettings {
  readonly bounce: string;
  readonly neighbours: readonly Neighbour[];
  /** Neighbours that a mail handed over by this host may be from. */
  candidates(host: string): readonly Neighbour[];
}

/** What hears of an acknowledgement: the updates, and who is known to have them. */
export type Acknowledged = (hashes: readonly UpdateHash[]) => void;

interface Waiting {
  readonly submission: Submission;
  readonly material: Material;
  readonly answer: (answer: Answer) => void;
}

const NOT_NOW: Answer = "later";

export class SimIntake {
  readonly #settings: IntakeSettings;
  readonly #log: UpdateLog;
  readonly #keys: KeyIntake;
  readonly #bounces: BounceIntake;
  readonly #acknowledged: Acknowledged;
  readonly #soon: (commit: () => void) => void;
  readonly #diagnostics: Diagnostics;
  #waiting: Waiting[] = [];

  /** `soon` calls back in a moment, in a step of its own. */
  constructor(
    settings: IntakeSettings,
    log: UpdateLog,
    clock: Clock,
    diagnostics: Diagnostics,
    rules: Rules,
    acknowledged: Acknowledged,
    soon: (commit: () => void) => void,
  ) {
    this.#settings = settings;
    this.#log = log;
    const components = { log, appends: new GroupCommit(log), clock, diagnostics };
    const judge: Judgement = (key) => rules.judge(key);
    this.#keys = new KeyIntake(components, { judge, pruning: rules.pruning });
    this.#bounces = new BounceIntake({ log, clock, diagnostics }, settings);
    this.#acknowledged = acknowledged;
    this.#soon = soon;
    this.#diagnostics = diagnostics;
  }

  /** A mail after its final dot. */
  mail(mail: Mail, answer: (answer: Answer) => void): void {
    if (isBounceAddress(this.#settings.bounce, mail.recipient)) return this.#bounce(mail, answer);
    try {
      const { fields, bodyStart } = readHead(mail.raw);
      const body = plainBody(mail.raw, fields, bodyStart);
      if (body === undefined) throw new Error("a mail of the simulation is not plain");
      const read = recognise(fields, [body]);
      if (read.command === "reply") return answer("taken");
      const { trail, from, messageId, armor } = read;
      const candidates = this.#settings.candidates(mail.from);
      const sender = senderOf(candidates, { trail, addresses: [mail.sender, from] });
      this.submit({ armor, sender, trail, messageId, bytes: mail.raw.length }, answer);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.#refuse(error, answer);
    }
  }

  #refuse({ reason, message: problem }: Refusal, answer: (answer: Answer) => void): void {
    this.#diagnostics.report("mail-refused", { reason, problem });
    answer({ code: 550, words: `5.6.0 ${problem}` });
  }

  /** Keys by any way in: admitted now, appended with whatever else comes within a moment. */
  submit(submission: Submission, answer: (answer: Answer) => void): void {
    let material: Material;
    try {
      material = this.#keys.read(submission);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return this.#refuse(error, answer);
    }
    this.#waiting.push({ submission, material, answer });
    this.queued(material.arrivals, answer);
    if (this.#waiting.length === 1) this.#soon(() => this.commit());
  }

  /** What is said before the commit: nothing. A mutant answers here. */
  queued(_arrivals: readonly Arrival[], _answer: (answer: Answer) => void): void {}

  /** Appends what waits, and answers. */
  commit(): void {
    const group = this.#waiting;
    this.#waiting = [];
    try {
      const outcomes = this.#log.append(group.flatMap(({ material }) => material.arrivals));
      let start = 0;
      for (const { submission, material, answer } of group) {
        const { arrivals } = material;
        const own = outcomes.slice(start, start + arrivals.length);
        this.#keys.stored(submission, material, own);
        start += arrivals.length;
        this.acknowledge(arrivals, answer);
      }
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      const { kind, message: problem, remedy } = error;
      this.#diagnostics.report("mail-deferred", { kind, problem, remedy });
      for (const { answer } of group) answer(NOT_NOW);
    }
  }

  /** 250. */
  acknowledge(arrivals: readonly Arrival[], answer: (answer: Answer) => void): void {
    const hashes = arrivals.map(({ update }) => update.hash);
    this.#acknowledged(hashes);
    answer("taken");
  }

  #bounce({ raw, recipient }: Mail, answer: (answer: Answer) => void): void {
    try {
      this.#bounces.note(recipient, judgeBounce(readHead(raw).fields, reportParts(raw)));
      answer("taken");
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      answer(NOT_NOW);
    }
  }
}

/** The parts of a delivery report as `Postal` writes it. */
function reportParts(raw: Uint8Array): { readonly type: string; readonly bytes: Uint8Array }[] {
  const text = Buffer.from(raw).toString("latin1");
  const pieces = text.split("--sim-boundary\r\n").slice(1);
  return pieces.map((piece) => {
    const end = piece.indexOf("\r\n\r\n");
    const type = /^Content-Type: (\S+)/.exec(piece)?.[1] ?? "";
    const body = piece.slice(end + 4).replace("--sim-boundary--\r\n", "");
    return { type, bytes: Buffer.from(body, "latin1") };
  });
}
