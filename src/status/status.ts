/**
 * The status of the gateway as one plain value: the source of /status.json, of the
 * page, of the metrics and of `kxgw status`. Reads the log, the status of lanes and peers, and the
 * event counters. Times are ISO 8601 in UTC, null for never; "24h" is this clock hour and
 * the 23 before it.
 */

import type { Clock } from "../clock.js";
import type { ClusterState } from "../cluster/cluster.js";
import type { Config } from "../config/config.js";
import { formatEndpoint } from "../config/units.js";
import type { LaneStatus } from "../delivery/lane.js";
import { EVENTS } from "../diagnostics.js";
import type { FollowerStatus } from "../following/follower.js";
import type { ExceptionCounts } from "../log/exceptions.js";
import { lastOf } from "../log/repairs.js";
import type { UpdateLog } from "../log/update-log.js";
import { isSameAddress } from "../mail-address.js";
import type { PeerStatus } from "../peering/connection.js";
import type { ReconcileReport } from "../peering/reconcile-report.js";
import { several } from "../text.js";
import type { Seq } from "../update.js";
import { EXPIRES_SOON_MS, endWords } from "./certificates.js";
import { clusterVerdict, clusterView, elsewhereOf } from "./cluster-view.js";
import type { EventCounters, Report } from "./event-counters.js";
import { flowOf, kxShareOf, migrationOf, savedOf } from "./flow.js";
import type { JourneyLog } from "./journey.js";
import { maskedDeep } from "./mask.js";
import type { NeighbourView } from "./neighbour-view.js";
import { isLocal, subjectsOf, viewOf, wordsOf } from "./neighbour-view.js";
import { observedSum } from "./observed.js";
import type { Proofs, Standing } from "./proofs.js";
import { verdictOf } from "./verdict.js";

const DAY_MS = 24 * 3_600_000;

/** State of expiry: consecutive failures and the last reason, and a recent jump of the clock. */
export interface UpkeepState {
  readonly failures: number;
  readonly trouble: { readonly problem: string; readonly remedy: string } | undefined;
  readonly jumpedMs: number | undefined;
}

/** What the status, the page, the metrics and the offline commands read of the log. */
export type StatusLog = JourneyLog &
  Pick<UpdateLog, "assertInPlace" | "counts" | "damage" | "lanes" | "range" | "repairs">;

/** The sources of the status. */
export interface Sources {
  readonly config: Config;
  readonly log: StatusLog;
  readonly counters: EventCounters;
  readonly proofs: Proofs;
  /** Stores the counters before they are shown to Prometheus; undefined if no gateway runs. */
  readonly keepCounters?: () => void;
  readonly clock: Clock;
  readonly startedAt: number;
  readonly version: string;
  readonly lanes: () => readonly LaneStatus[];
  readonly peers: () => readonly PeerStatus[];
  /** Servers that are followed; undefined if no gateway runs. */
  readonly recon?: () => readonly FollowerStatus[];
  /** Certificates in use, `notAfter` in milliseconds since 1970. */
  readonly certificates: () => readonly { readonly listener: string; readonly notAfter: number }[];
  /** State of expiry; undefined if no gateway runs. */
  readonly upkeep?: () => UpkeepState;
  /** The other gateways of the site; undefined for one that is alone, and if none runs. */
  readonly cluster?: () => ClusterState | undefined;
  /** False if the log is read while no gateway runs. */
  readonly running?: boolean;
}

/** The value behind /status.json. */
export type Status = ReturnType<typeof status>;

