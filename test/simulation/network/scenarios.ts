/**
 * The worlds of a run: which questions are asked, and with which worlds they are answered. A world
 * is named by its parameters, follows from them and the seed alone, and can so be kept and resumed.
 */
import { dice } from "../../torture/check.js";
import { type FloodOptions, flood } from "./flood.js";
import type { Result } from "./measure.js";
import { multicast, reconciliation } from "./others.js";
import { barabasiAlbert, chain, randomRegular, type Topology, twoClusters } from "./topology.js";
import { births } from "./workload.js";

export const PROTOCOLS = ["mail", "multicast", "reconciliation", "KX 2003", "KX"] as const;
export type Protocol = (typeof PROTOCOLS)[number];

/** Everything that a world depends on beside the sizes of updates. */
export interface WorldPlan {
  readonly protocol: Protocol;
  readonly servers: number;
  readonly topology: string;
  readonly updates: number;
  /** Times the thesis's load. */
  readonly load: number;
  readonly seed: number;
  /** One server is away from one hour on, for so many hours. */
  readonly outageHours?: number;
  /** Share of the servers that speak KX, and how many of them are gateways; all else is mail. */
  readonly mixed?: { readonly kxShare: number; readonly gateways: number };
}

const HOUR_MS = 3_600_000;
/** One mail in a thousand is lost, one connection in a thousand breaks during a transfer. */
const LOSS = 0.001;

/** A name for people and for the file of what is done. */
export function nameOf(plan: WorldPlan): string {
  const { protocol, servers, topology, updates, load, seed, outageHours, mixed } = plan;
  const more = [
    outageHours === undefined ? "" : `, away ${outageHours} h`,
    mixed === undefined ? "" : `, ${mixed.kxShare * 100} % KX, ${mixed.gateways} gateways`,
  ];
  const base = `${protocol}, ${servers} servers, ${topology}, ${updates} updates at x${load}`;
  return `${base}${more.join("")}, seed ${seed}`;
}

/** Runs one world. */
export function runWorld(plan: WorldPlan, sizes: readonly number[]): Result {
  const random = dice(plan.seed);
  const topology = plan.mixed === undefined ? topologyOf(plan, random) : mixedOf(plan, random);
  const servers = topology.neighbours.length;
  const load = births(plan.updates, plan.load, servers, sizes, random);
  const away = plan.outageHours;
  const outage = away !== undefined && {
    server: Math.floor(servers / 2),
    from: HOUR_MS,
    to: HOUR_MS * (1 + away),
  };
  const options = { topology, births: load, dice: random, ...(outage && { outage }) };
  const losses = { mailLoss: LOSS, fetchLoss: LOSS };
  const flooded = (more: Pick<FloodOptions, "isKx" | "thesis">) =>
    flood({ ...options, ...losses, ...more });
  if (plan.mixed !== undefined) return flooded({ isKx: kxEdges(plan, servers) });
  switch (plan.protocol) {
    case "mail":
      return flooded({ isKx: () => false });
    case "KX":
      return flooded({ isKx: () => true });
    case "KX 2003":
      return flooded({ isKx: () => true, thesis: true });
    case "multicast":
      return multicast(options);
    case "reconciliation":
      return reconciliation(options);
    default:
      return plan.protocol satisfies never;
  }
}

function topologyOf({ topology, servers }: WorldPlan, random: () => number): Topology {
  const [kind, degree = ""] = topology.split(" ");
  switch (kind) {
    case "regular":
      return randomRegular(servers, Number(degree), random);
    case "hubs":
      return barabasiAlbert(servers, Number(degree), random);
    case "bridge":
      return twoClusters(servers, Number(degree), random);
    case "chain":
      return chain(servers);
    default:
      throw new Error(`no topology ${topology}`);
  }
}

/**
 * A network on its way: the first servers speak KX among themselves, the others mail, both in a
 * random regular graph; the first of the KX servers are gateways, with as many neighbours by mail.
 */
