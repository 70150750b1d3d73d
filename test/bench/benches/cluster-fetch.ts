/**
 * What it costs a site of several gateways to fetch everything over KX, and to serve it: an empty
 * site fetches from a gateway on SQLite, and then an empty gateway on SQLite from that site. A site
 * on SQLite alone does the same beside it. Part of `cluster`.
 */
import type { GatewayProcess } from "../../../src/demo/process.js";
import { freePort } from "../../support/ports.js";
import { until } from "../../support/until.js";
import type { Postgres } from "../../system/postgres.js";
import { type Context, type Figure, ratios, rotated } from "../bench.js";
import { Gateways, held, type Wanted } from "../gateways.js";
import type { Side } from "../sides.js";
import { watch } from "./catch-up.js";

const SIZE = { all: 8000, warmUp: 3000 };
const QUICK_SIZE = { all: 2000, warmUp: 200 };
const PATIENCE_MS = 300_000;
const LISTEN = '[kx]\nlisten = ["127.0.0.1:0"]\nreconnect = "1s"';

/** A kind of site. */
interface Kind {
  readonly name: string;
  /** Gateways on PostgreSQL; 0 for one on SQLite alone. */
  readonly count: number;
  readonly rate: number[];
  readonly fetch: number[];
  readonly serve: number[];
}

/** Measures with databases of its own on `server`. */
export async function fetchInto(context: Context, side: Side, server: Postgres): Promise<Figure[]> {
  const { material, quick, runs, say } = context;
  const size = quick ? QUICK_SIZE : SIZE;
  const updates = material.updates(size.all);
  const kinds = [0, 1, 2].map((count): Kind => {
    const name = count === 0 ? "SQLite alone" : `${count} on PostgreSQL`;
    return { name, count, rate: [], fetch: [], serve: [] };
  });
  const port = await freePort();
  const fulls = new Gateways(context);
  const others = new Gateways(context);
  const startSite = async (name: string, wanted: Omit<Wanted, "name">, count: number) => {
    const first = await others.start(side, { name, ...wanted });
    const more: GatewayProcess[] = [];
    while (more.length < count - 1) more.push(await others.start(side, { name, ...wanted }));
    return { first, more };
  };
  try {
    const lines = [`[kx]\nlisten = ["127.0.0.1:${port}"]`, served("site")];
    const filled = await fulls.start(side, { name: "full", updates, lines });
    const log = fulls.logOf(filled);
    await fulls.end();
    for (let turn = 0; turn < runs; turn += 1) {
      for (const { count, rate, fetch, serve } of rotated(kinds, turn)) {
        const database = `fetch${count}_${turn}`;
        if (count > 0) server.sql(`CREATE DATABASE ${database}`, "postgres");
        const lines = [LISTEN, fetched("full", port), served("empty")];
        const shared = `postgres://kxgw@127.0.0.1:${server.port}/${database}`;
        const wanted = count > 0 ? { lines, shared } : { lines };
        const { first, more } = await startSite("site", wanted, count);
        // All gateways of the site are there before the first of them can fetch.
        const full = await fulls.startAgain(side, log);
        const pids = [first.pid, ...more.map(({ pid }) => pid)] as const;
        const stored = { pids, file: others.logOf(first), table: "updates" } as const;
        const spent = await watch(stored, size, full.pid);
        rate.push(spent.rate);
        fetch.push(spent.cpu);
        await fulls.end();
        for (const gateway of more) await untilHeld(gateway, size.all);
        const from = [LISTEN, fetched("site", first.port("kx"))];
        const { first: empty } = await startSite("empty", { lines: from }, 1);
        const copied = { pids: [empty.pid], file: others.logOf(empty), table: "updates" } as const;
        serve.push((await watch(copied, size, first.pid)).serve);
        await others.end();
      }
      say(kinds.map(({ name, fetch }) => `${name} ${fetch.at(-1)?.toFixed(0)} us`).join(", "));
    }
  } finally {
    await others.end();
    await fulls.end();
  }
  return figuresOf(kinds);
}

function served(name: string): string {
  return `[[peer]]\nname = "${name}"\nkx = "127.0.0.1:1"\nvia = "kx"`;
}

function fetched(name: string, port: number): string {
  return `[[peer]]\nname = "${name}"\nkx = "127.0.0.1:${port}"\ndial = true\nvia = "kx"`;
}

async function untilHeld(gateway: GatewayProcess, count: number): Promise<void> {
  const isFull = async () => (await held(gateway)) >= count;
  await until(isFull, "a gateway of the site does not have it all", PATIENCE_MS);
}

function figuresOf(kinds: readonly Kind[]): Figure[] {
  const [alone] = kinds;
  return kinds.flatMap(({ name, count, rate, fetch, serve }) => [
    { name: `updates fetched over KX, ${name}`, unit: "/s", values: rate },
    {
      name: `CPU of all gateways for an update fetched over KX, ${name}`,
      unit: "us",
      values: fetch,
    },
    { name: `CPU of serving an update over KX, ${name}`, unit: "us", values: serve },
    ...(count === 0 || alone === undefined
      ? []
      : [
          {
            name: `${name} : SQLite alone, CPU of fetching over KX`,
            unit: "",
            values: ratios(fetch, alone.fetch),
          },
          {
            name: `${name} : SQLite alone, updates fetched a second`,
            unit: "",
            values: ratios(rate, alone.rate),
          },
        ]),
  ]);
}
