/**
 * Mail commands to pksd, and its answers: `GET 0xFINGERPRINT` for one key, `LAST n` for all keys
 * that changed in n days. The command is the subject. The subject of the answer is "Your command,
 * GET ..." and a note if it failed. The answer quotes our Message-ID in In-Reply-To, and has the
 * keys in one armor block after an introduction (pksd 0.9.6; `mail_req.c`). The Message-ID has a
 * mark made with our secret, so that genuine answers can be recognised.
 *
 * Limit: pksd looks up a key by the last eight digits of a version 4 fingerprint. The caller has to
 * discard other keys with the same digits.
 */
import { createHash } from "node:crypto";
import { domainOf, isAddress } from "../mail-address.js";
import type { Fingerprint } from "../update.js";
import { mailDate } from "./compose.js";
import { type HeaderField, headerValues } from "./head.js";

export type MailCommand =
  | { readonly verb: "get"; readonly fingerprint: Fingerprint }
  | { readonly verb: "last"; readonly days: number };

/** The fields of an answer. */
export interface CommandAnswer {
  readonly command: MailCommand;
  /** Whether the command failed; the text of the mail then has the reason. */
  readonly failed: boolean;
  /** The Message-ID of the question, if the answer quotes it. */
  readonly inReplyTo: string | undefined;
}

/** Whether pksd can look up this fingerprint: version 4 only. */
export function canAsk(fingerprint: Fingerprint): boolean {
  return fingerprint.length === 40;
}

/** The command as the subject of a mail. */
export function commandText(command: MailCommand): string {
  return command.verb === "get" ? `GET 0x${command.fingerprint}` : `LAST ${command.days}`;
}

/** The mark of a question: the first part of its Message-ID, made with our secret. */
export function questionMark(neighbour: string, command: MailCommand, secret: Uint8Array): string {
  const said = `${neighbour}\0${commandText(command)}`;
  return `ask.${createHash("sha256").update(secret).update(said).digest("hex").slice(0, 32)}.`;
}

/** The mail with a command, as sent after DATA. Throws Error for an address that is not plain. */
export function composeCommand(question: {
  readonly command: MailCommand;
  readonly to: string;
  /** Our contact address. */
  readonly from: string;
  /** Where the answer is sent: our address for incremental mail. */
  readonly replyTo: string;
  /** From `questionMark`. */
  readonly mark: string;
  /** Milliseconds since 1970. */
  readonly date: number;
}): Uint8Array {
  const { command, to, from, replyTo, mark, date } = question;
  if (![to, from, replyTo].every(isAddress)) throw new Error("command: not a plain address");
  const lines = [
    `To: ${to}`,
    `From: PGP Key Server Administrator <${from}>`,
    `Reply-To: ${replyTo}`,
    `Subject: ${commandText(command)}`,
    "Auto-Submitted: auto-generated",
    `Date: ${mailDate(date)}`,
    `Message-ID: <${mark}${date}@${domainOf(replyTo)}>`,
    "MIME-Version: 1.0",
    "Content-type: text/plain",
    "Content-Transfer-Encoding: 7bit",
    "",
    "A keyserver is asked for a key by the subject of this mail.",
    "",
  ];
  return new Uint8Array(Buffer.from(lines.join("\r\n"), "latin1"));
}

/** Reads an answer from the head of a mail; undefined for any other mail. */
export function readAnswer(fields: readonly HeaderField[]): CommandAnswer | undefined {
  const subject = headerValues(fields, "Subject")[0] ?? "";
  const match = /^your command,\s*(get\s+0x([0-9a-f]{40})|last\s+(\d{1,5}))\s*(,.*)?$/i.exec(
    subject,
  );
  if (match === null) return undefined;
  const [, , digits, days, rest = ""] = match;
  const command: MailCommand =
    digits === undefined
      ? { verb: "last", days: Number(days) }
      : { verb: "get", fingerprint: digits.toUpperCase() as Fingerprint };
  const inReplyTo = headerValues(fields, "In-Reply-To")[0];
  return { command, failed: rest !== "", inReplyTo };
}

/**
 * The number of days to ask for after pksd refused LAST for `days`: its own limit (`max_last`), or
 * half of `days` when there are too many keys (`max_last_reply_keys`). Undefined when `words`, the
 * text of the answer, has neither reason, or when the result would not be smaller.
 */
export function fewerDays(words: string, days: number): number | undefined {
  const limit = /LAST argument must be less than or \w+ to (\d{1,5})\b/i.exec(words)?.[1];
  const isTooMuch = /Number of keys in reply/i.test(words);
  const fewer = limit === undefined ? (isTooMuch ? Math.floor(days / 2) : 0) : Number(limit);
  return fewer >= 1 && fewer < days ? fewer : undefined;
}
