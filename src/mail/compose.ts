/**
 * Composes an incremental mail in the one format that pksd, SKS, onak and CKS can all read. These
 * programs match header lines as text, which gives the following requirements:
 *
 * 1. To is before From, since CKS searches From after To. 2. X-KeyServer-Sent has exactly this
 * spelling, one address per line after one blank, not folded: pksd searches for the substring, CKS
 * is case-sensitive. 3. The encoding is 7bit: all of them read the armor from the raw text. 4. Line
 * ends are CRLF here. The writer of a file or a pipe converts them to LF, since onak refuses CRLF.
 * Lines have at most 76 characters, except a header line with a longer address: pksd would not find
 * it in a folded line. An invalid value is a bug of the caller, so it throws Error.
 *
 * Auto-Submitted keeps responders (vacation, ticket systems) from answering; RFC 3834 section 5.
 */
import { isAddress } from "../mail-address.js";
import { grownTrail } from "./sent-trail.js";

/** The contents of one mail to one site. */
export interface Composition {
  /** The address of the site, the only recipient. */
  readonly to: string;
  /** Our contact address, shown in From. */
  readonly from: string;
  /** The addresses of the sites that have the update, with or without our own. */
  readonly trail: readonly string[];
  /** Our own address in the trail. */
  readonly site: string;
  /** Time of composing in milliseconds since 1970. */
  readonly date: number;
  /** The Message-ID with its angle brackets, globally unique. */
  readonly messageId: string;
  /** One armored block, ASCII, LF or CRLF, lines of at most 76 characters. */
  readonly armor: string;
}

type Headers = Omit<Composition, "armor">;

/** An armored block as it stands in a mail. It is made once for the mails to several sites. */
export class ArmorText {
  /** With CRLF, also at the end. */
  readonly text: string;

  /** Throws Error for a text that is not valid in a mail. */
  constructor(armor: string) {
    this.text = `${armorLines(armor).join("\r\n")}\r\n`;
  }
}

/** Characters in a line of armor (RFC 9580 section 6.2). */
const MAX_ARMOR_LINE = 76;
const MESSAGE_ID = /^<[!-;=?A-~]+@[!-;=?A-~]+>$/;
const PRINTABLE_LINE = /^[ -~\t]*$/;
const YEAR_10000_MS = 253_402_300_800_000;

/**
 * The mail as sent after DATA, without dot-stuffing, ending in CRLF. Throws Error for an address
 * that is not plain, and for a Message-ID, date or armor that is not valid in a mail.
 */
export function composeIncremental(
  mail: Headers & { readonly armor: string | ArmorText },
): Uint8Array {
  const { armor } = mail;
  const { text } = typeof armor === "string" ? new ArmorText(armor) : armor;
  const head = incrementalHead(mail);
  const raw = new Uint8Array(head.length + text.length);
  const bytes = Buffer.from(raw.buffer);
  bytes.write(head, 0, "latin1");
  bytes.write(text, head.length, "latin1");
  return raw;
}

/** The header lines of the mail in ASCII, and the blank line. Throws Error like the whole. */
export function incrementalHead(mail: Headers): string {
  const trail = grownTrail(mail.trail, mail.site);
  const addresses = [mail.to, mail.from, ...trail];
  if (!addresses.every(isAddress)) throw new Error("compose: an address is not a plain address");
  if (!MESSAGE_ID.test(mail.messageId)) throw new Error("compose: the Message-ID is malformed");
  const lines = [
    `To: ${mail.to}`,
    `From: PGP Key Server Administrator <${mail.from}>`,
    "Subject: incremental",
    ...trail.map((address) => `X-KeyServer-Sent: ${address}`),
    "Precedence: list",
    "Auto-Submitted: auto-generated",
    `Date: ${mailDate(mail.date)}`,
    `Message-ID: ${mail.messageId}`,
    "MIME-Version: 1.0",
    "Content-type: application/pgp-keys",
    "Content-Transfer-Encoding: 7bit",
    "",
    "",
  ];
  return lines.join("\r\n");
}

/** The lines of the armor without line ends. The last one is not empty. */
function armorLines(armor: string): string[] {
  const lines = armor.trimEnd().split(/\r?\n/);
  if (!lines[0]?.startsWith("-----BEGIN PGP"))
    throw new Error("compose: the armor has no BEGIN line");
  for (const line of lines) {
    if (!PRINTABLE_LINE.test(line)) throw new Error("compose: the armor is not printable ASCII");
    if (line.length > MAX_ARMOR_LINE) throw new Error("compose: a line of the armor is too long");
  }
  return lines;
}

/**
 * "Thu, 01 Jan 1970 00:00:00 +0000" (RFC 5322 section 3.3, always UTC) for milliseconds since 1970.
 * Throws Error before 1970 and from year 10000 on.
 */
export function mailDate(ms: number): string {
  if (!(ms >= 0 && ms < YEAR_10000_MS)) throw new Error("compose: the date is out of range");
  return new Date(ms).toUTCString().replace("GMT", "+0000");
}
