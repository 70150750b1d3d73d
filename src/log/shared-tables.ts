/**
 * Which tables of the log all gateways of a site share through a database, and which each copy of
 * the log has for itself. A test fails when a table of the schema is in neither list.
 *
 * The rows of `updates` have two names in the database. A new entry is a row of `updates`, whose
 * position never changes, so that copies get the entries in the order of their numbers and never
 * see a gap. What changes of an entry later is a row of `trails`.
 */
import type Database from "better-sqlite3";

/** The table of the entries. */
export const ENTRIES_TABLE = "updates";
/** The name under which the columns of an entry that have changed are shared. */
export const CHANGED_ENTRIES = "trails";
/** The columns of an entry that may change. */
export const CHANGING_COLUMNS = ["trail", "fingerprint", "neighbour", "received_at", "message_id"];

/**
 * The shared tables, each with the column that holds large blobs. The body of a row of `updates` is
 * not a column: it has the names of the packets of the entry, 16 bytes each, which a copy needs
 * longer than the body of the update is kept.
 */
export const SHARED_TABLES: Readonly<Record<string, string | undefined>> = {
  // What the log is: its entries with their bodies, its name, and the key of its marks.
  [ENTRIES_TABLE]: undefined,
  bodies: "body",
  log_name: undefined,
  secret: undefined,
  // The lanes and what sites did not take: whoever takes a lane over goes on from them.
  lanes: undefined,
  former_names: undefined,
  exceptions: undefined,
  offers: "body",
  bounces: undefined,
  sendings: undefined,
  // Orders of the operator, which hold at each gateway.
  blocks: undefined,
  forgotten: undefined,
  known_keys: undefined,
  // What is known of keys and updates beside the entries. It outlives the bodies it came from.
  skeletons: "packets",
  variants: undefined,
  refusals: undefined,
  // How far others were read, for whoever dials, follows or repairs next.
  repairs: undefined,
  receive_cursors: undefined,
  fetch_waits: undefined,
  recon_servers: undefined,
  recon_nodes: undefined,
  recon_known: "md5s",
  recon_later: "md5s",
  recon_wanted: undefined,
};

/** The tables that each copy has for itself, with the reason. */
export const LOCAL_TABLES: Readonly<Record<string, string>> = {
  keys: "made from the entries",
  hashes: "made from the entries",
  dates: "made from the entries",
  totals: "made from the entries",
  packets: "made from the entries; the day of a repetition is that of this gateway",
  counters: "counts events of this gateway",
  counter_hours: "counts events of this gateway",
  observed: "counts what this gateway would have sent",
  copy: "says how far this copy is",
};

/** A value of SQLite. */
export type Value = number | string | Buffer | null;
export type Row = Record<string, Value>;

/** A column as SQLite describes it. */
export interface Column {
  readonly name: string;
  readonly type: string;
  /** Its place in the primary key, from 1; 0 if it is not part of it. */
  readonly pk: number;
}

export function columnsOf(db: Database.Database, table: string): Column[] {
  return db.pragma(`table_info(${table})`) as Column[];
}

/** The columns of the primary key of a table, in their order. */
export function keyColumns(db: Database.Database, table: string): Column[] {
  return columnsOf(db, table)
    .filter(({ pk }) => pk > 0)
    .sort((a, b) => a.pk - b.pk);
}

/** A value as it stands in the JSON of the port. */
export function encoded(value: Value): unknown {
  return Buffer.isBuffer(value) ? { hex: value.toString("hex") } : value;
}

/** The inverse of `encoded`. */
export function decoded(value: unknown): Value {
  if (typeof value !== "object" || value === null) return value as Value;
  return Buffer.from((value as { hex: string }).hex, "hex");
}

/** The values of a primary key. */
export function decodedKey(key: string): Value[] {
  return (JSON.parse(key) as unknown[]).map(decoded);
}

/** Columns as the JSON of the port. */
export function encodedRow(row: Row): string {
  const columns = Object.entries(row).map(([name, value]) => [name, encoded(value)]);
  return JSON.stringify(Object.fromEntries(columns));
}

export function decodedRow(data: string): Row {
  const columns = Object.entries(JSON.parse(data) as Record<string, unknown>);
  return Object.fromEntries(columns.map(([name, value]) => [name, decoded(value)]));
}
