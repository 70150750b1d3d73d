/**
 * The block list of `[policy] blocklist`: one key per line, its fingerprint, then the reason, with
 * `until=YYYY-MM-DD` and `allow-revocation` anywhere among its words. Blank lines and lines that
 * begin with # are ignored. It is read with the configuration, so that an error in it is an error
 * of the configuration and not a key that is carried by mistake.
 */

import type { Block } from "../block.js";
import type { ConfigFault } from "../errors.js";
import { parseFingerprint } from "./fingerprint.js";
import { parseDate } from "./units.js";

const UNTIL = /^until=(\d{4}-\d{2}-\d{2})$/;

/** The blocks of a list by upper-case fingerprint, and its errors. */
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
    const name = parseFingerprint(first);
    if ("fault" in name) {
      fault("does not begin with a full fingerprint: write 32, 40 or 64 hex digits");
      continue;
    }
    const dates = words.flatMap((word) => UNTIL.exec(word)?.[1] ?? []);
    const date = dates[0] === undefined ? { value: undefined } : parseDate(dates[0]);
    if ("fault" in date) fault(`${dates[0]} is not a date`);
    const until = "value" in date ? date.value : undefined;
    if (words.some((word) => word.startsWith("until=") && !UNTIL.test(word))) {
      fault("has an invalid date: write until=YYYY-MM-DD");
    }
    const allowRevocation = words.includes("allow-revocation");
    const reason = words
      .filter((word) => !word.startsWith("until=") && word !== "allow-revocation")
      .join(" ");
    blocks.set(name.value, { reason: reason || "no reason given", until, allowRevocation });
  }
  return { blocks, faults };
}
