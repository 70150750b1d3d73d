/**
 * Positions: numbers of a peer that keep growing over a wrap. A position is the wire number (31
 * bits, thesis 5.3) plus 2^31 for each wrap since the greeting. Numbers from before the last wrap
 * before the greeting have negative positions.
 */
import type { UpdateHash } from "../update.js";
import type { Announcement } from "./messages.js";
import { MAX_NUMBER } from "./messages.js";

/** An announcement at its position. */
export interface Listed {
  readonly position: number;
  readonly announcement: Announcement;
}

/** An open LIST, in positions. */
export interface Listing {
  readonly low: number;
  readonly high: number;
  readonly purpose: "forwards" | "search" | "identity" | "proof" | "back" | "sign of life";
  /** The hash that `low` ("forwards") or `high` ("identity") has in the log that we know. */
  readonly expected?: UpdateHash | undefined;
}

/** The wire number of a position. */
export function numberAt(position: number): number {
  return position - roundOf(position);
}

/** The position of the number 0 in the round of a position. */
export function roundOf(position: number): number {
  return Math.floor(position / (MAX_NUMBER + 1)) * (MAX_NUMBER + 1);
}

/** The position of a number announced after `claimed`. A number far below it has wrapped. */
export function positionNear(claimed: number, number: number): number {
  const position = roundOf(claimed) + number;
  return claimed - position > MAX_NUMBER / 2 ? position + MAX_NUMBER + 1 : position;
}

/** The entries of a listing from `low` to `high`, in ascending order, each once, no others. */
export function listedBetween(
  low: number,
  high: number,
  announcements: readonly Announcement[],
): Listed[] {
  const inside = new Map<number, Listed>();
  for (const announcement of announcements) {
    const position = roundOf(low) + announcement.number;
    if (position >= low && position <= high) inside.set(position, { position, announcement });
  }
  return [...inside.values()].sort((a, b) => a.position - b.position);
}
