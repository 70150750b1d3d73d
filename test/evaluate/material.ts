/**
 * The updates of the evaluation and how often each is offered. In ten days of 2003
 * wwwkeys.ch.pgp.net took 40,000 incremental mails of which 9,000 held anything new (thesis 5.1):
 * each update came 4.44 times. Here it comes once from the first of five neighbours, once from each
 * of the next three, and 0.44 times from the last.
 */
import type { Update } from "../../src/update.js";
import type { Material } from "../bench/material.js";

export const OFFERS = { incoming: 40_000, fresh: 9000 } as const;
export const NEIGHBOURS = ["n1", "n2", "n3", "n4", "n5"] as const;
export type NeighbourName = (typeof NEIGHBOURS)[number];

export function addressOf(name: NeighbourName): string {
  return `pgp-public-keys@${name}.example.net`;
}

/** One offer of a known update. */
export interface Repeat {
  readonly from: NeighbourName;
  readonly update: Update;
}

/** `count` updates from all over the keyring, of keys that onak can store: version 4. */
export function spreadOut({ updates }: Material, count: number): Update[] {
  const all = updates(1_000_000).filter(({ fingerprint }) => fingerprint.length === 40);
  const step = all.length / count;
  return Array.from(
    { length: Math.min(count, all.length) },
    (_, n) => all[Math.floor(n * step)],
  ).filter((update) => update !== undefined);
}

/** How often so many updates are offered after the first time. */
export function repeatCount(updates: number): number {
  return Math.round((updates * (OFFERS.incoming - OFFERS.fresh)) / OFFERS.fresh);
}

/** The offers after the first one of each, in an order in which neighbours take turns. */
export function repeatsOf(updates: readonly Update[]): Repeat[] {
  const later = NEIGHBOURS.slice(1);
  const offers = later.flatMap((from) => updates.map((update) => ({ from, update })));
  return offers.slice(0, repeatCount(updates.length));
}
