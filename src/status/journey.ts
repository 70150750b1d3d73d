/**
 * The journey of an update: how it was received, its number, and its state at each neighbour,
 * each with its time. The log has the persistent part: origin, trail, the cursors of the lanes,
 * refusals and times of delivery. Sizes and errors of earlier attempts come from the latest
 * events. A kill loses the times of the last seconds; then only the cursor of the lane shows
 * that the update was processed.
 */
import type { Config } from "../config/config.js";
import type { LaneStatus } from "../delivery/lane.js";
import { kindOf } from "../diagnostics.js";
import type { Sending } from "../log/sendings.js";
import type { Entry, UpdateLog } from "../log/update-log.js";
import type { PeerStatus } from "../peering/connection.js";
import { Policy, type Withheld } from "../policy.js";
import { ahead, cameBy, octets, several } from "../text.js";
import type { Fingerprint, Seq, Transport, UpdateHash } from "../update.js";
import type { Report } from "./event-counters.js";
import { isLocal, type Subject, subjectsOf, wordsOf } from "./neighbour-view.js";
import { deliveryWay } from "./sent-journal.js";

/** Maximum number of entries that a query returns. */
export const JOURNEYS = 20;

export interface JourneySources {
  readonly config: Config;
  readonly log: UpdateLog;
  readonly lanes: () => readonly LaneStatus[];
  readonly peers: () => readonly PeerStatus[];
  /** Latest reports, newest first. */
  readonly recent: readonly Report[];
  readonly now: number;
}

/** The state of an update at one neighbour. */
export interface Stage {
  readonly neighbour: string;
  readonly road: "mail" | "kx" | "hkp" | "local" | "none";
  /** `done`: it has the update. `waiting`: it will get it. `failed`: it will not. */
  readonly state: "done" | "waiting" | "failed" | "none";
  readonly words: string;
  /** ISO 8601, null if unknown. */
  readonly time: string | null;
}

/** The operator's order because of which an update is withheld. */
export interface Removal {
  readonly what: Withheld;
  readonly reason: string;
  /** ISO 8601; null for a block of the config's list. */
  readonly since: string | null;
}

export interface Journey {
  readonly seq: number;
  readonly hash: string;
  readonly fingerprint: string;
  readonly size: number;
  readonly received: string;
  readonly from: string | null;
  readonly transport: Transport;
  readonly messageId: string | null;
  /** Whether the body is still held. */
  readonly body: boolean;
  readonly trail: readonly string[];
  /** Why it is no longer sent, or null. */
  readonly removal: Removal | null;
  readonly stages: readonly Stage[];
}

/**
 * The entries for a number, a hash, a fingerprint or a Message-ID, the newest first. The
 * Message-ID of our own mails contains the hash. `thorough` also searches other Message-IDs, which
 * reads the whole log.
 */
export function entriesOf(log: UpdateLog, question: string, thorough: boolean): Entry[] {
  const text = question.trim().replace(/^0x/i, "");
  const entries = (seqs: readonly Seq[]) =>
    seqs.map((seq) => log.entry(seq)).filter((entry) => entry !== undefined);
  if (/^\d{1,15}$/.test(text)) return entries([Number(text) as Seq]);
  if (/^[0-9A-Fa-f]{32,64}$/.test(text)) {
    const byHash = text.length === 32 && log.entryByHash(text.toLowerCase() as UpdateHash);
    if (byHash) return [byHash];
    const key = text.toUpperCase() as Fingerprint;
    const { lookup, removals } = log;
    const seqs = [lookup.byFingerprint(key, JOURNEYS), removals.forgottenOf(key, JOURNEYS)].flat();
    return entries(seqs.sort((a, b) => b - a).slice(0, JOURNEYS));
  }
  const ours = /^<?([0-9a-f]{32})\.(\d+)\.\d+@/.exec(text);
  const own = ours && log.entryByHash(ours[1] as UpdateHash);
  if (own) return [own];
  if (!thorough || !text.includes("@")) return [];
  const id = text.replace(/^<?(.*?)>?$/, "<$1>");
  return entries(log.lookup.byMessageId(id, JOURNEYS));
}

export function journeyOf(entry: Entry, sources: JourneySources): Journey {
  const { config, log } = sources;
  const removal = removalOf(entry, sources);
  const { seq, hash, fingerprint, size, origin, receivedAt } = entry;
  return {
    seq,
    hash,
    fingerprint,
    size,
    received: new Date(receivedAt).toISOString(),
    from: origin.neighbour ?? null,
    transport: origin.transport,
    messageId: log.lookup.messageId(seq) ?? null,
    body: log.body(seq) !== undefined,
    trail: log.trails.get(seq),
    removal,
    stages: subjectsOf(config.neighbours, sources.lanes()).map((neighbour) =>
      stageOf(neighbour, entry, removal, sources),
    ),
  };
}

function removalOf(entry: Entry, { config, log, now }: JourneySources): Removal | null {
  const policy = new Policy(config.policy, log, { now: () => now });
  const what = policy.withholds(entry);
  if (what === undefined) return null;
  const order =
    what === "forgotten"
      ? log.removals.tombstone(entry.seq)
      : (log.removals.block(entry.fingerprint) ?? policy.blockOn(entry.fingerprint));
  const at = order !== undefined && "at" in order ? order.at : undefined;
  const since = at === undefined ? null : new Date(at).toISOString();
  return { what, reason: order?.reason ?? "", since };
}

