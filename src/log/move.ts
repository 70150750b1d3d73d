/**
 * Moves a log into a database that several gateways share, and back. Numbers, cursors, exceptions,
 * blocks, the name and the secret stay as they are. No gateway may run meanwhile: the lock of the
 * file is held, and the caller makes sure of the other gateways.
 *
 * Into the database: the rows are stored in pieces, in a fixed order, each piece one commit. The
 * file remembers how far it is, so that an interrupted move goes on. The name of the log is stored
 * last; without it no gateway uses the database. Afterwards the file is a complete copy.
 *
 * Out of it: the copy is brought to the newest position, the name is deleted in the database, so
 * that no gateway uses it any more, and the copy becomes a log of its own.
 *
 * Limit: the names of packets are moved with the bodies that have them. A packet of an update whose
 * body has expired is news once more at the gateways that load a copy.
 */
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import type Database from "better-sqlite3";
import { Refusal, Trouble } from "../errors.js";
import { readKeys } from "../openpgp/key.js";
import { packetNames } from "../openpgp/news.js";
import { Connection } from "./connection.js";
import { createCopy, dropCopy, OUT, readCopy } from "./copy-table.js";
import { moving } from "./shared-history.js";
import type { Commit, SharedRow, SharedStore } from "./shared-port.js";
import {
  ENTRIES_TABLE,
  encoded,
  encodedRow,
  keyColumns,
  type Row,
  SHARED_TABLES,
  type Value,
} from "./shared-tables.js";
import { UpdateLog } from "./update-log.js";

/** Bytes of a piece: a second of work for a database on a slow disk. */
const PIECE_BYTES = 1024 ** 2;
/** Rows of a piece, since small rows cost more than their bytes. */
const PIECE_ROWS = 5000;
/** The row that is stored last. */
const NAME_TABLE = "log_name";
const NAME_KEY = "[1]";

export interface MoveProgress {
  /** Called after each piece with the completed share, 0 to 1. */
  readonly onProgress: (share: number) => void;
}

/** The result of a move. */
export interface Moved {
  /** Entries of the log, and the number of the newest. */
  readonly entries: number;
  readonly newest: number;
  /** Position of the database. */
  readonly position: number;
}

/**
 * Moves the log at `path` into an empty database, or goes on with it. Throws `Trouble`: 'busy' if a
 * gateway serves the log, 'not-ours' if there is no log or the database is not empty, 'away'.
 */
export function moveToShared(
  path: string,
  store: SharedStore,
  { onProgress }: MoveProgress,
): Moved {
  if (!existsSync(path)) throw noLog(path);
  const connection = Connection.open(path, { isMoving: true });
  try {
    const upload = new Upload(connection, store);
    while (upload.step()) onProgress(upload.share());
    return upload.end();
  } finally {
    connection.close();
  }
}

class Upload {
  readonly #connection: Connection;
  readonly #db: Database.Database;
  readonly #store: SharedStore;
  readonly #tables: readonly string[];
  readonly #newest: number;
  /** The last commit of the move. */
  #base: Commit;
  /** The table that is being moved, and the key of its last row that was. */
  #table = 0;
  #after: Value[] | undefined;

  constructor(connection: Connection, store: SharedStore) {
    const { db, path } = connection;
    this.#connection = connection;
    this.#db = db;
    this.#store = store;
    // Bodies are moved with their entries.
    const others = Object.keys(SHARED_TABLES).filter(
      (table) => ![ENTRIES_TABLE, "bodies", NAME_TABLE].includes(table),
    );
    this.#tables = [ENTRIES_TABLE, ...others, NAME_TABLE];
    this.#newest = Number(db.prepare("SELECT max(seq) FROM updates").pluck().get() ?? 0);
    const copy = readCopy(db);
    if (copy === undefined) {
      const empty = assertEmpty(path, store);
      connection.write(() => createCopy(db, "uploading", empty));
    } else if (copy.state !== "uploading") {
      const message = `${path}: is a copy of a log that is in a database already`;
      throw new Trouble("not-ours", message, "Nothing is to be moved: start the gateway.");
    } else if (copy.upload !== "") {
      const { table, after } = JSON.parse(copy.upload) as { table: number; after?: Value[] };
      this.#table = table;
      this.#after = after;
    }
    const base = readCopy(db)?.base;
    if (base === undefined) throw new Error("an upload without a base");
    this.#base = base;
  }

