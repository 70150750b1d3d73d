/**
 * The tables of the update log, how a file is recognised as ours, and the settings without which
 * a "stored" would be a lie. Bodies stand apart from entries, so that a LIST over a month of
 * announcements (thesis, appendix A) never touches the pages that hold keys.
 *
 * It does not know who opens a file or why. A file of any earlier version is brought up to date by
 * its next writer, one of a later version is refused. There is no way back: an earlier release does
 * not read what this one has written.
 */
import Database from "better-sqlite3";
import { Trouble } from "../errors.js";

/** "KXGW" in the header of the file. */
export const APPLICATION_ID = 0x4b584757;

/** `user_version` of a file that this code reads and writes. */
export const SCHEMA_VERSION = 9;

/** Length of the stretches of time of `dates.ts`. */
export const STRETCH_MS = 10 * 60_000;

/** A range of hashes is written each time that as many numbers were used: see `hash-index.ts`. */
export const HASHES_PER_RANGE = 1024;

/** The oldest version that a writer brings up to date. */
const OLDEST_VERSION = 1;

/** First SQLite in which a commit beside a checkpoint cannot lose pages (the WAL-reset bug). */
const SQLITE_FLOOR = [3, 51, 3] as const;

/** `PRAGMA synchronous` reads back as a number; FULL fsyncs the WAL at each commit. */
const SYNCHRONOUS_FULL = 2;

/** The tables of version 1; what came since is in `STEPS`. */
const TABLES = `
CREATE TABLE updates (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  hash BLOB NOT NULL CHECK (length(hash) = 16),
  digest BLOB NOT NULL CHECK (length(digest) = 32),
  fingerprint BLOB NOT NULL CHECK (length(fingerprint) IN (16, 20, 32)),
  size INTEGER NOT NULL,
  neighbour TEXT,
  transport TEXT NOT NULL CHECK (transport IN ('mail', 'kx')),
  received_at INTEGER NOT NULL,
  message_id TEXT,
  trail TEXT NOT NULL,
  UNIQUE (hash, digest)
) STRICT;
CREATE INDEX updates_by_fingerprint ON updates (fingerprint);
CREATE INDEX updates_by_time ON updates (received_at);

CREATE TABLE bodies (
  seq INTEGER PRIMARY KEY REFERENCES updates (seq),
  received_at INTEGER NOT NULL,
  body BLOB NOT NULL
) STRICT;
CREATE INDEX bodies_by_time ON bodies (received_at);

CREATE TABLE totals (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  entries INTEGER NOT NULL,
  bodies INTEGER NOT NULL,
  body_bytes INTEGER NOT NULL
) STRICT;
INSERT INTO totals VALUES (1, 0, 0, 0);

CREATE TABLE identities (
  fingerprint BLOB PRIMARY KEY,
  packets BLOB NOT NULL,
  signed_at INTEGER NOT NULL,
  remembered_at INTEGER NOT NULL
) STRICT;
CREATE INDEX identities_by_time ON identities (remembered_at);

CREATE TABLE receive_cursors (
  peer TEXT PRIMARY KEY,
  number INTEGER NOT NULL,
  hash BLOB NOT NULL CHECK (length(hash) = 16)
) STRICT;

CREATE TABLE lanes (
  site TEXT PRIMARY KEY,
  cursor INTEGER NOT NULL,
  part INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  next_at INTEGER NOT NULL,
  last_error TEXT NOT NULL,
  last_error_at INTEGER NOT NULL,
  last_success_at INTEGER NOT NULL
) STRICT;

CREATE TABLE undelivered (
  site TEXT NOT NULL,
  seq INTEGER NOT NULL,
  code INTEGER NOT NULL,
  text TEXT NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (site, seq)
) STRICT;
CREATE INDEX undelivered_by_time ON undelivered (at);

CREATE TABLE refusals (
  hash BLOB PRIMARY KEY CHECK (length(hash) = 16),
  reason TEXT NOT NULL,
  until INTEGER NOT NULL
) STRICT;
CREATE INDEX refusals_by_time ON refusals (until);
`;