/** The status; with `mask` all addresses in it are masked. */
export function status(sources: Sources, mask = false) {
  const { config, log, counters, clock, startedAt, version } = sources;
  const now = clock.now();
  const running = sources.running ?? true;
  const { entries, bodies, bodyBytes, fileBytes } = log.counts();
  const allLanes = sources.lanes();
  const lanes = new Map(allLanes.map((lane) => [lane.name, lane]));
  const peers = new Map(sources.peers().map((peer) => [peer.name, peer]));
  const repairs = new Map(log.repairs.counts().map(({ source, count }) => [source, count]));
  const observing = config.mode === "observe";
  const cluster = sources.cluster?.();
  const { shared } = config.log;
  const views = subjectsOf(config.neighbours, allLanes).map((neighbour) => {
    const { name } = neighbour;
    const [lane, peer] = [lanes.get(name), peers.get(name)];
    const standing = sources.proofs.of(name);
    const elsewhere = elsewhereOf(cluster, name);
    const view = viewOf(neighbour, { counters, lane, peer, now, standing, observing, elsewhere });
    return { neighbour, lane, peer, view };
  });
  const value = {
    site: config.site.address,
    mode: config.mode,
    version,
    running,
    verdict: verdictOf({
      mode: config.mode,
      running,
      views: views.map(({ view }) => view),
      counters,
      now,
      recon: sources.recon?.() ?? [],
      cluster: clusterVerdict(cluster),
    }),
    time: new Date(now).toISOString(),
    started: iso(startedAt),
    uptimeSeconds: Math.round((now - startedAt) / 1000),
    certificates: sources.certificates().map(({ listener, notAfter }) => {
      const expiresSoon = notAfter - now < EXPIRES_SOON_MS;
      return { listener, notAfter: iso(notAfter), expiresSoon, words: endWords(notAfter, now) };
    }),
    log: { newest: log.newest(), entries, bodies, bodyBytes, fileBytes },
    /** Null without log.shared, and if no gateway runs. */
    cluster: cluster && shared ? clusterView(cluster, shared, now) : null,
    upkeep: upkeepOf(sources),
    keys: keysOf(sources, now),
    /** Lost keys that are being fetched again. */
    repairs: log.repairs.count(),
    /** Updates that neighbours did not take, by state. */
    exceptions: exceptionsOf(allLanes),
    /** Lanes whose neighbour is not in the config. */
    unowned: unownedLanes(sources),
    /** What would have been sent so far; null in mode "bridge". */
    observed: observedOf(sources),
    /** The same in one sum; null in mode "bridge" and before the first update. */
    observedSum: observedSumOf(sources, now),
    totals: {
      accepted: counters.total("accepted").count,
      duplicates: counters.total("duplicate").count,
      duplicateBytes: counters.total("duplicate").bytes,
      sent: counters.total("sent").count,
      sentBytes: counters.total("sent").bytes,
      wouldSend: counters.total("would-send").count,
      suppressed: counters.total("suppressed").count,
      undelivered: counters.total("undelivered").count,
      refused: counters.total("mail-refused").count,
      declined: counters.total("update-declined").count,
      withheld: counters.total("withheld").count,
      bounces: counters.total("bounce").count,
    },
    flow: flowOf(counters),
    saved: savedOf(counters, sources.peers()),
    migration: migrationOf(
      counters,
      config.neighbours,
      views.map(({ view }) => view),
    ),
    neighbours: views.map(({ neighbour, lane, peer, view }) => ({
      name: neighbour.name,
      via: neighbour.via,
      mail: neighbour.mail ?? null,
      kx: endpointOf(config, neighbour.name),
      ...viewJson(view),
      kxShare24h: kxShareOf(counters, neighbour.name) ?? null,
      ...repairView(log, neighbour.name, repairs.get(neighbour.name) ?? 0),
      ...laneView(lane, log, now),
      ...peerView(peer),
    })),
    recon: (sources.recon?.() ?? []).map(reconView),
    recent: counters.recent().map(recentJson),
    /** All counters of events. They are kept over restarts; `count7d` is of the last 7 days. */
    counts: counters.weekly().map(({ since, lastAt, ...count }) => {
      return { ...count, since: iso(since), lastAt: iso(lastAt) };
    }),
  };
  return mask ? maskedDeep(value) : value;
}

/** A server that is followed, with its state in words. */
function reconView(one: FollowerStatus) {
  const { state, problem, remedy, keys, wanted, wholeAt, filters } = one;
  const waiting = wanted === 0 ? "" : `, ${several(wanted, "key")} to fetch`;
  const words =
    problem !== undefined
      ? problem
      : state === "down"
        ? "the first session is under way"
        : state === "first"
          ? `its ${several(keys ?? 0, "key")} are being learnt`
          : `${several(keys ?? 0, "key")}${waiting}`;
  return {
    ...{ server: one.server, hkp: one.hkp, neighbour: one.neighbour, state, words },
    problem: problem ?? null,
    remedy: remedy ?? null,
    keys: keys ?? null,
    wanted,
    filters: filters ?? null,
    sessions: one.sessions,
    fetched: one.fetched,
    bytesIn: one.octetsIn,
    bytesOut: one.octetsOut,
    whole: iso(wholeAt),
  };
}

