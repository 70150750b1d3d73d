/**
 * What a seed means: the servers of a world and how they are joined, its clocks, its mail, and
 * which faults happen how often. Printed with a seed that failed. The ranges follow those of
 * TigerBeetle's VOPR; each kind of fault is off in some worlds, so that it does not hide what the
 * others do.
 */

import type { RetentionLimits } from "../../src/log/retention.js";
import type { Schedule } from "../../src/schedule.js";
import { Dice } from "./dice.js";
import { EVEN, type LegacyKind, type Temper } from "./legacy.js";
import { LIES, type Lie } from "./liar.js";
import { POLICIES, type PolicyName } from "./policies.js";
import type { PostalOptions } from "./postal.js";
import type { StreamOptions } from "./streams.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** Faults of the network and the machines, by what they are called in the trace. */
export const FAULTS = [
  "cut",
  "half-close",
  "half-open",
  "clog",
  "swizzle",
  "partition",
  "kill",
  "power loss",
  "crash before commit",
  "crash after commit",
  "disk full",
  "disk lost",
  "io error",
  "clock jump",
  "disk lost while hung",
  "disk restored",
  "version changed",
] as const;
export type Fault = (typeof FAULTS)[number];

/** What happens to a site of several gateways, its nodes and its database. */
export const CLUSTER_FAULTS = [
  "node paused",
  "node cut off",
  "database away",
  "answer lost",
  "crash between commits",
] as const;
export type ClusterFault = (typeof CLUSTER_FAULTS)[number];

/** What sites, strangers and operators do to lanes, by what it is called in the trace. */
export const TROUBLE = [
  "site down",
  "site renamed",
  "stranger claims",
  "neighbour claims",
  "repeats",
  "block",
  "skip",
  "retry",
  "forget",
] as const;
export type Trouble = (typeof TROUBLE)[number];

export interface GatewayPlan {
  readonly name: string;
  readonly skewMs: number;
  /** Empty for a gateway that is honest. */
  readonly lies: readonly Lie[];
  /** What the keyserver beside it does with some keys; undefined when there is none. */
  readonly local: Temper | undefined;
  readonly policy: PolicyName;
  /** Highest version of KX that it speaks. */
  readonly version: "1.0" | "1.1";
  /** How many gateways it consists of, which share a database if it is more than one. */
  readonly nodes: number;
}

export interface LegacyPlan {
  readonly name: string;
  readonly kind: LegacyKind;
  readonly temper: Temper;
}

/** "mixed": a small world of both versions of KX, in which logs are replaced and restored. */
export type WorldSize = "small" | "large" | "mixed";

export interface WorldOptions {
  readonly seed: number;
  readonly size: WorldSize;
  readonly gateways: readonly GatewayPlan[];
  readonly legacy: readonly LegacyPlan[];
  /** KX between gateways: who dials whom. */
  readonly links: readonly (readonly [string, string])[];
  /** Mail between a site and another server, both ways; the site first. */
  readonly mailLinks: readonly (readonly [string, string])[];
  readonly updates: number;
  /** How long faults and updates happen. */
  readonly safetyMs: number;
  /** How long everything may take to come to rest after that. */
  readonly livenessMs: number;
  readonly limits: RetentionLimits;
  /** Whether bodies are held for sites that have not got them. */
  readonly holds: boolean;
  readonly reconnect: Schedule;
  readonly retry: Schedule;
  readonly sharedRelay: boolean;
  readonly streams: StreamOptions;
  readonly postal: PostalOptions;
  /** The same for what sites, strangers and operators do. */
  readonly trouble: Partial<Record<Trouble, number>>;
  /** Whether users hand all keys in again in the end, whole. */
  readonly again: boolean;
  /** Mean time between two faults of a kind; a kind that is not here does not happen. */
  readonly faults: Partial<Record<Fault | ClusterFault, number>>;
  /** Whether servers stay away for longer than bodies are kept. */
  readonly isLong: boolean;
}

