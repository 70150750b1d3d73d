/**
 * Mails for the keyserver beside us, as a mail server hands them to a pipe or leaves them in a
 * spool: LF line ends, and the mailbox line on top that local delivery puts there (pksd, SKS, onak
 * and CKS all expect what such a pipe delivers). Pure; writes nothing anywhere.
 */
import { type Envelope, MailPack, type Outmail, outmails } from "../outmail.js";
import type { Seq } from "../update.js";
import type { Outgoing } from "./delivery-method.js";

export interface LocalMail {
  /**
   * Names the mail among all, the same whenever it is made: letters, digits and "-". In the order
   * of the log, since pks-queue-run.sh takes files in the order of their names.
   */
  readonly name: string;
  readonly text: Buffer;
  readonly incomplete: boolean;
  readonly oversized: boolean;
}

/** Digits of a number in a name. */
const DIGITS = 12;

/** The form of a name, as the source of a regular expression. */
export const MAIL_NAME = `\\d{${DIGITS},}-[0-9a-f]+-p?\\d+`;

/** The mails of an update, maybe none; `date` in milliseconds since 1970. */
export function localMails(update: Outgoing, envelope: Envelope, date: number): LocalMail[] {
  const mails = outmails(update, update.skeleton, update.trail, envelope, date);
  return mails.map((mail, index) => localMail(mail, update, `${index + 1}`, envelope, date));
}

/** Several updates in one mail; see `MailPack`. */
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

  /** Puts an update in; false when it does not go with those that are there. */
  add(update: Outgoing): boolean {
    const isIn = this.#pack.add(update, update.skeleton, update.trail);
    if (isIn) this.#updates.push(update);
    return isIn;
  }

  /** The mail that holds them all, at least one. */
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
    // With the hash, since numbers begin anew with a new log while old files may still be there.
    name: `${`${seq}`.padStart(DIGITS, "0")}-${hash}-${part}`,
    text: Buffer.from(line + text, "latin1"),
    incomplete,
    oversized,
  };
}

/** "Mon Nov 23 11:00:00 2026", as asctime(3) has it, in UTC. */
function mailboxDate(date: number): string {
  const [weekday, day = "", month, year, time] = new Date(date).toUTCString().split(" ");
  return `${weekday?.slice(0, 3)} ${month} ${day.replace(/^0/, " ")} ${time} ${year}`;
}