function mixedOf({ mixed, servers, topology }: WorldPlan, random: () => number): Topology {
  const degree = Number(topology.split(" ")[1]);
  const kx = Math.round(servers * (mixed?.kxShare ?? 0));
  const gateways = Math.min(mixed?.gateways ?? 0, kx);
  const part = (count: number) =>
    count === 0 ? [] : randomRegular(count, degree, random).neighbours;
  const neighbours = [
    ...part(kx),
    ...part(servers - kx).map((others) => others.map((other) => kx + other)),
  ].map((others) => [...others]);
  if (kx === 0 || kx === servers) return { name: "mixed", neighbours };
  for (let gateway = 0; gateway < gateways; gateway++) {
    const chosen = new Set<number>();
    while (chosen.size < degree) chosen.add(kx + Math.floor(random() * (servers - kx)));
    for (const site of chosen) {
      neighbours[gateway]?.push(site);
      neighbours[site]?.push(gateway);
    }
  }
  return { name: "mixed", neighbours };
}

function kxEdges({ mixed, servers }: WorldPlan, all: number): (a: number, b: number) => boolean {
  const kx = Math.round(servers * (mixed?.kxShare ?? 0));
  if (all !== servers) throw new Error("a mixed world has as many servers as was asked for");
  return (a, b) => a < kx && b < kx;
}

/** One question and the worlds that answer it. */
export interface Scenario {
  readonly name: string;
  readonly title: string;
  readonly plans: readonly WorldPlan[];
}

/** All questions; `quick` asks them of small worlds. */
export function scenarios(seed: number, quick: boolean): Scenario[] {
  const updates = quick ? 60 : 900;
  const usual = quick ? 30 : 300;
  const base = { topology: "regular 6", updates, load: 1, seed, servers: usual };
  const each = (
    more: Partial<WorldPlan>,
    protocols: readonly Protocol[] = PROTOCOLS,
  ): WorldPlan[] => protocols.map((protocol) => ({ ...base, ...more, protocol }));
  const sizes = quick ? [30, 100] : [30, 100, 300, 1000, 2000];
  const topologies: readonly (readonly [string, number])[] = [
    ["regular 4", usual],
    ["regular 6", usual],
    ["regular 8", usual],
    ["hubs 3", usual],
    ["bridge 6", usual],
    ["chain", 20],
  ];
  const hours = quick ? [1] : [1, 71, 73, 168];
  return [
    {
      name: "size",
      title: "How many servers",
      plans: sizes.flatMap((servers) => each({ servers })),
    },
    {
      name: "topology",
      title: "Who talks to whom",
      plans: topologies.flatMap(([topology, servers]) => each({ topology, servers })),
    },
    { name: "load", title: "How much", plans: [1, 10, 100].flatMap((load) => each({ load })) },
    {
      name: "outage",
      title: "A server that was away",
      plans: hours.flatMap((outageHours) => {
        const days = (outageHours + 12) / 24;
        const count = quick ? 60 : Math.round(900 * days);
        return each({ outageHours, servers: quick ? 30 : 100, updates: count });
      }),
    },
    {
      name: "mixed",
      title: "On the way from mail to KX",
      plans: [0, 0.25, 0.5, 0.75, 1].flatMap((kxShare) =>
        (kxShare === 0 || kxShare === 1 ? [0] : [1, 2, 5]).map((gateways): WorldPlan => {
          return { ...base, protocol: "KX", mixed: { kxShare, gateways } };
        }),
      ),
    },
    {
      name: "calibration",
      title: "The thesis's 40,000 mails for 9,000 updates",
      plans: [4, 5, 5.47, 6, 7, 8].map((degree): WorldPlan => {
        const count = quick ? 90 : 9000;
        const topology = `regular ${degree}`;
        return { protocol: "mail", servers: 30, topology, updates: count, load: 1, seed };
      }),
    },
  ];
}