/** The world of a seed. */
export function optionsOf(seed: number, size: WorldSize = "large"): WorldOptions {
  const dice = new Dice(seed).fork("options");
  const isSmall = size !== "large";
  const isMixed = size === "mixed";
  const isLong = dice.chance(0.06) && !isMixed;
  const count = dice.int(2, isSmall ? 3 : 5);
  // Dice of their own, as below.
  const policies = new Dice(seed).fork("policies");
  const differ = policies.chance(0.35);
  const clusters = new Dice(seed).fork("clusters");
  // In long worlds each node expires its copy by its own clock.
  const hasClusters = !isLong && clusters.chance(0.2);
  const versions = new Dice(seed).fork("versions");
  const old = versions.pick([0, 0, 0.5, 1]);
  const both = ["1.0", "1.1"] as const;
  const gateways = Array.from({ length: count }, (_, n) => {
    const policy = differ && policies.chance(0.5) ? policies.pick(POLICIES.slice(1)) : "all";
    const any = versions.chance(old) ? "1.0" : "1.1";
    // The first two are joined: an upgraded gateway and one that is not.
    const version = isMixed ? (both[n] ?? versions.pick(both)) : any;
    const nodes = hasClusters && (n === 0 || clusters.chance(0.2)) ? clusters.int(2, 3) : 1;
    return { ...gatewayPlan(`gw${n}`, [], dice), policy, version, nodes } as const;
  });
  const links = linked(gateways, dice);
  const liars = dice.chance(isSmall ? 0.25 : 0.35) ? dice.int(1, isSmall ? 1 : 2) : 0;
  for (let n = liars; n > 0; n -= 1) {
    const liar = gatewayPlan(`liar${n}`, dice.shuffled(LIES).slice(0, dice.int(1, 3)), dice);
    const victims = dice.shuffled(gateways.filter(({ lies }) => lies.length === 0));
    for (const { name } of victims.slice(0, dice.int(1, 3))) {
      links.push(dice.chance(0.5) ? [liar.name, name] : [name, liar.name]);
    }
    gateways.push(liar);
  }
  const sites = dice.chance(0.7) ? dice.int(1, isSmall ? 2 : 3) : 0;
  const kinds: readonly LegacyKind[] = ["pksd", "pksd", "sks", "verifier", "hockeypuck"];
  const delivery = dice.fork("delivery");
  const legacy = Array.from({ length: sites }, (_, n) => {
    return { name: `site${n}`, kind: dice.pick(kinds), temper: temperOf(delivery) };
  });
  const limits = isLong
    ? { retainMs: 3 * HOUR_MS, rememberMs: 24 * HOUR_MS }
    : { retainMs: 96 * HOUR_MS, rememberMs: 720 * HOUR_MS };
  const safetyMs = isLong
    ? 30 * HOUR_MS
    : dice.span(5 * MINUTE_MS, (isSmall ? 15 : 40) * MINUTE_MS);
  const mean = safetyMs / dice.int(2, 12);
  const faults: Partial<Record<Fault | ClusterFault, number>> = {};
  // Dice of its own: the worlds of older seeds stay as they are where this does not happen.
  const hung = dice.fork("hung");
  const mixed = dice.fork("mixed");
  for (const fault of FAULTS) {
    if (fault === "disk lost while hung") {
      const isOn = hung.chance(isMixed ? 0.5 : 0.15);
      if (isOn) faults[fault] = hung.span(mean / 2, mean * 4);
      continue;
    }
    // A restored log has lost its bodies sooner than the ledger thinks: not in a long world.
    if (fault === "disk restored" || fault === "version changed") {
      const isOn = mixed.chance(isMixed ? 0.6 : 0.1) && !isLong;
      if (isOn) faults[fault] = mixed.span(mean / 4, mean * 2);
      continue;
    }
    // A world that loses disks all the time has little left to be consistent about.
    const rarely = isMixed ? 0.4 : 0.15;
    const isOn = dice.chance(fault === "disk lost" ? rarely : 0.4);
    if (isOn) faults[fault] = dice.span(mean / 2, mean * 4);
  }
  for (const fault of hasClusters ? CLUSTER_FAULTS : []) {
    if (clusters.chance(0.6)) faults[fault] = clusters.span(mean / 2, mean * 4);
  }
  const trouble: Partial<Record<Trouble, number>> = {};
  for (const kind of TROUBLE) {
    // A node that loads its copy after that gets no body, and nobody can tell what it was.
    if (kind === "forget" && hasClusters) continue;
    // What is forgotten or loses its place is not held against anybody: not in all worlds.
    const isOn = delivery.chance(kind === "forget" ? 0.1 : 0.4);
    if (isOn) trouble[kind] = delivery.span(mean / 2, mean * 4);
  }
  const share = (most: number) => (dice.chance(0.4) ? dice.next() * most : 0);
  return {
    seed,
    size,
    gateways,
    legacy,
    links,
    mailLinks: mailed(legacy, gateways, dice),
    updates: isSmall ? dice.span(5, 15) : dice.span(8, 60),
    safetyMs,
    livenessMs: 8 * HOUR_MS,
    limits,
    holds: dice.chance(0.5),
    reconnect: [1000, 5000, 30_000, 5 * MINUTE_MS],
    retry: [MINUTE_MS, 5 * MINUTE_MS, 30 * MINUTE_MS],
    sharedRelay: dice.chance(0.3),
    streams: {
      latency: dice.pick([
        [1, 20],
        [5, 200],
        [50, 3000],
      ] as const),
      smallCuts: dice.pick([0, 0.3, 0.9]),
    },
    postal: {
      delayMs: [100, dice.span(1000, 2 * MINUTE_MS)],
      refusesForNow: share(0.4),
      refuses: share(0.15),
      answerLost: share(0.3),
      bounces: share(0.2),
      loses: dice.chance(0.15) ? dice.next() * 0.3 : 0,
      slow: share(0.3),
      slowMs: dice.span(MINUTE_MS, isLong ? 2 * HOUR_MS : HOUR_MS),
      lifetimeMs: isLong ? 6 * HOUR_MS : 120 * HOUR_MS,
    },
    trouble,
    again: delivery.chance(0.5),
    faults,
    isLong,
  };
}

