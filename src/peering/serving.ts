/**
 * Answers to what a KX peer asks for, read from the log: listings and bodies. Wire numbers become
 * positions in the log here. `send-queue.ts` decides when to answer and how much may be unsent,
 * `listing-pace.ts` how fast lines are listed.
 */
import type { Delivery, Features, NumberRange } from "../kx/messages.js";
import { MAX_NUMBER, seqOfWire } from "../kx/messages.js";
import { type ListingPart, serializePart } from "../kx/serializer.js";
import type { AskedNumber, Session, SessionOutput } from "../kx/session.js";
import type { Entry, UpdateLog } from "../log/update-log.js";
import { encodeArmor } from "../openpgp/armor.js";
import type { Rules } from "../policy.js";
import type { Seq } from "../update.js";
import { announcementOf } from "./announcements.js";

export const LISTING_LIMITS = {
  /**
   * Lines in one listing. The thesis wants a single IHAVE for any range; 50,000 lines are 4 MB, two
   * months of the thesis's load. A peer that asks for more gets the oldest lines. Limit:
   * 50,000 lines of v6 keys with the SHA-256 are above 8 MiB as text. No peer has so many, and with
   * the feature "octets" they are 4 MB.
   */
  lines: 50_000,
  /** Lines that are read in one turn: a millisecond. */
  slice: 256,
  /** Cost of a range beside its lines, in lines. */
  range: 4,
} as const;

/** An UPDATE of octets with so many octets of packets is complete: one write of a socket. */
const MESSAGE_BYTES = 64 * 1024;
/** So many numbers are one answer: those that are not available cost a look-up and no octets. */
const MESSAGE_NUMBERS = 256;

/** What answers are read from. */
export type ServingLog = Pick<UpdateLog, "body" | "entry" | "newest" | "range">;

/** A request for an update. */
export type AskedUpdate = AskedNumber & { readonly kind: "update" };

/** An answer to requests, and the entries whose bodies are in it. */
export interface KxAnswer {
  readonly outputs: SessionOutput[];
  readonly served: readonly Entry[];
  /** How many requests it answers. */
  readonly requests: number;
}

/**
 * The answer to a GETUPDATE, or with the feature "octets" to as many numbers of it as one message
 * takes: `more` returns its next one. Throws `Trouble`; then nothing was answered.
 */
export function answerUpdate(
  session: Session,
  first: AskedUpdate,
  more: () => AskedUpdate | undefined,
  read: (number: number) => ServedUpdate | undefined,
): KxAnswer {
  const { tag, number } = first;
  if (!session.features.octets) {
    const found = read(number);
    if (found === undefined) {
      return { outputs: session.answerUnavailable(tag, number), served: [], requests: 1 };
    }
    const { entry, body } = found;
    const armor = Buffer.from(encodeArmor(body), "latin1");
    const outputs = session.answerUpdate(tag, announcementOf(entry), armor);
    return { outputs, served: [entry], requests: 1 };
  }
  const deliveries: Delivery[] = [];
  const served: Entry[] = [];
  let bytes = 0;
  for (let asked: AskedUpdate | undefined = first; asked !== undefined; ) {
    const found = read(asked.number);
    deliveries.push({ number: asked.number, packets: found?.body });
    if (found !== undefined) served.push(found.entry);
    bytes += found?.body.length ?? 0;
    const isFull = bytes >= MESSAGE_BYTES || deliveries.length >= MESSAGE_NUMBERS;
    asked = isFull ? undefined : more();
  }
  return { outputs: session.deliver(tag, deliveries), served, requests: deliveries.length };
}

/** An entry and its body. */
interface ServedUpdate {
  readonly entry: Entry;
  readonly body: Uint8Array;
}

/**
 * What may be served under a wire number; undefined if it is not available: without a log (observe
 * mode), and where the key is blocked or forgotten. Throws `Trouble`.
 */
export function servedUpdate(
  number: number,
  log: ServingLog | undefined,
  rules: Rules,
): ServedUpdate | undefined {
  const seq = seqOfWire(number, log?.newest() ?? 0);
  const entry = seq === undefined ? undefined : log?.entry(seq);
  const isWithheld = entry === undefined || rules.withholds(entry) !== undefined;
  const body = isWithheld ? undefined : log?.body(entry.seq);
  return entry === undefined || body === undefined ? undefined : { entry, body };
}

