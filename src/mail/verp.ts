/**
 * The bounce address with its mark: local+site=seq@domain names the site and the update in the
 * envelope sender, so that a bounce from any mail system in any language can be told apart by the
 * address that it comes back to (VERP). Knows neither which sites exist nor what a bounce says.
 *
 * A site is the operator's name for a neighbour. Letters, digits and hyphens stand for themselves,
 * every other byte of its UTF-8 as _XX. A mail system on the way may change the case of it all:
 * look the name up without regard to case. A mark is no proof: anybody can write one.
 */
import { isAddress } from "./sent-trail.js";

/** What a marked bounce address says. */
export interface VerpMark {
  /** The site's name, in the case in which it came back. */
  readonly site: string;
  readonly seq: number;
}

/** RFC 5321 section 4.5.3.1.1: octets of a local part. */
const MAX_LOCAL_BYTES = 64;
const MARK = /^((?:[a-z0-9-]|_[0-9a-f]{2})+)=([1-9][0-9]{0,15})$/i;

/**
 * The envelope sender for update `seq` (from 1) to `site`. When it would be longer than a mail
 * system has to accept, it is `bounce` without a mark: an unnamed bounce is better than a mail that
 * nobody takes. Throws Error for a bounce address that is not plain or a seq that is none.
 */
export function verpSender(bounce: string, site: string, seq: number): string {
  if (!isAddress(bounce)) throw new Error("verp: the bounce address is not a plain address");
  if (!Number.isSafeInteger(seq) || seq < 1) throw new Error("verp: no sequence number");
  const { local, domain } = halves(bounce);
  const marked = `${local}+${encodeSite(site)}=${seq}`;
  const sender = `${marked}@${domain}`;
  return site !== "" && marked.length <= MAX_LOCAL_BYTES && isAddress(sender) ? sender : bounce;
}

/** The mark of `recipient`, or undefined when it is not our bounce address or has none. */
export function parseVerp(bounce: string, recipient: string): VerpMark | undefined {
  const ours = halves(bounce.toLowerCase());
  const theirs = halves(recipient);
  if (theirs.domain.toLowerCase() !== ours.domain) return undefined;
  const prefix = `${ours.local}+`;
  if (!theirs.local.toLowerCase().startsWith(prefix)) return undefined;
  const [, encoded = "", digits = ""] = MARK.exec(theirs.local.slice(prefix.length)) ?? [];
  const site = decodeSite(encoded);
  const seq = Number(digits);
  return site === undefined || !Number.isSafeInteger(seq) ? undefined : { site, seq };
}

/** Whether `recipient` is our bounce address, with or without a mark. */
export function isBounceAddress(bounce: string, recipient: string): boolean {
  if (recipient.toLowerCase() === bounce.toLowerCase()) return true;
  return parseVerp(bounce, recipient) !== undefined;
}

function halves(address: string): { local: string; domain: string } {
  const at = address.lastIndexOf("@");
  return { local: address.slice(0, Math.max(at, 0)), domain: address.slice(at + 1) };
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
