/**
 * The trail of an entry as the log keeps it: who is known to have the update, because its mails
 * said so or because it was learned over KX; each address once, and it only ever grows. What a
 * mail shows of it is the mail dialect's business.
 */
import type Database from "better-sqlite3";
import { distinctAddresses } from "../mail-address.js";
import type { Seq } from "../update.js";
import type { Connection } from "./connection.js";
import type { Pending } from "./pending.js";

/** Addresses a trail, so that a sender of ever new duplicates cannot make one row grow for ever. */
export const TRAIL_LIMIT = 1000;

/** A site that is known to have an update. */
export interface Holder {
  readonly seq: Seq;
  /** What stands for the site in trails. */
  readonly address: string;
}

export class Trails {
  readonly #connection: Connection;
  readonly #pending: Pick<Pending, "grew">;
  readonly #get: Database.Statement<[number], string>;
  readonly #set: Database.Statement<[string, number]>;

  constructor(connection: Connection, pending: Pick<Pending, "grew">) {
    const { db } = connection;
    this.#connection = connection;
    this.#pending = pending;
    this.#get = db.prepare<[number], string>("SELECT trail FROM updates WHERE seq = ?").pluck();
    this.#set = db.prepare("UPDATE updates SET trail = ? WHERE seq = ?");
  }

  /** Addresses that have the update; empty for a number that is not remembered. */
  get(seq: Seq): string[] {
    const text = this.#connection.read(() => this.#get.get(seq));
    return text === undefined ? [] : (JSON.parse(text) as string[]);
  }

  /** Adds addresses to the trail of an update. Belongs into a transaction. */
  extend(seq: Seq, more: readonly string[]): void {
    const known = this.get(seq);
    const merged = union(known, more);
    // A repetition that says nothing new must not cost a write and its fsync.
    if (merged.length === known.length) return;
    this.#set.run(JSON.stringify(merged), seq);
    this.#pending.grew(seq, merged.slice(known.length));
  }

  /** Notes who has what, in one transaction; what is not remembered any more is passed over. */
  note(holders: readonly Holder[]): void {
    this.#connection.write(() => {
      for (const { seq, address } of holders) this.extend(seq, [address]);
    });
  }
}

/** Both lists without repetitions, each address in the spelling that came first. */
export function union(known: readonly string[], more: readonly string[]): string[] {
  return distinctAddresses([...known, ...more]).slice(0, TRAIL_LIMIT);
}
