/**
 * Applies what other gateways have committed to this copy. New entries take the same steps as in
 * `UpdateLog.append`, so that the tables that are made from them are right; the rows of all other
 * tables are replaced or deleted as they are. The order of the tables within a piece is fixed,
 * since rows depend on each other and each is in its newest state.
 */
import type Database from "better-sqlite3";
import { Trouble } from "../errors.js";
import type { PacketName, Seq } from "../update.js";
import type { Connection } from "./connection.js";
import type { Dates } from "./dates.js";
import type { Gathering } from "./gathering.js";
import type { HashIndex } from "./hash-index.js";
import type { PacketMemory } from "./packet-memory.js";
import type { SharedChange } from "./shared-port.js";
import {
  CHANGED_ENTRIES,
  CHANGING_COLUMNS,
  columnsOf,
  decodedKey,
  decodedRow,
  ENTRIES_TABLE,
  keyColumns,
  type Row,
  SHARED_TABLES,
  type Value,
} from "./shared-tables.js";
import type { Trails } from "./trail.js";

/** Bytes of the name of a packet. */
const NAME_BYTES = 16;
const BODIES = "bodies";

export interface ApplyComponents {
  readonly connection: Connection;
  readonly dates: Pick<Dates, "note" | "changed">;
  readonly gathering: Pick<Gathering, "appended" | "count" | "settle">;
  readonly hashes: Pick<HashIndex, "add">;
  readonly packets: Pick<PacketMemory, "remember">;
  readonly trails: Pick<Trails, "stored">;
}

/** What changes of an entry, as it is stored. */
interface Changing {
  readonly fingerprint: Buffer;
  readonly receivedAt: number;
  readonly trail: string;
}

export class Apply {
  readonly #db: Database.Database;
  readonly #with: ApplyComponents;
  readonly #tables = new Map<string, Table>();
  readonly #newest: Database.Statement<[], number | null>;
  readonly #changing: Database.Statement<[number], Changing>;
  readonly #change: Database.Statement<Value[]>;
  readonly #body: Database.Statement<[number], number>;
  readonly #putBody: Database.Statement<[number, number, Uint8Array]>;
  readonly #dropBody: Database.Statement<[number]>;
  readonly #dropKey: Database.Statement<[Buffer, number]>;

  constructor(components: ApplyComponents) {
    const { db } = components.connection;
    this.#db = db;
    this.#with = components;
    this.#newest = db.prepare<[], number | null>("SELECT max(seq) FROM updates").pluck();
    this.#changing = db.prepare(
      "SELECT fingerprint, received_at AS receivedAt, trail FROM updates WHERE seq = ?",
    );
    const values = CHANGING_COLUMNS.map((column) => `${column} = ?`).join(", ");
    this.#change = db.prepare(`UPDATE updates SET ${values} WHERE seq = ?`);
    this.#body = db.prepare<[number], number>("SELECT length(body) FROM bodies WHERE seq = ?");
    this.#body.pluck();
    this.#putBody = db.prepare(
      "INSERT OR REPLACE INTO bodies (seq, received_at, body) VALUES (?, ?, ?)",
    );
    this.#dropBody = db.prepare("DELETE FROM bodies WHERE seq = ?");
    this.#dropKey = db.prepare("DELETE FROM keys WHERE fingerprint = ? AND seq = ?");
  }

  /**
   * Applies changes in the open transaction; returns the number of changed rows by table. Throws
   * `Trouble` for rows that this release does not know.
   */
  apply(changes: readonly SharedChange[]): ReadonlyMap<string, number> {
    const byTable = new Map<string, SharedChange[]>();
    for (const change of changes) {
      const some = byTable.get(change.table);
      if (some === undefined) byTable.set(change.table, [change]);
      else some.push(change);
    }
    const bodies = new Map((byTable.get(BODIES) ?? []).map((change) => [seqOf(change), change]));
    this.#entries(byTable.get(ENTRIES_TABLE) ?? [], bodies);
    for (const change of byTable.get(CHANGED_ENTRIES) ?? []) this.#changed(change);
    for (const change of bodies.values()) this.#setBody(change);
    for (const [table, some] of byTable) {
      if ([ENTRIES_TABLE, CHANGED_ENTRIES, BODIES].includes(table)) continue;
      const own = this.#table(table);
      // A row may have got the unique name of one that is deleted.
      for (const change of some) if (change.data === undefined) own.drop(change);
      for (const change of some) if (change.data !== undefined) own.put(change);
    }
    return new Map([...byTable].map(([table, some]) => [table, some.length]));
  }

  /** Stores new entries; takes their bodies out of `bodies`. */
  #entries(changes: readonly SharedChange[], bodies: Map<number, SharedChange>): void {
    const { dates, gathering, hashes, packets } = this.#with;
    const fresh: { readonly seq: Seq; readonly row: Row; readonly names: PacketName[] }[] = [];
    for (const change of changes) {
      const seq = seqOf(change);
      if (change.data === undefined) continue;
      if (this.#changing.get(seq) !== undefined) this.#changed(change);
      else fresh.push({ seq, row: decodedRow(change.data), names: namesIn(change.body) });
    }
    // The hashes and dates of entries are noted in the order of the numbers.
    fresh.sort((a, b) => a.seq - b.seq);
    const table = this.#table(ENTRIES_TABLE);
    let expected = (this.#newest.get() ?? 0) + 1;
    let [isWhole, bytes, lacking] = [true, 0, 0];
    for (const { seq, row, names } of fresh) {
      const receivedAt = Number(row.received_at);
      table.insert(row);
      const body = bodies.get(seq);
      bodies.delete(seq);
      if (body?.data !== undefined && body.body !== undefined) {
        this.#putBody.run(seq, Number(decodedRow(body.data).received_at), body.body);
        bytes += body.body.length;
      } else lacking += Number(row.size);
      const isForgotten = !(row.fingerprint as Buffer).some((octet) => octet !== 0);
      isWhole &&= seq === expected && body?.data !== undefined && !isForgotten;
      expected = seq + 1;
      hashes.add(row.hash as Buffer, seq);
      dates.note(seq, receivedAt);
      packets.remember(names, receivedAt);
    }
    if (fresh.length === 0) return;
    if (isWhole) return gathering.appended(expected - 1, bytes);
    // The tail of `gathering.ts` has neither gaps nor entries without a body.
    gathering.settle();
    if (lacking > 0) gathering.count(0, 0, -lacking);
    for (const { seq, row } of fresh) {
      const fingerprint = row.fingerprint as Buffer;
      if (!fingerprint.some((octet) => octet !== 0)) this.#dropKey.run(fingerprint, seq);
    }
  }

  /** What changed of an entry. One that has expired here is left alone. */
  #changed(change: SharedChange): void {
    const { dates, gathering, trails } = this.#with;
    const seq = seqOf(change) as Seq;
    const before = this.#changing.get(seq);
    if (before === undefined || change.data === undefined) return;
    const row = decodedRow(change.data);
    const isForgotten = !before.fingerprint.equals(row.fingerprint as Buffer);
    if (isForgotten) {
      // After it the entry is in `keys`.
      gathering.settle();
      this.#dropKey.run(before.fingerprint, seq);
    }
    this.#change.run(...CHANGING_COLUMNS.map((column) => row[column] ?? null), seq);
    if (row.received_at !== before.receivedAt) dates.changed(seq);
    if (row.trail !== before.trail) trails.stored(seq, before.trail);
  }

  /** The body of an entry that is here already; it was restored, or deleted by an order. */
  #setBody(change: SharedChange): void {
    const { gathering } = this.#with;
    const seq = seqOf(change);
    const before = this.#body.get(seq);
    if (before === undefined && change.data === undefined) return;
    if (this.#changing.get(seq) === undefined) return;
    gathering.settle();
    if (change.data === undefined) this.#dropBody.run(seq);
    else {
      const { received_at } = decodedRow(change.data);
      this.#putBody.run(seq, Number(received_at), change.body ?? new Uint8Array());
    }
    const after = this.#body.get(seq);
    const bodies = (after === undefined ? 0 : 1) - (before === undefined ? 0 : 1);
    gathering.count(0, bodies, (after ?? 0) - (before ?? 0));
  }

  #table(name: string): Table {
    const known = this.#tables.get(name);
    if (known !== undefined) return known;
    if (!(name in SHARED_TABLES)) throw newer(this.#with.connection.path, `the table ${name}`);
    const table = new Table(this.#db, name, this.#with.connection.path);
    this.#tables.set(name, table);
    return table;
  }
}

