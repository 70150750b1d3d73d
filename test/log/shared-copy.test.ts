/**
 * Copies of a shared log over a database in memory: who is first, what happens to the others, and
 * what a copy does when the database is away, empty, of another site or older than the copy.
 */
import { join } from "node:path";
import Database from "better-sqlite3";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Trouble } from "../../src/errors.js";
import { LOCAL_TABLES, SHARED_TABLES } from "../../src/log/shared-tables.js";
import { UpdateLog } from "../../src/log/update-log.js";
import {
  type Copy,
  contentsOf,
  expectEqual,
  load,
  loadedCopy,
  openCopy,
} from "../support/copies.js";
import { MemoryShared } from "../support/memory-shared.js";
import { scratch } from "../support/scratch.js";
import { arrival, fingerprint, selfSigned, seq, troubleOf, update } from "./material.js";

const SITE = { name: "far", address: "pgp@far.example" };

/** Two copies of a new site, each with its session. */
function pair() {
  const database = new MemoryShared();
  const [own, others] = [database.session(), database.session()];
  const [left, right] = [loadedCopy(own), loadedCopy(others)];
  onTestFinished(() => {
    left.log.close();
    right.log.close();
  });
  return { database, left, right, own, others };
}

test("each table of the schema is shared or local, and the reason is said", () => {
  const { left } = pair();
  const tables = left.db
    .prepare("SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
    .pluck()
    .all();
  const all = [...Object.keys(SHARED_TABLES), ...Object.keys(LOCAL_TABLES)];
  expect(all.sort()).toEqual([...(tables as string[])].sort());
});

describe("two gateways", () => {
  test("have one name, one secret and one numbering", () => {
    const { left, right } = pair();
    expect(right.log.name).toBe(left.log.name);
    expect(right.log.bounces.secret).toEqual(left.log.bounces.secret);
    const numbers = [1, 2, 3, 4].map((n) => {
      const { log } = n % 2 === 0 ? left : right;
      return log.append([arrival(n)])[0];
    });
    expect(numbers).toMatchObject([1, 2, 3, 4].map((seq) => ({ outcome: "appended", seq })));
    expectEqual(left, right);
    expect(left.log.counts()).toMatchObject({ entries: 4, bodies: 4, bodyBytes: 800 });
  });

  test("give an update that comes to both one number", () => {
    const { left, right } = pair();
    left.log.append([arrival(1), arrival(2)]);
    const again = right.log.append([arrival(3), arrival(2)]);
    expect(again).toEqual([
      { outcome: "appended", seq: 3, collision: false },
      { outcome: "duplicate", seq: 2 },
    ]);
    expectEqual(left, right);
  });

  test("change different rows without running a transaction again", () => {
    const { left, right } = pair();
    left.log.lanes.open("far", SITE);
    right.log.append([arrival(1)]);
    let runs = 0;
    left.log.lanes.together(() => {
      runs += 1;
      const row = left.log.lanes.open("far");
      left.log.lanes.save("far", { ...row, attempt: 3 });
    });
    expect(runs).toBe(1);
    expect(left.log.newest()).toBe(1);
    expectEqual(left, right);
    expect(right.log.lanes.get("far")?.attempt).toBe(3);
  });

  test("that change one row: the later one sees what the earlier one did", () => {
    const { left, right } = pair();
    left.log.lanes.open("far", SITE);
    load(right.log);
    const row = left.log.lanes.open("far");
    left.log.lanes.save("far", { ...row, attempt: 1 });
    const run = () =>
      right.log.lanes.together(() => right.log.lanes.save("far", { ...row, attempt: 2 }));
    expect(troubleOf(run).kind).toBe("busy");
    expect(right.log.lanes.get("far")?.attempt).toBe(0);
    right.log.lanes.save("far", { ...row, attempt: 2 });
    load(left.log);
    expect(left.log.lanes.get("far")?.attempt).toBe(2);
    expectEqual(left, right);
  });

  test.each([
    [100, "appended"],
    [250, "busy"],
  ])("append although the other one commits first %i times: %s", (times, expected) => {
    const database = new MemoryShared();
    const left = loadedCopy(database.session());
    const session = database.session();
    let overtaken = 0;
    const right = loadedCopy({
      name: () => session.name(),
      changes: (position, limit, base) => session.changes(position, limit, base),
      expires: false,
      discard: () => {},
      commit: (after, rows) => {
        if (overtaken < times) {
          overtaken += 1;
          left.log.append([arrival(overtaken)]);
        }
        return session.commit(after, rows);
      },
    });
    let outcome: string | undefined;
    try {
      outcome = right.log.append([arrival(1000)])[0]?.outcome;
    } catch (error) {
      outcome = (error as Trouble).kind;
    }
    expect(outcome).toBe(expected);
    expect(left.log.catchUp()).toBe(true);
    expect(right.log.catchUp()).toBe(true);
    expectEqual(left, right);
  });

  test("wake their doors for what the other one has stored, after it is there", () => {
    const { left, right } = pair();
    const seen: number[] = [];
    right.log.onAppend(() => seen.push(right.log.newest()));
    left.log.append([arrival(1), arrival(2)]);
    expect(seen).toEqual([]);
    expect(right.log.catchUp()).toBe(true);
    expect(seen).toEqual([2]);
    expect(right.log.catchUp()).toBe(true);
    expect(seen).toEqual([2]);
  });

  test("forget a key at both, and the database keeps nothing of it", () => {
    const { database, left, right } = pair();
    const known = { update: update(1, 200, selfSigned("Ann")), messageId: "<ann@mail.example>" };
    left.log.append([arrival(1, known), arrival(2)]);
    load(right.log);
    right.log.removals.forget(fingerprint(1), "asked", 5, 0);
    load(left.log);
    expect(left.log.body(seq(1))).toBeUndefined();
    expect(left.log.removals.isForgotten(seq(1))).toBe(true);
    expect(left.log.append([arrival(1)])).toEqual([{ outcome: "duplicate", seq: 1 }]);
    expectEqual(left, right);
    const stored = JSON.stringify([...database.rows.values()].map(({ data }) => data));
    expect(stored).not.toContain(fingerprint(1).toLowerCase());
    expect(stored).not.toContain("ann@mail.example");
    expect(database.get("bodies", "[1]")?.data).toBeUndefined();
    expect(database.get("updates", "[1]")?.position).toBe(2);
    const fresh = loadedCopy(database.session());
    expect(contentsOf(fresh.db)).toEqual(contentsOf(left.db));
    fresh.log.close();
  });

  test("carry out a block that was ordered at either of them", () => {
    const { left, right } = pair();
    const block = { reason: "asked", until: undefined, allowRevocation: false };
    left.log.removals.setBlock(fingerprint(1), block, 7);
    expect(right.log.removals.block(fingerprint(1))).toBeUndefined();
    load(right.log);
    expect(right.log.removals.block(fingerprint(1))).toMatchObject(block);
    right.log.removals.unblock(fingerprint(1), 8);
    load(left.log);
    expect(left.log.removals.blocks()).toEqual([]);
  });

  test("add to one trail what each of them has heard", () => {
    const { left, right } = pair();
    left.log.append([arrival(1, { trail: ["a@a.example"] })]);
    load(right.log);
    const again = (...trail: string[]) =>
      arrival(1, { trail, origin: { neighbour: undefined, transport: "mail" } });
    left.log.append([again("b@b.example", "c@c.example")]);
    right.log.append([again("c@c.example", "d@d.example")]);
    left.log.trails.settle();
    right.log.trails.settle();
    const all = ["a@a.example", "b@b.example", "c@c.example", "d@d.example"];
    expect([...right.log.trails.get(seq(1))].sort()).toEqual(all);
    expectEqual(left, right);
  });
});

describe("the database", () => {
  test("is away: nothing is changed, and all goes on afterwards", () => {
    const { left, right, own } = pair();
    left.log.append([arrival(1)]);
    own.isAway = true;
    const run = () => left.log.append([arrival(2)]);
    expect(troubleOf(run).kind).toBe("away");
    expect(left.log.newest()).toBe(1);
    expect(left.log.has(update(2).hash)).toBe(false);
    right.log.append([arrival(3)]);
    own.isAway = false;
    expect(left.log.append([arrival(2)])).toMatchObject([{ seq: 3 }]);
    expectEqual(left, right);
  });

  test("stored a transaction whose answer was lost: it is found, and not stored again", () => {
    const { left, right, own } = pair();
    own.lostAnswers = 1;
    expect(troubleOf(() => left.log.append([arrival(1)])).kind).toBe("away");
    expect(left.log.newest()).toBe(0);
    expect(left.log.append([arrival(1)])).toEqual([{ outcome: "duplicate", seq: 1 }]);
    expectEqual(left, right);
  });

  test("is not asked for what changes no shared row", () => {
    const { left, own, database } = pair();
    left.log.append([arrival(1)]);
    const before = database.position;
    own.isAway = true;
    left.log.settle();
    left.log.counterRows.save([]);
    expect(database.position).toBe(before);
  });

  test("of another site, or an older state of it, is refused, and nothing is changed", () => {
    const path = join(scratch(), "copy");
    const database = new MemoryShared();
    const copy = loadedCopy(database.session(), path);
    copy.log.append([arrival(1)]);
    copy.log.close();
    const other = new MemoryShared();
    const stranger = loadedCopy(other.session());
    stranger.log.append([arrival(2)]);
    const { log } = openCopy(other.session(), path);
    expect(troubleOf(() => log.catchUp())).toMatchObject({
      kind: "not-ours",
      message: expect.stringMatching(/copy of another log/),
    });
    expect(log.newest()).toBe(1);
    log.close();
    const empty = openCopy(new MemoryShared().session(), path).log;
    expect(troubleOf(() => empty.catchUp()).message).toMatch(/older state of it was restored/);
    empty.close();
    database.position = 1;
    const early = openCopy(database.session(), path).log;
    expect(troubleOf(() => early.catchUp()).message).toMatch(/older state of it was restored/);
    early.close();
    stranger.log.close();
  });
});

describe("a copy", () => {
  /** A copy in a file, closed, and its database with `n` updates. */
  function followed(n: number) {
    const database = new MemoryShared();
    const path = join(scratch(), "copy");
    const { log } = loadedCopy(database.session(), path);
    for (let at = 1; at <= n; at += 1) log.append([arrival(at)]);
    log.close();
    return { database, path };
  }

  function close(...copies: readonly Copy[]): void {
    for (const { log } of copies) log.close();
  }

  test("whose position a restored database has overtaken is refused", () => {
    const { database, path } = followed(2);
    const restored = database.restored();
    const before = loadedCopy(database.session(), path);
    before.log.append([arrival(3)]);
    close(before);
    const other = loadedCopy(restored.session());
    for (const n of [4, 5]) other.log.append([arrival(n)]);
    const { log } = openCopy(restored.session(), path);
    const trouble = troubleOf(() => log.catchUp());
    expect(trouble).toMatchObject({
      kind: "not-ours",
      message: expect.stringMatching(/position 4 of the copy is another commit .* was restored$/),
      remedy: expect.stringMatching(/move the file away/),
    });
    expect(log.newest()).toBe(3);
    log.close();
    close(other);
  });

  test("commits nothing on top of another history at the same position", () => {
    const { database, path } = followed(2);
    const restored = database.restored();
    const session = database.session();
    const { log } = loadedCopy(session, path);
    log.append([arrival(3)]);
    const other = loadedCopy(restored.session());
    other.log.append([arrival(4)]);
    expect(restored.position).toBe(database.position);
    // The session ends, and the next one is at the restored database.
    const next = restored.session();
    session.commit = next.commit.bind(next);
    session.changes = next.changes.bind(next);
    expect(troubleOf(() => log.append([arrival(5)])).message).toMatch(/is another commit/);
    expect(log.newest()).toBe(3);
    expect(restored.position).toBe(database.position);
    log.close();
    close(other);
  });

  test("learns what was deleted as long as the database remembers it, and is refused later", () => {
    const { database, path } = followed(1);
    const deleting = loadedCopy(database.session());
    const block = { reason: "asked", until: undefined, allowRevocation: false };
    deleting.log.removals.setBlock(fingerprint(1), block, 7);
    const [late, later] = [join(scratch(), "late"), join(scratch(), "later")];
    close(loadedCopy(database.session(), late), loadedCopy(database.session(), later));
    const { position } = database;
    deleting.log.removals.unblock(fingerprint(1), 8);
    deleting.log.append([arrival(2)]);
    database.purge(position);
    const copy = loadedCopy(database.session(), late);
    expect(copy.log.removals.blocks()).toEqual([]);
    expectEqual(deleting, copy);
    database.purge(position + 1);
    expect([...database.rows.values()].filter(({ data }) => data === undefined)).toEqual([]);
    for (const one of [later, path]) {
      const { log } = openCopy(database.session(), one);
      expect(troubleOf(() => log.catchUp()).message).toMatch(/what was deleted only from \d+ on$/);
      log.close();
    }
    close(deleting, copy);
  });

  test("is loaded from commits that are forgotten, and goes on if its beginning is not", () => {
    const { database } = followed(40);
    database.purge(database.position);
    const [path, late] = [join(scratch(), "copy"), join(scratch(), "late")];
    for (const one of [path, late]) {
      const { log } = openCopy(database.session(), one);
      expect(log.catchUp(2000)).toBe(false);
      expect(log.copy?.position).toBeLessThan(database.position);
      log.close();
    }
    const other = loadedCopy(database.session());
    other.log.lanes.open("far", SITE);
    const again = loadedCopy(database.session(), path, 2000);
    expectEqual(other, again);
    // What was loaded at first may have been deleted since, and the deletion is forgotten; a piece
    // that was loaded later does not change that.
    const { log } = openCopy(database.session(), late);
    expect(log.catchUp(2000)).toBe(false);
    database.purge(database.position);
    expect(troubleOf(() => log.catchUp()).message).toMatch(/what was deleted only from/);
    log.close();
    close(other, again);
  });
});

describe("the file", () => {
  test("may be deleted: it is loaded again in pieces, and goes on where it was interrupted", () => {
    const database = new MemoryShared();
    const first = loadedCopy(database.session());
    first.log.lanes.open("far", SITE);
    for (let n = 1; n <= 300; n += 1) {
      const { log } = first;
      log.append([arrival(n, { update: update(n, 500, n === 7 ? selfSigned("Ann") : undefined) })]);
    }
    const path = join(scratch(), "copy");
    let pieces = 0;
    for (;;) {
      const { log } = openCopy(database.session(), path);
      expect(log.copy?.isComplete).toBe(false);
      const isDone = log.catchUp(20_000);
      if (!isDone) expect(troubleOf(() => log.lanes.open("near", SITE)).kind).toBe("busy");
      log.close();
      pieces += 1;
      if (isDone) break;
    }
    expect(pieces).toBeGreaterThan(5);
    const again = openCopy(database.session(), path);
    expect(again.log.copy).toMatchObject({ isComplete: true, position: database.position });
    expectEqual(first, again);
    again.log.close();
    first.log.close();
  });

  test("is not opened as what it is not", () => {
    const directory = scratch();
    const path = join(directory, "log");
    const own = UpdateLog.open(path);
    own.append([arrival(1)]);
    own.close();
    const { session } = { session: new MemoryShared().session() };
    const asCopy = troubleOf(() => UpdateLog.open(path, { shared: session }));
    expect(asCopy).toMatchObject({ kind: "not-ours", message: expect.stringMatching(/its own/) });
    const copy = join(directory, "copy");
    loadedCopy(session, copy).log.close();
    expect(troubleOf(() => UpdateLog.open(copy)).message).toMatch(/log.shared is not set/);
    const reader = UpdateLog.open(copy, { readonly: true });
    expect(reader.newest()).toBe(0);
    reader.close();
  });

  test("syncs less than a log of its own, and has no trace of the triggers", () => {
    const path = join(scratch(), "copy");
    const { log } = loadedCopy(new MemoryShared().session(), path);
    expect(log.durability()).toMatchObject({ journalMode: "wal", synchronous: 1 });
    log.append([arrival(1)]);
    log.close();
    const db = new Database(path, { readonly: true });
    const triggers = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").pluck();
    expect(triggers.all()).toEqual(["updates_last"]);
    db.close();
  });
});
