/** What is asked for and not answered: found by its tag, once, overdue in time, and bounded. */
import { expect, test } from "vitest";
import { OpenRequests } from "../../src/kx/open-requests.js";
import { HASH } from "./talk.js";

test("an answer settles what it quotes, once", () => {
  const open = new OpenRequests();
  open.addUpdate("a", 7, HASH);
  open.addList("b", 1, 9, 1000);
  expect(open.size).toBe(2);
  expect(open.settle("a")).toEqual({ kind: "update", number: 7, hash: HASH });
  expect(open.settle("a")).toBeUndefined();
  expect(open.settle("b", "list")).toEqual({ kind: "list", low: 1, high: 9 });
  expect(open.size).toBe(0);
});

test("an answer of the other kind, to nothing, or without a tag settles nothing", () => {
  const open = new OpenRequests();
  open.addUpdate("a", 7, HASH);
  expect([open.settle("a", "list"), open.settle("z"), open.settle(undefined)]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
  expect(open.size).toBe(1);
});

test("a listing is overdue once, a late answer settles it, and the count begins again", () => {
  const open = new OpenRequests();
  expect(open.nextAt()).toBe(Infinity);
  open.addList("a", 1, 9, 1000);
  open.addList("b", 10, 19, 2000);
  expect(open.nextAt()).toBe(1000);
  expect(open.expired(999)).toEqual([]);
  expect(open.expired(1000)).toEqual([{ kind: "list", low: 1, high: 9 }]);
  expect(open.expired(1500)).toEqual([]);
  expect([open.nextAt(), open.unansweredLists]).toEqual([2000, 1]);
  expect(open.expired(5000)).toHaveLength(1);
  expect([open.nextAt(), open.unansweredLists]).toEqual([Infinity, 2]);
  expect(open.settle("a")).toMatchObject({ low: 1 });
  expect(open.unansweredLists).toBe(0);
});

test("of 1000 requests without an answer the newest are kept", () => {
  const open = new OpenRequests();
  for (let n = 0; n < 1000; n++) {
    open.addUpdate(`u${n}`, n, HASH);
    open.addList(`l${n}`, n, n, 1000);
  }
  expect(open.size).toBe(256 + 8);
  expect([open.settle("u743"), open.settle("l991")]).toEqual([undefined, undefined]);
  expect(open.settle("u744")).toMatchObject({ number: 744 });
  expect(open.settle("l992")).toMatchObject({ low: 992 });
  open.clear();
  expect([open.size, open.nextAt()]).toEqual([0, Infinity]);
});