function upkeepOf({ upkeep }: Sources) {
  const state = upkeep?.();
  const { failures = 0, trouble, jumpedMs } = state ?? {};
  return { failures, trouble: trouble ?? null, clockJumpedMs: jumpedMs ?? null };
}

/** Which keys are carried, those of a list or all, and how many are blocked or forgotten. */
function keysOf({ config, log }: Pick<Sources, "config" | "log">, now: number) {
  const { carried, newKeys, blocks } = config.policy;
  const { removals } = log;
  const all = [...blocks, ...removals.blocks().map((one) => [one.fingerprint, one] as const)];
  const inForce = all.filter(([, { until }]) => until === undefined || until > now);
  const blocked = new Set(inForce.map(([fingerprint]) => fingerprint)).size;
  return { carried: carried?.size ?? null, newKeys, blocked, forgotten: removals.forgotten };
}

function endpointOf({ neighbours }: Config, name: string): string | null {
  const kx = neighbours.find((one) => one.name === name)?.kx;
  return kx === undefined ? null : formatEndpoint(kx);
}

/** One of the latest reports, as the page shows it. */
export function recentJson({ id, at, event, level, fields }: Report) {
  const { neighbour, hash, fingerprint, seq, via, address, resembles } = fields;
  return {
    id,
    time: new Date(at).toISOString(),
    event,
    level,
    text: EVENTS[event].text,
    neighbour: neighbour ?? null,
    via: via ?? null,
    seq: seq ?? null,
    hash: hash ?? null,
    fingerprint: fingerprint ?? null,
    /** An address to be written into the configuration, and the neighbour that it may belong to. */
    address: address ?? null,
    resembles: resembles ?? null,
    words: wordsOf(fields) ?? null,
  };
}

function viewJson(view: NeighbourView) {
  const {
    path,
    pathSince,
    state,
    label,
    words,
    lastIn,
    lastOut,
    backlog,
    oldest,
    success,
    hours,
    nextTry,
  } = view;
  const { lastError, standing } = view;
  return {
    path,
    pathSince: iso(pathSince),
    state,
    /** The state in one or two words, as page and commands show it. */
    label,
    words,
    ...standingJson(standing),
    lastIn: iso(lastIn),
    lastOut: iso(lastOut),
    backlog,
    oldest: iso(oldest),
    success24h: success ?? null,
    hours,
    lastError: lastError === undefined ? null : { ...lastError, at: iso(lastError.at) },
    nextTry: iso(nextTry),
  };
}

/** What a neighbour itself has shown to have, and what left without such a proof. */
function standingJson({ proof, unproven, oldest, newest }: Standing) {
  return {
    /** Its newest statement about an update. */
    proof: proof === undefined ? null : { what: proof.what, at: iso(proof.at) },
    /** How the last of the unproven updates left, their number, and since when. */
    handed:
      newest === undefined
        ? null
        : {
            ...{ what: newest.what, at: iso(newest.at), updates: unproven },
            since: iso(oldest?.at ?? newest.at),
          },
  };
}

/** Lost updates to fetch from a neighbour, and the question for all changes, if there is one. */
function repairView(log: Pick<StatusLog, "repairs">, name: string, waiting: number) {
  const last = log.repairs.get(lastOf(name));
  const changes = last && { days: last.days, asked: iso(last.askedAt) };
  return { repairs: { waiting, changes: changes ?? null } };
}

function exceptionsOf(lanes: readonly LaneStatus[]): ExceptionCounts {
  const sum = (state: keyof ExceptionCounts) =>
    lanes.reduce((all, { exceptions }) => all + exceptions[state], 0);
  return { waiting: sum("waiting"), refused: sum("refused"), withheld: sum("withheld") };
}

/**
 * Lanes that nobody in the config owns and that lack something. One is shown as long as the log
 * remembers what comes next in it; then nothing of it could be sent any more.
 */
