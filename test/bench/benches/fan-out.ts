/**
 * Fan-out: one gateway with many KX peers, each of which fetches every update, one with many legacy
 * sites, and one with neither, by turns; what one consumer more costs an update, and whether a
 * consumer costs anything when nothing happens.
 */

import { KxPeer } from "../../support/kx-peer.js";
import { pause, until } from "../../support/until.js";
import { MailSink } from "../../torture/mail-sink.js";
import {
  atMost,
  type Bench,
  type Context,
  type Figure,
  type Goal,
  median,
  type Outcome,
  ratios,
  rotated,
} from "../bench.js";
import { Gateways, OLD } from "../gateways.js";
import { deliverAll, WARM_UP } from "../mailing.js";
import { mailOf } from "../material.js";
import { meter, sleeps } from "../processes.js";
import type { Side } from "../sides.js";

const PATIENCE_MS = 300_000;
/** What the lanes and the peers still do when everybody has everything. */
const SETTLE_MS = 1500;

export const fanOut: Bench = {
  name: "fan-out",
  question: "What does a neighbour cost, when there are many, and when nothing happens?",
  run,
};

/** `warmUp` updates reach 50 sites, so a lane's code runs fifty times as often. */
const SIZES = { many: 50, warmUp: WARM_UP / 50, updates: 60, idleS: 10 };
const QUICK = { many: 5, warmUp: 10, updates: 10, idleS: 1 };

/** A gateway with its neighbours, and what an update cost it in each turn. */
interface Hub {
  readonly pid: number;
  /** Delivers the mails and waits until every neighbour has them. */
  spread(mails: readonly string[]): Promise<void>;
  readonly cpu: number[];
  readonly bytes: number[];
  readonly woken: number[];
}

type Hubs = Record<"none" | "peers" | "sites", Hub>;

async function run(context: Context): Promise<Outcome> {
  const { quick, runs, say, material, sides } = context;
  const { many, warmUp, updates: count, idleS } = quick ? QUICK : SIZES;
  const mails = material
    .updates(warmUp + runs * count)
    .map((update, n) => mailOf(update, `fan-out.${n}`));
  const gateways = new Gateways(context);
  const ends: (() => Promise<void>)[] = [];
  const all: Hubs[] = [];
  try {
    for (const side of sides) {
      all.push({
        none: await hub(gateways, side, ends, 0, 0),
        peers: await hub(gateways, side, ends, many, 0),
        sites: await hub(gateways, side, ends, 0, many),
      });
    }
    const hubs = all.flatMap(({ none, peers, sites }) => [none, peers, sites]);
    for (const { spread } of hubs) await spread(mails.slice(0, warmUp));
    for (let turn = 0; turn < runs; turn++) {
      const part = mails.slice(warmUp + turn * count, warmUp + (turn + 1) * count);
      for (const one of rotated(hubs, turn)) {
        const spent = meter(one.pid);
        await one.spread(part);
        await pause(SETTLE_MS);
        const { cpu, bytes } = spent(part.length);
        one.cpu.push(cpu);
        one.bytes.push(bytes);
      }
      const asleep = hubs.map(({ pid }) => sleeps(pid));
      await pause(idleS * 1000);
      for (const [n, { pid, woken }] of hubs.entries()) {
        woken.push((sleeps(pid) - (asleep[n] ?? 0)) / idleS);
      }
      say(`${hubs.map(({ cpu }) => cpu.at(-1)?.toFixed(0)).join(", ")} us an update`);
    }
  } finally {
    await gateways.end();
    for (const end of ends) await end();
  }
  const more = (hubs: Hubs, which: "peers" | "sites", what: "cpu" | "bytes" | "woken") => {
    return hubs[which][what].map((value, n) => (value - (hubs.none[what][n] ?? 0)) / many);
  };
  const kB = (values: readonly number[]) => values.map((bytes) => bytes / 1000);
  const figures = sides.flatMap(({ label }, n): Figure[] => {
    const hubs = all[n];
    if (hubs === undefined) return [];
    const bytes = kB(more(hubs, "sites", "bytes"));
    return [
      { name: `CPU of an update without neighbours${label}`, unit: "us", values: hubs.none.cpu },
      { name: `CPU of a KX peer more${label}`, unit: "us", values: more(hubs, "peers", "cpu") },
      { name: `CPU of a site more${label}`, unit: "us", values: more(hubs, "sites", "cpu") },
      { name: `written for a site more${label}`, unit: "kB", values: bytes },
      {
        name: `wake-ups a second of an idle peer${label}`,
        unit: "",
        values: more(hubs, "peers", "woken"),
      },
      {
        name: `wake-ups a second of an idle site${label}`,
        unit: "",
        values: more(hubs, "sites", "woken"),
      },
    ];
  });
  const goals: Goal[] = [];
  const [before, now] = [all.length > 1 ? all[0] : undefined, all.at(-1)];
  if (now !== undefined) {
    if (before !== undefined) {
      const share = ratios(more(now, "sites", "cpu"), more(before, "sites", "cpu"));
      figures.push({ name: "now : before, CPU of a site more", unit: "", values: share });
      goals.push(atMost("a site and update: at most 0.55 of before", median(share), 0.55));
    }
    const bytes = median(kB(more(now, "sites", "bytes")));
    goals.push(
      atMost("at most 2.3 kB written for a site and update", bytes, 2.3, " kB"),
      atMost("an idle peer wakes nobody", median(more(now, "peers", "woken")), 0.05, " a second"),
      atMost("an idle site wakes nobody", median(more(now, "sites", "woken")), 0.05, " a second"),
    );
  }
  return {
    input:
      `${many} KX peers that fetch everything, ${many} sites behind one relay; ` +
      `${warmUp} updates as warm-up, ${count} updates a turn, one mail at a time`,
    figures,
    goals,
  };
}

async function hub(
  gateways: Gateways,
  side: Side,
  ends: (() => Promise<void>)[],
  peerCount: number,
  siteCount: number,
): Promise<Hub> {
  const peers = Array.from({ length: peerCount }, () => new KxPeer());
  const sink = new MailSink();
  const relay = await sink.start();
  ends.push(() => sink.stop(), ...peers.map((peer) => () => peer.stop()));
  const kx: string[] = [];
  for (const [n, peer] of peers.entries()) {
    peer.isFetching = true;
    const port = await peer.start();
    kx.push(`[[peer]]\nname = "kx${n}"\nkx = "127.0.0.1:${port}"\ndial = true\nvia = "kx"`);
  }
  const sites = Array.from({ length: siteCount }, (_, n) => {
    return `[[peer]]\nname = "site${n}"\nmail = "pgp-public-keys@site${n}.example.net"`;
  });
  const gateway = await gateways.start(side, {
    name: "hub",
    lines: [
      `[kx]\nlisten = ["127.0.0.1:0"]\n[outbound]\nrelay = "smtp://127.0.0.1:${relay}"`,
      `[[peer]]\nname = "old"\nmail = "${OLD}"\naccept_from = ["127.0.0.1"]`,
      ...kx,
      ...sites,
    ],
  });
  await until(() => peers.every(({ connected }) => connected));
  const port = gateway.port("smtp");
  let count = 0;
  const spread = async (mails: readonly string[]) => {
    await deliverAll(port, mails, 1);
    count += mails.length;
    const isDone = () =>
      peers.every(({ fetched }) => fetched >= count) && sink.taken >= count * siteCount;
    await until(isDone, "everybody has everything", PATIENCE_MS);
  };
  return { pid: gateway.pid, spread, cpu: [], bytes: [], woken: [] };
}
