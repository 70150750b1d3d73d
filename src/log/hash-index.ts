/**
 * Finds entries by their hashes. Hashes are random, so each would cost a page of an index. Those of
 * the newest entries are in a table in memory, the others in `hashes`. Each `HASHES_PER_RANGE`
 * numbers the gathered hashes of one of `RANGES` ranges are written, one after the other: they
 * lie close together and share pages also in a large log. So `hashes` has all entries up to
 * `SETTLED`. Those above it are read from the entries when the log is opened for writing, and at
 * each look-up by a process that only reads, so that a kill loses nothing. No unique index prevents
 * that an update is stored twice: `append` looks it up in its transaction, there is one writer, and
 * `kxgw db check` verifies it.
 */
import type Database from "better-sqlite3";
import type { Seq, UpdateHash } from "../update.js";
import type { Connection } from "./connection.js";
import { HASHES_PER_RANGE } from "./schema.js";

/**
 * Ranges of hashes, by the first bits. About half as many times `HASHES_PER_RANGE` hashes are in
 * memory, 600 kB; at most all, or twice as many after a start.
 */
export const RANGES = 32;

/**
 * SQL for the number up to which all entries are in `hashes`. `totals.hashed` is the number of the
 * last step, each of which wrote a range, and a range is written again after `RANGES` steps.
 */
export const SETTLED = `(SELECT (hashed - ${RANGES - 1}) * ${HASHES_PER_RANGE} FROM totals)`;

/** An entry with the hash that was asked for. */
export interface Namesake {
  readonly seq: Seq;
  readonly digest: Buffer;
  /** Milliseconds since 1970. */
  readonly receivedAt: number;
}

interface Range {
  readonly low: Buffer;
  /** Not in the range. */
  readonly high: Buffer;
}

export class HashIndex {
  readonly #connection: Connection;
  readonly #namesakes: Database.Statement<[{ hash: Buffer }], Namesake>;
  readonly #newest: Database.Statement<[{ hash: Buffer }], Seq | null>;
  /** SQL for the numbers of the entries with the hash `@hash`: a column of a query. */
  readonly seqs: string;
  readonly #gather: Database.Statement<[Buffer, number]>;
  readonly #recover: Database.Statement<[]>;
  readonly #write: Database.Statement<[Range]>;
  readonly #written: Database.Statement<[Range]>;
  readonly #note: Database.Statement<[number]>;
  readonly #drop: readonly Database.Statement<[number]>[];
  /** The same as `totals.hashed`. */
  #hashed: number;

  constructor(connection: Connection) {
    const { db } = connection;
    this.#connection = connection;
    db.exec(`
      CREATE TEMP TABLE IF NOT EXISTS gathered_hashes (
        hash BLOB NOT NULL, seq INTEGER NOT NULL,
        PRIMARY KEY (hash, seq)) STRICT, WITHOUT ROWID`);
    const gathered = connection.isWritable
      ? "SELECT seq FROM temp.gathered_hashes WHERE hash = @hash"
      : `SELECT seq FROM updates WHERE seq > ${SETTLED} AND hash = @hash`;
    this.seqs = `SELECT seq FROM main.hashes WHERE hash = @hash UNION ALL ${gathered}`;
    const named = `seq IN (${this.seqs})`;
    // A join takes a third less than IN, which gathers the numbers first. The same entry may come
    // twice: some of what was gathered again at the start is written already.
    const namesake = "SELECT updates.seq, digest, received_at AS receivedAt FROM";
    this.#namesakes = db.prepare(
      connection.isWritable
        ? `${namesake} main.hashes AS named CROSS JOIN updates ON updates.seq = named.seq
           WHERE named.hash = @hash
           UNION ALL
           ${namesake} temp.gathered_hashes AS named CROSS JOIN updates ON updates.seq = named.seq
           WHERE named.hash = @hash`
        : `${namesake} updates WHERE ${named}`,
    );
    this.#newest = db.prepare<[{ hash: Buffer }], Seq | null>(
      `SELECT max(seq) FROM updates WHERE ${named}`,
    );
    this.#newest.pluck();
    this.#gather = db.prepare("INSERT INTO temp.gathered_hashes VALUES (?, ?)");
    this.#recover = db.prepare(`
      INSERT OR IGNORE INTO temp.gathered_hashes
      SELECT hash, seq FROM updates WHERE seq > ${SETTLED} ORDER BY hash, seq`);
    const inRange = "hash >= @low AND hash < @high";
    // Some of what was gathered again at the start is written already.
    this.#write = db.prepare(`
      INSERT OR IGNORE INTO main.hashes
      SELECT hash, seq FROM temp.gathered_hashes WHERE ${inRange} ORDER BY hash, seq`);
    this.#written = db.prepare(`DELETE FROM temp.gathered_hashes WHERE ${inRange}`);
    this.#note = db.prepare("UPDATE totals SET hashed = ?");
    this.#drop = ["main.hashes", "temp.gathered_hashes"].map((table) =>
      db.prepare<[number]>(`
        DELETE FROM ${table} WHERE (hash, seq) IN (SELECT hash, seq FROM updates WHERE seq = ?)`),
    );
    const hashed = db.prepare<[], number>("SELECT hashed FROM totals").pluck().get();
    if (hashed === undefined) throw new Error("the totals of the log are missing");
    this.#hashed = hashed;
    if (connection.isWritable) this.#recover.run();
  }

  /** The entries with this hash, with or without their bodies. */
  namesakes(hash: Buffer): Namesake[] {
    return this.#connection.read(() => this.#namesakes.all({ hash }));
  }

  /** The number of the newest entry with this hash. */
  newest(name: UpdateHash): Seq | undefined {
    const hash = Buffer.from(name, "hex");
    return this.#connection.read(() => this.#newest.get({ hash })) ?? undefined;
  }

  /** Adds the newest entry; called in the transaction that stores it. */
  add(hash: Buffer, seq: Seq): void {
    this.#gather.run(hash, seq);
    const due = Math.floor(seq / HASHES_PER_RANGE);
    if (due <= this.#hashed) return;
    // More than one if numbers were skipped.
    for (let step = Math.max(this.#hashed, due - RANGES) + 1; step <= due; step += 1) {
      const range = rangeOf(step % RANGES);
      this.#write.run(range);
      this.#written.run(range);
    }
    this.#note.run(due);
    const before = this.#hashed;
    this.#connection.onRollback(() => {
      this.#hashed = before;
    });
    this.#hashed = due;
  }

  /** Removes an entry; called in the transaction that deletes it, and before that. */
  drop(seq: number): void {
    for (const statement of this.#drop) statement.run(seq);
  }
}

/** The hashes of which the first byte, divided by the size of a range, gives `index`. */
function rangeOf(index: number): Range {
  const width = 256 / RANGES;
  const end = (index + 1) * width;
  // Longer than a hash, and therefore above all of them.
  const high = end === 256 ? Buffer.alloc(17, 0xff) : Buffer.of(end);
  return { low: Buffer.of(index * width), high };
}