  /** The share of the entries that are moved; they are nearly all of the log. */
  share(): number {
    if (this.#table > 0 || this.#newest === 0) return 1;
    return Number(this.#after?.[0] ?? 0) / this.#newest;
  }

  /** Moves the next piece; false if there is none. */
  step(): boolean {
    const table = this.#tables[this.#table];
    if (table === undefined) return false;
    const { rows, last } = this.#piece(table);
    if (rows.length > 0) this.#commit(rows);
    const isEnd = last === undefined;
    this.#table += isEnd ? 1 : 0;
    this.#after = last;
    const upload = JSON.stringify({ table: this.#table, after: this.#after });
    const { position, mark } = this.#base;
    this.#connection.write(() =>
      this.#db
        .prepare("UPDATE copy SET position = ?, base = ?, base_mark = ?, upload = ?")
        .run(position, position, mark, upload),
    );
    return true;
  }

  /** Rows of the table after the last one; `last` is undefined at its end. */
  #piece(table: string): { readonly rows: SharedRow[]; readonly last: Value[] | undefined } {
    const keys = keyColumns(this.#db, table).map(({ name }) => name);
    const list = keys.join(", ");
    const after = this.#after;
    const where = after ? `WHERE (${list}) > (${keys.map(() => "?").join(", ")})` : "";
    const sql = `SELECT * FROM ${table} ${where} ORDER BY ${list} LIMIT ${PIECE_ROWS}`;
    const query = this.#db.prepare<Value[], Row>(sql);
    const rows: SharedRow[] = [];
    let bytes = 0;
    for (const row of query.iterate(...(after ?? []))) {
      const key = keys.map((name) => row[name] ?? null);
      const own = this.#rowsOf(table, key, row);
      rows.push(...own);
      bytes += own.reduce((sum, one) => sum + sizeOf(one), 0);
      if (bytes >= PIECE_BYTES) return { rows, last: key };
      if (rows.length >= PIECE_ROWS) return { rows, last: key };
    }
    return { rows, last: undefined };
  }

  #rowsOf(table: string, values: readonly Value[], row: Row): SharedRow[] {
    const key = JSON.stringify(values.map(encoded));
    const column = SHARED_TABLES[table];
    if (column !== undefined) {
      const { [column]: body, ...rest } = row;
      return [{ table, key, data: encodedRow(rest), body: body as Buffer }];
    }
    if (table !== ENTRIES_TABLE) return [{ table, key, data: encodedRow(row) }];
    const stored = this.#db
      .prepare<[Value], Row>("SELECT * FROM bodies WHERE seq = ?")
      .get(row.seq ?? null);
    const { body, ...rest } = stored ?? {};
    const entry = { table, key, data: encodedRow(row), body: namesOf(body as Buffer | undefined) };
    if (stored === undefined) return [entry];
    return [entry, { table: "bodies", key, data: encodedRow(rest), body: body as Buffer }];
  }

  #commit(rows: readonly SharedRow[]): void {
    const stored = this.#store.commit(this.#base, rows);
    this.#base = stored === "behind" ? this.#storedBefore(rows) : stored;
  }

  /** The commit of the piece, if the move was interrupted before it could note that. */
  #storedBefore(rows: readonly SharedRow[]): Commit {
    const { position } = this.#base;
    const { changes, newest } = this.#store.changes(position, 1, this.#base);
    const named = (some: readonly SharedRow[]) =>
      some.map(({ table, key }) => `${table} ${key}`).sort();
    const isSame = JSON.stringify(named(changes)) === JSON.stringify(named(rows));
    if (newest.position === position + 1 && isSame) return newest;
    const message = `${this.#connection.path}: another program has changed the database`;
    const remedy = "Delete what is in the database, and move the log into another one.";
    throw new Trouble("not-ours", message, remedy);
  }

  /** Makes the file a complete copy. */
  end(): Moved {
    const db = this.#db;
    this.#connection.write(() =>
      db
        .prepare(`UPDATE copy SET state = 'complete', upload = '',
          site = (SELECT lower(hex(name)) FROM log_name)`)
        .run(),
    );
    const entries = Number(db.prepare("SELECT count(*) FROM updates").pluck().get() ?? 0);
    return { entries, newest: this.#newest, position: this.#base.position };
  }
}

/**
 * Makes the copy at `path` a log of its own: loads what it lacks, and closes the database for all
 * gateways. A move into the database that was interrupted is given up. Throws `Trouble`.
 */