/** What came with version 2: see `bounces.ts`. */
const TABLES_2 = `
CREATE TABLE returned (
  site TEXT NOT NULL,
  seq INTEGER NOT NULL,
  first INTEGER NOT NULL,
  about TEXT NOT NULL CHECK (about IN ('update', 'site')),
  code INTEGER NOT NULL,
  text TEXT NOT NULL,
  at INTEGER NOT NULL,
  fresh INTEGER NOT NULL,
  waiting INTEGER NOT NULL,
  tries INTEGER NOT NULL,
  last_at INTEGER NOT NULL,
  cursor INTEGER NOT NULL,
  PRIMARY KEY (site, seq)
) STRICT;
CREATE INDEX returned_by_time ON returned (at);
CREATE INDEX returned_by_site ON returned (site, at);
CREATE INDEX returned_fresh ON returned (site, seq) WHERE fresh = 1;
CREATE INDEX returned_waiting ON returned (site, seq) WHERE waiting = 1;

CREATE TABLE secret (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  bytes BLOB NOT NULL CHECK (length(bytes) = 32)
) STRICT;
INSERT INTO secret VALUES (1, randomblob(32));
`;

/** What came with version 3. */
const TABLES_3 = `
CREATE TABLE blocks (
  fingerprint BLOB PRIMARY KEY CHECK (length(fingerprint) IN (16, 20, 32)),
  reason TEXT NOT NULL,
  until INTEGER,
  allow_revocation INTEGER NOT NULL CHECK (allow_revocation IN (0, 1)),
  at INTEGER NOT NULL
) STRICT;

CREATE TABLE forgotten (
  seq INTEGER PRIMARY KEY,
  mark BLOB NOT NULL CHECK (length(mark) = 32),
  reason TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;
CREATE INDEX forgotten_by_mark ON forgotten (mark);
CREATE INDEX forgotten_by_time ON forgotten (at);

CREATE TABLE known_keys (fingerprint BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
`;

/** What came with version 4: see `repairs.ts`. */
const TABLES_4 = `
CREATE TABLE repairs (
  what TEXT PRIMARY KEY,
  why TEXT NOT NULL,
  hash BLOB CHECK (length(hash) = 16),
  days INTEGER NOT NULL,
  neighbours TEXT NOT NULL,
  sites TEXT NOT NULL,
  wanted_at INTEGER NOT NULL,
  source TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  next_at INTEGER NOT NULL,
  asked_at INTEGER NOT NULL,
  refused TEXT NOT NULL,
  answer TEXT NOT NULL
) STRICT;
CREATE INDEX repairs_by_source ON repairs (source, next_at);
CREATE INDEX repairs_answered ON repairs (source) WHERE answer <> '';
`;

/** What came with version 5: see `cursors.ts`. */
const TABLES_5 = "CREATE TABLE fetch_waits (peer TEXT PRIMARY KEY, since INTEGER NOT NULL) STRICT;";

/** What came with version 6: see `sendings.ts`. */
const TABLES_6 = `
CREATE TABLE sendings (
  seq INTEGER NOT NULL,
  neighbour TEXT NOT NULL,
  way TEXT NOT NULL CHECK (way IN ('kx', 'lane')),
  at INTEGER NOT NULL,
  PRIMARY KEY (seq, neighbour, way)
) STRICT, WITHOUT ROWID;
`;

/** What came with version 7: see `remembered.ts`. A user id becomes a skeleton of nothing else. */
const TABLES_7 = `
CREATE TABLE skeletons (
  fingerprint BLOB PRIMARY KEY,
  packets BLOB NOT NULL,
  day INTEGER NOT NULL
) STRICT;
CREATE INDEX skeletons_by_day ON skeletons (day);
INSERT INTO skeletons (fingerprint, packets, day)
  SELECT fingerprint, packets, remembered_at / 86400000 FROM identities
  -- One that was signed after it came is forged, or its signer's clock was wrong.
  WHERE signed_at <= remembered_at / 1000 + 86400;
DROP TABLE identities;
`;