function stageOf(
  neighbour: Subject,
  entry: Entry,
  removal: Removal | null,
  sources: JourneySources,
): Stage {
  const { name } = neighbour;
  const lane = sources.lanes().find((one) => one.name === name);
  const peer = sources.peers().find((one) => one.name === name);
  const told = sources.recent.filter(
    ({ fields }) => fields.hash === entry.hash && fields.neighbour === name,
  );
  const stage = (road: Stage["road"], state: Stage["state"], words: string, at?: number): Stage => {
    const time = at === undefined ? null : new Date(at).toISOString();
    return { neighbour: name, road, state, words, time };
  };
  if (entry.origin.neighbour === name) {
    const { receivedAt } = entry;
    const { transport } = entry.origin;
    if (transport === "repair") {
      return stage("hkp", "done", "sent it to us for the repair of a lost update");
    }
    if (transport === "recon") return stage("hkp", "done", "has it: we found it there by recon");
    const road = transport === "import" ? "none" : transport;
    return stage(road, "done", `sent it to us ${cameBy(transport)}`, receivedAt);
  }
  const fetched = takenAt("kx", told, entry, name, sources);
  if (fetched) return stage("kx", "done", `fetched it${fetched.size}`, fetched.at);
  const withheld = told.find(({ event }) => event === "withheld");
  const road = lane ? (isLocal(name) ? "local" : "mail") : peer ? "kx" : "none";
  if (withheld) {
    const why =
      withheld.fields.reason === "forgotten" ? "the update was forgotten" : "the key is blocked";
    return stage(road, "none", `not sent: ${why}`, withheld.at);
  }
  if (removal !== null && (lane === undefined || lane.cursor < entry.seq)) {
    return stage(road, "none", `no longer sent: ${removal.what}`);
  }
  if (lane) {
    const [state, words, at] = mailStage(neighbour, lane, entry, told, sources);
    if (lane.path?.isOpen === false && state === "waiting") {
      return stage("kx", state, "offered by KX; the peer has not confirmed that it has it");
    }
    return stage(road, state, words, at);
  }
  if (peer?.connected) {
    return stage("kx", "done", "offered by KX; the peer fetches it if it does not have it");
  }
  if (peer) return stage("kx", "waiting", "KX is not connected; offered when it connects");
  return stage("none", "none", "nothing is sent to it");
}

/** When the neighbour accepted the update on this path, from the events or from the log. */
function takenAt(
  way: Sending["way"],
  told: readonly Report[],
  { seq }: Entry,
  name: string,
  { log }: Pick<JourneySources, "log">,
): { readonly at: number; readonly size: string } | undefined {
  const report = told.find(({ event }) => deliveryWay(event) === way);
  if (report) return { at: report.at, size: ` (${sizeOf(report)})` };
  const kept = log.sendings.of(seq).find((one) => one.neighbour === name && one.way === way);
  return kept && { at: kept.at, size: "" };
}

type Found = readonly [state: Stage["state"], words: string, at?: number];

function mailStage(
  neighbour: Subject,
  lane: LaneStatus,
  entry: Entry,
  told: readonly Report[],
  { log, config, now }: JourneySources,
): Found {
  const { seq } = entry;
  const refused = log.lookup.undelivered(seq).find(({ site }) => site === neighbour.name);
  if (refused) {
    const { code, text, at } = refused;
    return ["failed", code === 0 ? text : `refused it permanently: ${code} ${text}`, at];
  }
  const isAgain = log.bounces.isWaiting(neighbour.name, seq) && !log.pending.has(lane, entry);
  if (isAgain) return waitingStage(lane, entry, told, "bounced; ", { log, now });
  const taken = takenAt("lane", told, entry, neighbour.name, { log });
  if (taken) return ["done", `accepted it${taken.size}`, taken.at];
  const expired = told.find(({ event }) => event === "body-expired");
  if (expired) return ["failed", "not mailed: it expired before the site accepted it", expired.at];
  if (log.pending.has(lane, entry)) {
    return ["done", "not mailed: its address is in the trail"];
  }
  if (lane.cursor >= seq) {
    if (config.mode === "observe") return ["none", "not sent in observe mode"];
    return ["done", "processed: older than this neighbour's lane, or the time was lost"];
  }
  return waitingStage(lane, entry, told, "", { log, now });
}

/** Its place among what the neighbour still needs, and why it has not left. */
function waitingStage(
  lane: LaneStatus,
  { seq }: Entry,
  told: readonly Report[],
  prefix: string,
  { log, now }: Pick<JourneySources, "log" | "now">,
): Found {
  const before = log.pending.before(lane, seq);
  const behind =
    before === 0 ? "next in the queue" : `after ${several(before, "update")} in the queue`;
  const place = `${prefix}${behind}`;
  const retry = told.find(({ event }) => kindOf(event).outcome === "deferred");
  if (lane.attempt === 0) return ["waiting", place];
  const words = retry ? (wordsOf(retry.fields) ?? lane.lastError) : lane.lastError;
  const attempts = several(lane.attempt, "attempt");
  return [
    "waiting",
    `${place}; ${attempts}, next ${ahead(lane.nextAt, now)}; last error: ${words}`,
  ];
}

function sizeOf({ fields }: Report): string {
  const { bytes } = fields;
  return typeof bytes === "number" ? octets(bytes) : "size unknown";
}
