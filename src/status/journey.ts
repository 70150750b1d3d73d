/**
 * The journey of an update: how it was received, its number, and its state at each neighbour,
 * each with its time. The log has the persistent part: origin, trail, the cursors of the lanes,
 * exceptions and times of delivery. Sizes and errors of earlier attempts come from the latest
 * events. A kill loses the times of the last seconds; then there is no record of a delivery.
 *
 * "Done" needs a proof by the neighbour, and the words say which: the keyserver answered, the peer
 * settled, fetched or announced the update, or sent it. A relay's reply proves nothing of the
 * server behind it, and neither does a mail of another neighbour: that is "handed".
 */
import type { Config } from "../config/config.js";
import type { LaneStatus } from "../delivery/lane.js";
import { kindOf } from "../diagnostics.js";
import type { Exception } from "../log/exceptions.js";
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

/** What a journey reads of the log. */
export type JourneyLog = Pick<
  UpdateLog,
  | "body"
  | "bounces"
  | "entry"
  | "entryByHash"
  | "exceptions"
  | "lookup"
  | "newest"
  | "observed"
  | "pending"
  | "removals"
  | "sendings"
  | "trails"
>;

export interface JourneySources {
  readonly config: Config;
  readonly log: JourneyLog;
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
  /**
   * `done`: there is a proof by the neighbour, which `how` names. `handed`: it left, or is named by
   * another neighbour, without such a proof. `waiting`: it will get it. `failed`: refused, declined
   * or expired. `none`: it is not sent, or there is no record.
   */
  readonly state: "done" | "handed" | "waiting" | "failed" | "none";
  readonly words: string;
  /** ISO 8601, null if unknown. */
  readonly time: string | null;
  /** How it is known, or why it has not got it. */
  readonly how: Knowledge;
  /** Of its exception: "refused", "skipped" and so on; null without one. */
  readonly reason: string | null;
  /** What the other side said: the relay, the keyserver or the site that refused it. */
  readonly reply: string | null;
  /** Its reply code, null if there is none. */
  readonly code: number | null;
  /** The relay's name for the mail, if its reply has one. */
  readonly queueId: string | null;
  /** Failed attempts so far. */
  readonly tries: number;
  /** When it is tried next; null if nothing is put off. */
  readonly next: string | null;
}

/**
 * `origin`: it sent the update. `relayed` to `exited` are those of `Proof` in `delivery/relay.ts`;
 * `accepted` is a delivery of which an earlier release noted no more. `fetched` and `announced`:
 * over KX. `settled`: a receipt of KX/1.1 covers it. `declined`: a receipt says that the peer does
 * not hold it. `named`: its address is in the trail of a mail. `offered`: over KX, without an
 * answer.
 */
export type Knowledge =
  | "origin"
  | "relayed"
  | "taken"
  | "spooled"
  | "collected"
  | "exited"
  | "accepted"
  | "fetched"
  | "announced"
  | "settled"
  | "declined"
  | "named"
  | "offered"
  | "refused"
  | "waiting"
  | "withheld"
  | "expired"
  | "observed"
  | "unknown"
  | "nothing";

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
  /** Empty if the key was forgotten. */
  readonly fingerprint: string;
  readonly size: number;
  readonly received: string;
  readonly from: string | null;
  readonly transport: Transport;
  readonly messageId: string | null;
  /** Whether the body is still held. */
  readonly body: boolean;
  readonly trail: readonly string[];
  /** In observe mode: the first update that is sent after a switch to mode "bridge"; else null. */
  readonly bridgeFrom: number | null;
  /** Why it is no longer sent, or null. */
  readonly removal: Removal | null;
  readonly stages: readonly Stage[];
}

/**
 * The entries for a number, a hash, a fingerprint or a Message-ID, the newest first. The
 * Message-ID of our own mails contains the hash. `thorough` also searches other Message-IDs, which
 * reads the whole log.
 */
