/**
 * How fast an empty copy is loaded from the shared database, and how many bytes that takes: a log
 * is moved into the database, and gateways with empty copies start on it. What the start of a
 * gateway with a complete copy takes is measured beside it and subtracted. Part of `cluster`.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { Listener } from "../../support/listener.js";
import type { Postgres } from "../../system/postgres.js";
import type { Context, Figure } from "../bench.js";
import { Gateways, SITE } from "../gateways.js";
import { fill } from "../sides.js";

const SIZE = 20_000;
const QUICK_SIZE = 1000;
const NAME = "moved";

/** Measures with a database of its own on `server`. */
export async function loadCopies(context: Context, server: Postgres): Promise<Figure[]> {
  const { material, quick, runs, say } = context;
  const side = sideOf(context);
  const updates = material.updates(quick ? QUICK_SIZE : SIZE);
  const count = updates.length;
  server.sql(`CREATE DATABASE ${NAME}`, "postgres");
  const empty = sizeOf(server);
  const shared = `postgres://kxgw@127.0.0.1:${server.port}/${NAME}`;
  await moveIn(context, updates, shared);
  server.sql("VACUUM FULL", NAME);
  const gateways = new Gateways(context);
  const wire = new CountingWire(server.port);
  const rates: number[] = [];
  const starts: number[] = [];
  const disk: number[] = [];
  try {
    for (let turn = 0; turn < runs; turn += 1) {
      const began = performance.now();
      const gateway = await gateways.start(side, { name: "new", lines: [], shared });
      const first = performance.now() - began;
      const log = gateways.logOf(gateway);
      await gateway.end();
      disk.push(statSync(log).size / count / 1000);
      const again = performance.now();
      const complete = await gateways.startAgain(side, log);
      const start = performance.now() - again;
      await complete.end();
      starts.push(start);
      rates.push((1000 * count) / Math.max(1, first - start));
      say(`a copy of ${count} updates: ${rates.at(-1)?.toFixed(0)}/s`);
    }
    const counted = shared.replace(`:${server.port}/`, `:${await wire.start()}/`);
    await (await gateways.start(side, { name: "new", lines: [], shared: counted })).end();
  } finally {
    await gateways.end();
    await wire.stop();
  }
  const database = (sizeOf(server) - empty) / count / 1000;
  const read = wire.bytes / count / 1000;
  return [
    { name: `an empty copy loads ${count} updates`, unit: "/s", values: rates },
    { name: "start with a complete copy", unit: "ms", values: starts },
    { name: "from the database to an empty copy, for an update", unit: "kB", values: [read] },
    { name: "disk of the database for an update", unit: "kB", values: [database] },
    { name: "disk of a copy for an update", unit: "kB", values: disk },
  ];
}

/** `kxgw db move --to-shared` of a log with these updates. */
async function moveIn(
  context: Context,
  updates: ReturnType<Context["material"]["updates"]>,
  shared: string,
): Promise<void> {
  const side = sideOf(context);
  const directory = mkdtempSync(join(context.directory, "moved-"));
  const [log, config] = [join(directory, "updates.db"), join(directory, "kxgw.toml")];
  await fill(side, log, updates);
  writeFileSync(
    config,
    `[site]\naddress = "${SITE}"\n[log]\npath = "${log}"\nshared = "${shared}"\n`,
  );
  const args = [join(side.modules, "main.js"), "db", "move", "--to-shared", "-c", config];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`db move: ${stderr}`);
}

/** The checkout that is measured. */
export function sideOf({ sides }: Context) {
  const side = sides.at(-1);
  if (side === undefined) throw new Error("a bench without a side");
  return side;
}

function sizeOf(server: Postgres): number {
  return Number(server.sql(`SELECT pg_database_size('${NAME}')`));
}

/** Passes connections on to a port of loopback and counts the bytes that come back. */
class CountingWire {
  bytes = 0;
  readonly #listener: Listener;

  constructor(port: number) {
    this.#listener = new Listener((near) => {
      const far = connect({ host: "127.0.0.1", port });
      far.on("data", (data) => {
        this.bytes += data.length;
      });
      far.on("error", () => near.destroy());
      near.on("close", () => far.destroy());
      near.pipe(far);
      far.pipe(near);
    });
  }

  async start(): Promise<number> {
    return await this.#listener.start();
  }

  async stop(): Promise<void> {
    await this.#listener.stop();
  }
}
