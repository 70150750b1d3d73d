/**
 * The bounce address with its mark: local+site=seq=seal@domain names the site and the update in the
 * envelope sender, so that a bounce from any mail system in any language can be told apart by the
 * address that it comes back to (VERP). A mail of several updates has site=first-last. The seal
 * depends on a secret, because bounces come from anybody and must not be made up by anybody. Knows
 * neither which sites exist nor what a bounce says.
 *
 * A site is the operator's name for a neighbour. Letters, digits and hyphens stand for themselves,
 * every other byte of its UTF-8 as _XX. A mail system on the way may change the case of it all:
 * look the name up without regard to case.
 */
import { createHash } from "node:crypto";
import { addressParts, domainOf, isAddress, isSameAddress } from "../mail-address.js";

/** What a marked bounce address says. */
export interface VerpMark {
  /** The site's name, in the case in which it came back. */
  readonly site: string;
  /** Sequence number of the first update in the mail, and of the last one. */
  readonly first: number;
  readonly last: number;
  /** Whether we wrote the mark. */
  readonly isSealed: boolean;
}

/** RFC 5321 section 4.5.3.1.1: octets of a local part. */
const MAX_LOCAL_BYTES = 64;
/** Hex digits: 40 bits, guessed over SMTP in some thousand years. */
const SEAL_LENGTH = 10;
const SEQ = "[1-9][0-9]{0,15}";
const MARK = new RegExp(
  `^((?:[a-z0-9-]|_[0-9a-f]{2})+)=(${SEQ})(?:-(${SEQ}))?=([0-9a-f]{${SEAL_LENGTH}})$`,
  "i",
);

/**
 * The envelope sender for the updates from `first` (from 1) to `last`, one or several, to `site`.
 * When it would be longer than a mail system has to accept, it is `bounce` without a mark: an
 * unnamed bounce is better than a mail that nobody takes. Throws Error for a bounce address that is
 * not plain or a number that is none.
 */
export function verpSender(
  bounce: string,
  site: string,
  first: number,
  last: number,
  secret: Uint8Array,
): string {
  if (!isAddress(bounce)) throw new Error("verp: the bounce address is not a plain address");
  const isRange = Number.isSafeInteger(first) && Number.isSafeInteger(last) && first <= last;
  if (!isRange || first < 1) throw new Error("verp: no sequence number");
  const domain = domainOf(bounce);
  const local = bounce.slice(0, -domain.length - 1);
  const range = first === last ? `${last}` : `${first}-${last}`;
  const marked = `${local}+${encodeSite(site)}=${range}=${sealOf(site, first, last, secret)}`;
  const sender = `${marked}@${domain}`;
  return site !== "" && marked.length <= MAX_LOCAL_BYTES && isAddress(sender) ? sender : bounce;
}

/** The mark of `recipient`, or undefined when it is not our bounce address or has none. */
export function parseVerp(
  bounce: string,
  recipient: string,
  secret: Uint8Array,
): VerpMark | undefined {
  const ours = addressParts(bounce);
  const theirs = addressParts(recipient);
  if (ours === undefined || ours.domain !== theirs?.domain) return undefined;
  const { length } = ours.local;
  const local = theirs.local.slice(0, length);
  if (theirs.local[length] !== "+" || !isSameAddress(`${local}@${ours.domain}`, bounce)) {
    return undefined;
  }
  const match = MARK.exec(theirs.local.slice(length + 1));
  const [, encoded = "", low = "", high = low, seal = ""] = match ?? [];
  const site = decodeSite(encoded);
  const [first, last] = [Number(low), Number(high)];
  if (site === undefined || !Number.isSafeInteger(last) || first > last) return undefined;
  const isSealed = seal.toLowerCase() === sealOf(site, first, last, secret);
  return { site, first, last, isSealed };
}

/** Whether `recipient` is our bounce address, with or without a mark. */
export function isBounceAddress(bounce: string, recipient: string): boolean {
  if (isSameAddress(recipient, bounce)) return true;
  return parseVerp(bounce, recipient, new Uint8Array()) !== undefined;
}

/** What only we can write, in lower case; the same for any case of the name. */
function sealOf(site: string, first: number, last: number, secret: Uint8Array): string {
  const said = `${first}-${last}-${encodeSite(site).toLowerCase()}`;
  return createHash("sha256").update(secret).update(said).digest("hex").slice(0, SEAL_LENGTH);
}

function encodeSite(site: string): string {
  const hex = (byte: number) => `_${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  return Array.from(Buffer.from(site, "utf8"), (byte) => {
    const char = String.fromCharCode(byte);
    return /[A-Za-z0-9-]/.test(char) ? char : hex(byte);
  }).join("");
}

/** The name that `encodeSite` wrote, or undefined when it never wrote that. */
function decodeSite(encoded: string): string | undefined {
  const raw = encoded.replaceAll(/_([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  const site = Buffer.from(raw, "latin1").toString("utf8");
  const again = encodeSite(site);
  return site !== "" && again.toLowerCase() === encoded.toLowerCase() ? site : undefined;
}
