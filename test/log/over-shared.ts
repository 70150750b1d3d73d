/**
 * Has the tests of the log run over a shared log: each log that they open for writing is a copy,
 * and each of its transactions runs twice, the first time rolled back. Beside it a second copy
 * follows. At the end of each test both, and a third that is loaded then, must have the same rows.
 *
 * A file that is a log of its own is opened as what it is: there are tests about old files.
 */
import { existsSync } from "node:fs";
import Database from "better-sqlite3";
import { afterEach, expect } from "vitest";
import { readCopy } from "../../src/log/copy-table.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { type Copy, contentsOf, load, loadedCopy, openCopy } from "../support/copies.js";
import { MemoryShared } from "../support/memory-shared.js";

interface Watched {
  readonly database: MemoryShared;
  readonly copy: Copy;
  readonly follower: Copy;
}

const open = UpdateLog.open.bind(UpdateLog);
const databases: MemoryShared[] = [];
let watched: Watched[] = [];

UpdateLog.open = (path, options = {}) => {
  if (options.readonly === true || options.shared !== undefined) return open(path, options);
  const site = siteOf(path);
  if (site === undefined) return open(path, options);
  const known = databases.find((one) => site !== "" && one.session().name() === site);
  const database = known ?? new MemoryShared();
  if (known === undefined) databases.push(database);
  const session = database.session();
  session.isOftenBehind = true;
  session.expires = true;
  const copy = openCopy(session, path, options);
  load(copy.log);
  const follower = watched.find((one) => one.database === database)?.follower ?? follow(database);
  database.onStored = () => load(follower.log);
  const expire = copy.log.retention.expire.bind(copy.log.retention);
  copy.log.retention.expire = (...limits) => {
    const expired = expire(...limits);
    follower.log.retention.expire(...limits);
    return expired;
  };
  watched.push({ database, copy, follower });
  return copy.log;
};

/** A second copy, which expires rows when the first does. */
function follow(database: MemoryShared): Copy {
  const session = database.session();
  session.expires = true;
  return loadedCopy(session);
}

/** The site of the copy at `path`, empty for a new one; undefined for a log of its own. */
function siteOf(path: string): string | undefined {
  if (path === ":memory:" || !existsSync(path)) return "";
  const db = new Database(path);
  try {
    return readCopy(db)?.site;
  } finally {
    db.close();
  }
}

afterEach(() => {
  const all = watched;
  watched = [];
  const last = new Map(all.map((one) => [one.database, one]));
  for (const { database, copy, follower } of last.values()) {
    database.onStored = undefined;
    if (copy.db.open && copy.log.damage === undefined) {
      copy.log.settle();
      load(copy.log);
    }
    load(follower.log);
    follower.log.settle();
    const followed = contentsOf(follower.db);
    if (copy.db.open) expect(followed).toEqual(contentsOf(copy.db));
    const fresh = loadedCopy(database.session(), ":memory:", 10_000);
    fresh.log.settle();
    // The stretch of dates of an entry that has expired begins with the next one.
    const { dates: _, ...loaded } = contentsOf(fresh.db);
    expect({ ...loaded, dates: followed.dates }).toEqual(followed);
    fresh.log.close();
    follower.log.close();
  }
});
