/**
 * Composes one incremental mail: the bytes for the wire, in the one profile that pksd, SKS, onak
 * and CKS all read. They match header lines as text, hence every oddity here:
 *
 * 1. To before From: CKS looks for From behind To. 2. The line X-KeyServer-Sent in exactly this
 * spelling, one address a line, one blank, not folded: pksd searches for that substring and CKS for
 * that case. 3. 7bit, never quoted-printable or base64: all of them read the armor from the raw
 * text. 4. CRLF here, and LF by whoever writes a file or a pipe: onak refuses CRLF.
 *
 * Knows no socket, no clock and no armor inside the text it is given. Every value is checked, and a
 * bad one is our own mistake, hence a plain Error. No line is longer than 76 characters, except a
 * header line whose one address is so long: to fold it would hide it from pksd.
 */
import { isAddress } from "../mail-address.js";
import { grownTrail } from "./sent-trail.js";

/** What one mail to one site is made of. */
export interface Composition {
  /** The site's address: the only recipient. */
  readonly to: string;
  /** Our contact address, shown in From. */
  readonly from: string;
  /** Addresses of the sites that the update has passed; ours may be among them or not. */
  readonly trail: readonly string[];
  /** Our own address in the trail. */
  readonly site: string;
  /** Time of composing in milliseconds since 1970. */
  readonly date: number;
  /** Message-ID with its angle brackets, unique for ever. */
  readonly messageId: string;
  /** One armored block, ASCII, LF or CRLF, lines of at most 76 characters. */
  readonly armor: string;
}

/** Characters in a line of armor, RFC 9580 section 6.2. */
const MAX_ARMOR_LINE = 76;
const MESSAGE_ID = /^<[!-;=?A-~]+@[!-;=?A-~]+>$/;
const PRINTABLE_LINE = /^[ -~\t]*$/;
const YEAR_10000_MS = 253_402_300_800_000;

/**
 * The mail as it goes after DATA, before dot-stuffing, ending in CRLF. Throws Error for an address
 * that is not plain, a Message-ID, date or armor that could not stand in a mail as it is.
 */
export function composeIncremental(mail: Composition): Uint8Array {
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
    `Date: ${mailDate(mail.date)}`,
    `Message-ID: ${mail.messageId}`,
    "MIME-Version: 1.0",
    "Content-type: application/pgp-keys",
    "Content-Transfer-Encoding: 7bit",
    "",
    ...armorLines(mail.armor),
    "",
  ];
  return new Uint8Array(Buffer.from(lines.join("\r\n"), "latin1"));
}

/** The lines of the armor without their ends; the last one is never empty. */
function armorLines(armor: string): string[] {
  const lines = armor.trimEnd().split(/\r?\n/);
  if (!lines[0]?.startsWith("-----BEGIN PGP")) throw new Error("compose: this is no armor");
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
  if (!(ms >= 0 && ms < YEAR_10000_MS)) throw new Error("compose: no usable date");
  return new Date(ms).toUTCString().replace("GMT", "+0000");
}
