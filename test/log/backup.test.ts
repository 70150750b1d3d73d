/** The copy that is made beside a running gateway, and the inspection that it has to pass. */
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { describe, expect, test } from "vitest";
import { backUpLog } from "../../src/log/backup.js";
import { inspectLog } from "../../src/log/inspect.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { scratch } from "../support/scratch.js";
import { arrival, seq, update } from "./material.js";

const QUIETLY = { replace: false, onProgress: () => {} };

function filled(path: string, rows: number): UpdateLog {
  const log = UpdateLog.open(path);
  log.append(Array.from({ length: rows }, (_, n) => arrival(n, { update: update(n, 3000) })));
  return log;
}

describe("a backup", () => {
  test("is the state of one moment, though updates come in while it is made", async () => {
    const directory = scratch();
    const log = filled(join(directory, "log"), 3000);
    const shares: number[] = [];
    let next = 3000;
    const found = await backUpLog(join(directory, "log"), join(directory, "copy"), {
      replace: false,
      onProgress: (share) => {
        shares.push(share);
        log.append([arrival(next), arrival(next + 1)]);
        next += 2;
      },
    });
    expect(shares.length).toBeGreaterThan(2);
    expect(found).toMatchObject({ problems: [], newest: 3000, entries: 3000, bodies: 3000 });
    expect(log.newest()).toBe(next);
    expect(readdirSync(directory).filter((name) => name.startsWith("copy"))).toEqual(["copy"]);

    const copy = UpdateLog.open(join(directory, "copy"));
    expect(copy.durability()).toMatchObject({ journalMode: "wal", synchronous: 2 });
    expect(copy.body(seq(1234))).toEqual(update(1233, 3000).body);
    expect(copy.append([arrival(9999)])[0]?.seq).toBe(3001);
    copy.close();
    log.close();
  });

  test("has the name of a log that nobody serves, and another one of a log in use", async () => {
    const directory = scratch();
    const [path, used, moved] = ["log", "used", "moved"].map((name) => join(directory, name));
    if (path === undefined || used === undefined || moved === undefined)
      throw new Error("no paths");
    const log = filled(path, 3);
    await backUpLog(path, used, QUIETLY);
    log.close();
    await backUpLog(path, moved, QUIETLY);
    const names = [path, used, moved].map((one) => {
      const opened = UpdateLog.open(one);
      opened.close();
      return opened.name;
    });
    expect(new Set(names)).toEqual(new Set([names[0], names[1]]));
    expect(names[1]).not.toBe(names[0]);
    expect(names[2]).toBe(names[0]);
  });

  test("is for the gateway's user alone, as the log is, whatever the umask", async () => {
    const directory = scratch();
    const before = process.umask(0o022);
    try {
      const log = filled(join(directory, "log"), 10);
      await backUpLog(join(directory, "log"), join(directory, "copy"), QUIETLY);
      for (const name of ["log", "log-wal", "log-shm", "copy"]) {
        expect([name, statSync(join(directory, name)).mode & 0o777]).toEqual([name, 0o600]);
      }
      log.close();
    } finally {
      process.umask(before);
    }
  });

  test("takes the place of a file only when told to, and never that of the log", async () => {
    const directory = scratch();
    const path = join(directory, "log");
    const log = filled(path, 10);
    const target = join(directory, "copy");
    writeFileSync(target, "precious");
    const replace = { ...QUIETLY, replace: true };
    await expect(backUpLog(path, target, QUIETLY)).rejects.toThrow(/exists already/);
    expect(readFileSync(target, "utf8")).toBe("precious");
    await backUpLog(path, target, replace);
    expect(inspectLog(target).newest).toBe(10);
    await expect(backUpLog(path, path, replace)).rejects.toThrow(/is the log itself/);
    writeFileSync(join(directory, "other-wal"), "");
    await expect(backUpLog(path, join(directory, "other"), replace)).rejects.toThrow(
      /is the name of the log of a gateway/,
    );
    expect(log.append([arrival(11)])[0]?.seq).toBe(11);
    log.close();
  });

  test("that fails leaves nothing and says what to do", async () => {
    const directory = scratch();
    const path = join(directory, "log");
    filled(path, 10).close();
    for (const target of [join(directory, "no/copy"), join(directory, "folder")]) {
      mkdirSync(join(directory, "folder"), { recursive: true });
      const failed = backUpLog(path, target, { ...QUIETLY, replace: true });
      await expect(failed).rejects.toMatchObject({ name: "Trouble", kind: "unusable" });
    }
    await expect(backUpLog(join(directory, "x"), join(directory, "y"), QUIETLY)).rejects.toThrow();
    const left = readdirSync(directory).filter((name) => !name.startsWith("log"));
    expect(left).toEqual(["folder"]);
  });
});