/**
 * What came with version 8: see `exceptions.ts`, `bounces.ts`, `lanes.ts`, `observed.ts`,
 * `variants.ts` and `recon.ts`. What was refused for good and what came back become exceptions; of
 * entries that are not remembered nothing is left.
 */
const TABLES_8 = `
CREATE TABLE exceptions (
  site TEXT NOT NULL,
  seq INTEGER NOT NULL,
  fingerprint BLOB NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'refused', 'withheld', 'resent')),
  reason TEXT NOT NULL,
  code INTEGER NOT NULL,
  text TEXT NOT NULL,
  tries INTEGER NOT NULL,
  at INTEGER NOT NULL,
  next_at INTEGER NOT NULL,
  offered_at INTEGER NOT NULL DEFAULT 0,
  reopened INTEGER NOT NULL DEFAULT 0,
  last_at INTEGER NOT NULL DEFAULT 0,
  cursor INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (site, seq)
) STRICT;
CREATE INDEX exceptions_by_key ON exceptions (fingerprint);
CREATE INDEX exceptions_by_state ON exceptions (site, state, next_at, seq);
CREATE INDEX exceptions_by_seq ON exceptions (seq);

CREATE TABLE offers (
  site TEXT NOT NULL,
  seq INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (site, seq)
) STRICT;

CREATE TABLE former_names (
  name TEXT PRIMARY KEY,
  site TEXT NOT NULL
) STRICT;

CREATE TABLE bounces (
  site TEXT NOT NULL,
  seq INTEGER NOT NULL,
  first INTEGER NOT NULL,
  about TEXT NOT NULL CHECK (about IN ('update', 'site')),
  code INTEGER NOT NULL,
  text TEXT NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (site, seq)
) STRICT;

ALTER TABLE lanes ADD COLUMN address TEXT;
ALTER TABLE lanes ADD COLUMN failed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lanes ADD COLUMN refused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lanes ADD COLUMN bad_since INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sendings ADD COLUMN how TEXT NOT NULL DEFAULT '';
ALTER TABLE sendings ADD COLUMN reply TEXT NOT NULL DEFAULT '';

CREATE INDEX exceptions_by_reason ON exceptions (site, state, reason, at);

CREATE TABLE observed (
  neighbour TEXT NOT NULL,
  way TEXT NOT NULL CHECK (way IN ('kx', 'lane')),
  updates INTEGER NOT NULL,
  mails INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  since INTEGER NOT NULL,
  at INTEGER NOT NULL,
  ended INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (neighbour, way)
) STRICT;

INSERT INTO exceptions (site, seq, fingerprint, state, reason, code, text, tries, at, next_at)
  SELECT site, seq, fingerprint,
    iif(undelivered.code = 0, 'withheld', 'refused'),
    iif(undelivered.code = 0, 'skipped', 'refused'),
    undelivered.code, undelivered.text, 1, undelivered.at, 0
  FROM undelivered JOIN updates USING (seq)
  WHERE seq NOT IN (SELECT seq FROM forgotten);
INSERT OR IGNORE INTO exceptions
  (site, seq, fingerprint, state, reason, code, text, tries, at, next_at, last_at, cursor)
  SELECT site, seq, fingerprint, iif(waiting = 1, 'waiting', 'resent'), 'bounced',
    returned.code, returned.text, tries, returned.at, 0, last_at, cursor
  FROM returned JOIN updates USING (seq)
  WHERE (waiting = 1 OR tries > 0) AND seq NOT IN (SELECT seq FROM forgotten);
INSERT INTO bounces (site, seq, first, about, code, text, at)
  SELECT site, seq, first, about, code, text, at FROM returned WHERE fresh = 1;
DROP TABLE undelivered;
DROP TABLE returned;

CREATE TABLE variants (
  hash BLOB PRIMARY KEY CHECK (length(hash) = 16),
  seqs TEXT NOT NULL,
  reason TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;
CREATE INDEX variants_by_time ON variants (at);

CREATE TABLE recon_servers (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  shape TEXT NOT NULL,
  crawled INTEGER NOT NULL CHECK (crawled IN (0, 1))
) STRICT;
CREATE TABLE recon_nodes (
  server INTEGER NOT NULL,
  prefix TEXT NOT NULL,
  mark BLOB NOT NULL CHECK (length(mark) = 16),
  PRIMARY KEY (server, prefix)
) STRICT, WITHOUT ROWID;
CREATE TABLE recon_known (id INTEGER PRIMARY KEY, md5s BLOB NOT NULL) STRICT;
CREATE TABLE recon_later (id INTEGER PRIMARY KEY, md5s BLOB NOT NULL) STRICT;
CREATE TABLE recon_wanted (
  server INTEGER NOT NULL,
  md5 BLOB NOT NULL CHECK (length(md5) = 16),
  attempts INTEGER NOT NULL,
  next_at INTEGER NOT NULL,
  PRIMARY KEY (server, md5)
) STRICT, WITHOUT ROWID;
CREATE INDEX recon_wanted_by_time ON recon_wanted (server, next_at);
`;

