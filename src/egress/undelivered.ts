/**
 * How an update that a site will not get is put on record: in the log, and to the operator. Whether
 * it was refused at once or came back later makes no difference from here on.
 */
import type { Diagnostics } from "../diagnostics.js";
import type { Entry, UpdateLog } from "../updatelog/update-log.js";

export interface Refused {
  readonly site: string;
  readonly entry: Entry;
  /** SMTP reply code. */
  readonly code: number;
  /** The site's words. */
  readonly words: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** Throws `Trouble` when the log cannot be written; then nothing was said either. */
export function recordUndelivered(log: UpdateLog, diagnostics: Diagnostics, what: Refused): void {
  const { site, entry, code, words, at } = what;
  const { seq, hash, fingerprint } = entry;
  log.recordUndelivered({ site, seq, code, text: words, at });
  diagnostics.report("undelivered", { seq, hash, fingerprint, neighbour: site, code, words });
}
