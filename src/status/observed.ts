/**
 * The sum of what observe mode would have sent: to how many neighbours, how many updates, mails and
 * bytes, in which time and how often. Pure, from the rows that `log/observed.ts` keeps for each
 * neighbour.
 */
import type { Observed } from "../log/observed.js";
import { grouped, octets, several } from "../text.js";

const DAY_MS = 24 * 3_600_000;

/** Times in milliseconds since 1970. An update to two neighbours counts twice. */
export interface ObservedSum {
  readonly neighbours: number;
  readonly updates: number;
  readonly mails: number;
  readonly bytes: number;
  readonly since: number;
  readonly at: number;
  /** Updates and mails in a day at this rate; null before an hour has passed. */
  readonly perDay: { readonly updates: number; readonly mails: number } | null;
}

/** Undefined if nothing would have been sent. */
export function observedSum(all: readonly Observed[], now: number): ObservedSum | undefined {
  const [first] = all;
  if (first === undefined) return undefined;
  const sum = (value: (one: Observed) => number) => all.reduce((so, one) => so + value(one), 0);
  const updates = sum((one) => one.updates);
  const mails = sum((one) => one.mails);
  const since = Math.min(...all.map((one) => one.since));
  const days = (now - since) / DAY_MS;
  const isLong = now - since >= DAY_MS / 24;
  return {
    neighbours: new Set(all.map(({ neighbour }) => neighbour)).size,
    ...{ updates, mails, bytes: sum((one) => one.bytes) },
    ...{ since, at: Math.max(...all.map((one) => one.at)) },
    perDay: isLong
      ? { updates: Math.round(updates / days), mails: Math.round(mails / days) }
      : null,
  };
}

/** As "12 updates in 9 mails to 2 neighbours, 34 kB, about 480 mails a day". */
export function observedSumWords(
  one: Pick<ObservedSum, "neighbours" | "updates" | "mails" | "bytes" | "perDay">,
): string {
  const { neighbours, updates, mails, bytes, perDay } = one;
  const rate = perDay === null ? "" : `, about ${several(perDay.mails, "mail")} a day`;
  const what = `${several(updates, "update")} in ${grouped(mails)} mails`;
  return `${what} to ${several(neighbours, "neighbour")}, ${octets(bytes)}${rate}`;
}
