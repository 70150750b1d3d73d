/**
 * A log whose transactions are committed in a database first, and in this file, the copy, second.
 * The rows that a transaction changed are offered to the database on top of the newest position. If
 * others have committed since and no row was changed by both, their changes are applied in the same
 * transaction, and the rows are offered again. If a row was changed by both, the transaction is
 * rolled back, and its work runs again on the newest state. So all copies are changed in one order,
 * and an answer that follows a commit is true of the whole site.
 *
 * The copy may be lost at any time: it is loaded again, in pieces, and goes on where it was
 * interrupted. Nothing is written through it before it is complete.
 */
import type Database from "better-sqlite3";
import { Trouble } from "../errors.js";
import type { LogName, PacketName } from "../update.js";
import type { Apply } from "./apply.js";
import { Capture } from "./capture.js";
import type { Companion, Connection, Writing } from "./connection.js";
import { createCopy, readCopy } from "./copy-table.js";
import { type CopyPlace, changesSince, moving, siteIn } from "./shared-history.js";
import type { Commit, SharedChange, SharedChanges, SharedRow, SharedStore } from "./shared-port.js";

export const COPY_LIMITS = {
  /**
   * Bytes of changes that are fetched and applied at once: some ten thousand rows, a quarter of a
   * second.
   */
  piece: 4 * 1024 ** 2,
  /**
   * How often a transaction is offered again because others were faster. Each time one of them has
   * succeeded, so this many in a row means that something else is wrong.
   */
  offers: 20,
  /** Pieces that are applied before a transaction runs again; a copy further behind refuses it. */
  pieces: 64,
} as const;

/** How far a copy is. */
export interface CopyStatus {
  /** The position of the last commit that is in the copy, and of the newest that it knows of. */
  readonly position: number;
  readonly newest: number;
  /** Whether all of the shared log has been loaded once; before, no door may use it. */
  readonly isComplete: boolean;
}

/** What a copy has: everything up to `position`, read when `base` was the newest commit. */
interface Place {
  readonly position: number;
  readonly base: Commit | undefined;
}

export interface SharedCopyComponents {
  readonly connection: Connection;
  readonly store: SharedStore;
  readonly apply: Pick<Apply, "apply">;
  /** Called when rows of these tables were applied and committed, with their numbers. */
  readonly onApplied: (rows: ReadonlyMap<string, number>) => void;
  /** Called afterwards, when no transaction is being tried. */
  readonly wake: () => void;
}

export class SharedCopy implements Companion {
  readonly #with: SharedCopyComponents;
  readonly #store: SharedStore;
  readonly #capture: Capture;
  readonly #move: Database.Statement<unknown[]>;
  readonly #complete: Database.Statement<[]>;
  readonly #identity: Database.Statement<[], { name: Buffer; bytes: Buffer }>;
  #place: Place;
  #newest: number;
  #isComplete: boolean;
  /** The site of the copy; empty as long as it is not known. */
  #site: string;
  /** Whether the database was seen to be that of the site. */
  #isVerified = false;
  /** The place after the open transaction, and the rows of others that it applied. */
  #next: Place;
  #applied = new Map<string, number>();
  #hasNews = false;

  /** Makes the file a copy if it is none. The database is not asked yet. */
  constructor(components: SharedCopyComponents) {
    const { connection, store } = components;
    const { db } = connection;
    this.#with = components;
    this.#store = store;
    if (readCopy(db) === undefined) connection.write(() => createCopy(db, "loading"));
    const row = readCopy(db);
    if (row === undefined) throw new Error("a copy that was just made is missing");
    this.#place = { position: row.position, base: row.base };
    this.#next = this.#place;
    this.#newest = row.position;
    this.#site = row.site;
    this.#isComplete = row.state === "complete";
    this.#move = db.prepare("UPDATE copy SET position = ?, site = ?, base = ?, base_mark = ?");
    this.#complete = db.prepare("UPDATE copy SET state = 'complete'");
    this.#identity = db.prepare("SELECT name, bytes FROM log_name, secret");
    this.#capture = new Capture(db);
  }

  get status(): CopyStatus {
    const { position } = this.#place;
    const newest = Math.max(this.#newest, position);
    return { position, newest, isComplete: this.#isComplete };
  }

  /** The packets of an entry that the open transaction has appended. */
  named(seq: number, names: readonly PacketName[]): void {
    this.#capture.name(seq, names);
  }

  /**
   * Fetches and applies what others have committed, about a piece of it. Returns whether the copy
   * is at the newest position now. Throws `Trouble`.
   */
  step(bytes: number = COPY_LIMITS.piece): boolean {
    this.#verify();
    const found = this.#changes(bytes);
    const isNewest = found.through >= found.newest.position;
    if (found.through > this.#place.position || (isNewest && !this.#isComplete)) {
      this.#with.connection.write(() => this.#advance(found, isNewest), { as: "copy" });
    }
    return isNewest;
  }

  /** What others have committed since `place`. Throws `Trouble` if it is of another history. */
  #changes(bytes: number, place: Place = this.#place): SharedChanges {
    const found = changesSince(this.#store, this.#at(place), bytes);
    this.#newest = found.newest.position;
    return found;
  }

  #advance(found: SharedChanges, isNewest: boolean): void {
    this.#applyAll(found);
    if (!isNewest || this.#isComplete) return;
    this.#complete.run();
    this.#with.connection.onRollback(() => {
      this.#isComplete = false;
    });
    this.#isComplete = true;
  }