describe("an inspection", () => {
  test("finds a sound log sound, beside its writer", () => {
    const path = join(scratch(), "log");
    const log = filled(path, 20);
    expect(inspectLog(path)).toEqual({
      problems: [],
      newest: 20,
      entries: 20,
      bodies: 20,
      bodyBytes: 60_000,
    });
    log.append([arrival(30)]);
    log.close();
  });

  test.each([
    ["DELETE FROM updates WHERE seq = 3", /1 bodies belong to no entry/],
    ["UPDATE totals SET bodies = 19", /the totals are .*"bodies":19/],
    ["UPDATE updates SET size = 7 WHERE seq = 3", /1 bodies differ in length/],
  ])("finds what is wrong after %s", (sql, problem) => {
    const path = join(scratch(), "log");
    filled(path, 20).close();
    const db = new Database(path);
    db.pragma("foreign_keys = OFF");
    db.exec(sql);
    db.close();
    expect(inspectLog(path).problems.join("\n")).toMatch(problem);
  });

  test("finds a page that was overwritten, and a backup of it is refused", async () => {
    const directory = scratch();
    const path = join(directory, "log");
    filled(path, 200).close();
    const bytes = readFileSync(path);
    writeFileSync(path, bytes.fill(0xa5, bytes.length - 8192, bytes.length - 4096));
    expect(inspectLog(path).problems.length).toBeGreaterThan(0);
    const target = join(directory, "copy");
    await expect(backUpLog(path, target, QUIETLY)).rejects.toMatchObject({ kind: "corrupt" });
    expect(existsSync(target)).toBe(false);
  });
});

describe("a log in which damage is met", () => {
  test("reads on, writes no more, and tells it once", () => {
    const path = join(scratch(), "log");
    filled(path, 200).close();
    // What is read at the start is spared, and the newest entry.
    overwrite(path, "bodies", 5);
    const log = UpdateLog.open(path);
    const told: string[] = [];
    log.onDamage(({ kind }) => told.push(kind));
    expect(log.damage).toBeUndefined();
    const corrupt = expect.objectContaining({ kind: "corrupt" });
    expect(() => {
      for (let n = 1; n <= 200; n += 1) log.body(seq(n));
    }).toThrow(corrupt);
    expect(log.damage).toMatchObject({ kind: "corrupt" });
    for (let n = 0; n < 3; n += 1) expect(() => log.append([arrival(1000 + n)])).toThrow(corrupt);
    expect(() => log.cursors.set("p", { number: 1, hash: update(1).hash })).toThrow(corrupt);
    expect(log.counts().entries).toBe(200);
    expect(told).toEqual(["corrupt"]);
    log.close();
  });

  test("is not opened for writing if its newest entries cannot be read", () => {
    const path = join(scratch(), "log");
    filled(path, 200).close();
    overwrite(path, "updates", 2);
    expect(() => UpdateLog.open(path)).toThrow(expect.objectContaining({ kind: "corrupt" }));
    const reader = UpdateLog.open(path, { readonly: true });
    expect(reader.counts().entries).toBe(200);
    reader.close();
  });

  /** Overwrites pages of a table, but not the one with the newest rows. */
  function overwrite(path: string, table: string, pages: number): void {
    const db = new Database(path, { readonly: true });
    const leaves = db
      .prepare("SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY path")
      .pluck()
      .all(table) as number[];
    db.close();
    expect(leaves.length).toBeGreaterThan(pages);
    const bytes = readFileSync(path);
    for (const leaf of leaves.slice(0, pages)) bytes.fill(0xa5, (leaf - 1) * 4096, leaf * 4096);
    writeFileSync(path, bytes);
  }
});
