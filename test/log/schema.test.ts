/**
 * A log that an earlier release wrote is one of this release when opened, with all it held. One
 * that is not understood, or whose migration ends in the middle, is left as it was.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import Database from "better-sqlite3";
import { describe, expect, test } from "vitest";
import { backUpLog } from "../../src/log/backup.js";
import type { Migration } from "../../src/log/connection.js";
import { inspectLog } from "../../src/log/inspect.js";
import { partsFrom, SCHEMA_VERSION } from "../../src/log/schema.js";
import { UpdateLog } from "../../src/log/update-log.js";
import type { PacketName } from "../../src/update.js";
import { ROOT } from "../e2e/stage.js";
import { scratch } from "../support/scratch.js";
import { arrival, fingerprint, seq, troubleOf, update } from "./material.js";

const FIXTURES = new URL("../fixtures/logs/", import.meta.url);
const NAMES = readdirSync(FIXTURES)
  .filter((name) => name.endsWith(".sql"))
  .map((name) => name.slice(0, -4));
const T0 = 1_700_000_000_000;

/** The log of a fixture as its release left it. */
function made(name: string, directory = scratch()): string {
  const path = join(directory, "updates.db");
  const db = new Database(path);
  db.pragma("journal_mode = WAL");
  db.exec(readFileSync(new URL(`${name}.sql`, FIXTURES), "utf8"));
  db.close();
  return path;
}

/** What a log says: its number, its tables and all rows of them. */
function contents(path: string): unknown {
  const db = new Database(path, { readonly: true });
  const schema = db.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY name").all();
  const tables = db
    .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    .pluck()
    .all();
  const rows = tables.map((table) => db.prepare(`SELECT * FROM ${table}`).all());
  const version = db.pragma("user_version", { simple: true });
  db.close();
  return { version, schema, rows };
}

function schemaOf(path: string): unknown {
  return (contents(path) as { readonly schema: unknown }).schema;
}

function versionOf(name: string): number {
  return Number(name.split("-")[0]);
}

