/**
 * Builds mails for the local keyserver in the form in which a mail server passes them to a pipe or
 * stores them in a spool: LF line ends, and a leading mailbox line as local delivery adds it. pksd,
 * SKS, onak and CKS all expect the output of such a pipe. Pure: this file writes nothing.
 */
import { type Envelope, MailPack, type Outmail, outmails } from "../outmail.js";
import type { Seq } from "../update.js";
import type { Outgoing } from "./delivery-method.js";

export interface LocalMail {
  /**
   * A unique name, the same whenever the mail is made: letters, digits and "-". Names sort in log
   * order, since pks-queue-run.sh takes files in the order of their names.
   */
  readonly name: string;
  readonly text: Buffer;
  readonly incomplete: boolean;
  readonly oversized: boolean;
}

/** Number of digits of a number in a name. */
const DIGITS = 12;

/** The form of a name, as the source of a regular expression. */
export const MAIL_NAME = `\\d{${DIGITS},}-[0-9a-f]+-p?\\d+`;

/** Returns the mails of an update, possibly none. `date` is in milliseconds since 1970. */
export function localMails(update: Outgoing, envelope: Envelope, date: number): LocalMail[] {
  const mails = outmails(update, update.skeleton, update.trail, envelope, date);
  return mails.map((mail, index) => localMail(mail, update, `${index + 1}`, envelope, date));
}

/** Several updates in one mail. See `MailPack`. */
export class LocalMailPack {
  readonly #envelope: Envelope;
  readonly #date: number;
  readonly #pack: MailPack;
  readonly #updates: Outgoing[] = [];

  constructor(envelope: Envelope, date: number) {
    this.#envelope = envelope;
    this.#date = date;
    this.#pack = new MailPack(envelope, date);
  }

  /** Appends an update. Returns false if it cannot be combined with those already added. */
  add(update: Outgoing): boolean {
    const isIn = this.#pack.add(update, update.skeleton, update.trail);
    if (isIn) this.#updates.push(update);
    return isIn;
  }

  /** The mail that holds all added updates. Requires at least one. */
  mail(): LocalMail {
    const mail = this.#pack.mail();
    const [first] = this.#updates;
    const last = this.#updates.at(-1);
    if (first === undefined || last === undefined) throw new Error("an empty pack is no mail");
    const named = { seq: first.seq, hash: last.hash };
    return localMail(mail, named, `p${this.#updates.length}`, this.#envelope, this.#date);
  }
}

function localMail(
  { raw, incomplete, oversized }: Outmail,
  { seq, hash }: { readonly seq: Seq; readonly hash: string },
  part: string,
  { from }: Envelope,
  date: number,
): LocalMail {
  const text = Buffer.from(raw).toString("latin1").replaceAll("\r\n", "\n");
  const line = `From ${from} ${mailboxDate(date)}\n`;
  return {
    // The name includes the hash: a new log numbers from 1 again while old files may still exist.
    name: `${`${seq}`.padStart(DIGITS, "0")}-${hash}-${part}`,
    text: Buffer.from(line + text, "latin1"),
    incomplete,
    oversized,
  };
}

/** Formats a date as asctime(3) does, in UTC: "Mon Nov 23 11:00:00 2026". */
function mailboxDate(date: number): string {
  const [weekday, day = "", month, year, time] = new Date(date).toUTCString().split(" ");
  return `${weekday?.slice(0, 3)} ${month} ${day.replace(/^0/, " ")} ${time} ${year}`;
}
