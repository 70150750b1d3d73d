/**
 * The shared store over a real PostgreSQL: one order of commits, changes in pieces, leases that end
 * with their session, and a database that goes away.
 *
 * Needs: /usr/lib/postgresql.
 */
import pg from "pg";
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { SHARED_LIMITS } from "../../src/cluster/limits.js";
import type { PostgresStore } from "../../src/cluster/postgres-store.js";
import { Trouble } from "../../src/errors.js";
import type { Commit, SharedRow } from "../../src/log/shared-port.js";
import { until } from "../support/until.js";
import { Postgres } from "../system/postgres.js";
import { opened } from "./stage.js";

let server: Postgres;
beforeAll(async () => {
  server = await Postgres.start();
});
afterAll(() => server.remove());

let count = 0;
function database(): { readonly name: string; readonly url: string } {
  count += 1;
  const name = `store${count}`;
  server.sql(`CREATE DATABASE ${name}`);
  return { name, url: `postgres://kxgw@127.0.0.1:${server.port}/${name}` };
}

const lane = (name: string, cursor: number): SharedRow => {
  return { table: "lanes", key: JSON.stringify([name]), data: JSON.stringify({ cursor }) };
};
const update = (seq: number): SharedRow => {
  return { table: "updates", key: `[${seq}]`, data: JSON.stringify({ seq }) };
};

/** The newest commit, as one who takes `position` for the newest names it. */
function at(store: PostgresStore, position: number): Commit {
  return { ...store.changes(0, 1).newest, position };
}

function troubleOf(work: () => unknown): Trouble {
  try {
    work();
  } catch (error) {
    if (error instanceof Trouble) return error;
    throw error;
  }
  throw new Error("no trouble");
}

it("takes a commit on top of the newest position only", async () => {
  const { url } = database();
  const [one, two] = [await opened(url, "one"), await opened(url, "two")];
  expect(one.commit(at(one, 0), [lane("a", 1)])).toMatchObject({ position: 1 });
  expect(two.commit(at(two, 0), [lane("a", 2)])).toBe("behind");
  const read = two.changes(0, 1000);
  expect(read).toMatchObject({ changes: [{ ...lane("a", 1), position: 1 }], through: 1 });
  expect(read.newest.position).toBe(1);
  expect(two.commit(at(two, 1), [lane("a", 2), lane("b", 1)])).toMatchObject({ position: 2 });
  // The row has its newest state at its newest position only.
  expect(one.changes(0, 1000).changes).toEqual([
    { ...lane("a", 2), position: 2 },
    { ...lane("b", 1), position: 2 },
  ]);
  expect(one.commit(at(one, 2), [{ ...lane("a", 0), data: undefined }])).toMatchObject({
    position: 3,
  });
  expect(two.changes(2, 1000).changes).toEqual([{ ...lane("a", 0), data: undefined, position: 3 }]);
});

it("keeps bytes and texts as they are", async () => {
  const { url } = database();
  const one = await opened(url);
  const body = Uint8Array.from({ length: 256 }, (_, index) => index);
  const data = JSON.stringify({
    words: 'nul \u0000, quote ", back \\, {}, NULL, \u{1f511}, \ud800',
  });
  const row = { table: "bodies", key: '["é"]', data, body };
  one.commit(at(one, 0), [row, { ...row, key: "[2]", body: new Uint8Array() }, lane("{a,b}", 1)]);
  const { changes } = one.changes(0, 10_000);
  expect(changes.find(({ key }) => key === row.key)).toEqual({ ...row, position: 1 });
  expect(changes.find(({ key }) => key === "[2]")?.body).toEqual(new Uint8Array());
  expect(changes).toHaveLength(3);
});

it("gives no number twice", async () => {
  const { url, name } = database();
  const one = await opened(url);
  one.commit(at(one, 0), [update(1), update(2)]);
  expect(troubleOf(() => one.commit(at(one, 1), [update(2)])).kind).toBe("corrupt");
  // Not even one that has expired.
  server.sql("DELETE FROM kxgw_rows", name);
  expect(troubleOf(() => one.commit(at(one, 1), [update(2)])).message).toContain("update 2");
  expect(one.commit(at(one, 1), [update(3)])).toMatchObject({ position: 2 });
  expect(server.sql("SELECT position, newest FROM kxgw_head", name)).toBe("2|3");
});

it("replaces an update in place, and discards what has not changed since", async () => {
  const { url } = database();
  const one = await opened(url);
  one.commit(at(one, 0), [update(1), lane("a", 1)]);
  one.commit(at(one, 1), [{ ...update(1), data: '{"trail":[]}', inPlace: true }, lane("b", 1)]);
  expect(one.changes(1, 1000).changes.map(({ table }) => table)).toEqual(["lanes"]);
  expect(one.changes(0, 1000).changes.find(({ table }) => table === "updates")).toMatchObject({
    data: '{"trail":[]}',
    position: 1,
  });
  one.discard(2, [lane("a", 1), lane("b", 1)]);
  expect(one.changes(0, 1000).changes).toHaveLength(3);
  one.want(["expiry"]);
  await until(() => one.expires);
  one.discard(1, [lane("a", 1), lane("b", 1)]);
  expect(one.changes(0, 1000).changes.map(({ key }) => key)).toEqual(["[1]", '["b"]']);
});

