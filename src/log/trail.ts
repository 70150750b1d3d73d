/**
 * The trail of an entry in the log: the addresses of the sites that are known to have the update,
 * from its mails or from KX. Each address is in it once, and a trail only grows. `mail/` decides
 * what a mail shows of it.
 *
 * What others claim of a site is a hint, and counts before the first try only. The claim is left
 * out while the site's lane fails, while it tries the update, or when the site has an exception for
 * the update. What the site says itself always settles the update.
 */
import type Database from "better-sqlite3";
import { addressKey, distinctAddresses } from "../mail-address.js";
import type { Seq } from "../update.js";
import type { Connection } from "./connection.js";
import type { Exceptions } from "./exceptions.js";
import type { Lanes } from "./lanes.js";
import type { Pending } from "./pending.js";
import type { Sendings } from "./sendings.js";

/** Addresses in a trail, so that a sender of duplicates cannot make a row grow without limit. */
export const TRAIL_LIMIT = 1000;

/** A site that is known to have an update. */
export interface Holder {
  readonly seq: Seq;
  /** What stands for the site in trails. */
  readonly address: string;
}

/** What a trail has to do with: the lanes of the sites in it. */
export interface TrailContext {
  readonly pending: Pick<Pending, "grew">;
  readonly lanes: Pick<Lanes, "addressed" | "isTrying">;
  readonly exceptions: Pick<Exceptions, "get" | "settle">;
  readonly sendings: Pick<Sendings, "announced">;
}

export class Trails {
  readonly #connection: Connection;
  readonly #context: TrailContext;
  readonly #get: Database.Statement<[number], string>;
  readonly #set: Database.Statement<[string, number]>;

  constructor(connection: Connection, context: TrailContext) {
    const { db } = connection;
    this.#connection = connection;
    this.#context = context;
    this.#get = db.prepare<[number], string>("SELECT trail FROM updates WHERE seq = ?").pluck();
    this.#set = db.prepare("UPDATE updates SET trail = ? WHERE seq = ?");
  }

  /** Addresses that have the update; empty for a number that is not remembered. */
  get(seq: Seq): string[] {
    const text = this.#connection.read(() => this.#get.get(seq));
    return text === undefined ? [] : (JSON.parse(text) as string[]);
  }

  /** The trail of a new update without the claims that do not count; `from` sent it. */
  counting(trail: readonly string[], from: string | undefined): string[] {
    return union([], this.#believed(undefined, trail, from));
  }

  /**
   * Adds addresses to the trail of an update that came again, from the neighbour `from`, which has
   * it. Belongs into a transaction.
   */
  extend(seq: Seq, more: readonly string[], from: string | undefined): void {
    if (from !== undefined) this.#context.exceptions.settle(from, seq);
    this.#add(seq, this.#believed(seq, more, from));
  }

  #add(seq: Seq, more: readonly string[]): void {
    const known = this.get(seq);
    const merged = union(known, more);
    // A repetition that says nothing new must not cost a write and its fsync.
    if (merged.length === known.length) return;
    this.#set.run(JSON.stringify(merged), seq);
    this.#context.pending.grew(seq, merged.slice(known.length));
  }

  /** Without what others than the site itself claim of it once its lane has tried. */
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
   * Notes who has what by its own word, in one transaction; what is not remembered any more is
   * passed over.
   */
  note(holders: readonly Holder[]): void {
    const lanes = this.#context.lanes.addressed();
    this.#connection.write(() => {
      for (const { seq, address } of holders) {
        const key = addressKey(address);
        for (const lane of lanes) {
          if (addressKey(lane.address) !== key) continue;
          this.#context.exceptions.settle(lane.site, seq);
          this.#context.sendings.announced(seq, lane.site);
        }
        this.#add(seq, [address]);
      }
    });
  }
}

/** Both lists without repetitions, each address in the spelling that came first. */
export function union(known: readonly string[], more: readonly string[]): string[] {
  return distinctAddresses([...known, ...more]).slice(0, TRAIL_LIMIT);
}
