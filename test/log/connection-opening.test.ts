/**
 * Taking a log file: what is refused and how, one writer at a time, readers beside it, and what is
 * left after a process was killed. Child processes run the built log.
 */
import { type ChildProcessByStdio, execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { pathToFileURL } from "node:url";
import Database from "better-sqlite3";
import { describe, expect, test } from "vitest";
import type { TroubleKind } from "../../src/errors.js";
import {
  APPLICATION_ID,
  assertDurable,
  assertSqliteVersion,
  configureWriter,
  SCHEMA_VERSION,
} from "../../src/log/schema.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { ROOT } from "../e2e/stage.js";
import { scratch } from "../support/scratch.js";
import { arrival, seq, troubleOf, update } from "./material.js";

function expectTrouble(work: () => unknown, kind: TroubleKind, message: RegExp): void {
  const trouble = troubleOf(work);
  expect([trouble.kind, trouble.message]).toEqual([kind, expect.stringMatching(message)]);
  expect(trouble.remedy).toMatch(/^[A-Z].{20,}\.$/s);
}

describe("a file that is not a log of this gateway", () => {
  test("the database of another program is refused and left as it is", () => {
    const path = join(scratch(), "log");
    const db = new Database(path);
    db.exec("CREATE TABLE mail (id INTEGER)");
    db.close();
    const before = readFileSync(path);
    expectTrouble(() => UpdateLog.open(path), "not-ours", /database of another program/);
    expectTrouble(() => UpdateLog.open(path, { readonly: true }), "not-ours", /another program/);
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  test("a file that is no database", () => {
    const path = join(scratch(), "log");
    writeFileSync(path, "-----BEGIN PGP PUBLIC KEY BLOCK-----\n".repeat(100));
    const before = readFileSync(path);
    expectTrouble(() => UpdateLog.open(path), "not-ours", /is not a database/);
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  test("an application id of another program, even without tables", () => {
    const path = join(scratch(), "log");
    const db = new Database(path);
    db.pragma(`application_id = ${APPLICATION_ID + 1}`);
    db.close();
    expectTrouble(() => UpdateLog.open(path), "not-ours", /another program/);
  });

  test("a log of a later version, named in the message", () => {
    const path = join(scratch(), "log");
    UpdateLog.open(path).close();
    const db = new Database(path);
    db.pragma(`user_version = ${SCHEMA_VERSION + 1}`);
    db.close();
    const words = new RegExp(`version ${SCHEMA_VERSION + 1}, .* version ${SCHEMA_VERSION}$`);
    expectTrouble(() => UpdateLog.open(path), "not-ours", words);
    expectTrouble(() => UpdateLog.open(path, { readonly: true }), "not-ours", words);
  });
});

describe("a log that cannot be used", () => {
  test("truncated to half: corrupt", () => {
    const path = join(scratch(), "log");
    const log = UpdateLog.open(path);
    log.append(Array.from({ length: 50 }, (_, index) => arrival(index)));
    log.close();
    truncateSync(path, Math.floor(readFileSync(path).length / 8192) * 4096);
    expectTrouble(() => UpdateLog.open(path), "corrupt", /damaged \(SQLITE_CORRUPT/);
  });

  test("a page overwritten: corrupt when it is read", () => {
    const path = join(scratch(), "log");
    UpdateLog.open(path).close();
    const empty = readFileSync(path).length;
    const log = UpdateLog.open(path);
    log.append(Array.from({ length: 200 }, (_, index) => arrival(index)));
    log.close();
    const bytes = readFileSync(path);
    // The pages of an empty log are spared: they hold the header and the schema.
    writeFileSync(path, bytes.fill(0xa5, empty));
    const damaged = UpdateLog.open(path, { readonly: true });
    expectTrouble(() => damaged.range(seq(1), seq(200), 200), "corrupt", /damaged/);
    expectTrouble(() => damaged.has(update(1).hash), "corrupt", /damaged/);
    damaged.close();
  });

  test("a missing directory, a directory in the place of the file, a missing file", () => {
    const directory = scratch();
    expectTrouble(() => UpdateLog.open(`${directory}/no/log`), "unusable", /no does not exist/);
    mkdirSync(join(directory, "log"));
    expectTrouble(() => UpdateLog.open(`${directory}/log`), "unusable", /cannot be opened/);
    const missing = join(directory, "missing");
    const open = () => UpdateLog.open(missing, { readonly: true });
    expectTrouble(open, "unusable", /missing: does not exist/);
    expect(existsSync(missing)).toBe(false);
  });

  test("an empty file is no log to read, and becomes one for a writer", () => {
    const path = join(scratch(), "log");
    writeFileSync(path, "");
    expectTrouble(() => UpdateLog.open(path, { readonly: true }), "not-ours", /is empty/);
    UpdateLog.open(path).close();
    const reader = UpdateLog.open(path, { readonly: true });
    expect(reader.newest()).toBe(0);
    reader.close();
  });

  test("a directory without write permission: read-only", () => {
    const directory = scratch();
    chmodSync(directory, 0o555);
    const trouble = openedByNobody(join(directory, "log"));
    expect(trouble).toMatchObject({ kind: "read-only" });
    expect(trouble.message).toMatch(/cannot be written/);
    expect(trouble.remedy).toContain(`Make ${directory} writable for the gateway's user`);
    chmodSync(directory, 0o777);
    expect(openedByNobody(join(directory, "log"))).toEqual({});
  });

  test("a log opened to read refuses to write", () => {
    const path = join(scratch(), "log");
    UpdateLog.open(path).close();
    const reader = UpdateLog.open(path, { readonly: true });
    expectTrouble(() => reader.append([arrival(1)]), "read-only", /cannot be written/);
    expect(reader.newest()).toBe(0);
    reader.close();
  });
});

describe("durability", () => {
  test("is WAL and FULL on a file, read back from SQLite", () => {
    const log = UpdateLog.open(join(scratch(), "log"));
    expect(log.durability()).toMatchObject({ journalMode: "wal", synchronous: 2 });
    log.close();
    expect(UpdateLog.open(":memory:").durability().synchronous).toBe(2);
  });

  test("is refused when the settings did not take", () => {
    const path = join(scratch(), "log");
    const db = new Database(path);
    configureWriter(db);
    expect(() => assertDurable(db, path)).not.toThrow();
    for (const [pragma, message] of [
      ["synchronous = NORMAL", /synchronous is 1/],
      ["journal_mode = DELETE", /write-ahead log \(delete\)/],
    ] as const) {
      db.pragma(pragma);
      expectTrouble(() => assertDurable(db, path), "unusable", message);
      configureWriter(db);
    }
    db.close();
  });

  test("needs SQLite 3.51.3", () => {
    for (const good of ["3.51.3", "3.51.10", "3.52.0", "3.100.0", "4.0.0"]) {
      expect(() => assertSqliteVersion(good)).not.toThrow();
    }
    for (const bad of ["3.51.2", "3.50.9", "3.6.23", "2.99.99", "3.51"]) {
      expectTrouble(() => assertSqliteVersion(bad), "unusable", /can lose committed updates/);
    }
  });
});

describe("one writer", () => {
  test("a second writer is refused, also by another name of the file, a reader is not", () => {
    const directory = scratch();
    const path = join(directory, "log");
    const log = UpdateLog.open(path);
    log.append([arrival(1)]);
    expectTrouble(() => UpdateLog.open(path), "busy", /another kxgw serves this log/);
    symlinkSync(path, join(directory, "alias"));
    expectTrouble(() => UpdateLog.open(`${directory}/alias`), "busy", /another kxgw/);
    const reader = UpdateLog.open(path, { readonly: true });
    expect(reader.newest()).toBe(1);
    log.append([arrival(2)]);
    expect(reader.newest()).toBe(2);
    expect(reader.body(seq(2))).toEqual(update(2).body);
    log.close();
    log.close();
    const next = UpdateLog.open(path);
    expect(next.newest()).toBe(2);
    next.close();
    reader.close();
  });

  test("a failed start holds nothing", () => {
    const path = join(scratch(), "log");
    writeFileSync(path, "no database".repeat(100));
    expectTrouble(() => UpdateLog.open(path), "not-ours", /is not a database/);
    writeFileSync(path, "");
    UpdateLog.open(path).close();
  });

  test("closing empties the WAL also while a reader stays", () => {
    const path = join(scratch(), "log");
    const log = UpdateLog.open(path);
    const reader = UpdateLog.open(path, { readonly: true });
    log.append([arrival(1)]);
    expect(reader.newest()).toBe(1);
    log.close();
    expect(readFileSync(`${path}-wal`)).toHaveLength(0);
    reader.close();
  });

  test("the last of several readers and writers leaves a checkpointed file", () => {
    const path = join(scratch(), "log");
    const log = UpdateLog.open(path);
    log.append([arrival(1)]);
    expect(log.checkpoint()).toBe(true);
    expect(readFileSync(`${path}-wal`)).toHaveLength(0);
    log.append([arrival(2)]);
    log.close();
    expect(existsSync(`${path}-wal`)).toBe(false);
    const copy = `${path}-copy`;
    copyFileSync(path, copy);
    const copied = UpdateLog.open(copy);
    expect(copied.newest()).toBe(2);
    copied.close();
  });
});

describe("another process", () => {
  test("holds the log while it lives; after kill -9 the log is free and whole", async () => {
    const directory = scratch();
    const path = join(directory, "log");
    const child = startWriter(directory, path);
    const lines = linesOf(child.stdout);
    await lines.atLeast(20);
    expectTrouble(() => UpdateLog.open(path), "busy", /another kxgw serves this log/);
    const reader = UpdateLog.open(path, { readonly: true });
    expect(reader.newest()).toBeGreaterThanOrEqual(20);
    await lines.atLeast(200);
    child.kill("SIGKILL");
    const acked = await lines.end();
    reader.close();

    const log = UpdateLog.open(path);
    expect(log.newest()).toBeGreaterThanOrEqual(acked);
    // One more may be committed and not yet said.
    expect(log.newest()).toBeLessThanOrEqual(acked + 1);
    const entries = log.range(seq(1), seq(acked), acked);
    expect(entries.map((entry) => entry.seq)).toEqual(
      Array.from({ length: acked }, (_, index) => index + 1),
    );
    expect(log.cursors.get("peer")?.number).toBe(log.newest());
    expect(log.append([arrival(1)])[0]?.seq).toBe(log.newest());
    log.close();
  });
});

/** Where the built log is, for processes of their own. */
const BUILT = JSON.stringify(pathToFileURL(join(ROOT, "dist/log/update-log.js")));

/**
 * What comes of opening a log without the rights of root, which may write everywhere: the trouble,
 * or nothing. The process loads all of its code before it gives its rights away.
 */
function openedByNobody(path: string): { kind?: string; message?: string; remedy?: string } {
  const script = `
    import { UpdateLog } from ${BUILT};
    UpdateLog.open(":memory:").close();
    if (process.getuid() === 0) {
      process.setgroups([]);
      process.setgid(65534);
      process.setuid(65534);
    }
    let trouble = {};
    try {
      UpdateLog.open(process.argv[1]).close();
    } catch ({ kind, message, remedy }) {
      trouble = { kind, message, remedy };
    }
    process.stdout.write(JSON.stringify(trouble));`;
  const args = ["--input-type=module", "--eval", script, path];
  return JSON.parse(execFileSync(process.execPath, args, { encoding: "utf8" }));
}

/** Runs a writer that prints each number it stored. */
function startWriter(directory: string, path: string): ChildProcessByStdio<null, Readable, null> {
  const script = join(directory, "writer.mjs");
  writeFileSync(
    script,
    `import { createHash } from 'node:crypto';
     import { writeSync } from 'node:fs';
     import { UpdateLog } from ${BUILT};
     const log = UpdateLog.open(process.argv[2]);
     for (let n = 1; ; n += 1) {
       const digest = createHash('sha256').update(String(n)).digest('hex');
       const update = { hash: digest.slice(0, 32), digest, fingerprint: digest.slice(0, 40),
         body: Buffer.alloc(n % 6000, n), selfSigned: undefined, packets: [] };
       const origin = { neighbour: 'peer', transport: 'kx' };
       const [stored] = log.append([{ update, origin, trail: [], receivedAt: n }],
         { peer: 'peer', at: { number: n, hash: update.hash } });
       writeSync(1, stored.seq + '\\n');
     }`,
  );
  return spawn(process.execPath, [script, path], { stdio: ["ignore", "pipe", "inherit"] });
}

/** The growing numbers that a child prints, one a line. */
function linesOf(stdout: Readable) {
  let text = "";
  let wake = () => {};
  const ended = new Promise<void>((done) => stdout.once("end", done));
  stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
    wake();
  });
  const last = () => Number(text.slice(0, text.lastIndexOf("\n")).split("\n").at(-1));
  return {
    async atLeast(count: number): Promise<void> {
      while (!(last() >= count)) {
        const more = new Promise<void>((done) => {
          wake = done;
        });
        await Promise.race([more, ended.then(() => expect.unreachable("the child ended"))]);
      }
    },
    async end(): Promise<number> {
      await ended;
      return last();
    },
  };
}
