/**
 * The file of `[policy] carry`, for a partial gateway (thesis 2.3, keyring.debian.org): one
 * fingerprint per line, with optional blanks and 0x, and comments after #. It is read with the
 * configuration; a file without a fingerprint is an error, because nothing would be carried.
 */
import type { ConfigFault } from "../errors.js";
import { parseFingerprint } from "./fingerprint.js";

/** The upper-case fingerprints of a file, and its errors. */
export function parseCarry(text: string): {
  readonly carried: ReadonlySet<string>;
  readonly faults: readonly ConfigFault[];
} {
  const carried = new Set<string>();
  const faults: ConfigFault[] = [];
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const line = raw.replace(/#.*$/, "").trim();
    if (line === "") continue;
    const reading = parseFingerprint(line);
    if ("value" in reading) carried.add(reading.value);
    else faults.push({ line: index + 1, column: 1, key: "", message: reading.fault });
  }
  if (carried.size === 0 && faults.length === 0) {
    const message = "contains no fingerprint, so that nothing would be carried";
    faults.push({ line: undefined, column: undefined, key: "", message });
  }
  return { carried, faults };
}
