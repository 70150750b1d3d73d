/**
 * What a log needs of the database that several gateways of one site share. The database holds the
 * rows of the shared tables, each with the position of its last change. A commit is accepted only
 * on top of the newest position, so that all copies are changed in one order, and the numbers that
 * a copy gives are those of the site. `src/shared/` implements the port over PostgreSQL.
 *
 * All calls are synchronous: they block the process until the database has answered, as a commit to
 * a file does. They throw `Trouble` 'away' when it does not answer in time; then it is not known
 * whether a commit was stored, and the copy learns it from `changes`.
 */

/** A row of a shared table. */
export interface SharedRow {
  /** The name of its table in the local copy. */
  readonly table: string;
  /** The values of its primary key as JSON, with a blob as `{"hex": "..."}`. */
  readonly key: string;
  /**
   * The columns by name as JSON, blobs as in `key`, without the column that is in `body`; undefined
   * for a row that was deleted.
   */
  readonly data: string | undefined;
  /** The column `body` or `packets` of the tables that have one. */
  readonly body?: Uint8Array | undefined;
}

/** The newest state of a row, which the commit at `position` made. */
export interface SharedChange extends SharedRow {
  readonly position: number;
}

export interface SharedStore {
  /**
   * Stores `rows` as the commit that follows `position`. When it returns 'stored' they are durable
   * and at position + 1. 'behind': others have committed since; nothing was stored.
   */
  commit(position: number, rows: readonly SharedRow[]): "stored" | "behind";
  /**
   * The newest states of the rows that changed after `position`, ascending by position, in whole
   * commits: about `limit` bytes of them, at least one commit. `newest` is the newest position of
   * the database at that moment; `through` the position up to which the answer has everything.
   */
  changes(
    position: number,
    limit: number,
  ): {
    readonly changes: readonly SharedChange[];
    readonly through: number;
    readonly newest: number;
  };
}
