/**
 * Removals by the operator: blocks on keys, tombstones of forgotten updates, and the keys that were
 * known when `new_keys = false` came into force. Blocks and tombstones are few and are read for
 * every update, so they are also kept in memory. `policy.ts` defines the effect of a block.
 *
 * A forgotten update keeps its number, its hash and its trail, so that it is not accepted again as
 * new. Its body, the skeleton of its key, its fingerprint and the Message-ID of its mail are
 * deleted. A salted mark replaces the fingerprint; with the fingerprint the entry can still be
 * found by it.
 */
import { createHash } from "node:crypto";
import type Database from "better-sqlite3";
import type { Block } from "../block.js";
import { Trouble } from "../errors.js";
import type { Fingerprint, Seq } from "../update.js";
import type { Bounces } from "./bounces.js";
import type { Connection } from "./connection.js";
import type { Exceptions } from "./exceptions.js";
import type { Gathering } from "./gathering.js";
import type { Variants } from "./variants.js";

/** How long a block is remembered after its end: longer than a body is kept by default. */
const OVER_MS = 30 * 24 * 60 * 60_000;

/** Why and when an update was forgotten. */
export interface Tombstone {
  readonly reason: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** The result of `forget`. */
export interface Forgotten {
  /** Number of updates of the key that were forgotten. */
  readonly updates: number;
  /** How many of them still had a body. */
  readonly bodies: number;
  /** Whether the WAL was emptied; otherwise it still contains old pages. */
  readonly isClean: boolean;
  /** Whether the file was rebuilt; otherwise copies of rows may remain in unused space. */
  readonly isRebuilt: boolean;
  /** Why the copies could not be removed; the key is forgotten nevertheless. */
  readonly trouble: Trouble | undefined;
}

/** A block of a key by a command. */
export interface StoredBlock extends Block {
  readonly fingerprint: Fingerprint;
  /** Time of the command, milliseconds since 1970. */
  readonly at: number;
}

interface BlockRow {
  readonly fingerprint: Buffer;
  readonly reason: string;
  readonly until: number | null;
  readonly allowRevocation: 0 | 1;
  readonly at: number;
}

export interface RemovalsComponents {
  readonly connection: Connection;
  readonly bounces: Pick<Bounces, "secret">;
  readonly exceptions: Pick<Exceptions, "unblocked">;
  readonly gathering: Pick<Gathering, "count" | "settle">;
  readonly variants: Pick<Variants, "forget">;
  /** Called when pending updates may have been withdrawn. */
  readonly wake: () => void;
}

export class Removals {
  readonly #connection: Connection;
  readonly #bounces: RemovalsComponents["bounces"];
  readonly #exceptions: RemovalsComponents["exceptions"];
  readonly #gathering: RemovalsComponents["gathering"];
  readonly #variants: RemovalsComponents["variants"];
  readonly #wake: () => void;
  readonly #blocks = new Map<string, StoredBlock>();
  readonly #forgotten = new Set<number>();
  readonly #allBlocks: Database.Statement<[], BlockRow>;
  readonly #allForgotten: Database.Statement<[], number>;
  readonly #block: Database.Statement<[Buffer, string, number | null, 0 | 1, number]>;
  readonly #unblock: Database.Statement<[number, number, Buffer]>;
  readonly #dropOver: Database.Statement<[number]>;
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

