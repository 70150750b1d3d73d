/**
 * Notes which rows of the shared tables a transaction changes, and reads them at its end as the
 * rows that the database has to store. Triggers note them; they are in the connection and not in
 * the file, so that a log that is not shared has none. What is noted is part of the transaction: a
 * rollback takes it back.
 */
import type Database from "better-sqlite3";
import type { PacketName } from "../update.js";
import type { RowKey, SharedRow } from "./shared-port.js";
import {
  CHANGED_ENTRIES,
  CHANGING_COLUMNS,
  type Column,
  decodedKey,
  ENTRIES_TABLE,
  encodedRow,
  keyColumns,
  type Row,
  SHARED_TABLES,
} from "./shared-tables.js";

interface Noted extends RowKey {
  /** Whether the row is a new entry. */
  readonly fresh: 0 | 1;
}

export class Capture {
  readonly #all: Database.Statement<[], Noted>;
  readonly #clear: Database.Statement<[]>;
  readonly #rows: ReadonlyMap<string, Database.Statement<unknown[], Row>>;
  /** The names of the packets of the entries that the transaction appended, by number. */
  readonly #names = new Map<number, readonly PacketName[]>();

  constructor(db: Database.Database) {
    db.exec(`
      CREATE TEMP TABLE captured (
        "table" TEXT NOT NULL, "key" TEXT NOT NULL, fresh INTEGER NOT NULL,
        PRIMARY KEY ("table", "key")) STRICT, WITHOUT ROWID`);
    const rows = new Map<string, Database.Statement<unknown[], Row>>();
    for (const table of Object.keys(SHARED_TABLES)) {
      const columns = keyColumns(db, table);
      const where = columns.map(({ name }) => `${name} = ?`).join(" AND ");
      rows.set(table, db.prepare(`SELECT * FROM main.${table} WHERE ${where}`));
      const isEntries = table === ENTRIES_TABLE;
      const all = isEntries ? entryTriggers(columns) : triggers(table, columns);
      for (const one of all) db.exec(one);
    }
    this.#rows = rows;
    // New entries in the order of their numbers.
    this.#all = db.prepare(`
      SELECT "table", "key", fresh FROM temp.captured ORDER BY "table", "key" ->> '$[0]', "key"`);
    this.#clear = db.prepare("DELETE FROM temp.captured");
  }

  /** The packets of an entry that the open transaction has appended. */
  name(seq: number, names: readonly PacketName[]): void {
    this.#names.set(seq, names);
  }

  /** Forgets what was noted. */
  clear(): void {
    this.#names.clear();
    this.#clear.run();
  }

  /** The transaction was rolled back, and with it what was noted. */
  rolledBack(): void {
    this.#names.clear();
  }

  /** The names of the noted rows. */
  keys(): RowKey[] {
    return this.#all.all().map(({ table, key }) => ({ table, key }));
  }

  /** The noted rows as they are now. */
  rows(): SharedRow[] {
    const noted = this.#all.all();
    const fresh = new Set(noted.filter((one) => one.fresh === 1).map(({ key }) => key));
    return noted
      .filter(({ table, key }) => table !== CHANGED_ENTRIES || !fresh.has(key))
      .map((one) => this.#row(one));
  }

  #row({ table, key, fresh }: Noted): SharedRow {
    const isChange = table === CHANGED_ENTRIES;
    const values = decodedKey(key);
    const row = this.#rows.get(isChange ? ENTRIES_TABLE : table)?.get(...values);
    if (row === undefined) return { table, key, data: undefined };
    if (isChange) {
      const changing = CHANGING_COLUMNS.map((column) => [column, row[column] ?? null] as const);
      return { table, key, data: encodedRow(Object.fromEntries(changing)) };
    }
    if (table === ENTRIES_TABLE) {
      const names = this.#names.get(Number(values[0])) ?? [];
      const entry = { table, key, data: encodedRow(row) };
      return fresh === 1
        ? { ...entry, body: Buffer.concat(names) }
        : { ...entry, inPlace: true as const };
    }
    const column = SHARED_TABLES[table];
    if (column === undefined) return { table, key, data: encodedRow(row) };
    const { [column]: body, ...rest } = row;
    return { table, key, data: encodedRow(rest), body: body as Buffer };
  }
}

/** Notes the row of `name`, OLD or NEW. */
function note(table: string, columns: readonly Column[], name: "OLD" | "NEW", fresh = 0): string {
  const values = columns.map((column) => {
    const value = `${name}.${column.name}`;
    return column.type === "BLOB" ? `json_object('hex', lower(hex(${value})))` : value;
  });
  const key = `json_array(${values.join(", ")})`;
  // Not OR IGNORE: the conflict clause of the statement that fires a trigger holds in it too.
  return `
    INSERT INTO captured SELECT '${table}', named, ${fresh} FROM (SELECT ${key} AS named)
    WHERE NOT EXISTS (SELECT 1 FROM captured WHERE "table" = '${table}' AND "key" = named);`;
}

function trigger(table: string, when: string, ...notes: readonly string[]): string {
  const name = `capture_${table}_${when.replaceAll(/\W+/g, "_")}`;
  return `CREATE TEMP TRIGGER ${name} AFTER ${when} ON main.${table} BEGIN ${notes.join(" ")} END`;
}

/** A replaced row has the same key as the row that replaces it. */
function triggers(table: string, columns: readonly Column[]): string[] {
  const [old, now] = [note(table, columns, "OLD"), note(table, columns, "NEW")];
  return [
    trigger(table, "INSERT", now),
    trigger(table, "UPDATE", old, now),
    trigger(table, "DELETE", old),
  ];
}

function entryTriggers(columns: readonly Column[]): string[] {
  const of = (table: string, name: "OLD" | "NEW", fresh = 0) => note(table, columns, name, fresh);
  const [trail, ...others] = CHANGING_COLUMNS;
  const changed = of(CHANGED_ENTRIES, "NEW");
  return [
    trigger(ENTRIES_TABLE, "INSERT", of(ENTRIES_TABLE, "NEW", 1)),
    trigger(ENTRIES_TABLE, `UPDATE OF ${trail}`, changed),
    // What an order to forget a key has deleted must not stay in the database.
    trigger(ENTRIES_TABLE, `UPDATE OF ${others.join(", ")}`, of(ENTRIES_TABLE, "NEW"), changed),
    trigger(ENTRIES_TABLE, "DELETE", of(ENTRIES_TABLE, "OLD"), of(CHANGED_ENTRIES, "OLD")),
  ];
}
