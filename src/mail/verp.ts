/**
 * Variable envelope return paths (VERP): local+site=seq=seal@domain as the envelope sender names
 * the site and the update, so that a bounce of any mail system in any language can be assigned by
 * its recipient address. A mail with several updates has site=first-last. The seal depends on a
 * secret, so that bounces cannot be forged.
 *
 * A site is the operator's name for a neighbour. Letters, digits and hyphens are written as they
 * are, any other byte of its UTF-8 as _XX. Mail systems may change the case of the address, so the
 * name has to be looked up case-insensitively.
 */
import { createHash } from "node:crypto";
import { addressParts, domainOf, isAddress, isSameAddress } from "../mail-address.js";

/** The contents of a marked bounce address. */
export interface VerpMark {
  /** The name of the site, in the case of the received address. */
  readonly site: string;
  /** The sequence numbers of the first and of the last update in the mail. */
  readonly first: number;
  readonly last: number;
  /** Whether the seal is valid, so that we wrote the mark. */
  readonly isSealed: boolean;
}

/** Most octets of a local part (RFC 5321 section 4.5.3.1.1). */
const MAX_LOCAL_BYTES = 64;
/** Hex digits: 40 bits. Guessing them over SMTP takes thousands of years. */
const SEAL_LENGTH = 10;
const SEQ = "[1-9][0-9]{0,15}";
const MARK = new RegExp(
  `^((?:[a-z0-9-]|_[0-9a-f]{2})+)=(${SEQ})(?:-(${SEQ}))?=([0-9a-f]{${SEAL_LENGTH}})$`,
  "i",
);

/**
 * The envelope sender for the updates `first` (at least 1) to `last` to `site`. When the marked
 * address is longer than mail systems have to accept, the result is `bounce` without a mark: the
 * bounce cannot be assigned, but the mail is accepted. Throws Error for a bounce address that is
 * not plain, and for an invalid number.
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
  if (!isRange || first < 1) throw new Error("verp: the sequence numbers are invalid");
  const domain = domainOf(bounce);
  const local = bounce.slice(0, -domain.length - 1);
  const range = first === last ? `${last}` : `${first}-${last}`;
  const marked = `${local}+${encodeSite(site)}=${range}=${sealOf(site, first, last, secret)}`;
  const sender = `${marked}@${domain}`;
  return site !== "" && marked.length <= MAX_LOCAL_BYTES && isAddress(sender) ? sender : bounce;
}

/** The mark of `recipient`; undefined for another address and for one without a mark. */
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

/** The seal, in lower case. It does not depend on the case of the name. */
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

/** The name that `encodeSite` encodes as `encoded`; undefined without one. */
function decodeSite(encoded: string): string | undefined {
  const raw = encoded.replaceAll(/_([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  const site = Buffer.from(raw, "latin1").toString("utf8");
  const again = encodeSite(site);
  return site !== "" && again.toLowerCase() === encoded.toLowerCase() ? site : undefined;
}
