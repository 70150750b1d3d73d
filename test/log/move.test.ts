/** A log is moved into a database and out of it, also when each move is interrupted anywhere. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { updateOf } from "../../src/admit.js";
import { Refusal } from "../../src/errors.js";
import { inspectLog } from "../../src/log/inspect.js";
import { moveToLocal, moveToShared } from "../../src/log/move.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { readArmor } from "../../src/openpgp/armor.js";
import { readKeys } from "../../src/openpgp/key.js";
import { contentsOf, expectEqual, loadedCopy } from "../support/copies.js";
import { MemoryShared } from "../support/memory-shared.js";
import { scratch } from "../support/scratch.js";
import { arrival, fingerprint, selfSigned, seq, troubleOf, update } from "./material.js";

const QUIETLY = { onProgress: () => {} };
/** A key that can be read, so that its packets have names. */
const REAL = (() => {
  const keys = new URL("../fixtures/keys/", import.meta.url);
  const [block] = readArmor(readFileSync(new URL(readdirSync(keys)[0] ?? "", keys)));
  if (block === undefined || block instanceof Refusal) throw new Error("no armor");
  const [key] = readKeys(block.data);
  if (key === undefined || key instanceof Refusal) throw new Error("no key");
  return updateOf(key);
})();

/** A log with something in most tables; more than one piece of it. */
function filled(path: string): UpdateLog {
  const log = UpdateLog.open(path);
  log.lanes.open("far", { address: "pgp@far.example" });
  for (let n = 1; n <= 40; n += 1) {
    const body = update(n, 60_000, n % 7 === 0 ? selfSigned(`User ${n}`) : undefined);
    log.append([arrival(n, { update: body })], { peer: "p", at: { number: n, hash: body.hash } });
  }
  log.append([arrival(41, { update: REAL })]);
  log.exceptions.set({
    ...{ site: "far", seq: seq(3), fingerprint: fingerprint(3), state: "refused" },
    ...{ reason: "refused", code: 550, text: "No", at: 7 },
  });
  log.removals.setBlock(fingerprint(9), { reason: "x", until: 9, allowRevocation: true }, 8);
  log.removals.forget(fingerprint(5), "asked", 9, 0);
  return log;
}

test("only one of several copies becomes a log of its own", () => {
  const [one, two] = [join(scratch(), "log"), join(scratch(), "log")];
  filled(one).close();
  const database = new MemoryShared();
  moveToShared(one, database.session(), QUIETLY);
  loadedCopy(database.session(), two).log.close();
  loadedCopy(database.session(), one).log.close();
  const losing = database.session();
  losing.lostAnswers = 1;
  expect(troubleOf(() => moveToLocal(one, losing, QUIETLY)).kind).toBe("away");
  // The other one is at the same position, and it is not the one that closed the database.
  const other = troubleOf(() => moveToLocal(two, database.session(), QUIETLY));
  expect(other.message).toMatch(/was moved out/);
  expect(moveToLocal(one, database.session(), QUIETLY)).toMatchObject({ newest: 41 });
  expect(troubleOf(() => UpdateLog.open(two)).message).toMatch(/log.shared is not set/);
});

