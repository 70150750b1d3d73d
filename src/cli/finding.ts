/**
 * What a look at the network found, as `kxgw check --online`, `kxgw peers test` and `kxgw doctor`
 * print it.
 */
import { plainText } from "./table.js";

/** How long a probe waits for an answer. */
export const PROBE_MS = 10_000;

export interface Finding {
  readonly ok: boolean;
  /** What was looked at. */
  readonly what: string;
  /** What was seen. */
  readonly words: string;
  /** What to do about it, empty when it is well. */
  readonly remedy: string;
}

/** A finding on one line, or two with its remedy. */
export function findingText({ ok, what, words, remedy }: Finding): string {
  const line = plainText(`${ok ? "ok  " : "FAIL"}  ${what}: ${words}`);
  return `${line}\n${remedy === "" ? "" : `      ${plainText(remedy)}\n`}`;
}