export function entriesOf(log: JourneyLog, question: string, thorough: boolean): Entry[] {
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
    // Zeros replace it in the log.
    fingerprint: removal?.what === "forgotten" ? "" : fingerprint,
    size,
    received: new Date(receivedAt).toISOString(),
    from: origin.neighbour ?? null,
    transport: origin.transport,
    messageId: log.lookup.messageId(seq) ?? null,
    body: log.body(seq) !== undefined,
    trail: log.trails.get(seq),
    bridgeFrom: config.mode === "observe" ? log.newest() + 1 : null,
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

/** The body, where it is gone: why. Empty if it is held. */
export function bodyWords({ body, removal }: Journey): string {
  if (body) return "";
  return removal?.what === "forgotten" ? ", body deleted" : ", body expired";
}

/** What a switch from observe mode to mode "bridge" means. */
export function bridgeWords(from: number): string {
  return (
    `nothing is sent; after a switch to mode = "bridge" mail leaves from update ${from} on, ` +
    "and KX peers are offered what the log holds"
  );
}

/** What a stage says beside the neighbour and its path. */
type Found = Pick<Stage, "state" | "words" | "how"> &
  Partial<Pick<Stage, "reason" | "reply" | "code" | "tries">> & {
    /** Milliseconds since 1970; undefined or 0 if unknown. */
    readonly at?: number | undefined;
    readonly nextAt?: number;
  };

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
  const stage = (road: Stage["road"], found: Found): Stage => {
    const { state, words, at = 0, nextAt = 0, how, reason, reply = "", code, tries } = found;
    const queueId = how === "relayed" ? queueIdOf(reply ?? "") : undefined;
    return {
      ...{ neighbour: name, road, state, words, time: iso(at), how, reason: reason ?? null },
      ...{ reply: reply === "" ? null : reply, code: code || null, queueId: queueId ?? null },
      ...{ tries: tries ?? 0, next: iso(nextAt) },
    };
  };
  if (entry.origin.neighbour === name) return stage(...originStage(entry));
  const fetched = takenAt("kx", told, entry, name, sources);
  const hasFetched = fetched?.how === "fetched" || fetched?.how === "";
  const receipt = peer?.receiptOf?.(entry.seq);
  const taken = lane && takenAt("lane", told, entry, name, sources);
  if (receipt === "declined" && taken === undefined) {
    const words = "settled over KX without it: the peer declined it, or could not fetch it";
    return stage("kx", { state: "failed", words, how: "declined" });
  }
  if (receipt === "held" || fetched?.how === "settled") {
    const words = hasFetched ? `fetched it over KX${fetched.size}, and settled` : "settled over KX";
    return stage("kx", { state: "done", words, at: fetched?.at ?? 0, how: "settled" });
  }
  const isCovered = peer?.done !== undefined && peer.done >= entry.seq;
  if (hasFetched) {
    // A peer that sends receipts says itself when it has stored what it fetched.
    const isOpen = peer?.done !== undefined && !isCovered;
    const words = `fetched it over KX${fetched.size}${isOpen ? "; not settled yet" : ""}`;
    return stage("kx", {
      state: isOpen ? "handed" : "done",
      words,
      at: fetched.at,
      how: "fetched",
    });
  }
  const withheld = told.find(({ event }) => event === "withheld");
  const road = lane ? (isLocal(name) ? "local" : "mail") : peer ? "kx" : "none";
  const hasException = lane !== undefined && sources.log.exceptions.get(name, entry.seq);
  // It was sent since, if the block has ended.
  const isSince = withheld !== undefined && taken !== undefined && taken.at >= withheld.at;
  if (withheld && !hasException && !isSince) {
    const why =
      withheld.fields.reason === "forgotten" ? "the update was forgotten" : "the key is blocked";
    const words = `withheld: ${why}`;
    return stage(road, { state: "none", words, at: withheld.at, how: "withheld" });
  }
  if (removal !== null && (lane === undefined || lane.cursor < entry.seq)) {
    return stage(road, { state: "none", words: `withheld: ${removal.what}`, how: "withheld" });
  }
  if (lane) {
    const found = mailStage(neighbour, lane, entry, told, sources);
    if (isCovered && (found.how === "waiting" || found.how === "unknown") && !hasException) {
      return stage("kx", COVERED);
    }
    if (found.how === "waiting" && !hasException && lane.path?.isOpen === false) {
      return stage("kx", { state: "waiting", words: OFFERED, how: "offered" });
    }
    return stage(found.how === "announced" ? "kx" : road, found);
  }
  if (fetched !== undefined) {
    const words = "announced by it over KX";
    return stage("kx", { state: "done", words, at: fetched.at, how: "announced" });
  }
  if (isCovered) return stage("kx", COVERED);
  if (peer && sources.config.mode === "observe") {
    return stage("kx", { state: "none", words: OBSERVED_KX, how: "observed" });
  }
  if (peer?.connected) return stage("kx", { state: "waiting", words: OFFERED, how: "offered" });
  if (peer) {
    const words = "KX is not connected; offered when it connects";
    return stage("kx", { state: "waiting", words, how: "waiting" });
  }
  return stage("none", { state: "none", words: "nothing is sent to it", how: "nothing" });
}

