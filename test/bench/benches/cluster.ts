/**
 * A site of several gateways on one PostgreSQL beside one on SQLite alone: new updates by mail,
 * over 16 connections that are spread over the gateways and one at a time, each passed on by mail
 * to one site; what the database writes for them, with and without a synchronous standby, and what
 * it keeps of a commit. All kinds take turns in one run, on one machine with the databases: they
 * share its processors. How a copy is loaded is in `cluster-copy.ts`, KX in
 * `cluster-fetch.ts`.
 */
import type { GatewayProcess } from "../../../src/demo/process.js";
import { SmtpClient } from "../../support/smtp-client.js";
import { until } from "../../support/until.js";
import { Postgres } from "../../system/postgres.js";
import { MailSink } from "../../torture/mail-sink.js";
import {
  type Bench,
  type Context,
  type Figure,
  type Outcome,
  quantile,
  ratios,
  rotated,
} from "../bench.js";
import { Gateways, OLD, SITE } from "../gateways.js";
import { CONNECTIONS, deliverAll } from "../mailing.js";
import { mailOf } from "../material.js";
import { cpuUs } from "../processes.js";
import { loadCopies, sideOf } from "./cluster-copy.js";
import { fetchInto } from "./cluster-fetch.js";

const FAR = "pgp-public-keys@far.example.net";
const PATIENCE_MS = 300_000;
const STANDBY = "standby";

export const cluster: Bench = {
  name: "cluster",
  question: "What do several gateways on one PostgreSQL cost beside one on SQLite alone?",
  run,
};

const SIZES = { warmUp: 1000, busy: 500, lone: 50 };
const QUICK = { warmUp: 60, busy: 60, lone: 10 };

/** One site, and what it took in each turn. */
interface Kind {
  readonly name: string;
  readonly gateways: GatewayProcess[];
  readonly sink: MailSink;
  /** Database of the site, and its server; undefined for SQLite alone. */
  readonly database: string | undefined;
  readonly server: Postgres | undefined;
  readonly taken: Record<"rate" | "cpu" | "answer" | "through" | "wal", number[]>;
  sent: number;
}

async function run(context: Context): Promise<Outcome> {
  const { material, quick, runs, say } = context;
  const { warmUp, busy, lone } = quick ? QUICK : SIZES;
  const updates = material.updates(warmUp + runs * (busy + lone));
  const gateways = new Gateways(context);
  const servers: Postgres[] = [];
  const kinds: Kind[] = [];
  try {
    const alone = await Postgres.start();
    servers.push(alone);
    const primary = await Postgres.start();
    servers.push(primary, await synchronous(primary));
    for (const count of [0, 1, 2, 3]) kinds.push(await begin(context, gateways, alone, count));
    kinds.push(await begin(context, gateways, primary, 2, " with a standby"));
    for (const kind of kinds) await many(kind, updates.slice(0, warmUp));
    for (const { taken } of kinds) for (const values of Object.values(taken)) values.length = 0;
    for (let turn = 0; turn < runs; turn += 1) {
      const from = warmUp + turn * (busy + lone);
      for (const kind of rotated(kinds, turn)) {
        await many(kind, updates.slice(from, from + busy));
        await few(kind, updates.slice(from + busy, from + busy + lone));
      }
      say(kinds.map(({ name, taken }) => `${name} ${taken.rate.at(-1)?.toFixed(0)}/s`).join(", "));
    }
    await gateways.end();
    const loaded = await loadCopies(context, alone);
    const fetched = await fetchInto(context, sideOf(context), alone);
    return {
      input:
        `${warmUp} mails as warm-up; a turn is ${busy} mails over ${CONNECTIONS} connections and ` +
        `${lone} one at a time; PostgreSQL ${alone.sql("SHOW server_version")} beside them, and ` +
        "for one kind with a synchronous standby on the same machine",
      figures: [...kinds.flatMap(figuresOf), ...standbyFigures(kinds), ...loaded, ...fetched],
      goals: [],
    };
  } finally {
    await gateways.end();
    await Promise.all(kinds.map(({ sink }) => sink.stop()));
    for (const server of servers.reverse()) await server.remove();
  }
}

/** A synchronous standby of the server. */
async function synchronous(primary: Postgres): Promise<Postgres> {
  const standby = await Postgres.standbyOf(primary, STANDBY);
  primary.sql(`ALTER SYSTEM SET synchronous_standby_names = '${STANDBY}'`);
  primary.sql("SELECT pg_reload_conf()");
  await until(() => primary.sql("SELECT sync_state FROM pg_stat_replication") === "sync");
  return standby;
}

async function begin(
  context: Context,
  gateways: Gateways,
  server: Postgres,
  count: number,
  more = "",
): Promise<Kind> {
  const side = sideOf(context);
  const sink = new MailSink();
  const relay = await sink.start();
  const database = count === 0 ? undefined : `site${count}`;
  if (database !== undefined) server.sql(`CREATE DATABASE ${database}`, "postgres");
  const all: GatewayProcess[] = [];
  for (let n = 0; n < Math.max(1, count); n += 1) {
    all.push(await gateways.start(side, { name: "node", ...wanted(server, database, relay) }));
  }
  const name = count === 0 ? "SQLite alone" : `${count} on PostgreSQL${more}`;
  const taken = { rate: [], cpu: [], answer: [], through: [], wal: [] };
  const own = database === undefined ? undefined : server;
  return { name, gateways: all, sink, database, server: own, taken, sent: 0 };
}

