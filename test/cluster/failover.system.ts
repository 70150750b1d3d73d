/**
 * Two gateways of one site when the way to the database breaks: the network between the one that
 * sends and the server is cut without a word, and the primary dies and its standby is promoted.
 * Nothing that was acknowledged is lost, and KX peers see each number once.
 *
 * Needs: /usr/lib/postgresql.
 */
import { expect, it, onTestFinished } from "vitest";
import { logOf, start } from "../e2e/stage.js";
import { KxPeer } from "../support/kx-peer.js";
import { KxReader } from "../support/kx-reader.js";
import { until } from "../support/until.js";
import { Postgres } from "../system/postgres.js";
import { FrozenWire } from "../torture/frozen-wire.js";
import {
  arrived,
  expectNumbered,
  holds,
  oneLog,
  post,
  pump,
  refused,
  repeated,
  siteOn,
  TAKEOVER_MS,
  VISITOR,
} from "./site.js";

/** A gateway notices a lost answer after 3 s, or a beat that was not answered after 4. */
const NOTICED_MS = 8000;

/** Waits until a KX peer has every update of the log, in order. */
async function readBy(reader: KxReader, log: readonly { seq: number; hash: string }[]) {
  const entries = new Map(log.map(({ seq, hash }) => [seq, hash]));
  await until(
    () => reader.faults.length > 0 || reader.missing(entries).length === 0,
    () => reader.missing(entries).join(", "),
  );
  expect(reader.faults).toEqual([]);
}

/** The peer of this reader dials a gateway, and leaves it when `isDone`. */
async function visited(reader: KxReader, port: number, isDone: () => boolean): Promise<void> {
  const visitor = new KxPeer(reader);
  const visit = visitor.dial(port, VISITOR);
  onTestFinished(() => visitor.stop());
  await until(isDone);
  visitor.hangUp();
  await visit;
}

it("hands the lane over when the network to the database is cut while it sends", async () => {
  const server = await Postgres.start();
  onTestFinished(() => server.remove());
  const wires = [new FrozenWire(() => server.port), new FrozenWire(() => server.port)] as const;
  const urls = await Promise.all(
    wires.map(async (wire) => {
      onTestFinished(() => wire.stop());
      return server.url.replace(`:${server.port}/`, `:${await wire.start()}/`);
    }),
  );
  const { far, reader, files } = await siteOn(urls as [string, string]);
  const one = await start(files[0]);
  await until(() => holds(one, "lane:far") && holds(one, "dial:kx"));
  const two = await start(files[1]);
  const acknowledged = new Set<string>();
  let isOver = false;
  const mailing = [one, two].map((gateway, at) =>
    pump(gateway, `cut ${at}`, acknowledged, () => isOver),
  );
  await until(() => far.received.length > 5);
  wires[0].freeze();
  const cutAt = performance.now();
  await one.event("database-away");
  expect(performance.now() - cutAt).toBeLessThan(NOTICED_MS);
  expect([holds(one, "lane:far"), holds(one, "dial:kx")]).toEqual([false, false]);
  await until(() => holds(two, "lane:far") && holds(two, "dial:kx"), "the takeover", TAKEOVER_MS);
  isOver = true;
  await Promise.all(mailing);
  expect((await post(one, "refused")).code).toBe(451);
  expect((await post(two, "accepted")).code).toBe(250);
  // Also what came after the pumps, and what was stored although its answer was lost.
  const stored = (await logOf(files[1])).map(({ fingerprint }) => fingerprint);
  expect(stored.length).toBeGreaterThan(acknowledged.size);
  await arrived(far, stored);
  const sent = far.received.length;
  // The copy of the other one is behind: a KX peer that goes there finds fewer numbers.
  const visitor = new KxReader();
  const hasAll = () => visitor.bodies.size > acknowledged.size && visitor.isIdle;
  await visited(visitor, two.port("kx"), hasAll);
  await visited(visitor, one.port("kx"), () => visitor.greetings === 2);
  expect(visitor.faults).toEqual([expect.stringMatching(/^greeted with \d+, the cursor is \d+$/)]);

  wires[0].thaw();
  await one.event("database-back");
  const log = await oneLog(files, acknowledged.size + 1);
  expectNumbered(log);
  expect(repeated(far)).toBeLessThanOrEqual(1);
  expect(far.received.length).toBe(sent);
  await readBy(reader, log);
  const again = new KxReader();
  await visited(again, one.port("kx"), () => again.bodies.size === log.length);
  await readBy(again, log);
});

it("goes on with the standby when the primary dies, and refuses the old primary", async () => {
  const primary = await Postgres.start();
  onTestFinished(() => primary.remove());
  const standby = await Postgres.standbyOf(primary, "standby");
  onTestFinished(() => standby.remove());
  primary.sql("ALTER SYSTEM SET synchronous_standby_names = 'standby'");
  primary.sql("SELECT pg_reload_conf()");
  await until(() => primary.sql("SELECT sync_state FROM pg_stat_replication") === "sync");
  // All hosts, as an operator writes them.
  const url = primary.url.replace(/\/kxgw$/, `,127.0.0.1:${standby.port}/kxgw`);
  const { far, reader, files } = await siteOn([url, url]);
  const [one, two] = [await start(files[0]), await start(files[1])];
  const acknowledged = new Set<string>();
  let isOver = false;
  const mailing = [one, two].map((gateway, at) =>
    pump(gateway, `failover ${at}`, acknowledged, () => isOver),
  );
  await until(() => acknowledged.size > 20);
  await primary.kill();
  for (const gateway of [one, two]) await gateway.event("database-away");
  const before = acknowledged.size;
  standby.sql("ALTER SYSTEM SET synchronous_standby_names = ''");
  standby.sql("SELECT pg_promote()");
  for (const gateway of [one, two]) {
    const { database } = await gateway.event("database-back");
    expect(database).toContain(`:${standby.port}/`);
  }
  await until(() => acknowledged.size > before + 10, "mails after the failover", TAKEOVER_MS);
  isOver = true;
  await Promise.all(mailing);
  await arrived(far, acknowledged);
  const log = await oneLog(files, acknowledged.size);
  expectNumbered(log);
  const logged = new Set(log.map(({ fingerprint }) => fingerprint));
  expect([...acknowledged].filter((fingerprint) => !logged.has(fingerprint))).toEqual([]);
  expect(repeated(far)).toBeLessThanOrEqual(1);
  await readBy(reader, log);

  // The old primary comes back as it was: two primaries, of which the first one is older.
  await two.end("SIGTERM");
  await primary.restart();
  const { code, what } = await refused(files[1]);
  expect([code, what]).toEqual([78, expect.stringMatching(/copy is at position \d+/)]);
  expect(await logOf(files[1])).toEqual(log);
});
