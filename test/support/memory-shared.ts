/**
 * The database of a site in memory, for tests and the simulation: what `src/cluster/` does with
 * PostgreSQL. Each gateway has a session of its own, which can be away or lose answers. Nothing is
 * forgotten when a session ends.
 */
import { Trouble } from "../../src/errors.js";
import type {
  Commit,
  RowKey,
  SharedChange,
  SharedChanges,
  SharedRow,
  SharedStore,
} from "../../src/log/shared-port.js";
import { CHANGED_ENTRIES, decodedRow, SHARED_TABLES } from "../../src/log/shared-tables.js";
import type { LogName } from "../../src/update.js";

/** The database of one site, and the sessions of two gateways. Only the first removes rows. */
export interface SharedSite {
  readonly first: SharedStore;
  readonly second: SharedStore;
}

export class MemoryShared {
  /** The newest commit. */
  position = 0;
  /** The newest number of an entry. */
  newestSeq = 0;
  readonly rows = new Map<string, SharedChange>();
  /** The marks of the commits that are remembered, by position, ascending. */
  readonly marks = new Map([[0, newMark()]]);
  /** The changes in their order. That of a row which changed later is void. */
  readonly #order: { readonly name: string; readonly position: number }[] = [];

  /** A session for a gateway. */
  session(): MemorySession {
    return new MemorySession(this);
  }

  get(table: string, key: string): SharedChange | undefined {
    return this.rows.get(nameOf({ table, key }));
  }

  /** The rows of a table that were not deleted. */
  of(table: string): SharedChange[] {
    return [...this.rows.values()].filter((row) => row.table === table && row.data !== undefined);
  }

  get newest(): Commit {
    return { position: this.position, mark: this.marks.get(this.position) ?? "" };
  }

  /** Another database with the present state of this one, as a restored backup has it. */
  restored(): MemoryShared {
    const other = new MemoryShared();
    other.position = this.position;
    other.newestSeq = this.newestSeq;
    for (const [name, row] of this.rows) other.rows.set(name, row);
    for (const [position, mark] of this.marks) other.marks.set(position, mark);
    other.#order.push(...this.#order);
    return other;
  }

  /** Forgets the commits before `position`, and the rows that were deleted up to it. */
  purge(position: number): void {
    for (const at of this.marks.keys()) if (at < position) this.marks.delete(at);
    for (const [name, row] of this.rows) {
      if (row.data === undefined && row.position <= position) this.rows.delete(name);
    }
  }

  commit(after: Commit, rows: readonly SharedRow[]): Commit | "behind" {
    const { position, mark } = this.newest;
    if (position !== after.position || mark !== after.mark) return "behind";
    if (rows.length === 0) throw new Error("a commit without rows");
    const before = this.newestSeq;
    for (const row of rows) this.#check(row, before);
    this.position += 1;
    this.marks.set(this.position, newMark());
    for (const row of rows) {
      const { table, key, data, body, inPlace } = row;
      const before = this.rows.get(nameOf(row));
      const isSame = inPlace === true;
      if (isSame && before === undefined) continue;
      const kept = isSame ? before?.body : body && Uint8Array.from(body);
      const at = isSame && before !== undefined ? before.position : this.position;
      this.rows.set(nameOf(row), { table, key, data, body: kept, position: at });
      if (!isSame) this.#order.push({ name: nameOf(row), position: at });
    }
    return this.newest;
  }

  /** `newest` is the newest number before the commit, whose rows come in any order. */
  #check({ table, key, data, inPlace }: SharedRow, newest: number): void {
    if (!(table in SHARED_TABLES) && table !== CHANGED_ENTRIES) throw new Error(`${table}?`);
    if (!Array.isArray(JSON.parse(key))) throw new Error(`${table} ${key} is no key`);
    if (table !== "updates" || inPlace === true) return;
    if (data === undefined) throw new Error(`the entry ${key} was deleted`);
    const { seq } = decodedRow(data);
    if (Number(seq) <= newest) throw new Error(`the number ${seq} is given twice`);
    this.newestSeq = Math.max(this.newestSeq, Number(seq));
  }

  changes(position: number, limit: number, base?: Commit): SharedChanges {
    const changes: SharedChange[] = [];
    const [oldest = 0] = this.marks.keys();
    const isKnown = base === undefined || this.marks.get(base.position) === base.mark;
    const answer = { changes, newest: this.newest, oldest, isKnown };
    if (!isKnown) return { ...answer, through: position };
    let bytes = 0;
    for (let index = this.#after(position); index < this.#order.length; index += 1) {
      const { name, position: at } = this.#order[index] ?? { name: "", position: 0 };
      const row = this.rows.get(name);
      if (row === undefined || row.position !== at) continue;
      const last = changes.at(-1)?.position;
      if (bytes >= limit && last !== undefined && at > last) {
        return { ...answer, through: last };
      }
      changes.push(row);
      bytes += row.key.length + (row.data?.length ?? 0) + (row.body?.length ?? 0);
    }
    return { ...answer, through: this.position };
  }

  /** Index of the first change after a position. */
  #after(position: number): number {
    let [low, high] = [0, this.#order.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#order[middle]?.position ?? 0) > position) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  discard(position: number, rows: readonly RowKey[]): void {
    for (const row of rows) {
      const stored = this.rows.get(nameOf(row));
      if (stored !== undefined && stored.position <= position) this.rows.delete(nameOf(row));
    }
  }
}

export class MemorySession implements SharedStore {
  readonly #database: MemoryShared;
  /** No call reaches the database. */
  isAway = false;
  /** So many next commits are stored, and their answers are lost. */
  lostAnswers = 0;
  expires = false;

  constructor(database: MemoryShared) {
    this.#database = database;
  }

  name(): LogName | undefined {
    this.#ask();
    const data = this.#database.get("log_name", "[1]")?.data;
    if (data === undefined) return undefined;
    return (decodedRow(data).name as Buffer).toString("hex") as LogName;
  }

  commit(after: Commit, rows: readonly SharedRow[]): Commit | "behind" {
    this.#ask();
    const answer = this.#database.commit(after, rows);
    if (answer !== "behind" && this.lostAnswers > 0) {
      this.lostAnswers -= 1;
      throw away();
    }
    return answer;
  }

  changes(position: number, limit: number, base?: Commit): SharedChanges {
    this.#ask();
    return this.#database.changes(position, limit, base);
  }

  discard(position: number, rows: readonly RowKey[]): void {
    if (!this.expires) return;
    this.#ask();
    this.#database.discard(position, rows);
  }

  #ask(): void {
    if (this.isAway) throw away();
  }
}

let marks = 0;
function newMark(): string {
  marks += 1;
  return `mark ${marks}`;
}

function away(): Trouble {
  return new Trouble("away", "the database does not answer", "Start it.");
}

function nameOf({ table, key }: RowKey): string {
  return `${table} ${key}`;
}