/**
 * What came with version 9: fewer pages for each append. An index of dates, of fingerprints or of
 * packet names would be written at a random place, or in one more page, for each update. See
 * `gathering.ts` for what is written for many updates at once, and `retention.ts` for `dates`.
 * The last number is stored only when the newest entry is deleted. For hashes see `hash-index.ts`,
 * for the name of the log and those of the logs of peers `cursors.ts`, for counters
 * `counter-rows.ts`.
 */
const TABLES_9 = [
  `
CREATE TABLE keys (
  fingerprint BLOB NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY (fingerprint, seq)
) STRICT, WITHOUT ROWID;
-- In two passes: one pass in order fills each page, and then every later row would split one.
INSERT INTO keys SELECT fingerprint, seq FROM updates
  WHERE fingerprint <> zeroblob(length(fingerprint)) AND seq % 3 <> 0 ORDER BY fingerprint, seq;`,
  `
INSERT INTO keys SELECT fingerprint, seq FROM updates
  WHERE fingerprint <> zeroblob(length(fingerprint)) AND seq % 3 = 0 ORDER BY fingerprint, seq;`,
  "DROP INDEX updates_by_fingerprint;",
  `
CREATE TABLE hashes (
  hash BLOB NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY (hash, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO hashes SELECT hash, seq FROM updates WHERE seq % 3 <> 0 ORDER BY hash, seq;`,
  "INSERT INTO hashes SELECT hash, seq FROM updates WHERE seq % 3 = 0 ORDER BY hash, seq;",
  `
CREATE TABLE dates (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL) STRICT;
INSERT INTO dates SELECT seq, at FROM (
  SELECT seq, received_at AS at,
    lag(received_at / ${STRETCH_MS}) OVER (ORDER BY seq) IS NOT received_at / ${STRETCH_MS}
      AS begins
  FROM updates) WHERE begins;
CREATE INDEX dates_by_at ON dates (at);`,
  "DROP INDEX updates_by_time; DROP INDEX bodies_by_time;",
  `
ALTER TABLE totals ADD COLUMN upto INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN last INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN hashed INTEGER NOT NULL DEFAULT 0;
UPDATE totals SET upto = coalesce((SELECT max(seq) FROM updates), 0),
  hashed = coalesce((SELECT max(seq) FROM updates), 0) / ${HASHES_PER_RANGE},
  last = coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'updates'), 0);
DELETE FROM sqlite_sequence;
CREATE TRIGGER updates_last AFTER DELETE ON updates
WHEN old.seq > coalesce((SELECT max(seq) FROM updates), 0) BEGIN
  UPDATE totals SET last = max(last, old.seq);
END;

CREATE TABLE log_name (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  name BLOB NOT NULL CHECK (length(name) = 16)
) STRICT;
INSERT INTO log_name VALUES (1, randomblob(16));
ALTER TABLE receive_cursors ADD COLUMN log BLOB CHECK (length(log) = 16);

CREATE TABLE counters (
  id INTEGER PRIMARY KEY,
  event TEXT NOT NULL,
  neighbour TEXT NOT NULL,
  reason TEXT NOT NULL,
  via TEXT NOT NULL,
  count INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  since INTEGER NOT NULL,
  last_at INTEGER NOT NULL,
  UNIQUE (event, neighbour, reason, via)
) STRICT;
CREATE TABLE counter_hours (
  counter INTEGER NOT NULL,
  hour INTEGER NOT NULL,
  count INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  PRIMARY KEY (counter, hour)
) STRICT, WITHOUT ROWID;`,
];