  #applyAll({ changes, through, newest }: SharedChanges): void {
    for (const [table, rows] of this.#with.apply.apply(changes)) {
      this.#applied.set(table, (this.#applied.get(table) ?? 0) + rows);
    }
    // These rows are in the database already.
    this.#capture.clear();
    // Until the newest is reached, the rows that are here already need what followed the base.
    const base = through >= newest.position ? newest : (this.#next.base ?? newest);
    this.#moveTo({ position: through, base });
  }

  #moveTo(place: Place): void {
    const { position, base } = place;
    this.#move.run(position, this.#site, base?.position ?? null, base?.mark ?? null);
    this.#next = place;
  }

  // What the connection calls.

  get expiresLate(): boolean {
    return !this.#store.expires;
  }

  begin(): void {
    this.#next = this.#place;
    this.#applied.clear();
  }

  offer(as: Writing["as"]): boolean {
    if (as === "change") return this.#commit(this.#capture.rows());
    if (as === "expiry") this.#discard();
    this.#capture.clear();
    return true;
  }

  /** Whether the rows are committed in the database; false if others have changed one of them. */
  #commit(rows: readonly SharedRow[]): boolean {
    if (rows.length === 0) return true;
    this.#verify();
    if (!this.#isComplete) throw this.#incomplete();
    for (let offers = 0; offers < COPY_LIMITS.offers; offers += 1) {
      const { position, base } = this.#next;
      // A copy on its way to the newest position is behind.
      const isNewest = base?.position === position;
      const stored = isNewest ? this.#store.commit(base, rows) : "behind";
      if (stored !== "behind") {
        this.#capture.clear();
        this.#moveTo({ position: stored.position, base: stored });
        return true;
      }
      const found = this.#changes(COPY_LIMITS.piece, this.#next);
      const isFar = found.through < found.newest.position || found.through === position;
      if (isFar || haveCommon(rows, found.changes)) return false;
      this.#applyAll(found);
    }
    return false;
  }

  #discard(): void {
    if (!this.#store.expires) return;
    const keys = this.#capture.keys();
    if (keys.length > 0) this.#store.discard(this.#place.position, keys);
  }

  catchUp(): void {
    for (let pieces = 0; pieces < COPY_LIMITS.pieces; pieces += 1) if (this.step()) return;
    throw this.#incomplete();
  }

  committed(): void {
    this.#place = this.#next;
    if (this.#applied.size === 0) return;
    this.#with.onApplied(this.#applied);
    this.#applied = new Map();
    this.#hasNews = true;
  }

  rolledBack(): void {
    this.#capture.rolledBack();
    this.#applied.clear();
    this.#next = this.#place;
  }

  ended(): void {
    if (!this.#hasNews) return;
    this.#hasNews = false;
    this.#with.wake();
  }

  // Which database it is.

  /**
   * Throws `Trouble` 'not-ours' if the database is not that of the site. An empty database becomes
   * that of a new site.
   */
  #verify(): void {
    if (this.#isVerified) return;
    this.#site = siteIn(this.#store, this.#at(this.#place)) ?? this.#found();
    this.#isVerified = true;
  }

  /** Gives the empty database the name of this log; returns the name it has then. */
  #found(): LogName {
    const { newest } = this.#store.changes(0, 1);
    const { name, bytes } = this.#identity.get() ?? {};
    if (name === undefined || bytes === undefined) throw new Error("the log has no name");
    const row = (table: string, column: string, value: Buffer) => {
      const data = JSON.stringify({ only_row: 1, [column]: { hex: value.toString("hex") } });
      return { table, key: "[1]", data };
    };
    const rows = [row("log_name", "name", name), row("secret", "bytes", bytes)];
    // If another gateway is faster, its name counts.
    if (newest.position === 0) this.#store.commit(newest, rows);
    const found = siteIn(this.#store, this.#at(this.#place));
    if (found === undefined) throw moving(this.#path);
    return found;
  }

  #at({ position, base }: Place): CopyPlace {
    return { position, base, site: this.#site, path: this.#path };
  }

  #incomplete(): Trouble {
    const { position, newest } = this.status;
    const message = `${this.#path}: the copy is at position ${position} of ${newest}`;
    return new Trouble("busy", message, "Wait until the gateway has loaded the rest.");
  }

  get #path(): string {
    return this.#with.connection.path;
  }
}

/** Whether a row was changed by both sides. */
function haveCommon(rows: readonly SharedRow[], changes: readonly SharedChange[]): boolean {
  const nameOf = ({ table, key }: SharedRow) => `${table} ${key}`;
  const own = new Set(rows.map(nameOf));
  return changes.some((change) => own.has(nameOf(change)));
}
