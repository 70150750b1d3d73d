/**
 * Mails for the keyserver beside us, as a mail server hands them to a pipe or leaves them in a
 * spool: LF line ends, and the mailbox line on top that local delivery puts there (pksd, SKS, onak
 * and CKS all expect what such a pipe delivers). Pure; writes nothing anywhere.
 */
import { type Envelope, outmails } from "../outmail.js";
import type { Outgoing } from "./delivery-method.js";

export interface LocalMail {
  /** Names the mail among all, the same whenever it is made: letters, digits and "-". */
  readonly name: string;
  readonly text: Buffer;
  readonly incomplete: boolean;
  readonly oversized: boolean;
}

/** The mails of an update; `date` in milliseconds since 1970. */
export function localMails(update: Outgoing, envelope: Envelope, date: number): LocalMail[] {
  const mails = outmails(update, update.skeleton, update.trail, envelope, date);
  const line = `From ${envelope.from} ${mailboxDate(date)}\n`;
  return mails.map(({ raw, incomplete, oversized }, index) => {
    const text = Buffer.from(raw).toString("latin1").replaceAll("\r\n", "\n");
    return {
      // The hash, since numbers begin anew with a new log while the old file may still be there.
      name: `${update.hash}-${index + 1}`,
      text: Buffer.from(line + text, "latin1"),
      incomplete,
      oversized,
    };
  });
}

/** "Mon Nov 23 11:00:00 2026", as asctime(3) has it, in UTC. */
function mailboxDate(date: number): string {
  const [weekday, day = "", month, year, time] = new Date(date).toUTCString().split(" ");
  return `${weekday?.slice(0, 3)} ${month} ${day.replace(/^0/, " ")} ${time} ${year}`;
}
