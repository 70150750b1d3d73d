/**
 * The other promises of durability, each with the gateway that breaks it and must be caught. The
 * order of fdatasync and answer is in sync-order.system.ts.
 */
import { beforeAll, describe, expect, test } from "vitest";
import { cutBeforeAnswer } from "./checks/cut-before-answer.js";
import { hashMemory } from "./checks/hash-memory.js";
import { numbers } from "./checks/numbers.js";
import { startUp } from "./checks/start-up.js";
import { readTrace } from "./checks/sync-order.js";
import { walCut } from "./checks/wal-cut.js";
import { compile, expectHeld } from "./short.js";

let build = "";
beforeAll(() => {
  build = compile("durability");
});

const LONG = { timeout: 60_000 };

test("a WAL that is cut anywhere", LONG, async () => {
  await expectHeld(walCut, 200, build);
});

test("a sender that is cut off before the 250", LONG, async () => {
  const { figures } = await expectHeld(cutBeforeAnswer, 50, build);
  expect(figures).toMatch(/50 rows, 50 announcements, 50 mails/);
});

test("hashes are remembered longer than a late peer can bring an update back", LONG, async () => {
  await expectHeld(hashMemory, 1, build);
});

test("a number is never given twice", LONG, async () => {
  await expectHeld(numbers, 1000, build);
});

test("a log that cannot be trusted is refused at the start", LONG, async () => {
  const { figures } = await expectHeld(startUp, 1, build);
  expect(figures).toBe("7 of 7 refused");
});

describe("the reading of a trace", () => {
  const wal = '10 pwrite64(20</tmp/u.db-wal>, "x"..., 24, 32) = 24';
  const sync = "10 fdatasync(20</tmp/u.db-wal>) = 0";
  const ack = '10 write(27<socket:[1]>, "250 2.0.0 Stored 1 new"..., 40) = 40';
  const begun = "10 fdatasync(20</tmp/u.db-wal> <unfinished ...>";
  const resumed = "10 <... fdatasync resumed>) = 0";
  test.each([
    [[wal, sync, ack], 1],
    [[wal, ack, sync], 0],
    [[sync, ack], 0],
    [[wal, sync, wal, ack], 0],
    [[wal, begun, "11 write(1</dev/null>, ...) = 1", resumed, ack], 1],
    [[wal, begun, ack, resumed], 0],
    [[wal, "10 fdatasync(21</tmp/u.db>) = 0", ack], 0],
  ])("%#", (lines, inOrder) => {
    expect(readTrace(lines.join("\n"))).toEqual({ acks: 1, inOrder });
  });
});