it("knows its commits by their marks, and none of another history", async () => {
  const { url, name } = database();
  const one = await opened(url);
  const empty = at(one, 0);
  const first = one.commit(empty, [lane("a", 1)]) as Commit;
  expect(first.mark).not.toBe(empty.mark);
  expect(one.changes(1, 1000, first)).toMatchObject({ newest: first, isKnown: true, oldest: 0 });
  const strange = { position: 1, mark: empty.mark };
  expect(one.commit(strange, [lane("a", 2)])).toBe("behind");
  const answer = one.changes(0, 1000, strange);
  expect(answer).toMatchObject({ changes: [], through: 0, newest: first, isKnown: false });
  expect(server.sql("SELECT position FROM kxgw_commits ORDER BY 1", name)).toBe("0\n1");
});

it("forgets old commits, and the rows that were deleted up to the oldest left", async () => {
  const { url, name } = database();
  const one = await opened(url);
  const gone = (key: string) => ({ ...lane(key, 0), data: undefined });
  one.commit(at(one, 0), [lane("a", 1), lane("b", 1), lane("c", 1)]);
  const old = one.commit(at(one, 1), [gone("a")]) as Commit;
  const kept = one.commit(at(one, 2), [gone("b")]) as Commit;
  one.commit(at(one, 3), [gone("c")]);
  server.sql("UPDATE kxgw_commits SET at = now() - interval '31 days' WHERE position < 3", name);
  server.sql("UPDATE kxgw_commits SET at = now() - interval '29 days' WHERE position = 3", name);
  one.want(["expiry"]);
  await until(() => one.changes(0, 1).oldest > 0);
  const rows = () => server.sql("SELECT key FROM kxgw_rows ORDER BY key", name);
  await until(() => !rows().includes('"a"'));
  // A copy at the oldest commit has applied its deletions.
  expect(rows()).toBe('["c"]');
  expect(one.changes(2, 1000, old)).toMatchObject({ isKnown: false, oldest: 3 });
  const { changes } = one.changes(3, 1000, kept);
  expect(changes).toEqual([{ ...gone("c"), position: 4 }]);
});

it("never forgets the newest commit, however old it is", async () => {
  const { url, name } = database();
  const one = await opened(url);
  const newest = one.commit(at(one, 0), [lane("a", 1)]) as Commit;
  server.sql("UPDATE kxgw_commits SET at = now() - interval '1 year'", name);
  one.want(["expiry"]);
  await until(() => one.changes(0, 1).oldest > 0);
  expect(one.changes(1, 1000, newest)).toMatchObject({ isKnown: true, oldest: 1 });
});

it("returns changes in whole commits, about as many bytes as asked for", async () => {
  const { url } = database();
  const one = await opened(url);
  for (let round = 0; round < 20; round++) {
    one.commit(
      at(one, round),
      [0, 1, 2].map((part) => lane(`${round}.${part}`, round)),
    );
  }
  const rows: string[] = [];
  let pieces = 0;
  for (let done = 0; done < 20; pieces++) {
    const { changes, through, newest } = one.changes(done, 100);
    expect(newest.position).toBe(20);
    expect(changes.length % 3).toBe(0);
    expect(changes.every(({ position }) => position > done && position <= through)).toBe(true);
    rows.push(...changes.map(({ key }) => key));
    done = through;
  }
  expect(pieces).toBeGreaterThan(5);
  expect(new Set(rows).size).toBe(60);
  expect(rows).toHaveLength(60);
  // One commit with more rows than a query returns.
  const many = Array.from({ length: SHARED_LIMITS.changeRows + 10 }, (_, at) => lane(`m${at}`, at));
  one.commit(at(one, 20), many);
  expect(one.changes(20, 100)).toMatchObject({ through: 21, newest: { position: 21 } });
  expect(one.changes(20, 100).changes).toHaveLength(many.length);
});

it("tells others of a commit, and not the one who made it", async () => {
  const { url } = database();
  const [one, two] = [await opened(url, "one"), await opened(url, "two")];
  const heard: string[] = [];
  one.listen({ news: () => heard.push("one") });
  two.listen({ news: () => heard.push("two") });
  one.commit(at(one, 0), [lane("a", 1)]);
  await until(() => heard.length > 0);
  two.commit(at(two, 1), [lane("a", 1)]);
  await until(() => heard.length > 1);
  expect(heard).toEqual(["two", "one"]);
});

/** Collects what a store tells of its leases. */
function leasesOf(store: PostgresStore, ...leases: string[]): string[] {
  const told: string[] = [];
  store.listen({
    granted: (lease) => told.push(`got ${lease}`),
    lost: () => told.push("lost"),
    connected: () => told.push("connected"),
  });
  store.want(leases);
  return told;
}