  constructor(components: RemovalsComponents) {
    const { connection, bounces, exceptions, gathering, variants, wake } = components;
    const { db } = connection;
    this.#connection = connection;
    this.#bounces = bounces;
    this.#exceptions = exceptions;
    this.#gathering = gathering;
    this.#variants = variants;
    this.#wake = wake;
    this.#block = db.prepare(`
      INSERT OR REPLACE INTO blocks (fingerprint, reason, until, allow_revocation, at)
      VALUES (?, ?, ?, ?, ?)`);
    // A block that is over is one that does not end after it began.
    const isOver = "until IS NOT NULL AND until <= at";
    this.#unblock = db.prepare(
      `UPDATE blocks SET until = ?, at = ?, reason = '' WHERE fingerprint = ? AND NOT (${isOver})`,
    );
    this.#dropOver = db.prepare(`DELETE FROM blocks WHERE ${isOver} AND at < ?`);
    this.#dropRefusals = db.prepare("DELETE FROM refusals WHERE reason = 'blocked'");
    this.#bury = db.prepare(`
      INSERT OR REPLACE INTO forgotten (seq, mark, reason, at)
      SELECT seq, ?, ?, ? FROM keys WHERE fingerprint = ?`);
    const ofKey = "(SELECT seq FROM keys WHERE fingerprint = ?)";
    this.#bodies = db.prepare<[Buffer], number>(
      `DELETE FROM bodies WHERE seq IN ${ofKey} RETURNING length(body)`,
    );
    this.#bodies.pluck();
    this.#seqs = db.prepare<[Buffer], number>("SELECT seq FROM keys WHERE fingerprint = ?");
    this.#seqs.pluck();
    this.#purge = [
      "DELETE FROM skeletons WHERE fingerprint = ?",
      "DELETE FROM known_keys WHERE fingerprint = ?",
      "DELETE FROM repairs WHERE what = hex(?)",
      "DELETE FROM exceptions WHERE fingerprint = ?",
      `DELETE FROM blocks WHERE fingerprint = ? AND ${isOver}`,
      `DELETE FROM offers WHERE seq IN ${ofKey}`,
      // A bounce of a mail with several updates also concerns the others.
      `DELETE FROM bounces WHERE first = seq AND seq IN ${ofKey}`,
      `UPDATE bounces SET text = '' WHERE seq IN ${ofKey}`,
      `UPDATE sendings SET reply = '' WHERE seq IN ${ofKey}`,
      // Last, since the statements before find the entries by the fingerprint.
      `UPDATE updates SET fingerprint = zeroblob(length(fingerprint)), message_id = NULL
       WHERE seq IN ${ofKey}`,
      "DELETE FROM keys WHERE fingerprint = ?",
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
      SELECT DISTINCT fingerprint FROM keys`);
    this.#known = db.prepare<[], number>("SELECT count(*) FROM known_keys").pluck();
    this.#allBlocks = db.prepare<[], BlockRow>(`
      SELECT fingerprint, reason, until, allow_revocation AS allowRevocation, at FROM blocks`);
    this.#allForgotten = db.prepare<[], number>("SELECT seq FROM forgotten").pluck();
    this.refresh();
  }

  /** Reads the blocks and the numbers of the forgotten updates: other gateways may have some. */
  refresh(): void {
    this.#blocks.clear();
    for (const row of this.#connection.read(() => this.#allBlocks.all())) {
      this.#remember(toBlock(row));
    }
    this.#forgotten.clear();
    for (const seq of this.#connection.read(() => this.#allForgotten.all())) {
      this.#forgotten.add(seq);
    }
  }

  /** The block of the key by a command; it may have expired. */
  block(fingerprint: string): StoredBlock | undefined {
    const block = this.#blocks.get(fingerprint);
    return block && isOver(block) ? undefined : block;
  }

  /** All blocks by commands, the latest first. */
  blocks(): StoredBlock[] {
    const all = [...this.#blocks.values()].filter((block) => !isOver(block));
    return all.sort((a, b) => b.at - a.at);
  }

  /**
   * The blocks that were removed in the `OVER_MS` before `now` (ms since 1970), in the order in
   * which they were: `at` is when. KX peers may have passed what was withheld because of them.
   */
  over(now: number): StoredBlock[] {
    const all = [...this.#blocks.values()].filter(isOver);
    return all.filter(({ at }) => at > now - OVER_MS).sort((a, b) => a.at - b.at);
  }

  /** Blocks a key from `now` (ms since 1970) on; this replaces an earlier block. */
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
   * Removes the block of a key at `now` (ms since 1970); false if there is none. The hashes that
   * were refused because of any block are deleted too, so that these updates are fetched when they
   * are announced again. Updates that were withheld from sites are sent to them.
   */
  unblock(fingerprint: Fingerprint, now: number): boolean {
    const isGone = this.#connection.write(() => {
      this.#dropRefusals.run();
      this.#variants.forget("blocked");
      this.#dropOver.run(now - OVER_MS);
      return this.#unblock.run(now, now, blobOf(fingerprint)).changes > 0;
    });
    for (const [key, block] of this.#blocks) {
      if (isOver(block) && block.at < now - OVER_MS) this.#blocks.delete(key);
    }
    const block = this.#blocks.get(fingerprint);
    if (isGone && block !== undefined)
      this.#remember({ ...block, until: now, at: now, reason: "" });
    if (isGone) this.#exceptions.unblocked(fingerprint, now);
    return isGone;
  }

  /**
   * Forgets all updates of the key in the log at `now` (ms since 1970). SQLite overwrites deleted
   * rows, but when it moved rows between pages, copies remain in unused space, of one key in fifty.
   * Therefore the file is rebuilt if it is not larger than `rebuildBytes`.
   */
  forget(fingerprint: Fingerprint, reason: string, now: number, rebuildBytes: number): Forgotten {
    const key = blobOf(fingerprint);
    const done = this.#connection.write(() => {
      // After it the entries of the key are all in `keys`.
      this.#gathering.settle();
      const seqs = this.#seqs.all(key);
      const sizes = this.#bodies.all(key);
      this.#bury.run(this.#markOf(fingerprint), reason, now, key);
      for (const statement of this.#purge) statement.run(key);
      const bytes = sizes.reduce((sum, size) => sum + size, 0);
      if (sizes.length > 0) this.#gathering.count(0, -sizes.length, -bytes);
      return { seqs, bodies: sizes.length };
    });
    for (const seq of done.seqs) this.#forgotten.add(seq);
    this.#wake();
    return { updates: done.seqs.length, bodies: done.bodies, ...this.#scrub(rebuildBytes) };
  }

  /** Removes the copies of deleted rows from the file and the WAL if possible. */
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

  /** Whether the update with this number was forgotten. */
  isForgotten(seq: Seq): boolean {
    return this.#forgotten.has(seq);
  }

  /** Number of forgotten updates whose hash is still kept. */
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

  /** Whether `adopt` has noted the key as known. */
  knows(fingerprint: string): boolean {
    return this.#connection.read(() => this.#knows.get(blobOf(fingerprint))) !== undefined;
  }

  /** Notes the keys of all updates of the log as known; returns how many keys are known. */
  adopt(): number {
    return this.#connection.write(() => {
      this.#gathering.settle();
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

/** Whether a block was removed: it does not end after it began. */
function isOver({ until, at }: StoredBlock): boolean {
  return until !== undefined && until <= at;
}
