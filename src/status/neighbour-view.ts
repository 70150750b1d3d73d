/**
 * One neighbour as the operator sees it: by which road, since when, what came and went last, what
 * waits, and the state of it all in a sentence. Joins what the doors say of themselves with the
 * counters; decides nothing. Times are milliseconds since 1970, 0 for never.
 */
import type { Neighbour } from "../config/config.js";
import type { LaneStatus } from "../delivery/lane.js";
import type { Road } from "../delivery/path.js";
import { eventsWith } from "../diagnostics.js";
import type { Holding } from "../kx/fetch-policy.js";
import type { PeerStatus } from "../peering/connection.js";
import { ago, ahead, octets, several, span } from "../text.js";
import type { EventCounters } from "./event-counters.js";

/** `down`: something has to change; `behind`: it catches up; `idle`: nothing is sent to it. */
export type State = "good" | "behind" | "down" | "paused" | "idle";

const STATE_NAMES = {
  good: "in sync",
  behind: "behind",
  down: "down",
  paused: "paused",
  idle: "idle",
} as const satisfies Record<State, string>;

/** A state as page and commands call it: what waits by the operator's wish is well, not in sync. */
export function stateName({ state, backlog }: Pick<NeighbourView, "state" | "backlog">): string {
  return state === "good" && backlog > 0 ? "waits" : STATE_NAMES[state];
}

export interface NeighbourView {
  readonly name: string;
  /** The road in use now. */
  readonly path: Road | "local" | "none";
  /** Since when; 0 when nobody knows. */
  readonly pathSince: number;
  readonly state: State;
  /** What there is to say of that state: "is down: ...", "is behind ...". */
  readonly words: string;
  readonly lastIn: number;
  readonly lastOut: number;
  /** Updates that it should get or that we should get from it. */
  readonly backlog: number;
  /** Why the operator's wishes keep us from fetching them now; undefined when they do not. */
  readonly held: Holding | undefined;
  /** When the oldest of them came in, as far as we know. */
  readonly oldest: number;
  /** Share of attempts of 24 h that went well; undefined without any. */
  readonly success: number | undefined;
  /** Updates in and out by the hour, oldest first. */
  readonly hours: readonly number[];
  readonly lastError: { readonly at: number; readonly words: string } | undefined;
  /** 0 when nothing is put off. */
  readonly nextTry: number;
}

/** What a view has to know of a neighbour's entry in the config. */
export type Subject = Pick<Neighbour, "name" | "via" | "mail" | "dial">;

/** The neighbours of the config, and behind them the keyserver beside us when it has a lane. */
export function subjectsOf(
  neighbours: readonly Neighbour[],
  lanes: readonly LaneStatus[],
): Subject[] {
  const names = new Set(neighbours.map(({ name }) => name));
  const local = lanes.filter(({ name }) => !names.has(name));
  return [
    ...neighbours,
    ...local.map(({ name }) => ({ name, via: "mail" as const, mail: undefined, dial: false })),
  ];
}

/** No neighbour can have such a name: it is the keyserver beside us. */
export function isLocal(name: string): boolean {
  return name.startsWith("[");
}

/** Where a view comes from. */
export interface ViewSources {
  readonly counters: EventCounters;
  readonly lane: LaneStatus | undefined;
  readonly peer: PeerStatus | undefined;
  readonly now: number;
}

const IN = eventsWith({ direction: "in", outcome: "accepted" });
const OUT = eventsWith({ direction: "out", outcome: "delivered" });
const WELL = eventsWith({ attempt: "good" });
const BADLY = eventsWith({ attempt: "bad" });

export function viewOf(neighbour: Subject, sources: ViewSources): NeighbourView {
  const { name } = neighbour;
  const { counters, lane, peer } = sources;
  const well = counters.day({ events: WELL, neighbour: name }).count;
  const badly = counters.day({ events: BADLY, neighbour: name }).count;
  const flow = counters.series({ events: [...IN, ...OUT], neighbour: name });
  const path = pathOf(neighbour, sources);
  return {
    name,
    path,
    pathSince: lane?.path?.since ?? peer?.connectedSince ?? 0,
    ...stateOf(neighbour, path, sources),
    lastIn: counters.lastAt({ events: IN, neighbour: name }),
    lastOut: Math.max(counters.lastAt({ events: OUT, neighbour: name }), lane?.lastSuccessAt ?? 0),
    held: peer?.held?.why,
    backlog: path === "kx" ? (peer?.missing ?? 0) : (lane?.backlog ?? 0),
    oldest: path === "kx" ? 0 : (lane?.oldest ?? 0),
    success: well + badly === 0 ? undefined : well / (well + badly),
    hours: flow.map(({ count }) => count),
    lastError: lastError(name, lane, counters),
    nextTry: lane?.nextAt ?? 0,
  };
}