/** Replaces and deletes rows of one table. */
class Table {
  readonly #db: Database.Database;
  readonly #name: string;
  readonly #path: string;
  readonly #columns: ReadonlySet<string>;
  readonly #drop: Database.Statement<Value[]>;
  /** The statements for rows, by their columns: another release may write fewer. */
  readonly #puts = new Map<string, Database.Statement<Value[]>>();

  constructor(db: Database.Database, name: string, path: string) {
    this.#db = db;
    this.#name = name;
    this.#path = path;
    this.#columns = new Set(columnsOf(db, name).map((column) => column.name));
    const where = keyColumns(db, name).map((column) => `${column.name} = ?`);
    this.#drop = db.prepare(`DELETE FROM main.${name} WHERE ${where.join(" AND ")}`);
  }

  drop({ key }: SharedChange): void {
    this.#drop.run(...decodedKey(key));
  }

  put({ data = "{}", body }: SharedChange): void {
    const column = SHARED_TABLES[this.#name];
    const row = decodedRow(data);
    this.insert(column === undefined ? row : { ...row, [column]: Buffer.from(body ?? []) });
  }

  insert(row: Row): void {
    const columns = Object.keys(row);
    const list = columns.join(", ");
    let put = this.#puts.get(list);
    if (put === undefined) {
      const unknown = columns.find((column) => !this.#columns.has(column));
      if (unknown !== undefined) throw newer(this.#path, `the column ${this.#name}.${unknown}`);
      const values = columns.map(() => "?").join(", ");
      put = this.#db.prepare<Value[]>(
        `INSERT OR REPLACE INTO main.${this.#name} (${list}) VALUES (${values})`,
      );
      this.#puts.set(list, put);
    }
    put.run(...Object.values(row));
  }
}

function seqOf({ key }: SharedChange): Seq {
  return Number(decodedKey(key)[0]) as Seq;
}

function namesIn(body: Uint8Array | undefined): PacketName[] {
  const all = Buffer.from(body ?? []);
  return Array.from({ length: all.length / NAME_BYTES }, (_, index) =>
    all.subarray(index * NAME_BYTES, (index + 1) * NAME_BYTES),
  );
}

function newer(path: string, what: string): Trouble {
  const message = `${path}: another gateway of this site has written ${what}, unknown here`;
  return new Trouble("not-ours", message, "Install the release of the other gateway here too.");
}
