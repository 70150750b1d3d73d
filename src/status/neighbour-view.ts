/**
 * The status of one neighbour: the path in use and since when, the last updates in and out, the
 * updates that wait, and the state with a reason. Joins the status of lane and peer with the
 * counters. Times are milliseconds since 1970, 0 for never.
 */
import type { Neighbour } from "../config/config.js";
import type { LaneStatus } from "../delivery/lane.js";
import type { Road } from "../delivery/path.js";
import { eventsWith } from "../diagnostics.js";
import type { Holding } from "../kx/fetch-policy.js";
import type {
  ExceptionCounts,
  ExceptionReason,
  ExceptionState,
  ReasonCount,
} from "../log/exceptions.js";
import type { Observed } from "../log/observed.js";
import type { PeerStatus } from "../peering/connection.js";
import { ago, ahead, grouped, octets, several, span } from "../text.js";
import type { EventCounters } from "./event-counters.js";

/** `down`: exchange fails; `behind`: updates wait; `idle`: nothing is sent to it. */
export type State = "good" | "behind" | "down" | "paused" | "idle";

const STATE_NAMES = {
  good: "in sync",
  behind: "behind",
  down: "down",
  paused: "paused",
  idle: "idle",
} as const satisfies Record<State, string>;

/** The name of a state. "waiting": updates wait only because of quiet_hours. */
export function stateName({ state, backlog }: Pick<NeighbourView, "state" | "backlog">): string {
  return state === "good" && backlog > 0 ? "waiting" : STATE_NAMES[state];
}

export interface NeighbourView {
  readonly name: string;
  /** The path in use now. */
  readonly path: Road | "local" | "none";
  /** Since when; 0 if unknown. */
  readonly pathSince: number;
  readonly state: State;
  /** The reason of the state, as a clause that can follow "NAME is down: ". */
  readonly words: string;
  readonly lastIn: number;
  readonly lastOut: number;
  /** Updates to send to it or to fetch from it. */
  readonly backlog: number;
  /** The setting by which they are not fetched now; undefined if there is none. */
  readonly held: Holding | undefined;
  /** When the oldest of them was received, if known. */
  readonly oldest: number;
  /** Share of successful attempts in 24 h; undefined without attempts. */
  readonly success: number | undefined;
  /** Updates in and out by the hour, oldest first. */
  readonly hours: readonly number[];
  readonly lastError: { readonly at: number; readonly words: string } | undefined;
  /** 0 without a scheduled retry. */
  readonly nextTry: number;
  /** What it did not take, by state; undefined without a lane. */
  readonly exceptions: ExceptionCounts | undefined;
  /** Whether it has refused everything for a while. */
  readonly refusesAll: boolean;
}

/** What a view needs of a neighbour's entry in the config. */
export type Subject = Pick<Neighbour, "name" | "via" | "mail" | "dial">;

/** The neighbours of the config, followed by the local keyserver if it has a lane. */
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

/** Whether this is the name of the local keyserver; no neighbour can have such a name. */
export function isLocal(name: string): boolean {
  return name.startsWith("[");
}

/** The sources of a view. */
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
    ...withUntaken(stateOf(neighbour, path, sources), lane),
    lastIn: counters.lastAt({ events: IN, neighbour: name }),
    lastOut: Math.max(counters.lastAt({ events: OUT, neighbour: name }), lane?.lastSuccessAt ?? 0),
    held: peer?.held?.why,
    backlog: path === "kx" ? (peer?.missing ?? 0) : (lane?.backlog ?? 0),
    oldest: path === "kx" ? 0 : (lane?.oldest ?? 0),
    success: well + badly === 0 ? undefined : well / (well + badly),
    hours: flow.map(({ count }) => count),
    lastError: lastError(name, lane, counters),
    nextTry: lane?.nextAt ?? 0,
    exceptions: lane?.exceptions,
    refusesAll: lane?.refusesAll ?? false,
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
  if (path === "kx" && lane?.path && !peer?.connected) return waitsForMail(lane, sources);
  if (path === "kx" && byKx) return byKx;
  if (byMail === undefined) return { state: "idle", words: idleWords(neighbour) };
  if (neighbour.via !== "auto" && neighbour.via !== "both") return byMail;
  const held =
    lane?.path?.isOpen === false ? "KX is connected and mail is closed" : "KX is not connected";
  return { ...byMail, words: `${byMail.words}; ${held}` };
}

/** States of exceptions in words; a waiting one is apart from the queue and is tried again. */
const EXCEPTION_WORDS = { waiting: "set aside", refused: "refused", withheld: "withheld" } as const;

/** As "3 refused, 1 withheld"; empty if there are none. */
export function exceptionWords(counts: ExceptionCounts): string {
  const states = ["refused", "waiting", "withheld"] as const;
  const some = states.filter((state) => counts[state] > 0);
  return some.map((state) => `${grouped(counts[state])} ${EXCEPTION_WORDS[state]}`).join(", ");
}

/** As "10 refused, 2 set aside". */
export function reasonWords(
  reasons: readonly Pick<ReasonCount, "state" | "reason" | "count">[],
): string {
  const sums = new Map<string, number>();
  for (const { state, reason, count } of reasons) {
    const words = REASON_WORDS[state][reason] ?? (state === "waiting" ? "to be sent again" : state);
    sums.set(words, (sums.get(words) ?? 0) + count);
  }
  const some = [...sums].filter(([, count]) => count > 0);
  return some.map(([words, count]) => `${grouped(count)} ${words}`).join(", ");
}