function pathOf({ name, via }: Subject, { lane, peer }: ViewSources): NeighbourView["path"] {
  if (lane && isLocal(name)) return "local";
  if (lane?.path) return lane.path.road;
  if (lane && peer) return via === "both" ? "both" : "kx";
  return lane ? "mail" : peer ? "kx" : "none";
}

interface Said {
  readonly state: State;
  readonly words: string;
}

function stateOf(neighbour: Subject, path: NeighbourView["path"], sources: ViewSources): Said {
  const { lane, peer } = sources;
  const byMail = lane && mailState(lane, sources);
  const byKx = peer && kxState(neighbour, peer, sources);
  if (path === "both" && byMail && byKx) return worse(byMail, byKx);
  if (path === "kx" && lane?.path && !peer?.connected) return betweenRoads(lane, sources);
  if (path === "kx" && byKx) return byKx;
  if (byMail === undefined) return { state: "idle", words: idleWords(neighbour) };
  if (neighbour.via !== "auto" && neighbour.via !== "both") return byMail;
  const held = lane?.path?.isOpen === false ? "KX is back and mail is held" : "KX is down";
  return { ...byMail, words: `${byMail.words}; ${held}` };
}

/** KX is down, and mail does not go yet. */
function betweenRoads({ backlog, isPaused, path }: LaneStatus, { now }: ViewSources): Said {
  if (isPaused) return { state: "paused", words: "by you, until resumed" };
  const words = `waits for KX; mail goes ${ahead(path?.opensAt ?? now, now)}`;
  return { state: backlog > 0 ? "behind" : "good", words };
}

const RANK: readonly State[] = ["down", "paused", "behind", "good", "idle"];

function worse(a: Said, b: Said): Said {
  return RANK.indexOf(b.state) < RANK.indexOf(a.state) ? b : a;
}

function mailState(lane: LaneStatus, { now }: ViewSources) {
  const { name, backlog, oldest, attempt, nextAt, lastSuccessAt } = lane;
  const what = isLocal(name) ? "update" : "mail";
  const wait = `${several(backlog, "update")} (oldest ${span(now - oldest)})`;
  if (lane.isPaused) return { state: "paused" as const, words: `by you; ${wait} wait` };
  if (attempt > 0) {
    const next = `next try ${ahead(nextAt, now)}`;
    return { state: "down" as const, words: `takes no ${what}; ${wait} wait, ${next}` };
  }
  if (backlog > 0) return { state: "behind" as const, words: `by ${wait}` };
  const words = lastSuccessAt === 0 ? `no ${what} yet` : `last ${what} ${ago(lastSuccessAt, now)}`;
  return { state: "good" as const, words };
}

function kxState({ dial }: Subject, peer: PeerStatus, { now }: ViewSources) {
  const { connected, connectedSince, missing, bytesIn, bytesOut, held } = peer;
  if (!connected) {
    if (peer.isPaused) return { state: "paused" as const, words: "by you, until the next start" };
    const how = dial ? "we dial it" : "it has to dial us";
    return { state: "down" as const, words: `not connected by KX; ${how}` };
  }
  if (held !== undefined && missing > 0) {
    const what = `${several(missing, "update")} to fetch`;
    const when = ahead(held.until, now);
    if (held.why === "fetch-rate") {
      return { state: "behind" as const, words: `by ${what}; its fetch_rate is used up, ${when}` };
    }
    return { state: "good" as const, words: `waits for its hours, ${when}: ${what}` };
  }
  if (missing > 0) {
    return { state: "behind" as const, words: `by ${several(missing, "update")} to fetch` };
  }
  const since = span(now - (connectedSince ?? now));
  const bytes = `${octets(bytesIn)} in, ${octets(bytesOut)} out`;
  return { state: "good" as const, words: `connected for ${since}; ${bytes}` };
}

function idleWords({ mail, via }: Subject): string {
  if (via === "mail" && mail === undefined) return "sends mail to us; nothing is sent to it";
  return "nothing is sent to it: its section is missing in the config";
}

function lastError(name: string, lane: LaneStatus | undefined, counters: EventCounters) {
  const report = counters
    .recent()
    .find(({ event, fields }) => BADLY.includes(event) && fields.neighbour === name);
  const told = report && wordsOf(report.fields);
  if (report !== undefined && told !== undefined && report.at >= (lane?.lastErrorAt ?? 0)) {
    return { at: report.at, words: told };
  }
  if (lane === undefined || lane.lastError === "") return undefined;
  return { at: lane.lastErrorAt, words: lane.lastError };
}

/** What a report says beyond its event: the words of the other side, or what the problem is. */
export function wordsOf(fields: Readonly<Record<string, unknown>>): string | undefined {
  const { words, problem, reason } = fields;
  const text = [words, problem, reason].find((value) => typeof value === "string" && value !== "");
  return typeof text === "string" ? text.slice(0, 300) : undefined;
}
