/**
 * The status of one neighbour: the path in use and since when, the last updates in and out, the
 * updates that wait, and the state with a reason. Joins the status of lane and peer with the
 * counters and with what the neighbour has proven (`proofs.ts`). Times are milliseconds since 1970,
 * 0 for never.
 *
 * "In sync" is said only of a neighbour that has proven the last that it was sent, and of which
 * nothing is missing here. A relay's 250 is "handed over", and a KX peer without a session is at
 * best "no session".
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
import { type HandedKind, NO_STANDING, type ProofKind, type Standing } from "./proofs.js";

/**
 * `good`: the neighbour has proven that it is in sync. `pending`: no fault, but not proven; the
 * label says why. `behind`: updates wait. `down`: exchange fails. `idle`: nothing is sent to it.
 */
export type State = "good" | "pending" | "behind" | "down" | "paused" | "idle";

/**
 * A state in one or two words. For `pending`: "handed over" to a relay or spool without a proof,
 * "unconfirmed" over KX, "not all taken" with exceptions, "no session" before mail starts,
 * "waiting" for the end of quiet_hours, "nothing sent" yet, "observed" in observe mode. For `idle`:
 * "elsewhere" if another gateway of the site serves it.
 */
export type Label =
  | ("in sync" | "behind" | "down" | "paused" | "idle")
  | (
      | "handed over"
      | "unconfirmed"
      | "not all taken"
      | "no session"
      | "waiting"
      | "nothing sent"
      | "observed"
      | "elsewhere"
    );