/** The names of packets, in the order of the names: a batch of them shares pages. */
const PACKETS = `
CREATE TABLE packets (
  name BLOB PRIMARY KEY CHECK (length(name) = 16),
  day INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`;

/** Takes over the former table of packet names; in two passes, as for the keys. */
const FORMER_PACKETS = [
  `INSERT INTO packets (name, day)
   SELECT name, day FROM former_packets WHERE substr(name, 16) < x'aa' ORDER BY name;`,
  `INSERT INTO packets (name, day)
   SELECT name, day FROM former_packets WHERE substr(name, 16) >= x'aa' ORDER BY name;`,
  "DROP TABLE former_packets;",
];

/** A part of a step. Those that take seconds in a large log are parts of their own. */
type Part = (db: Database.Database) => void;

/** What makes each version out of the one before. */
const STEPS: readonly (readonly [version: number, ...parts: Part[]])[] = [
  [2, sql(TABLES_2)],
  [3, sql(TABLES_3)],
  [
    4,
    sql(TABLES_4),
    (db) => loosen(db, "updates", "('mail', 'kx')", "('mail', 'kx', 'hkp', 'repair', 'import')"),
  ],
  [5, sql(TABLES_5)],
  [6, sql(TABLES_6)],
  [7, sql(TABLES_7)],
  [
    8,
    sql(TABLES_8),
    (db) => loosen(db, "updates", "'repair', 'import')", "'repair', 'import', 'recon')"),
  ],
  [
    9,
    ...TABLES_9.map(sql),
    // An AUTOINCREMENT table writes its last number with each row.
    (db) => loosen(db, "updates", " AUTOINCREMENT", ""),
    (db) => dropUnique(db, "updates", "hash, digest"),
    makePackets,
    ...FORMER_PACKETS.map(
      (text): Part =>
        (db) => {
          if (hasTable(db, "former_packets")) db.exec(text);
        },
    ),
  ],
];

function sql(text: string): Part {
  return (db) => void db.exec(text);
}

function hasTable(db: Database.Database, name: string): boolean {
  const table = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?";
  return db.prepare(table).get(name) !== undefined;
}

/**
 * Changes the declaration of a table without writing its rows anew, for example a CHECK so that it
 * lets more through: the procedure of https://sqlite.org/lang_altertable.html for changes that no
 * row can break.
 */
function loosen(db: Database.Database, table: string, from: string, to: string): void {
  changeSchema(db, () => {
    db.prepare("UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE name = ?").run(
      ...[from, to, table],
    );
  });
}

/**
 * Drops a UNIQUE constraint of a table, its last one, without writing its rows anew: the index that
 * SQLite made for it gets a name and a declaration of its own, and is dropped as any other index.
 */
