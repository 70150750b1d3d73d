/**
 * How an update that a site will not get is put on record: in the log, and to the operator. Whether
 * it was refused at once or came back later makes no difference from here on.
 */
import type { Diagnostics } from "../diagnostics.js";
import { TOO_MANY_REPAIRS } from "../log/repairs.js";
import type { Entry, UpdateLog } from "../log/update-log.js";

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

/**
 * An update expired before a site took it: its key is to be fetched again. Throws `Trouble` when
 * the log cannot be written; then nothing was said either.
 */
export function recordExpired(
  log: UpdateLog,
  diagnostics: Diagnostics,
  { site, entry, at }: Pick<Refused, "site" | "entry" | "at">,
): void {
  const { seq, hash, fingerprint, origin } = entry;
  const neighbours = origin.neighbour === undefined ? [] : [origin.neighbour];
  const missing = { fingerprint, hash, neighbours, site, at, why: "expired" } as const;
  const fields = { seq, hash, fingerprint, neighbour: site };
  const isNoted = log.repairs.want(missing);
  diagnostics.report("body-expired", fields);
  if (isNoted) return;
  diagnostics.report("repair-failed", { ...fields, why: "expired", problem: TOO_MANY_REPAIRS });
}

/** Throws `Trouble` when the log cannot be written; then nothing was said either. */
export function recordUndelivered(log: UpdateLog, diagnostics: Diagnostics, what: Refused): void {
  const { site, entry, code, words, at } = what;
  const { seq, hash, fingerprint } = entry;
  log.lanes.recordUndelivered({ site, seq, code, text: words, at });
  diagnostics.report("undelivered", { seq, hash, fingerprint, neighbour: site, code, words });
}
