/** Many waiting mails, one transaction; one failure, and nothing of the group is stored. */
import { expect, onTestFinished, test, vi } from "vitest";
import { Trouble } from "../../src/errors.js";
import { GroupCommit } from "../../src/intake/group-commit.js";
import type { Arrival } from "../../src/log/update-log.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { NEIGHBOUR, openDoor, SITE } from "../ingress/door.js";
import { arrival, seq } from "../log/material.js";
import { keyArmor, keyNames } from "../mail/fixtures.js";

const NOBODY = { neighbour: undefined, transport: "mail" } as const;

/** The log with its appends counted and, while `fails`, refused. */
function watched(log: UpdateLog) {
  const groups: number[] = [];
  const state = { fails: false };
  const proxy = new Proxy(log, {
    get(target, name) {
      if (name !== "append") {
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      }
      return (arrivals: readonly Arrival[]) => {
        groups.push(arrivals.length);
        if (state.fails) throw new Trouble("disk-full", "full", "free space");
        return target.append(arrivals);
      };
    },
  });
  return { proxy, groups, state };
}

test("what waits together is one transaction, and each gets its own outcomes", async () => {
  const log = UpdateLog.open(":memory:");
  const { proxy, groups } = watched(log);
  const commit = new GroupCommit(proxy);
  const outcomes = await Promise.all([
    commit.submit({ arrivals: [arrival(1), arrival(2)] }),
    commit.submit({ arrivals: [arrival(3)] }),
    commit.submit({ arrivals: [arrival(2), arrival(4)] }),
  ]);
  expect(groups).toEqual([5]);
  expect(outcomes.map((each) => each.map(({ outcome, seq }) => `${outcome} ${seq}`))).toEqual([
    ["appended 1", "appended 2"],
    ["appended 3"],
    ["duplicate 2", "appended 4"],
  ]);
  await commit.submit({ arrivals: [arrival(5)] });
  expect(groups).toEqual([5, 1]);
  log.close();
});

test("a mail alone waits for nothing; after a group a moment is waited for more", async () => {
  const log = UpdateLog.open(":memory:");
  const { proxy, groups } = watched(log);
  const commit = new GroupCommit(proxy);
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  // The moment is a millisecond, and a turn of a busy machine is longer.
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  const alone = commit.submit({ arrivals: [arrival(1)] });
  await turn();
  expect(groups).toEqual([1]);
  await alone;

  const pair = [2, 3].map((n) => commit.submit({ arrivals: [arrival(n)] }));
  await turn();
  vi.advanceTimersByTime(1);
  await Promise.all(pair);
  const first = commit.submit({ arrivals: [arrival(4)] });
  await turn();
  const second = commit.submit({ arrivals: [arrival(5)] });
  await turn();
  expect(groups).toEqual([1, 2]);
  vi.advanceTimersByTime(1);
  await Promise.all([first, second]);
  expect(groups).toEqual([1, 2, 2]);
  log.close();
});

test("a group has an end", async () => {
  const log = UpdateLog.open(":memory:");
  const { proxy, groups } = watched(log);
  const commit = new GroupCommit(proxy);
  const many = Array.from({ length: 250 }, (_, n) => commit.submit({ arrivals: [arrival(n)] }));
  expect(groups).toEqual([100, 100]);
  await Promise.all(many);
  expect(groups).toEqual([100, 100, 50]);
  log.close();
});

test("what duplicates add to trails is written after a moment, and not once for each", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  const log = UpdateLog.open(":memory:");
  const commit = new GroupCommit(log);
  const again = (n: number) =>
    arrival(n, { origin: NOBODY, trail: ["x@x.example", `${n}@x.example`] });
  await commit.submit({ arrivals: [arrival(1), arrival(2)] });
  await commit.submit({ arrivals: [again(1)] });
  vi.advanceTimersByTime(999);
  await commit.submit({ arrivals: [again(2)] });
  expect(log.trails.gathered).toBe(2);
  vi.advanceTimersByTime(1);
  expect(log.trails.gathered).toBe(0);
  expect(log.trails.get(seq(2))).toContain("2@x.example");
  // One that the log cannot write stays, and is written with the next.
  await commit.submit({ arrivals: [arrival(3), { ...again(1), trail: ["y@x.example"] }] });
  const { settle } = log.trails;
  log.trails.settle = () => {
    throw new Trouble("disk-full", "full", "free space");
  };
  vi.advanceTimersByTime(1000);
  expect(log.trails.gathered).toBe(1);
  log.trails.settle = settle;
  await commit.submit({ arrivals: [again(3)] });
  vi.advanceTimersByTime(1000);
  expect(log.trails.gathered).toBe(0);
  // The log may be closed before the moment is over.
  await commit.submit({ arrivals: [{ ...again(3), trail: ["z@x.example"] }] });
  log.close();
  vi.advanceTimersByTime(1000);
});

test("a failing append rejects all, and stores nothing", async () => {
  const log = UpdateLog.open(":memory:");
  const { proxy, state } = watched(log);
  const commit = new GroupCommit(proxy);
  state.fails = true;
  const outcomes = await Promise.allSettled(
    [1, 2, 3].map((n) => commit.submit({ arrivals: [arrival(n)] })),
  );
  expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
  expect(log.newest()).toBe(0);
  state.fails = false;
  expect(await commit.submit({ arrivals: [arrival(1)] })).toMatchObject([
    { outcome: "appended", seq: 1 },
  ]);
  log.close();
});

test("through the door: sessions that finish together share a commit and its failure", async () => {
  let seen: ReturnType<typeof watched> | undefined;
  const door = await openDoor({}, (log) => {
    seen = watched(log);
    return seen.proxy;
  });
  const names = keyNames.slice(0, 6);
  const clients = await Promise.all(names.map(() => door.client()));
  const deliver = () =>
    Promise.all(
      clients.map(async (client, index) => {
        const raw = `From: ${NEIGHBOUR}\nSubject: add\n\n${keyArmor(names[index] ?? "")}`;
        return (await client.transact(NEIGHBOUR, [SITE], raw)).at(-1);
      }),
    );
  if (seen === undefined) throw new Error("the log was not wrapped");
  seen.state.fails = true;
  for (const answer of await deliver()) expect(answer).toMatch(/^452 4\.3\.1 /);
  expect(door.log.newest()).toBe(0);
  seen.state.fails = false;
  for (const answer of await deliver()) expect(answer).toBe("250 2.0.0 Stored 1 new, 0 known.");
  expect(door.log.newest()).toBe(names.length);
  expect(Math.max(...seen.groups)).toBeGreaterThan(1);
});
