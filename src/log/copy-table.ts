/**
 * The table `copy`, which only a copy of a shared log has: how far the copy is, and of which site
 * it is. It tells such a file from a log of its own, and neither is opened as the other.
 */
import type Database from "better-sqlite3";
import { Trouble } from "../errors.js";
import type { Commit } from "./shared-port.js";

/**
 * "loading": not all of the shared log is here. "complete": all of it up to the position.
 * "uploading": the file is being moved into a database.
 */
export type CopyState = "loading" | "complete" | "uploading";

export interface CopyRow {
  /** The position of the last commit of the database that is in the copy. */
  readonly position: number;
  /** The name of the site's log in hex; empty as long as it is not known. */
  readonly site: string;
  readonly state: CopyState;
  /**
   * The newest commit of the database when the copy was last complete, or when its loading began;
   * undefined as long as nothing was read. A database that does not remember it is refused.
   */
  readonly base: Commit | undefined;
  /** Where an upload goes on; in a complete copy, how it marks the database when it closes it. */
  readonly upload: string;
}

/** The remedy for a log that is back in its file, while the configuration names the database. */
export const OUT =
  'If the log was moved out of the database ("kxgw db move --to-local"), remove log.shared.';

const TABLE = `
CREATE TABLE copy (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  position INTEGER NOT NULL,
  site TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('loading', 'complete', 'uploading')),
  base INTEGER,
  base_mark TEXT,
  upload TEXT NOT NULL
) STRICT`;

interface Stored extends Omit<CopyRow, "base"> {
  readonly base: number | null;
  readonly base_mark: string | null;
}

/** The row of the table; undefined for a log that is not a copy. */
export function readCopy(db: Database.Database): CopyRow | undefined {
  const table = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'copy'";
  if (db.prepare(table).get() === undefined) return undefined;
  const row = db
    .prepare<[], Stored>("SELECT position, site, state, base, base_mark, upload FROM copy")
    .get();
  if (row === undefined) return undefined;
  const { base, base_mark: mark, ...rest } = row;
  return { ...rest, base: base === null || mark === null ? undefined : { position: base, mark } };
}

/**
 * Makes the file a copy, at the position 0; `base` is what an upload begins with. Must be called in
 * a transaction.
 */
export function createCopy(db: Database.Database, state: CopyState, base?: Commit): void {
  db.exec(TABLE);
  db.prepare("INSERT INTO copy VALUES (1, 0, '', ?, ?, ?, '')").run(
    state,
    base?.position ?? null,
    base?.mark ?? null,
  );
}

/** Makes the copy a log of its own. Must be called in a transaction. */
export function dropCopy(db: Database.Database): void {
  db.exec("DROP TABLE copy");
}

/** Throws `Trouble` 'not-ours' if the file at `path` is not what it is opened as. */
export function assertKind(db: Database.Database, path: string, isShared: boolean): void {
  const copy = readCopy(db);
  if (copy?.state === "uploading") {
    const message = `${path}: is being moved into a database, and the move has not ended`;
    const remedy =
      'Run "kxgw db move --to-shared" again. Or run "kxgw db move --to-local" to keep the file ' +
      "as it is, and delete what is in the database.";
    throw new Trouble("not-ours", message, remedy);
  }
  if (isShared && copy === undefined && hasRows(db)) {
    const message = `${path}: is a log of its own, not a copy of the log in the database`;
    const remedy =
      `${OUT} Otherwise run "kxgw db move --to-shared" to move it into the database. Or move the ` +
      "file away; the gateway then loads a copy.";
    throw new Trouble("not-ours", message, remedy);
  }
  if (!isShared && copy !== undefined) {
    const message = `${path}: is a copy of a log in a database, and log.shared is not set`;
    const remedy =
      'Set log.shared. Or run "kxgw db move --to-local" to make the copy the log of this gateway.';
    throw new Trouble("not-ours", message, remedy);
  }
}

/** Whether the log has anything that a new one has not. An older version has fewer tables. */
function hasRows(db: Database.Database): boolean {
  const exists = db.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?");
  const others = ["lanes", "blocks", "receive_cursors", "recon_servers"]
    .filter((table) => exists.get(table) !== undefined)
    .map((table) => `EXISTS (SELECT 1 FROM ${table})`);
  const any = ["(SELECT max(seq) FROM updates) IS NOT NULL", ...others];
  return (
    db
      .prepare(`SELECT ${any.join(" OR ")}`)
      .pluck()
      .get() === 1
  );
}