export interface NeighbourView {
  readonly name: string;
  /** The path in use now. */
  readonly path: Road | "local" | "none";
  /** Since when; 0 if unknown. */
  readonly pathSince: number;
  readonly state: State;
  readonly label: Label;
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
  /** What it has shown itself, and what left without such a proof. */
  readonly standing: Standing;
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

/**
 * The neighbours that are counted, wherever a number of neighbours is shown: those that updates are
 * sent to or fetched from. The local keyserver is none.
 */
export function counted<One extends Pick<NeighbourView, "name" | "state">>(
  views: readonly One[],
): One[] {
  return views.filter(({ name, state }) => !isLocal(name) && state !== "idle");
}

/** Who serves a neighbour instead of this gateway. */
export interface Elsewhere {
  /** The gateway that holds the lease of its lane. */
  readonly lane: string | undefined;
  /** The gateway that has its KX session or dials it. */
  readonly kx: string | undefined;
}

/** The sources of a view. */
export interface ViewSources {
  readonly counters: EventCounters;
  readonly lane: LaneStatus | undefined;
  readonly peer: PeerStatus | undefined;
  readonly now: number;
  /** By default nothing is known. */
  readonly standing?: Standing;
  /** Observe mode: nothing is sent, and peers see an empty log. */
  readonly observing?: boolean;
  /** Which other gateways of the site serve it. */
  readonly elsewhere?: Elsewhere;
}

const IN = eventsWith({ direction: "in", outcome: "accepted" });
const OUT = eventsWith({ direction: "out", outcome: "delivered" });
const WELL = eventsWith({ attempt: "good" });
const BADLY = eventsWith({ attempt: "bad" });

export function viewOf(neighbour: Subject, sources: ViewSources): NeighbourView {
  const { name } = neighbour;
  const { counters, lane, peer, standing = NO_STANDING } = sources;
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
    standing,
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
  readonly label: Label;
  readonly words: string;
}

/** What is said of a state that has only one label. */
function said(state: Exclude<State, "pending">, words: string): Said {
  return { state, label: state === "good" ? "in sync" : state, words };
}

function pending(label: Label, words: string): Said {
  return { state: "pending", label, words };
}

function stateOf(neighbour: Subject, path: NeighbourView["path"], sources: ViewSources): Said {
  return elsewhereState(neighbour, sources) ?? stateHere(neighbour, path, sources);
}

/** The state of a neighbour that another gateway of the site serves in whole or in part. */
function elsewhereState(neighbour: Subject, sources: ViewSources): Said | undefined {
  const { lane, peer, elsewhere } = sources;
  const sender = lane && elsewhere?.lane;
  const talker = peer?.connected ? undefined : peer && elsewhere?.kx;
  if (sender === undefined && talker === undefined) return undefined;
  const words = [
    ...(sender === undefined ? [] : [`${sender} sends to it`]),
    ...(talker === undefined ? [] : [`${talker} has its KX connection`]),
  ].join("; ");
  const byMail = sender === undefined && lane?.path?.isOpen !== false ? lane : undefined;
  const byKx = talker === undefined ? peer : undefined;
  const here = byMail ? mailState(byMail, sources) : byKx && kxState(neighbour, byKx, sources);
  if (here !== undefined) return { ...here, words: `${here.words}; ${words}` };
  return { state: "idle", label: "elsewhere", words };
}

function stateHere(neighbour: Subject, path: NeighbourView["path"], sources: ViewSources): Said {
  const { lane, peer } = sources;
  const byMail = lane && mailState(lane, sources);
  const byKx = peer && kxState(neighbour, peer, sources);
  if (path === "both" && byMail && byKx) return worse(byMail, byKx);
  if (path === "kx" && lane?.path && !peer?.connected) return waitsForMail(lane, sources);
  if (path === "kx" && byKx) return byKx;
  if (byMail === undefined) return said("idle", idleWords(neighbour));
  if (neighbour.via !== "auto" && neighbour.via !== "both") return byMail;
  const held =
    lane?.path?.isOpen === false ? "KX is connected and mail is closed" : "KX is not connected";
  const words = `${byMail.words}; ${held}`;
  // What it has to tell is not known without a session, whatever it has proven.
  if (byMail.state === "good" && !peer?.connected) return pending("no session", words);
  return { ...byMail, words };
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
function withUntaken(is: Said, lane: LaneStatus | undefined): Said {
  const not = lane === undefined ? "" : exceptionWords(lane.exceptions);
  if (not === "") return is;
  const words = `${is.words}; not taken: ${not}`;
  return is.state === "good" ? pending("not all taken", words) : { ...is, words };
}

/** KX is not connected, and mail has not started yet. */
function waitsForMail({ backlog, isPaused, path }: LaneStatus, { now }: ViewSources): Said {
  if (isPaused) return said("paused", PAUSED);
  const words = `KX is not connected; mail starts ${ahead(path?.opensAt ?? now, now)}`;
  if (backlog === 0) return pending("no session", words);
  return said("behind", `${several(backlog, "update")} unconfirmed; ${words}`);
}

const PAUSED = "nothing is sent until it is resumed";

/** The order of trouble, the worst first. */
export const RANK: readonly State[] = ["down", "paused", "behind", "pending", "good", "idle"];

function worse(a: Said, b: Said): Said {
  return RANK.indexOf(b.state) < RANK.indexOf(a.state) ? b : a;
}

function mailState(lane: LaneStatus, sources: ViewSources): Said {
  const { now } = sources;
  const { name, backlog, oldest, attempt, nextAt } = lane;
  const what = isLocal(name) ? "update" : "mail";
  const wait = `${several(backlog, "update")} ${backlog === 1 ? "waits" : "wait"}`;
  const age = backlog > 0 && oldest > 0 ? `${wait} (oldest ${span(now - oldest)})` : wait;
  if (lane.isPaused) return said("paused", `${PAUSED}; ${age}`);
  const next = `next try ${ahead(nextAt, now)}`;
  if (lane.refusesAll) return said("down", `it refuses every ${what}; ${age}; ${next}`);
  if (attempt > 0) return said("down", `it accepts no ${what}; ${age}; ${next}`);
  if (backlog > 0) return said("behind", age);
  return sentState(lane, sources);
}

const HANDED_WORDS: Readonly<Record<HandedKind, string>> = {
  relayed: "handed to the relay",
  spooled: "left in its spool",
  offered: "offered over KX",
  named: "named in a mail of another neighbour",
  accepted: "accepted by the next server",
};

export const PROOF_WORDS: Readonly<Record<ProofKind, string>> = {
  origin: "it sent an update itself",
  announced: "it announced an update",
  read: "it read an update over KX",
  taken: "it took the last update",
  collected: "it read its spool",
  exited: "its program ended with 0",
};

/** Nothing waits for it. Whether it has what was sent, only the neighbour can show. */
function sentState({ name, lastSuccessAt }: LaneStatus, sources: ViewSources): Said {
  const { now, standing = NO_STANDING, observing = false } = sources;
  const { proof, unproven, oldest, newest } = standing;
  if (observing) return pending("observed", "nothing is sent in observe mode");
  if (newest !== undefined && oldest !== undefined) {
    const last = `${HANDED_WORDS[newest.what]} ${ago(newest.at, now)}`;
    const more =
      unproven === 1 ? "" : `; ${several(unproven, "update")} since ${ago(oldest.at, now)}`;
    return pending("handed over", `${last}, not confirmed by it${more}`);
  }
  if (proof !== undefined) {
    return said("good", `${PROOF_WORDS[proof.what]} ${ago(proof.at, now)}`);
  }
  const what = isLocal(name) ? "update" : "mail";
  if (lastSuccessAt === 0) return pending("nothing sent", `no ${what} sent yet`);
  return pending(
    "handed over",
    `last ${what} left ${ago(lastSuccessAt, now)}, not confirmed by it`,
  );
}

function kxState({ dial }: Subject, peer: PeerStatus, sources: ViewSources): Said {
  const { now, lane, standing = NO_STANDING, observing = false } = sources;
  const { connected, connectedSince, missing, bytesIn, bytesOut, held } = peer;
  if (!connected) {
    if (peer.isPaused) return said("paused", "no KX until it is resumed or the gateway restarts");
    const how = dial ? "the gateway dials it" : "it must dial the gateway";
    return said("down", `KX is not connected; ${how}`);
  }
  if (held !== undefined && missing > 0) {
    const what = `${several(missing, "update")} to fetch`;
    const when = ahead(held.until, now);
    if (held.why === "fetch-rate") {
      return said("behind", `${what}; fetch_rate is used up, next fetch ${when}`);
    }
    return pending("waiting", `${what}; quiet_hours end ${when}`);
  }
  if (missing > 0) return said("behind", `${several(missing, "update")} to fetch`);
  const by = peer.isDowngraded === true ? " by KX/1.0, by KX/1.1 before" : "";
  const since = `connected for ${span(now - (connectedSince ?? now))}${by}`;
  const bytes = `${octets(bytesIn)} in, ${octets(bytesOut)} out`;
  if (observing) return pending("observed", `${since}; it is shown an empty log`);
  // At the first session, and when its log was replaced. Nothing of it is known to be here.
  if (peer.cursor === undefined && peer.newest !== undefined) {
    return said("behind", "its log is not listed yet; it is listed within 10 minutes");
  }
  const { done, unread } = peer;
  if (unread !== undefined && unread > 0) {
    return pending("unconfirmed", `${since}; ${several(unread, "update")} not confirmed by it`);
  }
  if (unread === 0) return said("good", `${since}; it has settled all up to #${done}; ${bytes}`);
  // The lane of a peer that may get mail stops at the first update that is not proven.
  const { proof, unproven, oldest } = standing;
  const isClosed = lane !== undefined && lane.path?.isOpen === false;
  const open = unproven + (isClosed ? lane.backlog : 0);
  const first = Math.min(oldest?.at ?? Infinity, (isClosed && lane.oldest) || Infinity);
  if (open > 0) {
    const age = first === Infinity ? "" : ` (oldest ${span(now - first)})`;
    return pending("unconfirmed", `${since}; ${several(open, "update")} not confirmed by it${age}`);
  }
  if (proof === undefined) {
    return pending("unconfirmed", `${since}; it has confirmed nothing since the gateway started`);
  }
  return said("good", `${since}; ${PROOF_WORDS[proof.what]} ${ago(proof.at, now)}; ${bytes}`);
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

/** The result of a comparison of keys, as "905 keys here, 903 there, 805 the same". */
export function reconcileWords({
  state,
  problem,
  keysHere,
  keysThere,
  common,
}: {
  readonly state: string;
  readonly problem: string | null;
  readonly keysHere: number;
  readonly keysThere: number;
  readonly common: number;
}): string {
  if (problem !== null) return `failed: ${problem}`;
  const counts = `${several(keysHere, "key")} here, ${grouped(keysThere)} there`;
  if (state === "running") return `${counts}, being compared`;
  return `${counts}, ${grouped(common)} the same`;
}