test("there and back: all rows are the same, and copies have them", () => {
  const path = join(scratch(), "log");
  const own = filled(path);
  const name = own.name;
  own.close();
  const database = new MemoryShared();
  const shares: number[] = [];
  const moved = moveToShared(path, database.session(), { onProgress: (one) => shares.push(one) });
  expect(moved).toMatchObject({ entries: 41, newest: 41 });
  expect(shares.length).toBeGreaterThan(3);
  expect(troubleOf(() => UpdateLog.open(path)).message).toMatch(/log.shared is not set/);
  const first = loadedCopy(database.session(), path);
  const second = loadedCopy(database.session());
  expect(first.log.copy?.isComplete).toBe(true);
  expect(second.log.name).toBe(name);
  expectEqual(first, second);
  expect(second.log.append([arrival(50)])).toMatchObject([{ seq: 42 }]);
  // The packets of a key that the log had before are known at both.
  expect(second.log.packets.knowsAll(REAL.packets)).toBe(true);
  second.log.close();
  first.log.close();

  expect(moveToLocal(path, database.session(), QUIETLY)).toMatchObject({ newest: 42 });
  expect(inspectLog(path).problems).toEqual([]);
  // With log.shared still set, both the start and a move back name the way out.
  const open = () => UpdateLog.open(path, { shared: database.session() });
  const again = () => moveToShared(path, database.session(), QUIETLY);
  for (const wrong of [open, again]) {
    expect(troubleOf(wrong).remedy).toMatch(/^If the log was moved out .*, remove log\.shared\./);
  }
  expect(troubleOf(again).message).toMatch(/a part of a log, or one that was moved out/);
  const back = UpdateLog.open(path);
  onTestFinished(() => back.close());
  expect(back.name).toBe(name);
  expect(back.durability().synchronous).toBe(2);
  expect(back.append([arrival(51)])).toMatchObject([{ seq: 43 }]);
  expect(back.lanes.get("far")?.cursor).toBe(0);
  const late = () => loadedCopy(database.session());
  expect(troubleOf(late).message).toMatch(/was moved out/);
});

test("a move that is interrupted at any place goes on", () => {
  const path = join(scratch(), "log");
  filled(path).close();
  const database = new MemoryShared();
  let runs = 0;
  for (let left = 0; ; left = (left + 1) % 3) {
    const session = database.session();
    runs += 1;
    let commits = 0;
    const commit = session.commit.bind(session);
    session.commit = (...given) => {
      // The last answer before the interruption is lost.
      if (commits === left) session.lostAnswers = 1;
      commits += 1;
      return commit(...given);
    };
    if (runs > 100) throw new Error("the move does not come to an end");
    try {
      moveToShared(path, session, QUIETLY);
      break;
    } catch (error) {
      expect(error).toMatchObject({ kind: "away" });
      expect(troubleOf(() => UpdateLog.open(path)).message).toMatch(/is being moved/);
      const other = () => loadedCopy(database.session());
      if (runs > 1) expect(troubleOf(other).message).toMatch(/a part of a log/);
    }
  }
  expect(runs).toBeGreaterThan(3);
  const first = loadedCopy(database.session(), path);
  const second = loadedCopy(database.session());
  expectEqual(first, second);
  first.log.close();
  second.log.close();
  const losing = database.session();
  losing.lostAnswers = 1;
  expect(troubleOf(() => moveToLocal(path, losing, QUIETLY)).kind).toBe("away");
  expect(moveToLocal(path, database.session(), QUIETLY)).toMatchObject({ newest: 41 });
  UpdateLog.open(path).close();
});

test("a move into a database is given up, and the log is as it was", () => {
  const path = join(scratch(), "log");
  const own = filled(path);
  own.settle();
  own.close();
  const before = UpdateLog.open(path, { readonly: true });
  const counts = before.counts();
  before.close();
  const session = new MemoryShared().session();
  session.lostAnswers = 1;
  expect(troubleOf(() => moveToShared(path, session, QUIETLY)).kind).toBe("away");
  moveToLocal(path, session, QUIETLY);
  const log = UpdateLog.open(path);
  expect({ ...log.counts(), fileBytes: 0 }).toEqual({ ...counts, fileBytes: 0 });
  log.close();
});

test("what is not to be moved is refused in one line", () => {
  const directory = scratch();
  const path = join(directory, "log");
  const database = new MemoryShared();
  const move = (name: string) => () =>
    moveToShared(join(directory, name), database.session(), QUIETLY);
  expect(troubleOf(move("none")).message).toMatch(/there is no log to move/);
  const log = filled(path);
  expect(troubleOf(move("log"))).toMatchObject({ kind: "busy" });
  log.close();
  loadedCopy(database.session(), join(directory, "copy")).log.close();
  expect(troubleOf(move("log")).message).toMatch(/the database has a log already/);
  expect(troubleOf(move("copy")).message).toMatch(/in a database already/);
  const back = () => moveToLocal(path, database.session(), QUIETLY);
  expect(troubleOf(back).message).toMatch(/a log of its own already/);
  expect(contentsOf(loadedCopy(database.session()).db).updates).toEqual([]);
});
