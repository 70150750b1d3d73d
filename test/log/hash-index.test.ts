/**
 * The index of hashes against a model: random appends with repetitions and collisions, transactions
 * that fail, kills, restarts and expiry, looked at by the writer and by a reader beside it.
 */
import { createHash } from "node:crypto";
import { copyFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { expect, test } from "vitest";
import { RANGES } from "../../src/log/hash-index.js";
import { inspectLog } from "../../src/log/inspect.js";
import { HASHES_PER_RANGE } from "../../src/log/schema.js";
import { type Arrival, UpdateLog } from "../../src/log/update-log.js";
import type { UpdateHash } from "../../src/update.js";
import { scratch } from "../support/scratch.js";
import { arrival, HOUR_MS, seq, update } from "./material.js";

const T0 = 1_700_000_000_000;
const WRONG = { neighbour: undefined, transport: "pigeon" as "mail" };

/** An update with the hash of the n-th, and a digest of its own if `variant` is not 0. */
function made(n: number, variant = 0): Arrival {
  const digest =
    variant === 0
      ? update(n, 0).digest
      : createHash("sha256").update(`${n}/${variant}`).digest("hex");
  return arrival(n, {
    update: { ...update(n, 20), digest },
    trail: [],
    receivedAt: T0 + n * 1000,
  });
}

/** What the log has to know: for each hash the entries, by digest. */
class Model {
  readonly #entries = new Map<string, Map<string, number>>();
  newest = 0;

  /** The outcome of an append, with its effect. */
  add({ update: { hash, digest } }: Arrival): unknown {
    const known = this.#entries.get(hash) ?? new Map<string, number>();
    const same = known.get(digest);
    if (same !== undefined) return { outcome: "duplicate", seq: same };
    const collision = known.size > 0;
    this.newest += 1;
    this.#entries.set(hash, known.set(digest, this.newest));
    return { outcome: "appended", seq: this.newest, collision };
  }

  expire(kept: ReadonlySet<number>): void {
    for (const [hash, known] of this.#entries) {
      for (const [digest, own] of known) if (!kept.has(own)) known.delete(digest);
      if (known.size === 0) this.#entries.delete(hash);
    }
  }

  /** The newest entry with this hash. */
  of(hash: UpdateHash): number | undefined {
    const known = [...(this.#entries.get(hash)?.values() ?? [])];
    return known.length === 0 ? undefined : Math.max(...known);
  }
}

/** Numbers below a limit, always the same for a seed. */
function dice(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** The files as they are now, as after a kill. */
function copied(path: string): string {
  const copy = join(scratch(), "log");
  for (const end of ["", "-wal"]) {
    if (existsSync(path + end)) copyFileSync(path + end, copy + end);
  }
  return copy;
}

test.each([1, 2])(
  "knows the same hashes as a model (seed %i)",
  (seed) => {
    const roll = dice(seed);
    const model = new Model();
    let path = join(scratch(), "log");
    let log = UpdateLog.open(path);
    /** Updates up to this number were appended, or tried in vain. */
    let tried = 0;
    const failed: number[] = [];

    const batch = (size: number) =>
      Array.from({ length: size }, () => {
        const [kind, recent] = [roll(20), 1 + Math.max(0, tried - roll(3000))];
        if (tried === 0 || kind > 2) return made(++tried);
        if (kind === 0) return made(1 + roll(tried));
        return made(recent, kind === 1 ? 0 : 1 + roll(2));
      });

    const compare = (reader: UpdateLog, looks: number) => {
      const asked = Array.from({ length: looks }, () => 1 + roll(tried + 10));
      for (const n of [...asked, ...failed, tried]) {
        const { hash } = update(n, 0);
        expect([n, reader.entryByHash(hash)?.seq]).toEqual([n, model.of(hash)]);
        expect(reader.has(hash)).toBe(model.of(hash) !== undefined);
      }
    };

    const steps: readonly (() => void)[] = [
      () => {
        const arrivals = batch(1 + roll(20));
        expect(log.append(arrivals)).toEqual(arrivals.map((one) => model.add(one)));
      },
      () => {
        // All of it is rolled back, also where a range was written in it.
        const from = tried + 1;
        const arrivals = Array.from({ length: 1 + roll(1500) }, (_, n) => made(from + n));
        const last = arrival(999_999, { origin: WRONG });
        expect(() => log.append([...arrivals, last])).toThrow(/CHECK/);
        failed.splice(0, failed.length, from, from + roll(arrivals.length));
        compare(log, 5);
        failed.length = 0;
      },
      () => {
        const copy = copied(path);
        log.close();
        path = copy;
        log = UpdateLog.open(path);
        compare(log, 50);
      },
      () => {
        log.close();
        log = UpdateLog.open(path);
      },
      () => {
        const reader = UpdateLog.open(path, { readonly: true });
        compare(reader, 5);
        reader.close();
      },
      () => {
        const limits = { retainMs: 2 * HOUR_MS, rememberMs: (4 + roll(4)) * HOUR_MS };
        log.retention.expire(T0 + tried * 1000, limits, 1 + roll(2000));
        model.expire(new Set(log.range(seq(0), seq(1e9), 1e9).map((entry) => entry.seq)));
      },
    ];

    const target = (RANGES + 3) * HASHES_PER_RANGE;
    while (model.newest < target) {
      const arrivals = batch(1 + roll(3000));
      expect(log.append(arrivals)).toEqual(arrivals.map((one) => model.add(one)));
      compare(log, 30);
      steps[roll(steps.length)]?.();
    }
    compare(log, 2000);
    log.close();
    const db = new Database(path, { readonly: true });
    // Each range was written, and not all that was gathered is.
    expect(db.prepare("SELECT hashed FROM totals").pluck().get()).toBeGreaterThan(RANGES);
    const count = db.prepare("SELECT (SELECT count(*) FROM updates) > count(*) FROM hashes");
    expect(count.pluck().get()).toBe(1);
    db.close();
    expect(inspectLog(path).problems).toEqual([]);
  },
  120_000,
);

test("numbers that were skipped leave no range out", () => {
  const path = join(scratch(), "log");
  UpdateLog.open(path).close();
  let log = UpdateLog.open(path);
  log.append([1, 2, 3].map((n) => made(n)));
  log.close();
  const db = new Database(path);
  db.exec(`UPDATE totals SET last = ${100 * HASHES_PER_RANGE}`);
  db.close();
  log = UpdateLog.open(path);
  log.append([made(4)]);
  log.close();
  log = UpdateLog.open(path);
  expect([1, 2, 3, 4, 5].map((n) => log.has(update(n, 0).hash))).toEqual([
    ...[true, true, true, true, false],
  ]);
  expect(log.append([made(2), made(4)])).toMatchObject([{ seq: 2 }, { outcome: "duplicate" }]);
  log.close();
  expect(inspectLog(path).problems).toEqual([]);
});

test.each([
  ["DELETE FROM hashes WHERE seq = 5", /1 entries are not found by their hashes/],
  ["INSERT INTO hashes VALUES (zeroblob(16), 9)", /1 rows of hashes belong to no entry/],
  [
    // The digests of two entries with one hash become equal: one of them is in `hashes`.
    `UPDATE updates SET digest = (SELECT digest FROM updates WHERE seq = 7) WHERE seq = 8`,
    /1 updates are stored twice/,
  ],
])("an inspection finds what is wrong after %s", (sql, problem) => {
  const path = join(scratch(), "log");
  const log = UpdateLog.open(path);
  log.append([1, 2, 3, 4, 5, 6, 7].map((n) => made(n)));
  log.append([made(7, 1)]);
  log.close();
  const db = new Database(path);
  // All that there is counts as written.
  db.exec(`
    INSERT OR IGNORE INTO hashes SELECT hash, seq FROM updates WHERE seq < 8;
    UPDATE totals SET hashed = ${RANGES}`);
  db.exec("INSERT INTO hashes SELECT hash, seq FROM updates WHERE seq = 8");
  db.close();
  expect(inspectLog(path).problems).toEqual([]);
  const spoilt = new Database(path);
  spoilt.exec(sql);
  spoilt.close();
  expect(inspectLog(path).problems.join("\n")).toMatch(problem);
});
