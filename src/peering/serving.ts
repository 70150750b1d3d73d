/**
 * What a KX peer asked for, read from the log: listings and bodies. Wire numbers become positions
 * in the log here. Holds no state; when to answer, and how much may be unsent, is `outlet.ts`.
 */
import type { NumberRange } from "../kx/messages.js";
import { seqOfWire } from "../kx/messages.js";
import type { Session } from "../kx/session.js";
import type { Asked, SessionOutput } from "../kx/session-output.js";
import { encodeArmor } from "../openpgp/armor.js";
import type { Rules } from "../policy.js";
import type { Seq } from "../update.js";
import type { Entry, UpdateLog } from "../updatelog/update-log.js";
import { announcementOf } from "./news.js";

/**
 * Lines in one listing. The thesis wants a single IHAVE for any range; 50,000 lines are 5 MB, a
 * month of five times the thesis's load. Who asks for more gets the oldest and asks on.
 */
export const LISTING_LINES = 50_000;

/** An answer, and the entry whose body is in it. */
export interface Answer {
  readonly outputs: SessionOutput[];
  readonly served: Entry | undefined;
}

/**
 * The answer to one request, from a log or, when there is none to show, as from an empty one. What
 * is blocked or forgotten is left out of listings, and its body is not available.
 * Throws `Trouble`; then nothing was answered.
 */
export function answer(
  session: Session,
  asked: Asked,
  log: UpdateLog | undefined,
  rules: Rules,
): Answer {
  const newest = log?.newest() ?? 0;
  if (asked.kind === "list") {
    const entries = log === undefined || newest === 0 ? [] : listing(log, asked.ranges, newest);
    // The newest is what we greet with: left out, it would look like a forged announcement.
    const shown = entries.filter((one) => one.seq === newest || !rules.withholds(one));
    const outputs = session.answerList(asked.tag, shown.map(announcementOf));
    return { outputs, served: undefined };
  }
  const { tag, number } = asked;
  const seq = seqOfWire(number, newest);
  const entry = seq === undefined ? undefined : log?.entry(seq);
  const isWithheld = entry === undefined || rules.withholds(entry) !== undefined;
  const body = isWithheld ? undefined : log?.body(entry.seq);
  if (entry === undefined || body === undefined) {
    return { outputs: session.answerUnavailable(tag, number), served: undefined };
  }
  const armor = Buffer.from(encodeArmor(body), "latin1");
  return { outputs: session.answerUpdate(tag, announcementOf(entry), armor), served: entry };
}

/** The entries of all ranges, each once, ascending, as many as one listing may hold. */
function listing(log: UpdateLog, ranges: readonly NumberRange[], newest: number): Entry[] {
  const spans = ranges
    .map((range) => spanOf(range, newest))
    .filter((span) => span !== undefined)
    .sort((a, b) => a.low - b.low);
  const entries: Entry[] = [];
  let from = 0;
  for (const { low, high } of spans) {
    const start = Math.max(low, from);
    if (start > high || entries.length >= LISTING_LINES) continue;
    const room = LISTING_LINES - entries.length;
    for (const entry of log.range(start as Seq, high as Seq, room)) entries.push(entry);
    from = high + 1;
  }
  return entries;
}

/** Positions in our log for a range of wire numbers; undefined when it lies beyond the newest. */
function spanOf(
  range: NumberRange,
  newest: number,
): { readonly low: number; readonly high: number } | undefined {
  const low = range.low === undefined ? 0 : seqOfWire(range.low, newest);
  if (low === undefined) return undefined;
  const high = range.high === undefined ? newest : (seqOfWire(range.high, newest) ?? newest);
  // An upper end that was not reached yet looks like one of the numbers' former round.
  const beyond = high < low && (range.high ?? 0) >= (range.low ?? 0);
  return { low, high: beyond ? newest : high };
}
