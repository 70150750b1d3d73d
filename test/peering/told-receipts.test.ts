/**
 * What receipts say of updates: held, declined, or nothing, with the limits of what is kept.
 */
import { expect, test } from "vitest";
import { ToldReceipts } from "../../src/peering/told-receipts.js";
import type { Seq } from "../../src/update.js";

/** Takes a receipt up to `done` that names `declined`; the updates that it shows as held. */
function take(receipts: ToldReceipts, done: number, declined: readonly number[], most = 5000) {
  const held: number[] = [];
  const isDeclined = (seq: Seq) => declined.includes(seq);
  receipts.take(done, isDeclined, most, (seq) => held.push(seq));
  return held;
}

const said = (receipts: ToldReceipts, ...seqs: number[]) =>
  seqs.map((seq) => receipts.of(seq as Seq));

test("each update after the greeting is held or declined once the receipt has passed it", () => {
  const receipts = new ToldReceipts(3);
  expect(receipts.done).toBeUndefined();
  expect(take(receipts, 3, [])).toEqual([]);
  expect(receipts.done).toBe(3);
  expect(take(receipts, 6, [5])).toEqual([4, 6]);
  expect(take(receipts, 8, [7, 8])).toEqual([]);
  expect(said(receipts, 3, 4, 5, 6, 7, 8, 9)).toEqual([
    ...[undefined, "held", "declined", "held", "declined", "declined"],
    undefined,
  ]);
});

test("what was served of before the connection is held by the next receipt", () => {
  const receipts = new ToldReceipts(10);
  for (const seq of [4, 5, 7, 11]) receipts.served(seq as Seq);
  expect(take(receipts, 5, [5])).toEqual([4]);
  expect(take(receipts, 12, [12])).toEqual([7, 11]);
  // What a receipt has covered already gets no further one.
  receipts.served(6 as Seq);
  expect(take(receipts, 13, [])).toEqual([13]);
});

test("of a receipt that passes many only the last are known", () => {
  const receipts = new ToldReceipts(0);
  expect(take(receipts, 2, [2])).toEqual([1]);
  expect(take(receipts, 100, [98], 4)).toEqual([97, 99, 100]);
  expect(said(receipts, 1, 2, 96, 97, 98)).toEqual([
    ...[undefined, undefined, undefined, "held", "declined"],
  ]);
});

test("a peer that declines every other update takes a bounded memory", () => {
  const receipts = new ToldReceipts(0);
  for (let done = 1; done <= 4000; done++)
    receipts.take(
      done,
      (seq) => seq % 2 === 0,
      10,
      () => {},
    );
  expect(said(receipts, 1999, 2000, 2001, 2002, 4000)).toEqual([
    ...[undefined, undefined, "held", "declined", "declined"],
  ]);
});
