/**
 * What is written for many entries at once: the rows of `keys` (fingerprint and number) and the
 * totals. A row of `keys` is at a random place of its table, so that one row costs a page, and a
 * thousand sorted rows cost little more. Both are complete up to the number `upto`. The entries
 * after it, the tail, are read when a key is looked up or the totals are asked for. So nothing is
 * in memory, a kill loses nothing, and another process that reads the file sees everything.
 *
 * `settle` must be called before an entry is deleted or changed, and before `keys` is read whole.
 * Therefore no number is missing in the tail, and each entry of it has its body.
 */
import type Database from "better-sqlite3";
import type { Seq } from "../update.js";
import type { Connection } from "./connection.js";
import type { PacketMemory } from "./packet-memory.js";

export interface Totals {
  readonly entries: number;
  readonly bodies: number;
  readonly bodyBytes: number;
}

/** Entries in the tail. A look-up reads as many rows, in a tenth of a millisecond. */
export const TAIL_LIMIT = 1024;

/** Bytes of bodies in the tail. A start after a kill reads as many, in half a second. */
export const TAIL_LIMIT_BYTES = 16 * 1024 ** 2;

/** SQL for the number of the newest entry, 0 if there is none. */
export const NEWEST = "coalesce((SELECT max(seq) FROM updates), 0)";
/** Entries in the tail, and bodies. `upto` is larger if another program has deleted rows. */
const TAIL = `max(0, ${NEWEST} - upto)`;

/** SQL for the number of entries: a column of a query on `totals`. */
export const ENTRIES = `entries + ${TAIL}`;

const TAIL_BYTES =
  "(SELECT coalesce(sum(size), 0) FROM updates WHERE seq > (SELECT upto FROM totals))";

/** SQL for the totals. */
export const TOTALS = `
  SELECT ${ENTRIES} AS entries, bodies + ${TAIL} AS bodies, body_bytes + ${TAIL_BYTES} AS bodyBytes
  FROM totals`;

export class Gathering {
  readonly #connection: Connection;
  readonly #packets: Pick<PacketMemory, "settle">;
  readonly #totals: Database.Statement<[], Totals>;
  readonly #count: Database.Statement<[number, number, number]>;
  readonly #upto: Database.Statement<[], number>;
  readonly #tail: Database.Statement<[], { seq: Seq; receivedAt: number }>;
  readonly #keys: Database.Statement<[]>;
  readonly #add: Database.Statement<[]>;
  /** Bytes that this process has appended since a settling; more than the tail has after others. */
  #bytes = 0;
  /** `totals.upto`; undefined until it is read, and after a settling. */
  #known: number | undefined;

  constructor(connection: Connection, packets: Pick<PacketMemory, "settle">) {
    const { db } = connection;
    this.#connection = connection;
    this.#packets = packets;
    this.#totals = db.prepare(TOTALS);
    this.#count = db.prepare(
      "UPDATE totals SET entries = entries + ?, bodies = bodies + ?, body_bytes = body_bytes + ?",
    );
    this.#upto = db.prepare<[], number>("SELECT upto FROM totals").pluck();
    this.#tail = db.prepare(`
      SELECT seq, received_at AS receivedAt FROM updates
      WHERE seq > (SELECT upto FROM totals) ORDER BY seq`);
    this.#keys = db.prepare(`
      INSERT INTO keys SELECT fingerprint, seq FROM updates
      WHERE seq > (SELECT upto FROM totals) ORDER BY fingerprint, seq`);
    this.#add = db.prepare(`
      UPDATE totals SET
        entries = entries + (SELECT count(*) FROM updates WHERE seq > upto),
        bodies = bodies + (SELECT count(*) FROM bodies WHERE seq > upto),
        body_bytes = body_bytes + ${TAIL_BYTES}, upto = max(upto, ${NEWEST})`);
  }

  totals(): Totals {
    const row = this.#connection.read(() => this.#totals.get());
    if (row === undefined) throw new Error("the totals of the log are missing");
    return row;
  }

  /** Settles if the tail is full with the entry `newest`, whose body has `bytes`. */
  appended(newest: number, bytes: number): void {
    const before = this.#bytes;
    this.#connection.onRollback(() => {
      this.#bytes = before;
    });
    this.#bytes += bytes;
    this.#known ??= this.#upto.get() ?? 0;
    const isFull = newest - this.#known >= TAIL_LIMIT;
    if (!isFull && this.#bytes < TAIL_LIMIT_BYTES) return;
    this.settle();
    this.#bytes = 0;
  }

  /** The entries of the tail. */
  tail(): { readonly seq: Seq; readonly receivedAt: number }[] {
    return this.#connection.read(() => this.#tail.all());
  }

  /**
   * Writes what the tail has. After it the tail is empty. The names of its packets are written with
   * it, since after a kill they are made from the tail again.
   */
  settle(): void {
    this.#connection.write(() => {
      this.#packets.settle();
      const forget = () => {
        this.#known = undefined;
      };
      forget();
      this.#connection.onRollback(forget);
      if (this.#keys.run().changes > 0) this.#add.run();
    });
  }

  /** Adds to the totals, or subtracts; called in the transaction that changes settled entries. */
  count(entries: number, bodies: number, bodyBytes: number): void {
    this.#count.run(entries, bodies, bodyBytes);
  }
}
