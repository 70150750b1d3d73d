/**
 * A rule of the conformance suite: what a server has to do, where that is written, what is needed
 * to try it, and the function that tries it on connections of its own.
 */
import type { Subject } from "./subject.js";

/** What a rule needs beside a server of KX/1.0; without it the rule is skipped. */
export type Need =
  /** A server that shows the tag of KX/1.1. */
  | "1.1"
  /** The option that permits waits of a minute. */
  | "slow"
  /** An update that the server may be given. */
  | "update";

export interface Rule {
  /** Group and name, as `list.range`. Never changed: scripts may rely on it. */
  readonly id: string;
  /** What a server does. */
  readonly text: string;
  /** Where that is written: sections of the thesis, or headings of docs/protocol.md. */
  readonly source: string;
  readonly needs?: readonly Need[];
  /** Throws `Deviation` or `Skipped`. */
  play(subject: Subject): Promise<void>;
}

/** A rule that needs a server of KX/1.1. */
export function rule11(
  id: string,
  text: string,
  { source, play }: Pick<Rule, "source" | "play">,
): Rule {
  return { id, text, source, needs: ["1.1"], play };
}
