/** What is asked for and not answered: found by its tag, once, overdue in time, and bounded. */
import { expect, test } from "vitest";
import { OpenRequests } from "../../src/kx/open-requests.js";
import { HASH } from "./talk.js";

const asked = (number: number) => ({ number, fingerprint: undefined, hash: HASH });

test("an answer settles what it quotes, once", () => {
  const open = new OpenRequests();
  open.addUpdates("a", [asked(7)]);
  open.addList("b", 1, 9, 1000);
  expect(open.size).toBe(2);
  expect(open.settleUpdate("a")).toEqual(asked(7));
  expect(open.settleUpdate("a")).toBeUndefined();
  expect(open.settleList("b")).toEqual({ low: 1, high: 9 });
  expect(open.size).toBe(0);
});

test("an answer of the other kind, to nothing, or without a tag settles nothing", () => {
  const open = new OpenRequests();
  open.addUpdates("a", [asked(7)]);
  const nothing = [open.settleList("a"), open.settleUpdate("z"), open.settleUpdate(undefined)];
  expect(nothing).toEqual([undefined, undefined, undefined]);
  expect([open.settleAll("z"), open.settleAll(undefined)]).toEqual([[], []]);
  expect(open.size).toBe(1);
});

test("a listing is overdue once, a late answer settles it, and the count begins again", () => {
  const open = new OpenRequests();
  expect(open.nextAt()).toBe(Infinity);
  open.addList("a", 1, 9, 1000);
  open.addList("b", 10, 19, 2000);
  expect(open.nextAt()).toBe(1000);
  expect(open.expired(999)).toEqual([]);
  expect(open.expired(1000)).toEqual([{ low: 1, high: 9 }]);
  expect(open.expired(1500)).toEqual([]);
  expect([open.nextAt(), open.unansweredLists]).toEqual([2000, 1]);
  expect(open.expired(5000)).toHaveLength(1);
  expect([open.nextAt(), open.unansweredLists]).toEqual([Infinity, 2]);
  expect(open.settleList("a")).toMatchObject({ low: 1 });
  expect(open.unansweredLists).toBe(0);
});

test("of 1000 requests without an answer the newest are kept", () => {
  const open = new OpenRequests();
  for (let n = 0; n < 1000; n++) {
    open.addUpdates(`u${n}`, [asked(n)]);
    open.addList(`l${n}`, n, n, 1000);
  }
  expect(open.size).toBe(256 + 8);
  expect([open.settleUpdate("u743"), open.settleList("l991")]).toEqual([undefined, undefined]);
  expect(open.settleUpdate("u744")).toMatchObject({ number: 744 });
  expect(open.settleList("l992")).toMatchObject({ low: 992 });
  open.clear();
  expect([open.size, open.nextAt()]).toEqual([0, Infinity]);
});

test("requests with one tag are settled by their numbers, the rest all at once", () => {
  const open = new OpenRequests();
  open.addUpdates("a", [asked(7), asked(8), asked(9), asked(10)]);
  open.addUpdates("b", [asked(7)]);
  expect(open.settleUpdate("a", 8)).toEqual(asked(8));
  expect([open.settleUpdate("a", 8), open.settleUpdate("b", 9)]).toEqual([undefined, undefined]);
  expect(open.size).toBe(4);
  expect(open.settleAll("a")).toEqual([asked(7), asked(9), asked(10)]);
  expect(open.settleAll("a")).toEqual([]);
  expect(open.size).toBe(1);
});

test("the oldest tag is removed with all its requests", () => {
  const open = new OpenRequests();
  const many = (from: number) => Array.from({ length: 64 }, (_, n) => asked(from + n));
  for (const [n, tag] of ["a", "b", "c", "d", "e"].entries()) open.addUpdates(tag, many(64 * n));
  expect(open.size).toBe(256);
  expect([open.settleUpdate("a", 3), open.settleUpdate("e", 300)]).toEqual([undefined, asked(300)]);
});
