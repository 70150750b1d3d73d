/**
 * What is left after a failure: a full disk, an SQLite call that fails at any place, and a power
 * cut at any byte of the write-ahead log. Always a prefix of the commits, never a part of one.
 */
import { copyFileSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { describe, expect, test, vi } from "vitest";
import { Trouble, type TroubleKind } from "../../src/errors.js";
import { Connection } from "../../src/log/connection.js";
import { asTrouble } from "../../src/log/trouble.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { scratch } from "../support/scratch.js";
import { arrival, selfSigned, seq, skeletonOf, update } from "./material.js";

const KINDS: readonly (readonly [string, TroubleKind])[] = [
  ["SQLITE_FULL", "disk-full"],
  ["SQLITE_BUSY", "busy"],
  ["SQLITE_BUSY_SNAPSHOT", "busy"],
  ["SQLITE_LOCKED", "busy"],
  ["SQLITE_READONLY", "read-only"],
  ["SQLITE_READONLY_DBMOVED", "read-only"],
  ["SQLITE_CORRUPT", "corrupt"],
  ["SQLITE_CORRUPT_INDEX", "corrupt"],
  ["SQLITE_NOTADB", "corrupt"],
  ["SQLITE_IOERR_FSYNC", "unusable"],
  ["SQLITE_CANTOPEN", "unusable"],
  ["SQLITE_NOMEM", "unusable"],
  ["SQLITE_ERROR", "unusable"],
];

describe("asTrouble", () => {
  test.each(KINDS)("%s is %s", (code, kind) => {
    const cause = new Database.SqliteError("it failed", code);
    const trouble = asTrouble(cause, "/var/lib/kxgw/log");
    expect(trouble).toBeInstanceOf(Trouble);
    expect(trouble).toMatchObject({ kind, cause });
    const { message, remedy } = trouble as Trouble;
    expect(message).toMatch(/^\/var\/lib\/kxgw\/log: .+ \(SQLITE_\w+: it failed\)$/);
    expect(remedy).toMatch(/\/var\/lib\/kxgw\/log.*\.$/);
  });

  test("bugs and foreign errors come back as they were", () => {
    const codes = ["SQLITE_CONSTRAINT_UNIQUE", "SQLITE_MISUSE", "SQLITE_RANGE", "SQLITE_MISMATCH"];
    const errors = codes.map((code) => new Database.SqliteError("ours", code));
    for (const error of [...errors, new TypeError("x"), new Trouble("busy", "a", "b"), 7]) {
      expect(asTrouble(error, "log")).toBe(error);
    }
  });
});

describe("a full disk", () => {
  test("refuses the whole call, leaves nothing, and is over when there is space again", () => {
    const connection = Connection.open(join(scratch(), "log"));
    const { db } = connection;
    const log = new UpdateLog(connection);
    const cursorAt = (n: number) => ({ peer: "p", at: { number: n, hash: update(n).hash } });
    log.append([arrival(1)], cursorAt(1));
    const before = log.counts();
    let woken = 0;
    log.onAppend(() => {
      woken += 1;
    });
    const pages = Number(db.pragma("page_count", { simple: true }));
    for (const spare of [0, 1, 2, 3, 5, 8]) {
      db.pragma(`max_page_count = ${pages + spare}`);
      const batch = [arrival(2), arrival(3, { update: update(3, 100_000) }), arrival(4)];
      const failing = () => log.append(batch, cursorAt(4));
      expect(failing).toThrow(expect.objectContaining({ name: "Trouble", kind: "disk-full" }));
      expect(db.inTransaction).toBe(false);
      expect(log.newest()).toBe(1);
      expect(log.has(update(2).hash)).toBe(false);
      expect(log.cursors.get("p")?.number).toBe(1);
      expect({ ...log.counts(), fileBytes: 0 }).toEqual({ ...before, fileBytes: 0 });
    }
    expect(woken).toBe(0);
    db.pragma("max_page_count = 1000000");
    expect(log.append([arrival(2)], cursorAt(2))[0]?.seq).toBe(2);
    expect([woken, log.cursors.get("p")?.number]).toEqual([1, 2]);
    expect(db.pragma("integrity_check", { simple: true })).toBe("ok");
    log.close();
  });
});

describe("any SQLite call that fails", () => {
  const CODES = ["SQLITE_BUSY", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CORRUPT"];

  /** Runs `work` on a log whose statements fail from the k-th call on; says if it got that far. */
  function faulty(code: string, sticky: boolean, prepare: (log: UpdateLog) => void) {
    let countdown = Number.POSITIVE_INFINITY;
    const real = Database.prototype.prepare;
    const spy = vi.spyOn(Database.prototype, "prepare").mockImplementation(function (
      this: Database.Database,
      source: string,
    ) {
      const statement = real.call(this, source);
      for (const method of ["run", "get", "all"] as const) {
        const call = statement[method].bind(statement) as (...parameters: unknown[]) => unknown;
        const failing = (...parameters: unknown[]) => {
          countdown -= 1;
          if (countdown === 0 || (sticky && countdown < 0)) {
            throw new Database.SqliteError("injected", code);
          }
          return call(...parameters);
        };
        Object.defineProperty(statement, method, { value: failing });
      }
      return statement;
    });
    const connection = Connection.open(":memory:");
    const log = new UpdateLog(connection);
    spy.mockRestore();
    prepare(log);
    return {
      log,
      db: connection.db,
      failFrom(k: number) {
        countdown = k;
      },
      heal(): boolean {
        const reached = countdown <= 0;
        countdown = Number.POSITIVE_INFINITY;
        return reached;
      },
    };
  }

  const modes = CODES.flatMap((code) => [false, true].map((sticky) => ({ code, sticky })));
  test.each(modes)("$code (sticky: $sticky) leaves all or nothing", ({ code, sticky }) => {
    const runs = { failed: 0, passed: 0 };
    for (let k = 1; runs.passed === 0; k += 1) {
      const world = faulty(code, sticky, (log) => log.append([arrival(1)]));
      const named = { ...update(2), selfSigned: selfSigned("Ann") };
      const batch = [arrival(2, { update: named }), arrival(1, { trail: ["x@y.example"] })];
      world.failFrom(k);
      let error: unknown;
      try {
        world.log.append(batch, { peer: "p", at: { number: 5, hash: update(2).hash } });
      } catch (caught) {
        error = caught;
      }
      const reached = world.heal();
      expect(error instanceof Trouble).toBe(reached);
      expect(world.log.newest()).toBe(reached ? 1 : 2);
      expect(world.db.inTransaction).toBe(false);
      expect(world.log.trails.get(seq(1))).toHaveLength(reached ? 1 : 2);
      expect(world.log.cursors.get("p")?.number).toBe(reached ? undefined : 5);
      expect(world.log.skeletons.get(named.fingerprint)).toEqual(
        reached ? undefined : skeletonOf("Ann"),
      );
      expect(world.log.counts()).toMatchObject({ entries: reached ? 1 : 2 });
      const again = () => world.log.append([arrival(9)])[0]?.seq;
      // A damaged file is not written to again; everything else is over when it is over.
      if (reached && code === "SQLITE_CORRUPT") expect(again).toThrow(world.log.damage);
      else expect(again()).toBe(reached ? 2 : 3);
      runs[reached ? "failed" : "passed"] += 1;
    }
    expect(runs.failed).toBeGreaterThanOrEqual(10);
  });

  test("a transaction that could not be ended is ended before the next write", () => {
    const world = faulty("SQLITE_IOERR", true, (log) => log.append([arrival(1)]));
    // The third call is behind BEGIN; from there on all fail, the ROLLBACK too.
    world.failFrom(3);
    expect(() => world.log.append([arrival(2)])).toThrow(Trouble);
    expect(world.db.inTransaction).toBe(true);
    world.heal();
    expect(world.log.append([arrival(3)])).toEqual([
      { outcome: "appended", seq: 2, collision: false },
    ]);
    expect(world.db.inTransaction).toBe(false);
    expect(world.log.has(update(2).hash)).toBe(false);
  });
});

describe("a power cut", () => {
  test("at any frame of the WAL and inside it leaves a prefix of the commits", () => {
    const directory = scratch();
    const path = join(directory, "log");
    const log = UpdateLog.open(path);
    /** Length of the WAL when the n-th commit was acknowledged. */
    const acked: number[] = [statSync(`${path}-wal`).size];
    for (let n = 1; n <= 10; n += 1) {
      const at = { number: n, hash: update(n).hash };
      const bytes = n === 5 ? 9000 : 300;
      log.append([arrival(n, { update: update(n, bytes) })], { peer: "p", at });
      acked.push(statSync(`${path}-wal`).size);
    }
    const wal = readFileSync(`${path}-wal`);
    expect(acked.at(-1)).toBe(wal.length);
    const frameBytes = 24 + 4096;
    expect((wal.length - 32) % frameBytes).toBe(0);

    const cut = join(directory, "cut");
    let cuts = 0;
    for (let start = 32; start <= wal.length; start += frameBytes) {
      // Of the frames that make the tables, which are many, one in four is cut, in one place only.
      const isTables = start < (acked[0] ?? 0);
      if (isTables && ((start - 32) / frameBytes) % 4 > 0) continue;
      const inside = isTables ? [] : [start + 11, start + 24, start + 24 + 2048];
      for (const length of [start, ...inside]) {
        if (length > wal.length) continue;
        copyFileSync(path, cut);
        writeFileSync(`${cut}-wal`, wal.subarray(0, length));
        expectPrefix(cut, acked.filter((end) => end <= length).length - 1);
        cuts += 1;
      }
    }
    expect(cuts).toBeGreaterThan(150);
    log.close();
    // A few hundred times the log is opened and closed, each with its fsyncs.
  }, 60_000);

  /** The log at `path` holds exactly the first `commits` appends (all or none before them). */
  function expectPrefix(path: string, commits: number): void {
    const log = UpdateLog.open(path);
    const held = Math.max(commits, 0);
    const numbers = log.range(seq(0), seq(99), 99).map((entry) => entry.seq);
    expect(numbers).toEqual(Array.from({ length: held }, (_, index) => index + 1));
    for (let n = 1; n <= held; n += 1) {
      expect(log.body(seq(n))).toEqual(update(n, n === 5 ? 9000 : 300).body);
    }
    expect(log.cursors.get("p")?.number).toBe(held === 0 ? undefined : held);
    expect(log.counts()).toMatchObject({ entries: held, bodies: held });
    log.close();
    const db = new Database(path, { readonly: true });
    expect(db.pragma("integrity_check", { simple: true })).toBe("ok");
    db.close();
  }
});
