/**
 * Has the tests of the log run over a shared log: each log that they open for writing is a copy,
 * and each of its transactions runs twice, the first time rolled back. Beside it a second copy
 * follows. At the end of each test both, and a third that is loaded then, must have the same rows.
 * A file that is a log of its own is opened as what it is: there are tests about old files.
 *
 * The database is in memory, or a PostgreSQL server if STORAGE_DATABASE has the URL of one:
 * `postgres://USER@HOST/DATABASE` of a superuser who needs no password. It is for tests alone.
 */
import { existsSync } from "node:fs";
import Database from "better-sqlite3";
import { afterAll, afterEach, beforeEach, expect } from "vitest";
import { readCopy } from "../../src/log/copy-table.js";
import { COPY_LIMITS } from "../../src/log/shared-copy.js";
import type { SharedStore } from "../../src/log/shared-port.js";
import { decodedRow, ENTRIES_TABLE } from "../../src/log/shared-tables.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { type Copy, contentsOf, load, loadedCopy, openCopy } from "../support/copies.js";
import { MemoryShared, type SharedSite } from "../support/memory-shared.js";

/** Where the databases come from. */
interface Sites {
  /** An empty database, until `release`. */
  take(): SharedSite;
  release(): Promise<void>;
  close(): Promise<void>;
}

/**
 * These have 10,000 commits. Each waits for the disk of a PostgreSQL server twice, and in memory
 * they take longer than all others together. They run over a log of one gateway only.
 */
const TOO_SLOW = [
  "a large log is rebuilt, and what is gathered stays",
  "one neighbour that announces what it does not have leaves room for the others",
  "there is an end to what is wanted",
];

const ENTRY = "SELECT * FROM updates WHERE seq = ?";

interface Watched {
  readonly site: SharedSite;
  readonly copy: Copy;
  readonly follower: Copy;
}

const { STORAGE_DATABASE: url = "" } = process.env;
const sites = url === "" ? inMemory() : await inPostgres(url);
const open = UpdateLog.open.bind(UpdateLog);
let watched: Watched[] = [];

function inMemory(): Sites {
  const take = () => {
    const database = new MemoryShared();
    const [first, second] = [database.session(), database.session()];
    first.expires = true;
    return { first, second };
  };
  const nothing = () => Promise.resolve();
  return { take, release: nothing, close: nothing };
}

async function inPostgres(address: string): Promise<Sites> {
  const { PostgresSites } = await import("../cluster/postgres-sites.js");
  return PostgresSites.open(address);
}

UpdateLog.open = (path, options = {}) => {
  if (options.readonly === true || options.shared !== undefined) return open(path, options);
  const name = siteOf(path);
  if (name === undefined) return open(path, options);
  const known = watched.find(({ site }) => name !== "" && site.first.name() === name);
  const site = known?.site ?? sites.take();
  const follower = known?.follower ?? loadedCopy(followerOf(site.second));
  const copy = openCopy(
    twiceOffered(site.first, () => load(follower.log)),
    path,
    options,
  );
  load(copy.log);
  const expire = copy.log.retention.expire.bind(copy.log.retention);
  copy.log.retention.expire = (...limits) => {
    const expired = expire(...limits);
    follower.log.retention.expire(...limits);
    return expired;
  };
  watched.push({ site, copy, follower });
  return copy.log;
};

/** A session that offers each commit below the newest position first, where it must be refused. */
function twiceOffered(store: SharedStore, onStored: () => void): SharedStore {
  let refusedAt = 0;
  return {
    name: () => store.name(),
    commit: (after, rows) => {
      const { position } = after;
      if (position > refusedAt) {
        refusedAt = position;
        const answer = store.commit({ ...after, position: position - 1 }, rows);
        if (answer !== "behind") throw new Error(`a commit on top of ${position - 1} was stored`);
        return answer;
      }
      const answer = store.commit(after, rows);
      if (answer !== "behind") onStored();
      return answer;
    },
    changes: (...given) => store.changes(...given),
    get expires() {
      return store.expires;
    },
    discard: (position, rows) => store.discard(position, rows),
  };
}

/** A session of a copy that expires rows when the first copy, which has discarded them, does. */
function followerOf(store: SharedStore): SharedStore {
  return {
    name: () => store.name(),
    commit: (...given) => store.commit(...given),
    changes: (...given) => store.changes(...given),
    expires: true,
    discard: () => {},
  };
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

beforeEach(({ skip, task }) => {
  if (TOO_SLOW.includes(task.name)) skip();
});

afterEach(async () => {
  const all = watched;
  watched = [];
  try {
    for (const one of new Map(all.map((each) => [each.site, each])).values()) compare(one);
  } finally {
    await sites.release();
  }
});

afterAll(() => sites.close());

function compare({ site, copy, follower }: Watched): void {
  if (copy.db.open && copy.log.damage === undefined) {
    copy.log.settle();
    load(copy.log);
  }
  load(follower.log);
  follower.log.settle();
  const followed = contentsOf(follower.db);
  if (copy.db.open) expect(followed).toEqual(contentsOf(copy.db));
  const fresh = loadedCopy(site.second, ":memory:", 10_000);
  fresh.log.settle();
  // The stretch of dates of an entry that has expired begins with the next one.
  const { dates: _, ...loaded } = contentsOf(fresh.db);
  expect({ ...loaded, dates: followed.dates }).toEqual(followed);
  for (const data of entriesIn(site.second)) {
    const { trail: _, ...stored } = decodedRow(data);
    expect(follower.db.prepare(ENTRY).get(stored.seq)).toMatchObject(stored);
  }
  fresh.log.close();
  follower.log.close();
}

/** The entries in the database: what was forgotten must have left it too, not only the copies. */
function entriesIn(store: SharedStore): string[] {
  const found: string[] = [];
  for (let at = 0; ; ) {
    const { changes, through, newest } = store.changes(at, COPY_LIMITS.piece);
    const entries = changes.filter(({ table }) => table === ENTRIES_TABLE);
    found.push(...entries.flatMap(({ data = [] }) => data));
    if (through >= newest.position) return found;
    at = through;
  }
}
