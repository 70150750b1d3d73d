/**
 * KX/1.1 beside KX/1.0, by turns: an empty gateway fetches everything from a full one, as in
 * `catch-up.ts`, once in each version, and then single updates come in by mail at the full one. CPU
 * of both sides and the octets of both directions; what a gateway announces back to the peer that
 * it fetched from waits for a minute, and is in the octets.
 */
import type { GatewayProcess } from "../../../src/demo/process.js";
import { pause, until } from "../../support/until.js";
import {
  atMost,
  type Bench,
  type Context,
  type Figure,
  median,
  type Outcome,
  ratios,
  rotated,
} from "../bench.js";
import { Gateways, held, metric, OLD } from "../gateways.js";
import { deliverAll, WARM_UP } from "../mailing.js";
import { mailOf } from "../material.js";
import { watch } from "./catch-up.js";

const VERSIONS = ["1.0", "1.1"] as const;
type Version = (typeof VERSIONS)[number];
/** After this time nothing is to be announced any more: `kx/announcer.ts` waits for 60 s. */
const ECHO_MS = 62_000;
const PATIENCE_MS = 120_000;

export const kx11: Bench = {
  name: "kx11",
  question: "What do KX/1.1 and its features save, in octets and CPU, beside KX/1.0?",
  run,
};

interface Measured {
  readonly fetch: number[];
  readonly serve: number[];
  readonly octets: number[];
}

async function run(context: Context): Promise<Outcome> {
  const { material, quick, runs, say, sides } = context;
  const side = sides.at(-1);
  if (side === undefined) throw new Error("nothing to measure");
  const [count, lone] = quick ? [2000, 20] : [30_000, 200];
  const all = material.updates(count + lone);
  const [updates, news] = [all.slice(0, count), all.slice(count)];
  const warmUp = quick ? 500 : WARM_UP;
  const taken = new Map<Version, Measured>(
    VERSIONS.map((version) => [version, { fetch: [], serve: [], octets: [] }]),
  );
  const gateways = new Gateways(context);
  const empties = new Gateways(context);
  try {
    const full = await gateways.start(side, {
      name: "full",
      updates,
      lines: [
        '[kx]\nlisten = ["127.0.0.1:0"]',
        '[[peer]]\nname = "empty"\nkx = "127.0.0.1:1"\nvia = "kx"',
      ],
    });
    const fetchAll = async (version: Version) => {
      const empty = await empties.start(side, { name: "empty", lines: dialling(version, full) });
      const watched = { pids: [empty.pid], file: empties.logOf(empty), table: "updates" } as const;
      const spent = await watch(watched, { warmUp, all: updates.length }, full.pid);
      const octets = (await octetsOf(empty)) / updates.length;
      const into = taken.get(version);
      into?.fetch.push(spent.cpu);
      into?.serve.push(spent.serve);
      into?.octets.push(octets);
      await empties.end();
    };
    for (let turn = 0; turn < runs; turn++) {
      for (const version of rotated(VERSIONS, turn)) await fetchAll(version);
      say(VERSIONS.map((one) => `${taken.get(one)?.fetch.at(-1)?.toFixed(1)} us`).join(", "));
    }
  } finally {
    await empties.end();
    await gateways.end();
  }
  const alone = await loneUpdates(
    context,
    news.map((update, n) => mailOf(update, `kx11.${n}`)),
  );
  return outcome(
    taken,
    alone,
    `${count} updates, the first ${warmUp} as warm-up; ${lone} lone ones`,
  );
}

/** The octets of an update that comes alone, in each version; two pairs of gateways at once. */
async function loneUpdates(context: Context, mails: readonly string[]): Promise<number[]> {
  const side = context.sides.at(-1);
  if (side === undefined) throw new Error("nothing to measure");
  const gateways = new Gateways(context);
  const measure = async (version: Version) => {
    const near = await gateways.start(side, {
      name: "near",
      lines: [
        '[kx]\nlisten = ["127.0.0.1:0"]',
        '[[peer]]\nname = "empty"\nkx = "127.0.0.1:1"\nvia = "kx"',
        `[[peer]]\nname = "old"\nmail = "${OLD}"\naccept_from = ["127.0.0.1"]`,
      ],
    });
    const far = await gateways.start(side, { name: "far", lines: dialling(version, near) });
    await far.event("peer-connected");
    const before = await octetsOf(far);
    for (const [n, mail] of mails.entries()) {
      await deliverAll(near.port("smtp"), [mail], 1);
      await until(async () => (await held(far)) > n, "the update came", PATIENCE_MS);
    }
    await pause(ECHO_MS);
    return ((await octetsOf(far)) - before) / mails.length;
  };
  try {
    return await Promise.all(VERSIONS.map(measure));
  } finally {
    await gateways.end();
  }
}

function dialling(version: Version, full: GatewayProcess): string[] {
  const endpoint = `127.0.0.1:${full.port("kx")}`;
  return [
    `[kx]\nlisten = ["127.0.0.1:0"]\nversion = "${version}"`,
    `[[peer]]\nname = "full"\nkx = "${endpoint}"\ndial = true\nvia = "kx"`,
  ];
}

/** Octets over KX so far, of both directions. */
async function octetsOf(gateway: GatewayProcess): Promise<number> {
  return await metric(gateway, "kxgw_kx_bytes_total");
}

function outcome(
  taken: ReadonlyMap<Version, Measured>,
  alone: readonly number[],
  input: string,
): Outcome {
  const [old, now] = VERSIONS.map((version) => taken.get(version));
  if (old === undefined || now === undefined) throw new Error("nothing was measured");
  const fetch = ratios(now.fetch, old.fetch);
  const serve = ratios(now.serve, old.serve);
  const caught = ratios(now.octets, old.octets);
  const lone = ratios(alone.slice(1), alone.slice(0, 1));
  const figures: Figure[] = VERSIONS.flatMap((version, n) => {
    const { fetch, serve, octets } = taken.get(version) ?? { fetch: [], serve: [], octets: [] };
    return [
      { name: `octets of a lone update, KX/${version}`, unit: "", values: alone.slice(n, n + 1) },
      { name: `octets of an update, catching up, KX/${version}`, unit: "", values: octets },
      { name: `CPU of fetching an update, KX/${version}`, unit: "us", values: fetch },
      { name: `CPU of serving an update, KX/${version}`, unit: "us", values: serve },
    ];
  });
  return {
    input,
    figures: [
      { name: "1.1 : 1.0, octets of a lone update", unit: "", values: lone },
      { name: "1.1 : 1.0, octets, catching up", unit: "", values: caught },
      { name: "1.1 : 1.0, CPU of fetching", unit: "", values: fetch },
      { name: "1.1 : 1.0, CPU of serving", unit: "", values: serve },
      ...figures,
    ],
    goals: [
      atMost("octets of a lone update at most 0.70 of KX/1.0", median(lone), 0.7),
      atMost("octets of an update, catching up, at most 0.70", median(caught), 0.7),
      atMost("CPU of fetching at most 0.85 of KX/1.0", median(fetch), 0.85),
    ],
  };
}