export function moveToLocal(path: string, store: SharedStore, { onProgress }: MoveProgress): Moved {
  if (!existsSync(path) || stateOf(path) !== "uploading") {
    if (!isClosedBy(path, store)) close(path, store, onProgress);
  }
  const connection = Connection.open(path, { isMoving: true });
  try {
    const { db } = connection;
    const position = readCopy(db)?.position ?? 0;
    connection.write(() => dropCopy(db));
    const count = (sql: string) => Number(db.prepare(sql).pluck().get() ?? 0);
    return {
      entries: count("SELECT count(*) FROM updates"),
      newest: count("SELECT max(seq) FROM updates"),
      position,
    };
  } finally {
    connection.close();
  }
}

/** Loads the rest of the copy, and deletes the name of the log in the database. */
function close(path: string, store: SharedStore, onProgress: (share: number) => void): void {
  for (;;) {
    const position = load(path, store, onProgress);
    const gone = { table: NAME_TABLE, key: NAME_KEY, data: undefined };
    const closer = { table: NAME_TABLE, key: closingKey(path), data: undefined };
    const { newest } = store.changes(position, 1);
    if (newest.position === position && store.commit(newest, [gone, closer]) !== "behind") return;
  }
}

/** Brings the copy to the newest position, and returns that. */
function load(path: string, store: SharedStore, onProgress: (share: number) => void): number {
  const log = UpdateLog.open(path, { shared: store });
  try {
    while (!log.catchUp()) {
      const { position = 0, newest = 1 } = log.copy ?? {};
      onProgress(position / newest);
    }
    return log.copy?.position ?? 0;
  } finally {
    log.close();
  }
}

/**
 * The key of a row that never exists. Its deletion in the commit that closes the database says
 * which copy did it: all other copies are as new, and two logs of one name must not come about.
 */
function closingKey(path: string): string {
  const connection = Connection.open(path, { isMoving: true });
  try {
    const { db } = connection;
    const own = readCopy(db)?.upload ?? "";
    if (own !== "") return own;
    const key = JSON.stringify([randomUUID()]);
    connection.write(() => db.prepare("UPDATE copy SET upload = ?").run(key));
    return key;
  } finally {
    connection.close();
  }
}

/** Whether a move out of the database was interrupted after it had closed the database. */
function isClosedBy(path: string, store: SharedStore): boolean {
  if (store.name() !== undefined || !existsSync(path)) return false;
  const connection = Connection.open(path, { readonly: true });
  try {
    const copy = readCopy(connection.db);
    if (copy?.state !== "complete" || copy.upload === "") return false;
    const { changes, newest } = store.changes(copy.position, 1, copy.base);
    const isOurs = changes.some(({ table, key }) => table === NAME_TABLE && key === copy.upload);
    return newest.position === copy.position + 1 && isOurs;
  } finally {
    connection.close();
  }
}

function stateOf(path: string): string {
  const connection = Connection.open(path, { readonly: true });
  try {
    const copy = readCopy(connection.db);
    if (copy !== undefined) return copy.state;
    const message = `${path}: is a log of its own already`;
    throw new Trouble("not-ours", message, "Remove log.shared from the configuration.");
  } finally {
    connection.close();
  }
}

function assertEmpty(path: string, store: SharedStore): Commit {
  const { newest } = store.changes(0, 1);
  if (newest.position === 0) return newest;
  if (store.name() === undefined) {
    throw moving(path, `${OUT} Otherwise set it to an empty database.`);
  }
  const message = `${path}: the database has a log already`;
  const remedy =
    "Set log.shared to an empty database. Or move the file away, and start the gateway as one of " +
    "those of the log in the database.";
  throw new Trouble("not-ours", message, remedy);
}

function noLog(path: string): Trouble {
  const remedy = "Correct log.path. Or start the gateway: it makes a new log in the database.";
  return new Trouble("not-ours", `${path}: there is no log to move`, remedy);
}

function sizeOf({ key, data = "", body }: SharedRow): number {
  return key.length + data.length + (body?.length ?? 0);
}

/** The names of the packets of a body. */
function namesOf(body: Buffer | undefined): Buffer {
  const names: Buffer[] = [];
  for (const key of readKeys(body ?? new Uint8Array())) {
    if (!(key instanceof Refusal)) names.push(...packetNames(key));
  }
  return Buffer.concat(names);
}
