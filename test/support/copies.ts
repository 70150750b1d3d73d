/** Copies of a shared log: how tests open and load them, and what two of them must agree on. */
import type Database from "better-sqlite3";
import { expect, vi } from "vitest";
import { Connection } from "../../src/log/connection.js";
import type { SharedStore } from "../../src/log/shared-port.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { contentsOf } from "./copy-contents.js";

export { contentsOf };

/** A copy with what a test may see of it. */
export interface Copy {
  readonly log: UpdateLog;
  readonly db: Database.Database;
}

/** Opens a copy. Nothing of it is loaded yet. */
export function openCopy(
  shared: SharedStore,
  path = ":memory:",
  options: Parameters<typeof UpdateLog.open>[1] = {},
): Copy {
  const spy = vi.spyOn(Connection, "open");
  try {
    const log = UpdateLog.open(path, { ...options, shared });
    const [opened] = spy.mock.results;
    if (opened?.type !== "return") throw new Error("the log has no connection");
    return { log, db: opened.value.db };
  } finally {
    spy.mockRestore();
  }
}

/** Opens a copy and loads all of it, `bytes` at a time. */
export function loadedCopy(shared: SharedStore, path = ":memory:", bytes?: number): Copy {
  const copy = openCopy(shared, path);
  load(copy.log, bytes);
  return copy;
}

export function load(log: UpdateLog, bytes?: number): void {
  while (!log.catchUp(bytes));
}

/** Both have the same rows in all tables but those of one gateway. What is gathered is written. */
export function expectEqual(one: Copy, other: Copy): void {
  for (const { log } of [one, other, one]) {
    load(log);
    log.settle();
  }
  expect(contentsOf(other.db)).toEqual(contentsOf(one.db));
}
