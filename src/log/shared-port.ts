/**
 * What a log needs of the database that several gateways of one site share. The database holds the
 * rows of the shared tables, each with the position of its last change. A commit is accepted only
 * on top of the newest position, so that all copies are changed in one order, and the numbers that
 * a copy gives are those of the site. `src/cluster/` implements the port over PostgreSQL.
 *
 * All calls are synchronous: they block the process until the database has answered, as a commit to
 * a file does. They throw `Trouble` 'away' when it does not answer in time; then it is not known
 * whether a commit was stored, and the copy learns it from `changes`.
 */
import type { LogName } from "../update.js";

/** The name of a row. */
export interface RowKey {
  /** The name of its table: see `shared-tables.ts`. */
  readonly table: string;
  /** The values of its primary key as a JSON array, with a blob as `{"hex": "..."}`. */
  readonly key: string;
}

/** A row of a shared table. */
export interface SharedRow extends RowKey {
  /**
   * The columns by name as JSON, blobs as in `key`, without the column that is in `body`; undefined
   * for a row that was deleted.
   */
  readonly data: string | undefined;
  /** The value of the column that holds large blobs, in the tables that have one. */
  readonly body?: Uint8Array | undefined;
  /**
   * `data` replaces that of the stored row, of the table `updates`; its body and its position stay.
   * Followers that are past it learn of the change from another row. Nothing happens if there is no
   * such row. Without it a row of `updates` is always new, and its number is above all numbers that
   * the database has ever had. The new rows of a commit are in the order of their numbers.
   */
  readonly inPlace?: true;
}

/** The newest state of a row, which the commit at `position` made. */
export interface SharedChange extends SharedRow {
  readonly position: number;
}

/** What `changes` returns. */
export interface SharedChanges {
  readonly changes: readonly SharedChange[];
  /** The position up to which the answer has everything. */
  readonly through: number;
  /** The newest position of the database at that moment. */
  readonly newest: number;
}

export interface SharedStore {
  /**
   * The name of the log in the database: the column `name` of its row of `log_name`, in hex. While
   * it has no such row, the database is empty, or a log is being moved into it or was moved out.
   */
  name(): LogName | undefined;
  /**
   * Stores `rows` as the commit that follows `position`. When it returns 'stored' they are durable
   * and at position + 1. 'behind': others have committed since; nothing was stored.
   */
  commit(position: number, rows: readonly SharedRow[]): "stored" | "behind";
  /**
   * The newest states of the rows that changed after `position`, ascending by position, in whole
   * commits: about `limit` bytes of them, at least one commit.
   */
  changes(position: number, limit: number): SharedChanges;
  /** Whether this gateway holds the lease `expiry`, so that `discard` does something. */
  readonly expires: boolean;
  /**
   * Removes rows that have expired, without a trace, unless they changed after `position`. Each
   * copy removes them by itself. Does nothing without the lease `expiry`.
   */
  discard(position: number, rows: readonly RowKey[]): void;
}
