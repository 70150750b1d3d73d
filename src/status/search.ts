/**
 * Finds updates for the search of the page: by fingerprint, 16-digit key id, hash or number of an
 * update, or Message-ID. Key ids and Message-IDs have no index; for these the log is read through,
 * the newest entries first, in slices between which the event loop runs. One such search of the
 * process runs at a time and the next one waits, so that visitors cannot keep the gateway busy.
 */
import type { Entry } from "../log/update-log.js";
import { entriesOf, JOURNEYS, type JourneyLog } from "./journey.js";

export const SEARCH_LIMITS = {
  /** Entries that are read before others get their turn: a few milliseconds. */
  slice: 10_000,
  /** Searches that run or wait. */
  waiting: 5,
} as const;

/** What was asked for. A short id is refused, since anybody can make a key with a given one. */
export type Question =
  | { readonly kind: "number" | "hash" | "fingerprint" | "hash or fingerprint" }
  | { readonly kind: "key id"; readonly id: string }
  | { readonly kind: "Message-ID"; readonly id: string }
  | { readonly kind: "short id" | "nothing" };

export interface Found {
  readonly kind: Question["kind"];
  /** The newest first, at most `JOURNEYS`. */
  readonly entries: readonly Entry[];
  /** False if too many searches waited already. */
  readonly isDone: boolean;
}

/** Spaces, colons and the prefixes of programs are no part of what people paste. */
export function plainQuestion(text: string): string {
  return text
    .trim()
    .replace(/^(openpgp4fpr:|fingerprint:|#)/i, "")
    .replace(/\s+/g, "")
    .replace(/^((?:[0-9A-Fa-f]{2}:){7,31}[0-9A-Fa-f]{2})$/, (all) => all.replaceAll(":", ""));
}

export function questionOf(text: string): Question {
  const hex = text.replace(/^0x/i, "");
  const isHex = /^[0-9A-Fa-f]+$/.test(hex);
  if (/^\d{1,15}$/.test(text)) return { kind: "number" };
  if (isHex && hex.length === 16) return { kind: "key id", id: hex.toUpperCase() };
  if (isHex && hex.length === 8) return { kind: "short id" };
  if (isHex && hex.length === 32) return { kind: "hash or fingerprint" };
  if (isHex && (hex.length === 40 || hex.length === 64)) return { kind: "fingerprint" };
  if (/^<?[^<>@]+@[^<>@]+>?$/.test(text)) {
    return { kind: "Message-ID", id: text.replace(/^<?(.*?)>?$/, "<$1>") };
  }
  return { kind: "nothing" };
}

let waiting = 0;
let last: Promise<unknown> = Promise.resolve();

/** `pause` lets the event loop run; the caller gives `setImmediate`. */
export async function search(
  log: JourneyLog,
  text: string,
  pause: () => Promise<unknown>,
): Promise<Found> {
  const question = questionOf(text);
  const { kind } = question;
  const quick = entriesOf(log, text, false);
  if (quick.length > 0 || !("id" in question)) return { kind, entries: quick, isDone: true };
  if (waiting >= SEARCH_LIMITS.waiting) return { kind, entries: [], isDone: false };
  waiting += 1;
  const before = last;
  const own = before.then(() => readThrough(log, question, pause));
  last = own.catch(() => {});
  try {
    return { kind, entries: await own, isDone: true };
  } finally {
    waiting -= 1;
  }
}

async function readThrough(
  log: JourneyLog,
  question: Extract<Question, { readonly id: string }>,
  pause: () => Promise<unknown>,
): Promise<Entry[]> {
  const found: Entry[] = [];
  let high: number = log.newest();
  while (high > 0 && found.length < JOURNEYS) {
    const low = Math.max(1, high - SEARCH_LIMITS.slice + 1);
    const most = JOURNEYS - found.length;
    const seqs =
      question.kind === "key id"
        ? log.lookup.byKeyId(question.id, low, high, most)
        : log.lookup.byMessageIdIn(question.id, low, high, most);
    for (const seq of seqs) {
      const entry = log.entry(seq);
      if (entry !== undefined) found.push(entry);
    }
    high = low - 1;
    await pause();
  }
  return found;
}