/** Of updates from before the connection a receipt does not say whether the peer holds them. */
const COVERED: Found = {
  state: "handed",
  words: "settled over KX; it is not recorded whether the peer holds it",
  how: "settled",
};
const OFFERED = "offered over KX; the peer has neither fetched nor announced it";
const OBSERVED_KX =
  "not offered in observe mode; after a switch to bridge the peer sees the log and may fetch it";

function originStage({ origin: { transport }, receivedAt }: Entry): [Stage["road"], Found] {
  const state = "done" as const;
  if (transport === "repair") {
    return [
      "hkp",
      { state, words: "sent it to us for the repair of a lost update", how: "origin" },
    ];
  }
  if (transport === "recon") {
    return ["hkp", { state, words: "has it: we found it there by recon", how: "origin" }];
  }
  const road = transport === "import" ? "none" : transport;
  const words = `sent it to us ${cameBy(transport)}`;
  return [road, { state, words, at: receivedAt, how: "origin" }];
}

/** When the neighbour accepted the update on this path, from the events or from the log. */
function takenAt(
  way: Sending["way"],
  told: readonly Report[],
  { seq }: Entry,
  name: string,
  { log }: Pick<JourneySources, "log">,
): (Pick<Sending, "at" | "how" | "reply"> & { readonly size: string }) | undefined {
  const report = told.find(({ event }) => deliveryWay(event) === way);
  if (report) {
    const { how = "", words = "" } = report.fields;
    const known = { how: way === "kx" ? "fetched" : String(how), reply: String(words) };
    return { at: report.at, ...known, size: ` (${sizeOf(report)})` };
  }
  const kept = log.sendings.of(seq).find((one) => one.neighbour === name && one.way === way);
  return kept && { ...kept, size: "" };
}

function mailStage(
  neighbour: Subject,
  lane: LaneStatus,
  entry: Entry,
  told: readonly Report[],
  sources: JourneySources,
): Found {
  const { log, config, now } = sources;
  const { seq } = entry;
  const { name } = neighbour;
  const exception = log.exceptions.get(name, seq);
  if (exception !== undefined) {
    const found = exceptionStage(exception, lane, entry, told, { log, now });
    const isHeld = config.mode === "observe" && exception.state === "waiting";
    return isHeld ? { ...found, words: `${found.words}; not before mode = "bridge"` } : found;
  }
  const taken = takenAt("lane", told, entry, name, { log });
  const isAnnounced = log.sendings
    .of(seq)
    .some((one) => one.neighbour === name && one.how === "announced");
  if (taken && isAnnounced) {
    const words = "announced by it over KX, after it was sent by mail";
    return { state: "done", words, at: taken.at, reply: taken.reply, how: "announced" };
  }
  if (taken) return proven(taken);
  const expired = told.find(({ event }) => event === "body-expired");
  if (expired) {
    const words = "not sent: it expired before the site took it";
    return { state: "failed", words, at: expired.at, how: "expired" };
  }
  if (log.pending.has(lane, entry)) return named(name, entry, sources);
  if (config.mode === "observe") return observedStage(lane, seq);
  if (lane.cursor < seq) return waitingStage(lane, entry, told, "", { log, now });
  const observed = log.observed.all().find((one) => one.neighbour === name && one.way === "lane");
  if (observed !== undefined && observed.first <= seq && seq <= observed.last) {
    const words = `not sent: mode was "observe" until update ${observed.last}`;
    return { state: "none", words, how: "observed" };
  }
  const words = "no record of a delivery: its lane began after this update, or the record was lost";
  return { state: "none", words, how: "unknown" };
}

/** Another than the lane knows that the neighbour has it. */
function named(name: string, { seq }: Entry, { log }: JourneySources): Found {
  const kept = log.sendings.of(seq).find((one) => one.neighbour === name && one.way === "kx");
  if (kept?.how === "announced") {
    return { state: "done", words: "announced by it over KX; not mailed", how: "announced" };
  }
  const words = "not mailed: a mail with this update names it among those that have it";
  return { state: "handed", words, how: "named" };
}

