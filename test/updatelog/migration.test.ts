/** A log that an earlier release wrote is one of this release when opened, with all it held. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { expect, test } from "vitest";
import { backUpLog } from "../../src/updatelog/backup.js";
import { inspectLog } from "../../src/updatelog/inspect.js";
import { APPLICATION_ID, SCHEMA_VERSION } from "../../src/updatelog/schema.js";
import { UpdateLog } from "../../src/updatelog/update-log.js";
import { arrival, fingerprint, scratch, seq, update } from "./material.js";

const VERSION_2 = readFileSync(new URL("../fixtures/log-version-2.sql", import.meta.url), "utf8");

/** A log of version 2 with three updates, as that release left it. */
function versionTwo(): string {
  const path = join(scratch(), "updates.db");
  const db = new Database(path);
  db.pragma("journal_mode = WAL");
  db.exec(VERSION_2);
  db.pragma(`application_id = ${APPLICATION_ID}`);
  db.pragma("user_version = 2");
  const insert = db.prepare(`
    INSERT INTO updates (hash, digest, fingerprint, size, neighbour, transport, received_at, trail)
    VALUES (?, ?, ?, ?, 'oldpks', 'mail', ?, '[]')`);
  const body = db.prepare("INSERT INTO bodies VALUES (?, ?, ?)");
  for (const n of [1, 2, 3]) {
    const { hash, digest, body: packets } = update(n);
    const names = [hash, digest, fingerprint(n)].map((name) => Buffer.from(name, "hex"));
    insert.run(...names, packets.length, 1_000_000 + n);
    body.run(n, 1_000_000 + n, packets);
  }
  db.exec("UPDATE totals SET entries = 3, bodies = 3, body_bytes = 600");
  db.exec("INSERT INTO lanes VALUES ('far', 2, 0, 0, 0, '', 0, 0)");
  db.close();
  return path;
}

function versionOf(path: string): unknown {
  const db = new Database(path, { readonly: true });
  const version = db.pragma("user_version", { simple: true });
  db.close();
  return version;
}

test("a log of version 2 is brought up to date and keeps everything", () => {
  const path = versionTwo();
  const log = UpdateLog.open(path);
  expect(log.newest()).toBe(3);
  expect(log.body(seq(2))).toEqual(update(2).body);
  expect(log.lane("far")?.cursor).toBe(2);
  expect(log.repairs.count()).toBe(0);
  const known = arrival(3);
  const origin = { neighbour: "old", transport: "repair" } as const;
  const [duplicate, fresh] = log.append([known, arrival(4, { origin })]);
  expect([duplicate?.outcome, fresh?.outcome, fresh?.seq]).toEqual(["duplicate", "appended", 4]);
  expect(log.repairs.want({ ...missing(), at: 1 })).toBe(true);
  log.close();

  expect(versionOf(path)).toBe(SCHEMA_VERSION);
  expect(inspectLog(path)).toMatchObject({ problems: [], entries: 4, newest: 4 });
  const again = UpdateLog.open(path);
  expect(again.repairs.get(fingerprint(9))).toMatchObject({ why: "lost", neighbours: ["old"] });
  again.close();
});

test("the CHECK of the road still holds after it", () => {
  const path = versionTwo();
  const log = UpdateLog.open(path);
  const origin = { neighbour: undefined, transport: "pigeon" as "mail" };
  expect(() => log.append([arrival(5, { origin })])).toThrow(/CHECK constraint failed/);
  log.close();
});

test("who only reads leaves it as it is, can back it up, and is told what to do", async () => {
  const path = versionTwo();
  expect(() => UpdateLog.open(path, { readonly: true })).toThrow(/written by an older release/);
  const copy = join(scratch(), "copy.db");
  const options = { replace: false, onProgress: () => {} };
  expect(await backUpLog(path, copy, options)).toMatchObject({ problems: [], entries: 3 });
  expect([versionOf(path), versionOf(copy)]).toEqual([2, 2]);
});

function missing() {
  return { fingerprint: fingerprint(9), neighbours: ["old"], why: "lost" as const };
}