test("there is a fixture for every version up to 8", () => {
  expect([...new Set(NAMES.map(versionOf))]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
});

describe.each(NAMES)("log %s", (name) => {
  const version = versionOf(name);

  test("is brought up to date, and has the tables of a new log", () => {
    const path = made(name);
    UpdateLog.open(path).close();
    const fresh = join(scratch(), "fresh.db");
    UpdateLog.open(fresh).close();
    expect(contents(path)).toMatchObject({ version: SCHEMA_VERSION });
    expect(schemaOf(path)).toEqual(schemaOf(fresh));
    expect(inspectLog(path)).toMatchObject({ problems: [], entries: 3, bodies: 2, newest: 3 });
  });

  test("is announced before it is changed, and when it is done", () => {
    const path = made(name);
    const told: unknown[] = [];
    const onMigration = (migration: Migration) => {
      const { bytes, parts, ...rest } = migration;
      expect(bytes).toBeGreaterThan(10_000);
      expect(parts).toBe(partsFrom(version).length);
      const seen = new Database(path, { readonly: true });
      told.push([rest, seen.pragma("user_version", { simple: true })]);
      seen.close();
    };
    UpdateLog.open(path, { onMigration }).close();
    const what = { path, from: version, to: SCHEMA_VERSION };
    const parts = partsFrom(version).length;
    expect(told).toEqual([
      ...Array.from({ length: parts }, (_, done) => [{ ...what, done, isDone: false }, version]),
      [{ ...what, done: parts, isDone: true }, SCHEMA_VERSION],
    ]);
    UpdateLog.open(path, { onMigration }).close();
    expect(told).toHaveLength(parts + 1);
  });

  test("keeps everything", () => {
    const log = UpdateLog.open(made(name));
    expect(log.range(seq(1), seq(9), 9).map((entry) => entry.hash)).toEqual(
      [1, 2, 3].map((n) => update(n).hash),
    );
    expect(log.body(seq(1))).toBeUndefined();
    expect(log.body(seq(2))).toEqual(update(2).body);
    expect(log.trails.get(seq(3))).toEqual(["pgp@site3.example"]);
    expect(log.cursors.get("new")).toEqual({ number: 41, hash: update(2).hash });
    expect(log.lanes.get("far")).toMatchObject({ cursor: 2, attempt: 1, lastError: "451 later" });
    expect(log.exceptions.list("far", "refused", 9)).toMatchObject(
      // What is forgotten has no exception.
      version >= 3 ? [] : [{ site: "far", seq: 1, code: 552, text: "too large", at: T0 + 5 }],
    );
    expect(log.exceptions.next("far")?.seq).toBe(version >= 2 ? 2 : undefined);
    expect(log.bounces.secret).toHaveLength(32);
    expect(log.removals.blocks()).toHaveLength(version >= 3 ? 1 : 0);
    expect(log.removals.isForgotten(seq(1))).toBe(version >= 3);
    expect(log.removals.knows(fingerprint(1))).toBe(version >= 3);
    const hasPackets = version >= 3 && !name.includes("3-first");
    for (const day of [19_675, 19_676]) {
      expect(log.packets.lastSeen(packetOf(day))).toBe(hasPackets ? day : undefined);
    }
    expect(log.repairs.count()).toBe(version >= 4 ? 1 : 0);
    expect(log.fetchWaits.since("new")).toBe(version >= 5 ? T0 : undefined);
    expect(log.sendings.of(seq(3))).toHaveLength(version >= 6 ? 1 : 0);
    log.close();
  });

  test("takes updates by every road, forgets what is old, and is opened again", () => {
    const path = made(name);
    const log = UpdateLog.open(path);
    const roads = ["mail", "kx", "hkp", "repair", "import"] as const;
    const stored = log.append(
      [3, 4, 5, 6, 7, 8].map((n, index) => {
        const origin = { neighbour: "old", transport: roads[index % 5] ?? "mail" };
        const receivedAt = T0 + 1000 * 3_600_000;
        const packets = [Buffer.alloc(16, n)];
        return arrival(n, { update: { ...update(n), packets }, origin, receivedAt });
      }),
    );
    expect(stored.map(({ outcome }) => outcome)).toEqual([
      "duplicate",
      ...Array(5).fill("appended"),
    ]);
    expect(stored.map((one) => one.seq)).toEqual([3, 4, 5, 6, 7, 8]);
    const wrong = { neighbour: undefined, transport: "pigeon" as "mail" };
    expect(() => log.append([arrival(9, { origin: wrong })])).toThrow(/CHECK constraint failed/);
    const limits = { retainMs: 96 * 3_600_000, rememberMs: 720 * 3_600_000 };
    while (log.retention.expire(T0 + 1000 * 3_600_000, limits, 100).more);
    expect(log.entry(seq(2))).toBeUndefined();
    expect(log.packets.lastSeen(packetOf(19_675))).toBeUndefined();
    log.close();
    const again = UpdateLog.open(path);
    expect(again.newest()).toBe(8);
    again.close();
    expect(inspectLog(path).problems).toEqual([]);
  });

  test("is left alone by who only reads, who can back it up and is told what to do", async () => {
    const path = made(name);
    const before = contents(path);
    const open = () => UpdateLog.open(path, { readonly: true });
    expect(open).toThrow(/written by an older release/);
    const copy = join(scratch(), "copy.db");
    const options = { replace: false, onProgress: () => {} };
    expect(await backUpLog(path, copy, options)).toMatchObject({ problems: [], entries: 3 });
    expect(contents(path)).toEqual(before);
    expect(contents(copy)).toEqual(before);
    UpdateLog.open(copy).close();
    expect(contents(copy)).toMatchObject({ version: SCHEMA_VERSION });
  });

  test("is what it was after a kill -9 in the middle", () => {
    const path = made(name);
    const before = contents(path);
    // After all steps and before the commit, when most pages that they changed have been written.
    const killed = childOpening(
      path,
      `connection.db.pragma("cache_spill = 1");
       connection.db.pragma("cache_size = 1");
       if (connection.db.inTransaction)
         connection.db.exec("CREATE TABLE spilled AS SELECT zeroblob(99999)");
       process.kill(process.pid, "SIGKILL");`,
    );
    expect(killed.signal).toBe("SIGKILL");
    expect(contents(path)).toEqual(before);
    UpdateLog.open(path).close();
    expect(inspectLog(path)).toMatchObject({ problems: [], entries: 3 });
  });

  test("with tables that are not those of its version is refused as it was", () => {
    const path = made(name);
    const db = new Database(path);
    db.exec("ALTER TABLE lanes RENAME COLUMN attempt TO attempts");
    db.close();
    const before = contents(path);
    const trouble = troubleOf(() => UpdateLog.open(path));
    expect(trouble.kind).toBe("not-ours");
    expect(trouble.message).toMatch(/no column named attempt.*it was not changed|no such column/);
    expect(trouble.remedy).toMatch(/^Run the gateway release that wrote it, or restore a backup/);
    expect(contents(path)).toEqual(before);
  });
});

test("a disk that is full in the middle leaves the log as it was", () => {
  const path = made("6-from-4-first");
  const db = new Database(path);
  const insert = db.prepare("INSERT INTO packets (name, day) VALUES (randomblob(16), 19676)");
  db.transaction(() => {
    for (let n = 0; n < 10_000; n += 1) insert.run();
  })();
  db.close();
  const before = contents(path);
  const restore = limitPages(path);
  try {
    expect(troubleOf(() => UpdateLog.open(path)).kind).toBe("disk-full");
  } finally {
    restore();
  }
  expect(contents(path)).toEqual(before);
  const log = UpdateLog.open(path);
  expect(log.packets.lastSeen(packetOf(19_675))).toBe(19_675);
  log.close();
  expect(inspectLog(path).problems).toEqual([]);
});

function packetOf(day: number): PacketName {
  return createHash("md5").update(`packet of day ${day}`).digest();
}

/** SQLite finds the disk full ten pages above the present size of the file. */
function limitPages(path: string): () => void {
  const most = statSync(path).size / 4096 + 10;
  const { pragma } = Database.prototype;
  Database.prototype.pragma = function limited(source, options) {
    if (source === "synchronous = FULL") pragma.call(this, `max_page_count = ${most}`);
    return pragma.call(this, source, options);
  };
  return () => {
    Database.prototype.pragma = pragma;
  };
}

/** Opens the log in a process of its own, and runs `script` where statements are prepared. */
function childOpening(path: string, script: string) {
  const built = JSON.stringify(pathToFileURL(join(ROOT, "dist/log/connection.js")));
  const program = `
    import { Connection } from ${built};
    Connection.open(process.argv[1], { prepare: (connection) => { ${script} } });`;
  return spawnSync(process.execPath, ["--input-type=module", "--eval", program, path]);
}