function wanted(server: Postgres, database: string | undefined, relay: number) {
  const lines = [
    `[outbound]\nrelay = "smtp://127.0.0.1:${relay}"`,
    `[[peer]]\nname = "old"\nmail = "${OLD}"\naccept_from = ["127.0.0.1"]`,
    `[[peer]]\nname = "far"\nmail = "${FAR}"`,
  ];
  const shared = database && `postgres://kxgw@127.0.0.1:${server.port}/${database}`;
  return { lines, shared };
}

type Updates = ReturnType<Context["material"]["updates"]>;

/** Over 16 connections in all, an equal share of the mails to each gateway. */
async function many(kind: Kind, updates: Updates): Promise<void> {
  const { gateways, taken, server } = kind;
  const mails = updates.map((update) => mailOf(update, `cluster.${update.hash}`));
  const connections = Math.floor(CONNECTIONS / gateways.length);
  const before = server && walBytes(server);
  const spent = gateways.map(({ pid }) => cpuUs(pid));
  const began = performance.now();
  await Promise.all(
    gateways.map((gateway, n) => {
      const own = mails.filter((_, index) => index % gateways.length === n);
      return deliverAll(gateway.port("smtp"), own, connections);
    }),
  );
  taken.rate.push((1000 * mails.length) / (performance.now() - began));
  await arrived(kind, updates.length);
  const cpu = gateways.reduce((sum, { pid }, n) => sum + cpuUs(pid) - (spent[n] ?? 0), 0);
  taken.cpu.push(cpu / mails.length);
  if (server === undefined || before === undefined) return;
  taken.wal.push((walBytes(server) - before) / mails.length / 1000);
}

/** One at a time, at the first gateway. */
async function few(kind: Kind, updates: Updates): Promise<void> {
  const { gateways, sink, taken } = kind;
  const sent = new Map<string, number>();
  const [answers, through]: [number[], number[]] = [[], []];
  sink.onMail = (hash) => {
    const at = sent.get(hash);
    if (at !== undefined) through.push(performance.now() - at);
  };
  const client = await SmtpClient.connect(gateways[0]?.port("smtp") ?? 0);
  for (const update of updates) {
    const at = performance.now();
    sent.set(update.hash, at);
    const { code, text } = await client.deliver(mailOf(update, `lone.${update.hash}`), SITE);
    if (code !== 250) throw new Error(text);
    answers.push(performance.now() - at);
    await until(() => through.length >= answers.length, "a mail that did not arrive", PATIENCE_MS);
  }
  client.close();
  sink.onMail = undefined;
  kind.sent += updates.length;
  taken.answer.push(quantile(answers, 0.5));
  taken.through.push(quantile(through, 0.5));
}

async function arrived(kind: Kind, count: number): Promise<void> {
  kind.sent += count;
  const { sink, sent, name } = kind;
  await until(
    () => sink.received.size >= sent,
    () => `${name}: ${sent - sink.received.size} updates that did not arrive`,
    PATIENCE_MS,
  );
}

function walBytes(server: Postgres): number {
  return Number(server.sql("SELECT pg_current_wal_insert_lsn() - '0/0'"));
}

/** How many commits the updates of a site took, and what the table of commits keeps of one. */
function commitFigures({ name, database, server, sent }: Kind): Figure[] {
  if (server === undefined) return [];
  const text = "SELECT count(*), pg_relation_size('kxgw_commits'), pg_indexes_size('kxgw_commits')";
  const [count = 0, table = 0, index = 0] = server
    .sql(`${text} FROM kxgw_commits`, database)
    .split("|")
    .map(Number);
  return [
    { name: `commits for an update in and out, ${name}`, unit: "", values: [count / sent] },
    {
      name: `disk of kxgw_commits for a commit, ${name}`,
      unit: "octets",
      values: [(table + index) / count],
    },
  ];
}

/** What a standby costs, in ratios of the same turn. */
function standbyFigures(kinds: readonly Kind[]): Figure[] {
  const [plain, safe] = [kinds.at(2)?.taken, kinds.at(-1)?.taken];
  if (plain === undefined || safe === undefined) return [];
  const ratio = (what: string, key: "rate" | "answer"): Figure => {
    const name = `with a standby : without, 2 on PostgreSQL, ${what}`;
    return { name, unit: "", values: ratios(safe[key], plain[key]) };
  };
  return [ratio("mails a second", "rate"), ratio("a lone mail until its answer", "answer")];
}

function figuresOf(kind: Kind): Figure[] {
  const { name, taken } = kind;
  const all: Figure[] = [
    { name: `mails over ${CONNECTIONS} connections, ${name}`, unit: "/s", values: taken.rate },
    { name: `CPU of all gateways for a mail in and out, ${name}`, unit: "us", values: taken.cpu },
    { name: `WAL of the database for an update, ${name}`, unit: "kB", values: taken.wal },
    { name: `a lone mail until its answer, p50, ${name}`, unit: "ms", values: taken.answer },
    {
      name: `a lone mail until it is at the site, p50, ${name}`,
      unit: "ms",
      values: taken.through,
    },
  ];
  return [...all.filter(({ values }) => values.length > 0), ...commitFigures(kind)];
}
