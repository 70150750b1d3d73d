/**
 * Commands to a pksd by mail, and its answers: `GET 0xFINGERPRINT` for a key, `LAST n` for all keys
 * that changed in n days. The subject is the command; the answer says "Your command, GET ..." and
 * whether it failed, quotes our Message-ID in In-Reply-To, and has the keys in one armor block
 * behind an introduction (pksd 0.9.6; `mail_req.c`). The Message-ID is sealed with our secret, so
 * that an answer can show that it answers us. Knows no socket and no clock.
 *
 * Limit: pksd finds a key by the last eight digits of a version 4 fingerprint and no other; what
 * else it sends has to be sorted out by whoever reads the keys.
 */
import { createHash } from "node:crypto";
import { domainOf, isAddress } from "../mail-address.js";
import type { Fingerprint } from "../update.js";
import { mailDate } from "./compose.js";
import { type HeaderField, headerValues } from "./head.js";

export type MailCommand =
  | { readonly verb: "get"; readonly fingerprint: Fingerprint }
  | { readonly verb: "last"; readonly days: number };

/** What an answer says of itself. */
export interface CommandAnswer {
  readonly command: MailCommand;
  /** Whether its text says why there are no keys in it. */
  readonly failed: boolean;
  /** Message-ID of the question, where the answer quotes one. */
  readonly inReplyTo: string | undefined;
}

/** Whether a pksd can be asked for that key by name. */
export function canAsk(fingerprint: Fingerprint): boolean {
  return fingerprint.length === 40;
}

/** As it stands in the subject. */
export function commandText(command: MailCommand): string {
  return command.verb === "get" ? `GET 0x${command.fingerprint}` : `LAST ${command.days}`;
}

/** What tells that an answer is one to us: the first part of the Message-ID of the question. */
export function questionMark(neighbour: string, command: MailCommand, secret: Uint8Array): string {
  const said = `${neighbour}\0${commandText(command)}`;
  return `ask.${createHash("sha256").update(secret).update(said).digest("hex").slice(0, 32)}.`;
}

/** The question as it goes after DATA. Throws Error for an address that is not plain. */
export function composeCommand(question: {
  readonly command: MailCommand;
  readonly to: string;
  /** Our contact address. */
  readonly from: string;
  /** Where the answer goes: our address for incremental mail. */
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

/** What the head of a mail answers; undefined when it is no answer to such a command. */
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
 * How many days to ask for instead when a pksd does not answer LAST for `days`: its own limit
 * (`max_last`), or half of them when there are too many keys (`max_last_reply_keys`). Undefined
 * when its words say neither, or nothing less is left.
 */
export function fewerDays(words: string, days: number): number | undefined {
  const limit = /LAST argument must be less than or \w+ to (\d{1,5})\b/i.exec(words)?.[1];
  const isTooMuch = /Number of keys in reply/i.test(words);
  const fewer = limit === undefined ? (isTooMuch ? Math.floor(days / 2) : 0) : Number(limit);
  return fewer >= 1 && fewer < days ? fewer : undefined;
}
