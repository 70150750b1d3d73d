/**
 * What the operator has had removed: blocks on keys, tombstones of forgotten updates, and the keys
 * that were known when no new ones were to be taken any more. Blocks and tombstones are few and are
 * asked for at every turn, so they are kept in memory as well.
 *
 * A forgotten update keeps its number, its hash and its trail, so that it does not come back as
 * new; its body, its key's skeleton, its fingerprint and the Message-ID of its mail go. In place of
 * the fingerprint a salted mark stays, by which whoever knows that fingerprint finds it again. What
 * a block means is the policy's business.
 */
import { createHash } from "node:crypto";
import type Database from "better-sqlite3";
import type { Block } from "../config/config.js";
import { Trouble } from "../errors.js";
import type { Fingerprint, Seq } from "../update.js";
import type { Bounces } from "./bounces.js";
import type { Connection } from "./connection.js";
import type { Exceptions } from "./exceptions.js";
import type { Retention } from "./retention.js";

/** Why and when an update was forgotten. */
export interface Tombstone {
  readonly reason: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** What a forgetting came to. */
export interface Forgotten {
  /** Updates of the key that were remembered. */
  readonly updates: number;
  /** Of these, how many were still held. */
  readonly bodies: number;
  /** Whether the WAL could be emptied; while it could not, old pages are still in it. */
  readonly isClean: boolean;
  /** Whether the file was written anew; else copies may be left where rows were moved. */
  readonly isRebuilt: boolean;
  /** Why the file or the WAL could not be rid of copies; the key is forgotten all the same. */
  readonly trouble: Trouble | undefined;
}

/** A block that a command has put on a key. */
export interface StoredBlock extends Block {
  readonly fingerprint: Fingerprint;
  /** When it was put there, milliseconds since 1970. */
  readonly at: number;
}

/** The parts of the log that a removal concerns. */
interface RemovalParts {
  readonly bounces: Pick<Bounces, "secret">;
  readonly exceptions: Pick<Exceptions, "unblocked">;
  readonly retention: Retention;
}

interface BlockRow {
  readonly fingerprint: Buffer;
  readonly reason: string;
  readonly until: number | null;
  readonly allowRevocation: 0 | 1;
  readonly at: number;
}

export class Removals {
  readonly #connection: Connection;
  readonly #bounces: Pick<Bounces, "secret">;
  readonly #exceptions: Pick<Exceptions, "unblocked">;
  readonly #retention: Retention;
  readonly #wake: () => void;
  readonly #blocks = new Map<string, StoredBlock>();
  readonly #forgotten: Set<number>;
  readonly #block: Database.Statement<[Buffer, string, number | null, 0 | 1, number]>;
  readonly #unblock: Database.Statement<[Buffer]>;
  readonly #dropRefusals: Database.Statement<[]>;
  readonly #bury: Database.Statement<[Buffer, string, number, Buffer]>;
  readonly #purge: readonly Database.Statement<[Buffer]>[];
  readonly #bodies: Database.Statement<[Buffer], number>;
  readonly #seqs: Database.Statement<[Buffer], number>;
  readonly #tombstone: Database.Statement<[number], Tombstone>;
  readonly #marked: Database.Statement<[Buffer, number], number>;
  readonly #knows: Database.Statement<[Buffer], number>;
  readonly #adopt: Database.Statement<[]>;
  readonly #known: Database.Statement<[], number>;

