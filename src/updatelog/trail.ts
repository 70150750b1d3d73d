/**
 * The trail of an entry as the log keeps it: who has the update, each address once. What a mail
 * shows of it is the mail dialect's business.
 */

/** Addresses a trail, so that a sender of ever new duplicates cannot make one row grow for ever. */
export const TRAIL_LIMIT = 1000;

/** Both lists without repetitions, letters of either case being equal; the first spelling stays. */
export function union(known: readonly string[], more: readonly string[]): string[] {
  const seen = new Map<string, string>();
  for (const address of [...known, ...more]) {
    if (seen.size >= TRAIL_LIMIT) break;
    const key = address.toLowerCase();
    if (!seen.has(key)) seen.set(key, address);
  }
  return [...seen.values()];
}