export function unownedLanes({ config, log }: Pick<Sources, "config" | "log">) {
  const names = config.neighbours.map(({ name }) => name);
  // The lane of a neighbour that was renamed goes over to it at the next start.
  const takesOver = (address: string) =>
    config.neighbours.some(
      ({ name, mail = "" }) => isSameAddress(mail, address) && log.lanes.get(name) === undefined,
    );
  const unowned = log.lanes.unowned(names).filter(({ site, address }) => {
    return isLocal(site) ? !config.local : address === null || !takesOver(address);
  });
  if (unowned.length === 0) return [];
  const [oldest] = log.range(1 as Seq, log.newest() as Seq, 1);
  return unowned.flatMap(({ site: name, address, cursor, lastSuccessAt }) => {
    const exceptions = log.exceptions.counts(name);
    const inLog = cursor + 1 >= (oldest?.seq ?? 0);
    const { count } = log.pending.of({ name, address: address ?? undefined });
    const backlog = inLog ? count : exceptions.waiting;
    const lacks = backlog + exceptions.refused + exceptions.withheld;
    if (lacks === 0) return [];
    return [{ name, address, cursor, lastSuccessAt: iso(lastSuccessAt), backlog, exceptions }];
  });
}

function observedSumOf({ config, log }: Pick<Sources, "config" | "log">, now: number) {
  const sum = config.mode === "observe" ? observedSum(log.observed.all(), now) : undefined;
  if (sum === undefined) return null;
  const { since, at, ...counts } = sum;
  return { ...counts, since: iso(since), lastAt: iso(at) };
}

function observedOf({ config, log }: Pick<Sources, "config" | "log">) {
  if (config.mode !== "observe") return null;
  return log.observed.all().map(({ since, at, ...counts }) => {
    return { ...counts, since: iso(since), lastAt: iso(at) };
  });
}

function laneView(lane: LaneStatus | undefined, log: Pick<StatusLog, "exceptions">, now: number) {
  if (lane === undefined) return {};
  const { cursor, backlog, attempt, nextAt, lastError, lastErrorAt, lastSuccessAt } = lane;
  const { exceptions, refusesAll } = lane;
  return {
    site: {
      cursor,
      backlog,
      attempt,
      nextTry: iso(nextAt),
      lastError: lastError === "" ? null : lastError,
      lastErrorAt: iso(lastErrorAt),
      lastSuccessAt: iso(lastSuccessAt),
      mailOpensAt: iso(lane.path?.opensAt ?? 0),
      /** What it did not take, by state. */
      exceptions,
      refusesAll,
      /** The same by reason; `recent` of them are of the last 24 hours. */
      reasons: log.exceptions.reasons(lane.name, now - DAY_MS),
    },
  };
}

function peerView(peer: PeerStatus | undefined) {
  if (peer === undefined) return {};
  const { connected, connectedSince, cursor, newest, missing, inFlight, bytesIn, bytesOut, held } =
    peer;
  return {
    peer: {
      connected,
      connectedSince: iso(connectedSince ?? 0),
      cursor: cursor ?? null,
      newest: newest ?? null,
      missing,
      inFlight,
      held: held === undefined ? null : { why: held.why, until: iso(held.until) },
      bytesIn,
      bytesOut,
      /** The version of KX that is spoken; null while it is not connected. */
      version: peer.version ?? null,
      /** Whether it spoke KX/1.1 before and KX/1.0 at its last greeting. */
      downgraded: peer.isDowngraded === true,
      /** Our number up to which its receipts say that all is settled, and how many lack one. */
      settled: peer.done ?? null,
      unsettled: peer.unread ?? null,
      /** The comparison of all keys that is under way, or the last one. */
      reconcile: peer.reconcile === undefined ? null : reconcileView(peer.reconcile),
    },
  };
}

function reconcileView(report: ReconcileReport) {
  const { state, problem, isDryRun, startedAt, endedAt, here, there, common } = report;
  const { onlyHere, onlyThere, differing, questions } = report;
  const { queued, fetching, staying, postponed, told } = report;
  return {
    state,
    problem: problem ?? null,
    dryRun: isDryRun,
    started: iso(startedAt),
    ended: iso(endedAt ?? 0),
    ...{ keysHere: here, keysThere: there, common, onlyHere, onlyThere, differing },
    ...{ questions, queued, fetching, staying, postponed, told },
  };
}

function iso(ms: number): string | null {
  return ms === 0 ? null : new Date(ms).toISOString();
}
