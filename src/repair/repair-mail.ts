/**
 * Processes the answers of pksd neighbours to commands that the gateway mailed. The keys are
 * stored, and the result is written to the row of the repair, where the repair door reads it. An
 * answer is accepted if its command was sent and is not answered yet, and if it comes from the
 * address of the neighbour or quotes the sealed Message-ID of the command. Any other answer is an
 * automatic answer, which is dropped.
 */
import type { Neighbour } from "../config/config.js";
import { lastOf, type Repair, type RepairAnswer } from "../log/repairs.js";
import type { UpdateLog } from "../log/update-log.js";
import { type CommandAnswer, questionMark, readAnswer } from "../mail/command.js";
import type { HeaderField } from "../mail/head.js";
import type { RepairIntake } from "./repair-intake.js";

const WORDS = 200;

/** What `MailAnswers` works with. */
export interface MailAnswersComponents {
  readonly log: {
    readonly repairs: Pick<UpdateLog["repairs"], "answered" | "get">;
    readonly bounces: Pick<UpdateLog["bounces"], "secret">;
  };
  readonly intake: Pick<RepairIntake, "take">;
}

export class MailAnswers {
  readonly #neighbours: readonly Neighbour[];
  readonly #log: MailAnswersComponents["log"];
  readonly #intake: MailAnswersComponents["intake"];

  constructor(
    { log, intake }: MailAnswersComponents,
    { neighbours }: { readonly neighbours: readonly Neighbour[] },
  ) {
    this.#neighbours = neighbours.filter(({ repair }) => repair?.type === "mail");
    this.#log = log;
    this.#intake = intake;
  }

  /**
   * Takes the mail with this head and these parts if it answers a command of the gateway. Resolves
   * with false if it does not, with true when the keys are on disk. `vouched` are the neighbours at
   * the address of the client. Rejects with `Trouble` if the keys could not be stored.
   */
  async take(
    fields: readonly HeaderField[],
    parts: readonly Uint8Array[],
    vouched: readonly Neighbour[],
  ): Promise<boolean> {
    const answer = readAnswer(fields);
    if (answer === undefined) return false;
    for (const neighbour of this.#neighbours) {
      const repair = this.#asked(neighbour, answer);
      if (repair === undefined || !this.#isFrom(neighbour, answer, vouched)) continue;
      this.#log.repairs.answered(repair.what, await this.#judge(repair, neighbour, answer, parts));
      return true;
    }
    return false;
  }

  /** The row of the command, if it is not answered yet. */
  #asked({ name }: Neighbour, { command }: CommandAnswer): Repair | undefined {
    const what = command.verb === "get" ? command.fingerprint : lastOf(name);
    const repair = this.#log.repairs.get(what);
    if (repair?.source !== name || repair.askedAt === 0) return undefined;
    const isSame = command.verb === "get" || repair.days === command.days;
    return isSame && repair.answer === undefined ? repair : undefined;
  }

  #isFrom(
    neighbour: Neighbour,
    { command, inReplyTo = "" }: CommandAnswer,
    vouched: readonly Neighbour[],
  ): boolean {
    if (vouched.includes(neighbour)) return true;
    return inReplyTo.includes(questionMark(neighbour.name, command, this.#log.bounces.secret));
  }

  async #judge(
    repair: Repair,
    neighbour: Neighbour,
    { failed }: CommandAnswer,
    parts: readonly Uint8Array[],
  ): Promise<RepairAnswer> {
    if (!failed) return await this.#intake.take(repair, neighbour, parts);
    return { kind: "absent", words: wordsOf(parts), appended: 0, known: 0 };
  }
}

/** Why there are no keys: the text of the last part, which follows the introduction. */
function wordsOf(parts: readonly Uint8Array[]): string {
  const text = Buffer.from(parts.at(-1) ?? []).toString("latin1");
  const words = text.replaceAll(/[^\x21-\x7e]+/g, " ").trim();
  return words === "" ? "answered that it failed" : words.slice(0, WORDS);
}
