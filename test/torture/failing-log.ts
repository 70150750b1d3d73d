/**
 * SQLite calls that fail on order, for gateways of this very process: from the k-th call on a
 * database on, once or for good, with any of SQLite's codes. It stands between better-sqlite3 and
 * the log, so that what is tested is the log as it is, and the doors above it.
 */
import { realpathSync } from "node:fs";
import Database from "better-sqlite3";

export interface Order {
  readonly code: string;
  /** The call that fails first, from 1. */
  readonly from: number;
  /** Whether all later calls fail, too. */
  readonly sticky: boolean;
  /** Whether only calls that write count, as on a full disk. */
  readonly writesOnly?: boolean;
}

interface State {
  order: Order | undefined;
  calls: number;
  hits: number;
  database: Database.Database;
}

const states = new Map<string, State>();

/** From now on databases are opened so that they can be made to fail. Returns the way back. */
export function openFailing(): () => void {
  const prepare = Database.prototype.prepare;
  Database.prototype.prepare = function failing(this: Database.Database, source: string) {
    const statement = prepare.call(this, source);
    // Whoever only looks on is not to be disturbed; and SQLite itself never fails to roll back.
    if (this.readonly || source === "ROLLBACK") return statement;
    let state = states.get(this.name);
    if (state?.database !== this) {
      state = { order: undefined, calls: 0, hits: 0, database: this };
      states.set(this.name, state);
    }
    const isWrite = !/^\s*SELECT/i.test(source);
    for (const method of ["run", "get", "all"] as const) {
      const call = statement[method].bind(statement) as (...parameters: unknown[]) => unknown;
      const checked = (...parameters: unknown[]) => {
        failWhenDue(state, isWrite);
        return call(...parameters);
      };
      Object.defineProperty(statement, method, { value: checked });
    }
    return statement;
  } as typeof prepare;
  return () => {
    Database.prototype.prepare = prepare;
    states.clear();
  };
}

function failWhenDue(state: State, isWrite: boolean): void {
  const { order } = state;
  if (order === undefined || (order.writesOnly === true && !isWrite)) return;
  state.calls += 1;
  const due = order.sticky ? state.calls >= order.from : state.calls === order.from;
  if (!due) return;
  state.hits += 1;
  throw new Database.SqliteError("injected", order.code);
}

/** The database at `path` fails from now on as ordered. */
export function fail(path: string, order: Order): void {
  Object.assign(stateAt(path), { order, calls: 0, hits: 0 });
}

/** It is well again; returns how many calls have failed. */
export function heal(path: string): number {
  const state = stateAt(path);
  state.order = undefined;
  return state.hits;
}

export function isInTransaction(path: string): boolean {
  return stateAt(path).database.inTransaction;
}

function stateAt(path: string): State {
  const state = states.get(realpathSync(path));
  if (state === undefined) throw new Error(`${path} was not opened to fail`);
  return state;
}
