/**
 * The outcome of an input as a word, by which the fuzzer tells inputs apart: one with a new word is
 * worth keeping.
 */

/** Outcomes in a word: which there were, and whether more than one of each. */
export function word(outcomes: readonly string[]): string {
  const once = new Set<string>();
  const often = new Set<string>();
  for (const one of outcomes) (once.has(one) ? often : once).add(one);
  return [...once]
    .map((one) => (often.has(one) ? `${one}+` : one))
    .sort()
    .join(" ");
}
