/**
 * The block list of `[policy] blocklist`: one key a line, its fingerprint, then the reason, with
 * `until=YYYY-MM-DD` and `allow-revocation` anywhere among its words. Blank lines and lines that
 * begin with # are passed over. Read with the configuration, so that a slip in it is a fault of the
 * configuration and not a key that is carried by mistake.
 */
import type { ConfigFault } from "../errors.js";
import type { Block } from "./config.js";

/** A fingerprint as people write it: blanks are not possible here, a leading 0x is. */
const FINGERPRINT = /^(?:0x)?([0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})$/i;
const UNTIL = /^until=(\d{4}-\d{2}-\d{2})$/;

/** The blocks of a list by upper-case fingerprint, and what cannot be read of it. */
export function parseBlocklist(text: string): {
  readonly blocks: ReadonlyMap<string, Block>;
  readonly faults: readonly ConfigFault[];
} {
  const blocks = new Map<string, Block>();
  const faults: ConfigFault[] = [];
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const [first = "", ...words] = raw.trim().split(/\s+/);
    if (first === "" || first.startsWith("#")) continue;
    const fault = (message: string) =>
      faults.push({ line: index + 1, column: 1, key: "", message });
    const fingerprint = FINGERPRINT.exec(first)?.[1]?.toUpperCase();
    if (fingerprint === undefined) {
      fault("does not begin with a whole fingerprint: write 32, 40 or 64 hex digits");
      continue;
    }
    const dates = words.flatMap((word) => UNTIL.exec(word)?.[1] ?? []);
    const until = dates[0] === undefined ? undefined : Date.parse(`${dates[0]}T00:00:00Z`);
    if (until !== undefined && Number.isNaN(until)) fault(`${dates[0]} is not a date`);
    if (words.some((word) => word.startsWith("until=") && !UNTIL.test(word))) {
      fault("has a date that cannot be read: write until=YYYY-MM-DD");
    }
    const allowRevocation = words.includes("allow-revocation");
    const reason = words
      .filter((word) => !word.startsWith("until=") && word !== "allow-revocation")
      .join(" ");
    blocks.set(fingerprint, { reason: reason || "no reason given", until, allowRevocation });
  }
  return { blocks, faults };
}