/** Whether a site of the world has several gateways. */
export function hasCluster({ gateways }: WorldOptions): boolean {
  return gateways.some(({ nodes }) => nodes > 1);
}

function gatewayPlan(name: string, lies: readonly Lie[], dice: Dice): GatewayPlan {
  const skewMs = dice.chance(0.5) ? dice.int(-120, 120) * 1000 : 0;
  const own = dice.fork(`local of ${name}`);
  const hasLocal = lies.length === 0 && own.chance(0.3);
  const local = hasLocal ? temperOf(own) : undefined;
  return { name, skewMs, lies, local, policy: "all", version: "1.0", nodes: 1 };
}

/** Half of the servers take whatever they can read. */
function temperOf(dice: Dice): Temper {
  if (dice.chance(0.5)) return EVEN;
  const [refuses, fails] = [dice.pick([0, 0.2, 0.5]), dice.pick([0, 0.1, 0.3])];
  return { refuses, fails, relents: dice.chance(0.6) };
}

/** A tree over all, and some more: no liar is in it, so honest gateways reach each other. */
function linked(gateways: readonly GatewayPlan[], dice: Dice): (readonly [string, string])[] {
  const links: (readonly [string, string])[] = [];
  const join = (a: GatewayPlan, b: GatewayPlan) => {
    links.push(dice.chance(0.5) ? [a.name, b.name] : [b.name, a.name]);
    if (dice.chance(0.25)) links.push([b.name, a.name], [a.name, b.name]);
  };
  for (const [n, one] of gateways.entries()) {
    if (n > 0) join(one, dice.pick(gateways.slice(0, n)));
    for (const other of gateways.slice(0, n)) if (dice.chance(0.4)) join(one, other);
  }
  return links;
}

/** Each site has one or two gateways, and pksd may have another pksd. */
function mailed(
  legacy: readonly LegacyPlan[],
  gateways: readonly GatewayPlan[],
  dice: Dice,
): (readonly [string, string])[] {
  const honest = gateways.filter(({ lies }) => lies.length === 0);
  return legacy.flatMap(({ name, kind }, n) => {
    const own = dice.shuffled(honest).slice(0, dice.int(1, 2));
    const links: (readonly [string, string])[] = own.map((one) => [name, one.name]);
    const before = legacy.slice(0, n).filter((other) => other.kind === "pksd");
    if (kind === "pksd" && before.length > 0 && dice.chance(0.5)) {
      links.push([name, dice.pick(before).name]);
    }
    return links;
  });
}
