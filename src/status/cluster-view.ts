/**
 * The gateways of a site that share a database: the state of the database, how far each copy is,
 * and who holds which lease. Pure: made from the state that the cluster has. Gateways are named by
 * their `node`; what another one does is never said to be done here.
 */
import type { ClusterState } from "../cluster/cluster.js";
import type { SharedDatabase } from "../config/config.js";
import { formatShared } from "../config/shared-database.js";
import { grouped, several, span } from "../text.js";
import type { Elsewhere } from "./neighbour-view.js";

/** A gateway shows itself each second; after this its leases have been free for some seconds. */
const SILENT_MS = 10_000;
/** A copy follows within milliseconds; one that is behind for longer has a fault. */
export const BEHIND_MS = 60_000;

export type ClusterJson = ReturnType<typeof clusterView>;

/** The value of `cluster` in /status.json; `now` in milliseconds since 1970. */
export function clusterView(state: ClusterState, shared: SharedDatabase, now: number) {
  const { session, problem, remedy, awayMs, newest, behindMs, position } = state;
  const isUp = session !== undefined;
  const nodes = state.nodes.map((one) => {
    const isHere = one.name === state.node;
    const isUpHere = isHere ? isUp : one.silentMs < SILENT_MS;
    const at = isHere ? position : one.position;
    return {
      node: one.name,
      here: isHere,
      up: isUpHere,
      version: one.version,
      address: one.address,
      position: at,
      behind: Math.max(0, newest - at),
      skewMs: Math.round(one.skewMs),
      started: new Date(one.startedAt).toISOString(),
      seen: new Date(now - one.silentMs).toISOString(),
      leases: isUpHere ? [...one.leases].sort() : [],
      sessions: isUpHere ? [...one.sessions].sort() : [],
    };
  });
  const names = new Set([...state.wanted, ...nodes.flatMap(({ leases }) => leases)]);
  const holderOf = (lease: string) => nodes.find(({ leases }) => leases.includes(lease))?.node;
  return {
    node: state.node,
    database: {
      address: formatShared(shared),
      up: isUp,
      server: session?.server ?? null,
      since: awayMs === undefined ? null : new Date(now - awayMs).toISOString(),
      problem: isUp ? null : (problem ?? null),
      remedy: isUp ? null : (remedy ?? null),
      newest,
    },
    copy: {
      position,
      behind: Math.max(0, newest - position),
      behindSeconds: Math.round(behindMs / 1000),
    },
    nodes,
    /** Empty while the database is away: then no gateway has a lease. */
    leases: isUp
      ? [...names].sort().map((lease) => ({
          lease,
          node: state.taken.includes(lease) ? state.node : (holderOf(lease) ?? null),
          here: state.taken.includes(lease),
        }))
      : [],
  };
}

/** Which other gateway serves the neighbour `name`; nothing is known while the database is away. */
export function elsewhereOf(state: ClusterState | undefined, name: string): Elsewhere {
  const others = (state?.session === undefined ? [] : state.nodes).filter((one) => {
    return one.name !== state?.node && one.silentMs < SILENT_MS;
  });
  const withLease = (lease: string) => others.find(({ leases }) => leases.includes(lease))?.name;
  const inSession = others.find(({ sessions }) => sessions.includes(name))?.name;
  return { lane: withLease(`lane:${name}`), kx: inSession ?? withLease(`dial:${name}`) };
}

/**
 * Why an order for the neighbour `name` is not for this gateway; undefined if it is. `here` says
 * whether this gateway runs the lane and has the KX session, undefined where it has none to run.
 */
export function orderedElsewhere(
  state: ClusterState,
  name: string,
  here: { readonly lane: boolean | undefined; readonly kx: boolean | undefined },
): string | undefined {
  const { lane, kx } = elsewhereOf(state, name);
  const isOurs = here.lane === true || here.kx === true;
  if (isOurs) return undefined;
  if (here.lane === false && lane !== undefined) {
    return `${lane} sends to ${name}. Give the order there.`;
  }
  if (here.kx === false && kx !== undefined) {
    return `${kx} has the KX connection with ${name}. Give the order there.`;
  }
  if (here.lane !== false) return undefined;
  const why =
    state.session === undefined ? "the shared database is away" : "no gateway has its lease";
  return `Nothing is sent to ${name} now: ${why}. Give the order again later.`;
}

/** What the first line says when the database is away or the copy is behind; else undefined. */
export function clusterVerdict(
  state: ClusterState | undefined,
): { readonly state: "bad" | "behind"; readonly words: string } | undefined {
  if (state === undefined) return undefined;
  if (state.session === undefined) {
    const away = `away for ${span(state.awayMs ?? 0)}`;
    const { problem = "" } = state;
    const what = problem.startsWith("the shared database")
      ? `${problem.replace("the", "The")}. It has been ${away}`
      : `The shared database has been ${away}${problem === "" ? "" : `: ${problem}`}`;
    return {
      state: "bad",
      words: `${what}. Mail is deferred, and KX is served from the copy.`,
    };
  }
  if (state.behindMs < BEHIND_MS) return undefined;
  const words = `${behindWords(state.newest - state.position)} for ${span(state.behindMs)}.`;
  return { state: "behind", words: `The copy of this gateway has been ${words}` };
}

/** As "3 commits behind". */
export function behindWords(commits: number): string {
  return commits <= 0 ? "up to date" : `${several(commits, "commit")} behind`;
}

/** As "PostgreSQL 15.8 at db:5432/kxgw, position 1 234", or since when and why it is away. */
export function databaseWords({ database }: Pick<ClusterJson, "database">, now: number): string {
  const { server, since, problem, newest, address } = database;
  if (server !== null) return `${server}, position ${grouped(newest)}`;
  const time = since === null ? "" : ` for ${span(now - Date.parse(since))}`;
  const why = (problem ?? "").replace(/^the shared database /, "").replace(`${address}: `, "");
  return `${address} away${time}${why === "" ? "" : `: ${why}`}`;
}

/** As "1.0.0, from 192.0.2.2, position 1 234, up to date". */
export function nodeWords(one: ClusterJson["nodes"][number], now: number): string {
  const skew =
    Math.abs(one.skewMs) < 1000 ? "" : `, clock differs by ${span(Math.abs(one.skewMs))}`;
  return [
    one.version,
    ...(one.address === null ? [] : [`from ${one.address}`]),
    ...(one.up ? [] : [`last seen ${span(now - Date.parse(one.seen))} ago`]),
    `position ${grouped(one.position)}`,
    `${behindWords(one.behind)}${skew}`,
  ].join(", ");
}

/** Leases that no gateway holds. */
export function unheld({ leases }: Pick<ClusterJson, "leases">): string[] {
  return leases.filter(({ node }) => node === null).map(({ lease }) => lease);
}

/** The versions of the gateways that are up. */
export function versionsOf({ nodes }: Pick<ClusterJson, "nodes">): string[] {
  return [...new Set(nodes.filter(({ up }) => up).map(({ version }) => version))].sort();
}
