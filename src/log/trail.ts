/**
 * The trail of an entry in the log: the addresses of the sites that are known to have the update,
 * from its mails or from KX. Addresses are unique, and a trail only grows. `mail/` decides which
 * part of it a mail shows. What a duplicate adds is gathered first (`gathered-trails.ts`).
 *
 * A claim about a site by another site is a hint, and counts only before the first attempt. The
 * claim is left out while the site's lane is failing, while the lane is delivering the update, or
 * if the site has an exception for the update. A statement by the site itself always settles the
 * update.
 */
import type Database from "better-sqlite3";
import { addressKey, distinctAddresses } from "../mail-address.js";
import type { Seq } from "../update.js";
import type { Connection } from "./connection.js";
import type { Exceptions } from "./exceptions.js";
import type { GatheredTrails } from "./gathered-trails.js";
import type { Lanes } from "./lanes.js";
import type { Pending } from "./pending.js";
import type { Sendings, ShownHow } from "./sendings.js";

/**
 * Maximum number of addresses in a trail, so that a sender of duplicates cannot make a row grow
 * without limit.
 */
export const TRAIL_LIMIT = 1000;

/** Entries whose additions are gathered; more are written at once. */
export const TRAILS_GATHERED = 1000;

/** A site or a KX peer that is known to have an update. */
export interface Holder {
  readonly seq: Seq;
  /** The site's address in trails; undefined for a peer that gets no mail. */
  readonly address?: string | undefined;
  /** The name of the peer that has shown that it has the update. */
  readonly peer?: string;
  /** How it has shown it; undefined: it announced the update. */
  readonly how?: ShownHow | undefined;
}

/** The parts of the log that depend on the trails: the lanes of the sites in them. */
export interface TrailContext {
  readonly grown: GatheredTrails;
  readonly pending: Pick<Pending, "grew">;
  readonly lanes: Pick<Lanes, "addressed" | "isTrying">;
  readonly exceptions: Pick<Exceptions, "get" | "settle">;
  readonly sendings: Pick<Sendings, "shown">;
}

export class Trails {
  readonly #connection: Connection;
  readonly #context: TrailContext;
  readonly #stored: Database.Statement<[number], string>;
  readonly #set: Database.Statement<[string, number]>;

  constructor(connection: Connection, context: TrailContext) {
    const { db } = connection;
    this.#connection = connection;
    this.#context = context;
    this.#stored = db.prepare<[number], string>("SELECT trail FROM updates WHERE seq = ?").pluck();
    this.#set = db.prepare("UPDATE updates SET trail = ? WHERE seq = ?");
  }

  /**
   * Returns the addresses that have the update. Empty for a number that is not in the log any more.
   */
  get(seq: Seq): string[] {
    return this.#connection.read(() => {
      const stored = this.#stored.get(seq);
      return stored === undefined
        ? []
        : [...listIn(stored), ...listIn(this.#context.grown.of(seq))];
    });
  }

  /** Number of entries whose additions are gathered and not written yet. */
  get gathered(): number {
    return this.#context.grown.count;
  }

  /** Writes what is gathered. Throws `Trouble`; then it is gathered still. */
  settle(): void {
    if (this.gathered === 0 || !this.#connection.isWritable) return;
    this.#connection.write(() => {
      this.#context.grown.settle((seq) => this.#set.run(JSON.stringify(this.get(seq)), seq));
    });
  }

  /** Returns the trail of a new update without the claims that do not count. `from` sent it. */
  counting(trail: readonly string[], from: string | undefined): string[] {
    return union([], this.#believed(undefined, trail, from));
  }

  /**
   * Adds addresses to the trail of an update that arrived again from the neighbour `from`, which
   * therefore has it. Must be called in a transaction.
   */
  extend(seq: Seq, more: readonly string[], from: string | undefined): void {
    if (from !== undefined) this.#context.exceptions.settle(from, seq);
    this.#add(seq, this.#believed(seq, more, from));
  }

  /**
   * Another gateway has stored the trail of an entry, which was `before`: what is stored now is no
   * longer gathered. Must be called in a transaction.
   */
  stored(seq: Seq, before: string): void {
    const { grown, pending } = this.#context;
    const now = listIn(this.#stored.get(seq));
    const gathered = listIn(grown.of(seq));
    const left = union(now, gathered).slice(now.length);
    if (left.length === 0 && gathered.length > 0) grown.drop(seq);
    else if (left.length < gathered.length) grown.put(seq, left);
    const known = listIn(before).length;
    pending.grew(seq, now.slice(known));
  }

  #add(seq: Seq, more: readonly string[]): void {
    const known = this.get(seq);
    const merged = union(known, more);
    if (merged.length === known.length) return;
    const stored = listIn(this.#stored.get(seq));
    this.#context.grown.put(seq, merged.slice(stored.length));
    this.#context.pending.grew(seq, merged.slice(known.length));
    if (this.gathered >= TRAILS_GATHERED) this.settle();
  }

  /** Removes claims by other sites about a site whose lane has already tried. */
  #believed(seq: Seq | undefined, claims: readonly string[], from: string | undefined): string[] {
    if (claims.length === 0) return [];
    const { lanes, exceptions } = this.#context;
    const doubted = new Set<string>();
    for (const { site, address, isFailing } of lanes.addressed()) {
      if (site === from) continue;
      const hasTried =
        seq !== undefined && (lanes.isTrying(site, seq) || exceptions.get(site, seq) !== undefined);
      if (isFailing || hasTried) doubted.add(addressKey(address));
    }
    if (doubted.size === 0) return [...claims];
    return claims.filter((claim) => !doubted.has(addressKey(claim)));
  }

  /**
   * Records, in one transaction, updates that sites or peers themselves have shown to have. Numbers
   * that are not in the log any more are ignored.
   */
  note(holders: readonly Holder[]): void {
    const lanes = this.#context.lanes.addressed();
    this.#connection.write(() => {
      for (const { seq, address, peer, how = "announced" } of holders) {
        if (peer !== undefined) this.#context.sendings.shown(seq, peer, how);
        if (address === undefined) continue;
        const key = addressKey(address);
        for (const lane of lanes) {
          if (addressKey(lane.address) !== key) continue;
          this.#context.exceptions.settle(lane.site, seq);
          this.#context.sendings.shown(seq, lane.site, how);
        }
        this.#add(seq, [address]);
      }
      // The caller has gathered these itself.
      this.settle();
    });
  }
}

/** The addresses of a trail as it is stored. */
function listIn(text: string | undefined): string[] {
  return text === undefined ? [] : (JSON.parse(text) as string[]);
}

/** Merges both lists without repetitions. Each address keeps its first spelling. */
export function union(known: readonly string[], more: readonly string[]): string[] {
  return distinctAddresses([...known, ...more]).slice(0, TRAIL_LIMIT);
}