it("gives a lease to one, and to the next when it is given back", async () => {
  const { url } = database();
  const [one, two] = [await opened(url, "one"), await opened(url, "two")];
  const first = leasesOf(one, "lane:a", "lane:b");
  await until(() => first.length === 2);
  const second = leasesOf(two, "lane:a");
  await until(() => one.state().nodes.length === 2);
  expect(second).toEqual([]);
  one.want(["lane:b"]);
  await until(() => second.length === 1);
  expect(second).toEqual(["got lane:a"]);
  const held = () => one.state().nodes.map(({ name, leases }) => [name, ...leases]);
  await until(() => held().length === 2 && held().every((node) => node.length === 2));
  expect(held()).toEqual([
    ["one", "lane:b"],
    ["two", "lane:a"],
  ]);
});

it("shows where each gateway is, and by how much its clock differs", async () => {
  const { url } = database();
  const worker = new URL("./clock-slightly-ahead.mjs", import.meta.url);
  const one = await opened(url, "one");
  await opened(url, "two", { worker });
  await until(() => one.state().nodes.length === 2);
  const [first, second] = one.state().nodes;
  expect([first?.address, second?.address]).toEqual(["127.0.0.1", "127.0.0.1"]);
  expect(Math.abs(first?.skewMs ?? NaN)).toBeLessThan(1000);
  expect(Math.abs((second?.skewMs ?? NaN) + 20_000)).toBeLessThan(1000);
});

it("forgets a gateway that was not seen for a day, also while the others go on", async () => {
  const { url, name } = database();
  const one = await opened(url, "one");
  const told = leasesOf(one, "lane:a");
  await until(() => told.length === 1);
  const as = (node: string, age: string) =>
    server.sql(
      `INSERT INTO kxgw_nodes (name, version, position, leases, sessions, skew_ms, seen_at)
       VALUES ('${node}', '1', 0, '{}', '{}', 0, now() - interval '${age}')`,
      name,
    );
  as("gone", "25 hours");
  as("down", "23 hours");
  await until(() => one.state().nodes.length === 3);
  one.want(["lane:a", "expiry"]);
  await until(() => one.state().nodes.length === 2);
  expect(one.state().nodes.map((node) => node.name)).toEqual(["down", "one"]);
});

it("loses its leases with the session, and commits nothing before that was told", async () => {
  const { url, name } = database();
  const one = await opened(url, "one");
  const told = leasesOf(one, "lane:a");
  await until(() => told.length === 1);
  const session = () =>
    server.sql(
      `SELECT pid FROM pg_stat_activity WHERE datname = '${name}' AND application_name = 'kxgw'`,
      "postgres",
    );
  const start = at(one, 0);
  const first = session();
  server.sql(`SELECT pg_terminate_backend(${first})`, "postgres");
  // The thread connects again while this thread is busy and knows nothing of it.
  while (session() === first || session() === "");
  expect(troubleOf(() => one.commit(start, [lane("a", 1)])).kind).toBe("away");
  expect(told).toEqual(["got lane:a"]);
  await until(() => told.length === 4);
  expect(told).toEqual(["got lane:a", "lost", "connected", "got lane:a"]);
  expect(one.commit(at(one, 0), [lane("a", 1)])).toMatchObject({ position: 1 });
});

it("waits for a database that is away, and continues by itself", async () => {
  const away = await Postgres.start();
  onTestFinished(() => away.remove());
  const one = await opened(away.url);
  const told = leasesOf(one);
  one.commit(at(one, 0), [lane("a", 1)]);
  const newest = at(one, 1);
  await away.kill();
  const start = performance.now();
  expect(troubleOf(() => one.commit(newest, [lane("a", 2)])).kind).toBe("away");
  await until(() => told.includes("lost"));
  // From then on a call fails at once.
  for (let at = 0; at < 100; at++) expect(troubleOf(() => one.changes(0, 1)).kind).toBe("away");
  expect(performance.now() - start).toBeLessThan(SHARED_LIMITS.answerMs);
  await away.restart();
  await until(() => told.includes("connected"));
  expect(one.changes(0, 1000)).toMatchObject({ newest: { position: 1 } });
  expect(one.commit(at(one, 1), [lane("a", 2)])).toMatchObject({ position: 2 });
});

it("does not wait longer than its limit for a server that hangs", async () => {
  const { url } = database();
  const one = await opened(url);
  one.commit(at(one, 0), [lane("a", 1)]);
  const newest = at(one, 1);
  const told = leasesOf(one);
  // A transaction that somebody left open holds the head.
  const other = new pg.Client(url);
  await other.connect();
  onTestFinished(() => other.end());
  await other.query("BEGIN");
  await other.query("SELECT * FROM kxgw_head FOR UPDATE");
  const start = performance.now();
  expect(troubleOf(() => one.commit(newest, [lane("a", 2)])).kind).toBe("away");
  expect(performance.now() - start).toBeLessThan(SHARED_LIMITS.answerMs + 500);
  await other.query("COMMIT");
  await until(() => told.includes("connected"));
  // It is known now whether the commit was stored.
  expect([1, 2]).toContain(one.changes(0, 1000).newest.position);
});