function dropUnique(db: Database.Database, table: string, columns: string): void {
  const index = `former_index_of_${table}`;
  changeSchema(db, () => {
    const renamed = db
      .prepare("UPDATE sqlite_schema SET name = ?, sql = ? WHERE name = ?")
      .run(index, `CREATE INDEX ${index} ON ${table} (${columns})`, `sqlite_autoindex_${table}_1`);
    const changed = db
      .prepare("UPDATE sqlite_schema SET sql = replace(sql, ?, '') WHERE name = ?")
      .run(`,\n  UNIQUE (${columns})`, table);
    if (renamed.changes + changed.changes !== 2) throw new Error(`no UNIQUE in ${table}`);
  });
  db.exec(`DROP INDEX ${index}`);
}

/** Runs `change`, which updates sqlite_schema, and has SQLite read the schema again. */
function changeSchema(db: Database.Database, change: () => void): void {
  db.unsafeMode(true);
  try {
    const version = Number(db.pragma("schema_version", { simple: true }));
    db.pragma("writable_schema = ON");
    change();
    db.pragma(`schema_version = ${version + 1}`);
    db.pragma("writable_schema = RESET");
  } finally {
    db.unsafeMode(false);
  }
}

/** Creates the tables and marks the file as ours. Runs inside the caller's transaction. */
export function createTables(db: Database.Database): void {
  db.exec(TABLES);
  db.pragma(`application_id = ${APPLICATION_ID}`);
  bringUpToDate(db, OLDEST_VERSION);
}

/**
 * Adds what the log of version `from` lacks. Runs inside the caller's transaction. Calls `onPart`
 * after each part but the last one.
 */
export function bringUpToDate(
  db: Database.Database,
  from: number,
  onPart: (done: number) => void = () => {},
): void {
  const parts = partsFrom(from);
  for (const [index, part] of parts.entries()) {
    if (index > 0) onPart(index);
    part(db);
  }
  db.pragma(`user_version = ${SCHEMA_VERSION}`);
}

/** What a log of version `from` is migrated in. */
export function partsFrom(from: number): readonly Part[] {
  return STEPS.flatMap(([version, ...parts]) => (version > from ? parts : []));
}

/**
 * Makes the table of packet names in its present shape, beside the former one. Logs of versions 3
 * to 6 are without it, or have it in an earlier shape.
 */
function makePackets(db: Database.Database): void {
  if (hasTable(db, "packets")) {
    db.exec("DROP INDEX IF EXISTS packets_by_day; ALTER TABLE packets RENAME TO former_packets;");
  }
  db.exec(PACKETS);
}

/**
 * The version of the open file when it is a log of ours, this one or an earlier, or "empty" when it
 * may become one. Throws `Trouble` 'not-ours' for anything else; writes nothing.
 */
export function identify(db: Database.Database, path: string): "empty" | number {
  try {
    const application = db.pragma("application_id", { simple: true });
    const version = Number(db.pragma("user_version", { simple: true }));
    const tables = db.prepare("SELECT count(*) FROM sqlite_schema").pluck().get();
    if (application === 0 && tables === 0) return "empty";
    if (application !== APPLICATION_ID) throw foreign(path, "is the database of another program");
    const isKnown = version >= OLDEST_VERSION && version <= SCHEMA_VERSION;
    if (!isKnown) throw otherVersion(path, version);
    return version;
  } catch (error) {
    const notADatabase = error instanceof Database.SqliteError && error.code === "SQLITE_NOTADB";
    throw notADatabase ? foreign(path, "is not a database", error) : error;
  }
}

function foreign(path: string, what: string, cause?: unknown): Trouble {
  const remedy = `Set log.path to another file; ${path} was not changed.`;
  return new Trouble("not-ours", `${path}: ${what}`, remedy, { cause });
}

function otherVersion(path: string, version: number): Trouble {
  const message =
    `${path}: was written with log version ${version}, ` +
    `this gateway supports version ${SCHEMA_VERSION}`;
  const remedy = "Run the gateway release that wrote it, or set log.path to a new file.";
  return new Trouble("not-ours", message, remedy);
}