  /** `wake` is called when something pending may have become none. */
  constructor(
    connection: Connection,
    { bounces, exceptions, retention }: RemovalParts,
    wake: () => void,
  ) {
    const { db } = connection;
    this.#connection = connection;
    this.#bounces = bounces;
    this.#exceptions = exceptions;
    this.#retention = retention;
    this.#wake = wake;
    this.#block = db.prepare(`
      INSERT OR REPLACE INTO blocks (fingerprint, reason, until, allow_revocation, at)
      VALUES (?, ?, ?, ?, ?)`);
    this.#unblock = db.prepare("DELETE FROM blocks WHERE fingerprint = ?");
    this.#dropRefusals = db.prepare("DELETE FROM refusals WHERE reason = 'blocked'");
    this.#bury = db.prepare(`
      INSERT OR REPLACE INTO forgotten (seq, mark, reason, at)
      SELECT seq, ?, ?, ? FROM updates WHERE fingerprint = ?`);
    const ofKey = "(SELECT seq FROM updates WHERE fingerprint = ?)";
    this.#bodies = db.prepare<[Buffer], number>(
      `DELETE FROM bodies WHERE seq IN ${ofKey} RETURNING length(body)`,
    );
    this.#bodies.pluck();
    this.#seqs = db.prepare<[Buffer], number>("SELECT seq FROM updates WHERE fingerprint = ?");
    this.#seqs.pluck();
    this.#purge = [
      "DELETE FROM skeletons WHERE fingerprint = ?",
      "DELETE FROM known_keys WHERE fingerprint = ?",
      "DELETE FROM repairs WHERE what = hex(?)",
      "DELETE FROM exceptions WHERE fingerprint = ?",
      `DELETE FROM offers WHERE seq IN ${ofKey}`,
      // The bounce of a mail of several updates is about the others, too.
      `DELETE FROM bounces WHERE first = seq AND seq IN ${ofKey}`,
      `UPDATE bounces SET text = '' WHERE seq IN ${ofKey}`,
      `UPDATE sendings SET reply = '' WHERE seq IN ${ofKey}`,
      // Last, since the others find the entries by it.
      `UPDATE updates SET fingerprint = zeroblob(length(fingerprint)), message_id = NULL
       WHERE fingerprint = ?`,
    ].map((sql) => db.prepare<[Buffer]>(sql));
    this.#tombstone = db.prepare("SELECT reason, at FROM forgotten WHERE seq = ?");
    this.#marked = db.prepare<[Buffer, number], number>(
      "SELECT seq FROM forgotten WHERE mark = ? ORDER BY seq DESC LIMIT ?",
    );
    this.#marked.pluck();
    this.#knows = db.prepare<[Buffer], number>("SELECT 1 FROM known_keys WHERE fingerprint = ?");
    this.#knows.pluck();
    this.#adopt = db.prepare(`
      INSERT OR IGNORE INTO known_keys
      SELECT DISTINCT fingerprint FROM updates WHERE seq NOT IN (SELECT seq FROM forgotten)`);
    this.#known = db.prepare<[], number>("SELECT count(*) FROM known_keys").pluck();
    const rows = db.prepare<[], BlockRow>(`
      SELECT fingerprint, reason, until, allow_revocation AS allowRevocation, at FROM blocks`);
    for (const row of connection.read(() => rows.all())) this.#remember(toBlock(row));
    const seqs = db.prepare<[], number>("SELECT seq FROM forgotten").pluck();
    this.#forgotten = new Set(connection.read(() => seqs.all()));
  }

  /** The block that a command has put on the key, whether or not its time is over. */
  block(fingerprint: string): StoredBlock | undefined {
    return this.#blocks.get(fingerprint);
  }

  /** All of them, the latest first. */
  blocks(): StoredBlock[] {
    return [...this.#blocks.values()].sort((a, b) => b.at - a.at);
  }

  /** Puts a block on a key from `now` (ms since 1970) on, in place of one that is there. */
  setBlock(fingerprint: Fingerprint, block: Block, now: number): void {
    const { reason, until, allowRevocation } = block;
    const allow = allowRevocation ? 1 : 0;
    this.#connection.write(() =>
      this.#block.run(blobOf(fingerprint), reason, until ?? null, allow, now),
    );
    this.#remember({ fingerprint, reason, until, allowRevocation, at: now });
    this.#wake();
  }

  /**
   * Takes the block off a key at `now` (ms since 1970); false when there is none. What was refused
   * for any block within the last day is forgotten with it, so that it is fetched when it is
   * announced anew, and what was withheld from sites is sent to them.
   */
  unblock(fingerprint: Fingerprint, now: number): boolean {
    const isGone = this.#connection.write(() => {
      this.#dropRefusals.run();
      return this.#unblock.run(blobOf(fingerprint)).changes > 0;
    });
    this.#blocks.delete(fingerprint);
    if (isGone) this.#exceptions.unblocked(fingerprint, now);
    return isGone;
  }

  /**
   * Forgets all updates of the key that are remembered at `now` (ms since 1970). What is deleted is
   * overwritten, but SQLite leaves copies of rows in the slack of pages between which it moved
   * them, of one key in fifty; so the file is written anew, up to a size of `rebuildBytes`.
   */
  forget(fingerprint: Fingerprint, reason: string, now: number, rebuildBytes: number): Forgotten {
    const key = blobOf(fingerprint);
    const done = this.#connection.write(() => {
      const seqs = this.#seqs.all(key);
      const sizes = this.#bodies.all(key);
      this.#bury.run(this.#markOf(fingerprint), reason, now, key);
      for (const statement of this.#purge) statement.run(key);
      const bytes = sizes.reduce((sum, size) => sum + size, 0);
      if (sizes.length > 0) this.#retention.count(0, -sizes.length, -bytes);
      return { seqs, bodies: sizes.length };
    });
    for (const seq of done.seqs) this.#forgotten.add(seq);
    this.#wake();
    return { updates: done.seqs.length, bodies: done.bodies, ...this.#scrub(rebuildBytes) };
  }

  /** Removes the copies of deleted rows from the file and the WAL, as far as that is possible. */
  #scrub(rebuildBytes: number): Pick<Forgotten, "isClean" | "isRebuilt" | "trouble"> {
    let isRebuilt = false;
    try {
      if (this.#connection.fileBytes() <= rebuildBytes) {
        this.#connection.rebuild();
        isRebuilt = true;
      }
      return { isClean: this.#connection.checkpoint(), isRebuilt, trouble: undefined };
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      return { isClean: false, isRebuilt, trouble: error };
    }
  }

  /** Whether the update of that number was forgotten. */
  isForgotten(seq: Seq): boolean {
    return this.#forgotten.has(seq);
  }

  /** How many forgotten updates are still known by their hash. */
  get forgotten(): number {
    return this.#forgotten.size;
  }

  tombstone(seq: Seq): Tombstone | undefined {
    return this.#connection.read(() => this.#tombstone.get(seq));
  }

  /** Numbers of the forgotten updates of a key, the newest first, at most `limit`. */
  forgottenOf(fingerprint: Fingerprint, limit: number): Seq[] {
    const mark = this.#markOf(fingerprint);
    return this.#connection.read(() => this.#marked.all(mark, limit)) as Seq[];
  }

  /** Whether the key was among those that `adopt` found. */
  knows(fingerprint: string): boolean {
    return this.#connection.read(() => this.#knows.get(blobOf(fingerprint))) !== undefined;
  }

  /** Adds the keys of all remembered updates to those that are known for good; returns how many. */
  adopt(): number {
    return this.#connection.write(() => {
      this.#adopt.run();
      return this.#known.get() ?? 0;
    });
  }

  #remember(block: StoredBlock): void {
    this.#blocks.set(block.fingerprint, block);
  }

  #markOf(fingerprint: string): Buffer {
    return createHash("sha256")
      .update(this.#bounces.secret)
      .update(`forgotten ${fingerprint}`)
      .digest();
  }
}

function toBlock({ fingerprint, reason, until, allowRevocation, at }: BlockRow): StoredBlock {
  return {
    fingerprint: fingerprint.toString("hex").toUpperCase() as Fingerprint,
    reason,
    until: until ?? undefined,
    allowRevocation: allowRevocation === 1,
    at,
  };
}

function blobOf(fingerprint: string): Buffer {
  return Buffer.from(fingerprint, "hex");
}