/** Positions in our log, both included. */
interface Span {
  readonly low: number;
  readonly high: number;
}

/**
 * The answer to one LIST while it is read: the entries of all ranges, each once, ascending, a slice
 * at a time. Blocked and forgotten updates are left out. Updates that are appended after the first
 * slice are not in it; they are announced by a notice.
 */
export class ServedListing {
  readonly #ranges: readonly NumberRange[];
  readonly #features: Features;
  readonly tag: string;
  #spans: Span[] | undefined;
  #newest = 0;
  readonly #parts: ListingPart[] = [];
  #count = 0;

  constructor({ tag, ranges }: AskedNumber & { readonly kind: "list" }, features: Features) {
    this.tag = tag;
    this.#features = features;
    this.#ranges = ranges;
  }

  get isDone(): boolean {
    return this.#spans?.length === 0;
  }

  get parts(): readonly ListingPart[] {
    return this.#parts;
  }

  /** Reads the next slice; returns what it cost, in lines. Throws `Trouble`. */
  step(log: ServingLog | undefined, rules: Rules): number {
    if (this.#spans === undefined) {
      this.#newest = log?.newest() ?? 0;
      this.#spans = log === undefined ? [] : spansOf(this.#ranges, this.#newest);
    }
    let cost = LISTING_LIMITS.range;
    const entries: Entry[] = [];
    for (let span = this.#spans[0]; span !== undefined; span = this.#spans[0]) {
      const { low, high } = span;
      const room = Math.min(LISTING_LIMITS.slice - cost, LISTING_LIMITS.lines - this.#count);
      if (room <= 0) break;
      const read = log?.range(low as Seq, high as Seq, room) ?? [];
      const last = read.at(-1)?.seq;
      cost += read.length + LISTING_LIMITS.range;
      this.#count += read.length;
      for (const one of read) entries.push(one);
      if (last === undefined || last >= high || read.length < room) this.#spans.shift();
      else this.#spans[0] = { low: last + 1, high };
    }
    if (this.#count >= LISTING_LIMITS.lines) this.#spans = [];
    // The greeting names the newest entry: without it in the listing it would look forged.
    const isShown = (one: Entry) => one.seq === this.#newest || !rules.withholds(one);
    const shown = entries.filter(isShown);
    if (shown.length > 0) {
      this.#parts.push(serializePart(shown.map(announcementOf), this.#features));
    }
    return cost;
  }
}

/** Positions of what the ranges name, ascending, none twice. */
function spansOf(ranges: readonly NumberRange[], newest: number): Span[] {
  const sorted = ranges
    .flatMap((range) => positionsOf(range, newest))
    .sort((a, b) => a.low - b.low);
  const spans: Span[] = [];
  let from = 0;
  for (const { low, high } of sorted) {
    const start = Math.max(low, from);
    if (start > high) continue;
    spans.push({ low: start, high });
    from = high + 1;
  }
  return spans;
}

/**
 * Positions of a range of wire numbers, of which each stands for the newest position that shows as
 * it: after a wrap that may be two spans. An open end is the newest update, an open or a zero
 * beginning the oldest.
 */
function positionsOf({ low = 0, high }: NumberRange, newest: number): Span[] {
  const round = newest - (newest % (MAX_NUMBER + 1));
  if (high === undefined) {
    const first = low === 0 ? 0 : seqOfWire(low, newest);
    return first === undefined ? [] : [{ low: first, high: newest }];
  }
  if (low > high) {
    // Over a wrap.
    const [first, last] = [seqOfWire(low, newest), seqOfWire(high, newest)];
    return first === undefined || last === undefined ? [] : [{ low: first, high: last }];
  }
  const before = round - (MAX_NUMBER + 1);
  const spans = [{ low: round + low, high: Math.min(round + high, newest) }];
  if (before >= 0)
    spans.push({ low: Math.max(before + low, newest - MAX_NUMBER), high: before + high });
  return spans.filter((span) => span.low <= span.high);
}