function observedStage({ cursor }: LaneStatus, seq: Seq): Found {
  const from = `after a switch to bridge it is sent what comes after update ${cursor}`;
  const isPassed = cursor >= seq;
  const words = isPassed
    ? `not sent in observe mode; ${from}, and so never this one`
    : `not sent in observe mode; ${from}`;
  return { state: "none", words, how: "observed" };
}

/** What a site did not take. */
function exceptionStage(
  { state, reason, code, text, at, nextAt, tries }: Exception,
  lane: LaneStatus,
  entry: Entry,
  told: readonly Report[],
  sources: Pick<JourneySources, "log" | "now">,
): Found {
  // A reply begins with its code; the text of a delivery report need not have it.
  const said = code === 0 || text.includes(`${code}`) ? text : `${code} ${text}`;
  const about = { reason, code, reply: text, tries, at };
  if (state === "refused") {
    const when = reason === "returned" ? "returned it after the relay took it" : "refused it";
    const words =
      reason === "overflow"
        ? `set aside for good, because too many wait: ${said}`
        : `${when}: ${said}; offered again when its key comes again`;
    return { ...about, state: "failed", words, how: "refused" };
  }
  if (state === "withheld") {
    const until = reason === "blocked" ? "sent when it is unblocked" : "queue retry sends it";
    return { ...about, state: "none", words: `withheld: ${text}; ${until}`, how: "withheld" };
  }
  if (reason !== "failed") {
    const prefix = reason === "bounced" ? "it bounced and is sent again" : "it is sent again";
    return { ...waitingStage(lane, entry, told, `${prefix}: `, sources), reason, tries, code };
  }
  const next = tries === 0 ? "now" : ahead(nextAt, sources.now);
  const words = `set aside after ${several(tries, "attempt")}, next ${next}; ${said}`;
  return { ...about, state: "waiting", words, nextAt, how: "waiting" };
}

/** How a delivery is known, in words. */
function proven({ how, reply, at, size }: NonNullable<ReturnType<typeof takenAt>>): Found {
  const said = reply === "" ? "" : `: ${reply}`;
  const found = (known: Knowledge, words: string): Found => {
    const isHanded = known === "relayed" || known === "spooled" || known === "accepted";
    const state = isHanded ? "handed" : "done";
    return { state, how: known, words: `${words}${size}`, reply, at };
  };
  switch (how) {
    case "relayed":
      return found(how, `handed to the relay${said}`);
    case "taken":
      return found(how, `taken by the keyserver${said}`);
    case "spooled":
      return found(how, "left in the spool of the keyserver; it has not shown that it read it");
    case "collected":
      return found(how, "taken from the spool by the keyserver");
    case "exited":
      return found(how, "given to the program of [local], which ended with 0");
    default:
      return found("accepted", "accepted by the next server; an earlier release noted no more");
  }
}

/** The relay's name for a mail in its reply, as Postfix, Sendmail, Exim, OpenSMTPD write it. */
export function queueIdOf(reply: string): string | undefined {
  const [, id] =
    /\bqueued as <?([\w.-]{4,64})/i.exec(reply) ??
    /^250[ -](?:2\.\d\.\d )?OK,? id=([\w.-]{4,64})/i.exec(reply) ??
    /^250[ -]2\.0\.0:? ([\w.-]{6,64}) Message accepted/i.exec(reply) ??
    [];
  return id;
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
  const found = { state: "waiting", how: "waiting", nextAt: lane.nextAt } as const;
  if (lane.isPaused) return { ...found, words: `${place}; paused by the operator` };
  const retry = told.find(({ event }) => kindOf(event).outcome === "deferred");
  if (lane.attempt === 0) return { ...found, words: place };
  const reply = retry ? (wordsOf(retry.fields) ?? lane.lastError) : lane.lastError;
  const attempts = several(lane.attempt, "attempt");
  const words = `${place}; ${attempts}, next ${ahead(lane.nextAt, now)}; last error: ${reply}`;
  return { ...found, words, reply, tries: before === 0 ? lane.attempt : 0 };
}

function iso(ms: number): string | null {
  return ms === 0 ? null : new Date(ms).toISOString();
}

function sizeOf({ fields }: Report): string {
  const { bytes } = fields;
  return typeof bytes === "number" ? octets(bytes) : "size unknown";
}
