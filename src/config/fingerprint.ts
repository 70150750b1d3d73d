/**
 * Fingerprints as people write them, on a command line or in a list: in groups, with 0x before
 * them, in lower case. Anything shorter does not identify a key and is refused with a message.
 * Whether it is that of a primary key cannot be checked.
 */
import type { Fingerprint } from "../update.js";
import { quoted } from "./quote.js";
import type { Reading } from "./units.js";

/** Hex digits of a fingerprint of version 3, 4, and 5 or 6. */
const DIGITS = [32, 40, 64];

/** A full fingerprint, in upper case and without blanks. */
export function parseFingerprint(text: string): Reading<Fingerprint> {
  const digits = text.replace(/\s+/g, "").replace(/^0x/i, "");
  const whole = "write the full fingerprint of the primary key, 40 hex digits";
  if (!/^[0-9a-f]+$/i.test(digits))
    return { fault: `${quoted(text)} is not a fingerprint: ${whole}` };
  if (digits.length === 8 || digits.length === 16) {
    return { fault: `${quoted(text)} is a key ID, which several keys can have: ${whole}` };
  }
  if (!DIGITS.includes(digits.length) || /^0+$/.test(digits)) {
    const count = `${digits.length} hex digits, a fingerprint has 40 (32 or 64 for some keys)`;
    return { fault: `${quoted(text)} is not a fingerprint (${count}): ${whole}` };
  }
  return { value: digits.toUpperCase() as Fingerprint };
}
