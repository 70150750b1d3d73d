/**
 * The result of one network check, as `kxgw check --online`, `kxgw peers test` and `kxgw doctor`
 * print it.
 */
import { plainText } from "./table.js";

/** Time limit of a check. */
export const PROBE_MS = 10_000;

export interface Finding {
  readonly ok: boolean;
  /** What was checked. */
  readonly what: string;
  /** The result. */
  readonly words: string;
  /** What to do, empty if the check passed. */
  readonly remedy: string;
}

/** A finding on one line, with its remedy on a second one. */
export function findingText({ ok, what, words, remedy }: Finding): string {
  const line = plainText(`${ok ? "ok  " : "FAIL"}  ${what}: ${words}`);
  return `${line}\n${remedy === "" ? "" : `      ${plainText(remedy)}\n`}`;
}
