/** What a peer is told of how far its log was read: when, how far, and without which numbers. */
import { describe, expect, test } from "vitest";
import { MAX_NUMBER } from "../../src/kx/messages.js";
import { hasNumber, RECEIPT_LIMITS, Receipts } from "../../src/kx/receipts.js";

function at(cursor: number): Receipts {
  const receipts = new Receipts();
  receipts.begin(true);
  receipts.moved(cursor);
  return receipts;
}

describe("receipts", () => {
  test("are sent when the cursor has moved, at most once a second", () => {
    const receipts = at(7);
    expect(receipts.due(0)).toEqual({ number: 7, without: [] });
    expect([receipts.due(5000), receipts.nextAt()]).toEqual([undefined, Infinity]);
    receipts.moved(8);
    expect(receipts.due(5000)).toEqual({ number: 8, without: [] });
    receipts.moved(9);
    expect([receipts.due(5999), receipts.nextAt()]).toEqual([undefined, 6000]);
    expect(receipts.due(6000)).toEqual({ number: 9, without: [] });
  });

  test("begin anew on another connection, and stop with the cursor or without the feature", () => {
    const receipts = at(7);
    receipts.due(0);
    receipts.begin(true);
    // It may be a connection that was in use before: still one a second.
    expect(receipts.due(1)).toBeUndefined();
    expect(receipts.due(1000)).toEqual({ number: 7, without: [] });
    receipts.moved(undefined);
    expect(receipts.nextAt()).toBe(Infinity);
    receipts.moved(3);
    receipts.begin(false);
    expect(receipts.due(9000)).toBeUndefined();
  });

  test("name a number without its update once, with the first one that passes it", () => {
    const receipts = at(10);
    for (const number of [12, 4, 6, 5, 9]) receipts.without(number);
    const first = [
      { low: 4, high: 6 },
      { low: 9, high: 9 },
    ];
    expect(receipts.due(0)).toEqual({ number: 10, without: first });
    receipts.moved(12);
    expect(receipts.due(1000)).toEqual({ number: 12, without: [{ low: 12, high: 12 }] });
    receipts.moved(13);
    expect(receipts.due(2000)).toEqual({ number: 13, without: [] });
  });

  test("wrap with the numbers", () => {
    const receipts = at(2);
    for (const number of [MAX_NUMBER, MAX_NUMBER - 5, 0, 3]) receipts.without(number);
    expect(receipts.due(0)).toEqual({
      number: 2,
      without: [MAX_NUMBER - 5, MAX_NUMBER, 0].map((one) => ({ low: one, high: one })),
    });
  });

  test("go as far as their ranges, and no number is passed in silence", () => {
    const count = RECEIPT_LIMITS.ranges + 500;
    const receipts = at(10 * count);
    for (let n = 1; n <= count; n++) receipts.without(10 * n);
    const seen: number[] = [];
    let last = 0;
    for (let now = 0; receipts.nextAt() <= now; now += 1000) {
      const receipt = receipts.due(now);
      for (const { low = 0 } of receipt?.without ?? []) seen.push(low);
      for (let n = 1; n <= count; n++) {
        if (10 * n <= (receipt?.number ?? 0) && 10 * n > last) expect(seen).toContain(10 * n);
      }
      last = receipt?.number ?? last;
    }
    expect([last, seen.length]).toEqual([10 * count, count]);
  });
});

describe("a peer that makes more numbers without their update than are kept", () => {
  const { numbers } = RECEIPT_LIMITS;

  test("gets one range for all of them, and nothing of it is claimed", () => {
    const receipts = at(9);
    for (let n = 0; n <= numbers; n += 1) receipts.without(10 + 2 * n);
    const highest = 10 + 2 * numbers;
    expect(receipts.due(0)).toEqual({ number: 9, without: [] });
    receipts.moved(1000);
    expect(receipts.due(1000)).toEqual({ number: 1000, without: [{ low: 10, high: 1000 }] });
    receipts.without(highest + 7);
    receipts.moved(highest + 7);
    const rest = [{ low: 1001, high: highest + 7 }];
    expect(receipts.due(2000)).toEqual({ number: highest + 7, without: rest });
    receipts.moved(highest + 9);
    receipts.without(highest + 8);
    const one = [{ low: highest + 8, high: highest + 8 }];
    expect(receipts.due(3000)).toEqual({ number: highest + 9, without: one });
  });

  test("gets two where the numbers wrap", () => {
    const receipts = at(MAX_NUMBER - 10);
    for (let n = 0; n <= numbers; n += 1) receipts.without((MAX_NUMBER - 5 + n) % (MAX_NUMBER + 1));
    receipts.moved(3);
    expect(receipts.due(0)).toEqual({
      number: 3,
      without: [
        { low: MAX_NUMBER - 5, high: MAX_NUMBER },
        { low: 0, high: 3 },
      ],
    });
  });

  test("does not make each receipt as expensive as all its numbers", () => {
    const receipts = at(1);
    const began = process.cpuUsage().user;
    for (let n = 0; n < 200_000; n += 1) receipts.without(2 + 2 * n);
    const taken = process.cpuUsage().user - began;
    const again = process.cpuUsage().user;
    for (let n = 1; n <= 100; n += 1) {
      receipts.moved(n + 1);
      receipts.due(1000 * n);
    }
    // A hundred receipts over all numbers would be a hundred times as much.
    expect(process.cpuUsage().user - again).toBeLessThan(Math.max(taken, 100_000));
  });
});

test("a range has its ends and what is between them", () => {
  const ranges = [{ low: 3, high: 5 }];
  expect([2, 3, 4, 5, 6].map((number) => hasNumber(ranges, number))).toEqual([
    ...[false, true, true, true, false],
  ]);
});