/** A reason outlives the order to send an update again, so that its state decides. */
const REASON_WORDS: Record<ExceptionState, Partial<Record<ExceptionReason, string>>> = {
  waiting: { failed: "set aside", bounced: "bounced", expired: "fetched again" },
  refused: { returned: "refused in a bounce", overflow: "given up since too many wait" },
  withheld: { blocked: "withheld (key blocked)", skipped: "withheld (skipped)" },
};

/** As "12 updates in 12 mails, 34 kB, the first"; a time follows. */
export function observedWords(
  one: Pick<Observed, "way" | "updates" | "mails" | "bytes" | "neighbour">,
): string {
  const { way, updates, mails, bytes, neighbour } = one;
  const parts = isLocal(neighbour) ? "deliveries" : "mails";
  const how = way === "kx" ? "over KX" : `in ${grouped(mails)} ${parts}`;
  return `${several(updates, "update")} ${how}, ${octets(bytes)}, the first`;
}

/** As "3 updates wait"; empty for none. */
export function waitWords(count: number): string {
  return count === 0 ? "" : `${several(count, "update")} ${count === 1 ? "waits" : "wait"}`;
}

/** What a neighbour did not take belongs to its state: it is not in sync without these. */
function withUntaken(said: Said, lane: LaneStatus | undefined): Said {
  const words = lane === undefined ? "" : exceptionWords(lane.exceptions);
  return words === "" ? said : { ...said, words: `${said.words}; not taken: ${words}` };
}

/** KX is not connected, and mail has not started yet. */
function waitsForMail({ backlog, isPaused, path }: LaneStatus, { now }: ViewSources): Said {
  if (isPaused) return { state: "paused", words: PAUSED };
  const words = `KX is not connected; mail starts ${ahead(path?.opensAt ?? now, now)}`;
  return { state: backlog > 0 ? "behind" : "good", words };
}

const PAUSED = "nothing is sent until it is resumed";

const RANK: readonly State[] = ["down", "paused", "behind", "good", "idle"];

function worse(a: Said, b: Said): Said {
  return RANK.indexOf(b.state) < RANK.indexOf(a.state) ? b : a;
}

function mailState(lane: LaneStatus, { now }: ViewSources) {
  const { name, backlog, oldest, attempt, nextAt, lastSuccessAt } = lane;
  const what = isLocal(name) ? "update" : "mail";
  const wait = `${several(backlog, "update")} ${backlog === 1 ? "waits" : "wait"}`;
  const age = backlog > 0 && oldest > 0 ? `${wait} (oldest ${span(now - oldest)})` : wait;
  if (lane.isPaused) return { state: "paused" as const, words: `${PAUSED}; ${age}` };
  if (lane.refusesAll) {
    const next = `next try ${ahead(nextAt, now)}`;
    return { state: "down" as const, words: `it refuses every ${what}; ${age}; ${next}` };
  }
  if (attempt > 0) {
    const next = `next try ${ahead(nextAt, now)}`;
    return { state: "down" as const, words: `it accepts no ${what}; ${age}; ${next}` };
  }
  if (backlog > 0) return { state: "behind" as const, words: age };
  const words =
    lastSuccessAt === 0 ? `no ${what} sent yet` : `last ${what} ${ago(lastSuccessAt, now)}`;
  return { state: "good" as const, words };
}

function kxState({ dial }: Subject, peer: PeerStatus, { now }: ViewSources) {
  const { connected, connectedSince, missing, bytesIn, bytesOut, held } = peer;
  if (!connected) {
    if (peer.isPaused)
      return {
        state: "paused" as const,
        words: "no KX until it is resumed or the gateway restarts",
      };
    const how = dial ? "the gateway dials it" : "it must dial the gateway";
    return { state: "down" as const, words: `KX is not connected; ${how}` };
  }
  if (held !== undefined && missing > 0) {
    const what = `${several(missing, "update")} to fetch`;
    const when = ahead(held.until, now);
    if (held.why === "fetch-rate") {
      return {
        state: "behind" as const,
        words: `${what}; fetch_rate is used up, next fetch ${when}`,
      };
    }
    return { state: "good" as const, words: `${what}; quiet_hours end ${when}` };
  }
  if (missing > 0) {
    return { state: "behind" as const, words: `${several(missing, "update")} to fetch` };
  }
  const since = span(now - (connectedSince ?? now));
  const bytes = `${octets(bytesIn)} in, ${octets(bytesOut)} out`;
  return { state: "good" as const, words: `connected for ${since}; ${bytes}` };
}

function idleWords({ mail, via }: Subject): string {
  if (via === "mail" && mail === undefined)
    return "it sends mail to the gateway; nothing is sent to it";
  return "nothing is sent to it: the config has no section for its path";
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

/** The text of a report: the reply of the other side, or the problem. */
export function wordsOf(fields: Readonly<Record<string, unknown>>): string | undefined {
  const { words, problem, reason } = fields;
  const text = [words, problem, reason].find((value) => typeof value === "string" && value !== "");
  return typeof text === "string" ? text.slice(0, 300) : undefined;
}