/** What is said of a log whose tables are not those of its version; nothing of it was changed. */
export function unknownTables(path: string, version: number, cause: Error): Trouble {
  const message =
    `${path}: has log version ${version}, but other tables ` +
    `(${cause.message}); it was not changed`;
  const remedy = 'Run the gateway release that wrote it, or restore a backup of "kxgw db backup".';
  return new Trouble("not-ours", message, remedy, { cause });
}

/** What a reader says of a log that its writer has not brought up to date yet. */
export function notYetUpToDate(path: string): Trouble {
  const message = `${path}: was written by an older release, and no gateway has opened it since`;
  return new Trouble("not-ours", message, "Start the gateway once; it upgrades the log.");
}

/** Throws `Trouble` 'unusable' when `version`, as "3.53.2", is below the floor. */
export function assertSqliteVersion(version: string): void {
  const parts = version.split(".").map(Number);
  for (const [index, floor] of SQLITE_FLOOR.entries()) {
    const part = parts[index] ?? 0;
    if (part > floor) return;
    if (part < floor) {
      throw new Trouble(
        "unusable",
        `SQLite ${version} can lose committed updates; the minimum is ` +
          `${SQLITE_FLOOR.join(".")}`,
        "Install the better-sqlite3 release of package-lock.json.",
      );
    }
  }
}

/**
 * SQLite puts intermediate results into files in a directory for temporary files. Where only the
 * directory of the log can be written there is none, and even a DELETE fails. What our statements
 * need is small: they work in batches.
 */
export function keepTemporaryInMemory(db: Database.Database): void {
  db.pragma("temp_store = MEMORY");
}

/** Sets what a writer needs; the durable settings are verified by `assertDurable`. */
export function configureWriter(db: Database.Database): void {
  db.pragma("journal_mode = WAL");
  db.pragma("synchronous = FULL");
  db.pragma("foreign_keys = ON");
  db.pragma("cell_size_check = ON");
  // What was deleted, because it expired or had to be forgotten, is not to be found in the file.
  db.pragma("secure_delete = ON");
  // A larger cache costs more than it saves: whenever a commit splits a page, SQLite walks through
  // all of it (docs/performance.md), and what is not in it is in the system's.
  db.pragma("cache_size = -16384");
  // A page that many appends change is written back once for 4000 frames, 16 MB: a tenth fewer
  // bytes than with the default of 1000. A WAL of that size is read in some tens of ms at a start.
  db.pragma("wal_autocheckpoint = 4000");
  // Without a limit the WAL keeps the size of the largest burst for ever.
  db.pragma("journal_size_limit = 67108864");
}

/**
 * Sets what a copy of a shared log needs. What it loses in a power cut, always the newest commits,
 * is still in the database.
 */
export function configureCopy(db: Database.Database): void {
  db.pragma("synchronous = NORMAL");
}

/**
 * Throws `Trouble` 'unusable' unless a commit on `db` survives a power cut: WAL (the rollback
 * journal of an in-memory database is exempt) and synchronous=FULL, both read back.
 */
export function assertDurable(db: Database.Database, path: string): void {
  const journal = db.pragma("journal_mode", { simple: true });
  if (journal !== "wal" && !db.memory) {
    throw new Trouble(
      "unusable",
      `${path}: the file system does not support SQLite's write-ahead log (${journal})`,
      "Move log.path to a local file system; network file systems are not supported.",
    );
  }
  const synchronous = db.pragma("synchronous", { simple: true });
  if (synchronous !== SYNCHRONOUS_FULL) {
    throw new Trouble(
      "unusable",
      `${path}: synchronous is ${synchronous} where FULL (${SYNCHRONOUS_FULL}) was asked for`,
      "Install the better-sqlite3 release of package-lock.json.",
    );
  }
}
