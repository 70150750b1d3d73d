/**
 * Every event that the gateway reports, in one table: its name, level and sentence, the fields that
 * come with it, and how it counts. Names are stable: scripts and alerts may rely on them. Reports
 * are checked against the table by the compiler; the log, counters, metrics, page and
 * docs/events.md read it. Rooms get a `Diagnostics` and know nothing of log formats or counters.
 *
 * Levels: error asks the operator to act, warn will be tried again or is worth a look, info is one
 * line per update accepted or sent, debug is protocol. Fields may hold fingerprints and hashes,
 * never user ids, bodies or passwords. `hash` is on every line of an update's life.
 */
import type { RefusalReason } from "./errors.js";

export type Level = "error" | "warn" | "info" | "debug";

/** The types that a field may have; `refusal` is a text that the table of refusals knows. */
interface FieldTypes {
  readonly text: string;
  readonly number: number;
  readonly flag: boolean;
  readonly list: readonly string[];
  readonly refusal: RefusalReason;
}

/** A type as the table writes it; with a question mark the field may be missing. */
export type FieldType = keyof FieldTypes | `${keyof FieldTypes}?`;

/** What became of an update, or of a question for one that was lost: `result` in the metrics. */
export type Outcome =
  // On its way in.
  | ("accepted" | "duplicate" | "refused" | "deferred" | "wrong" | "gone")
  // On its way out. The last two are not sent and count as suppressed.
  | ("delivered" | "refused" | "deferred" | "expired" | "would-send" | "in-trail" | "withheld")
  // Fetched again.
  | ("asked" | "retry" | "repaired" | "failed");

export interface EventKind {
  readonly level: Level;
  readonly text: string;
  readonly fields: Readonly<Record<string, FieldType>>;
  /** The way of the update that it is about. */
  readonly direction?: "in" | "out";
  /** What became of that update; without a direction, of a question for one that was lost. */
  readonly outcome?: Outcome;
  /** How the update travels when no field `via` says so. */
  readonly transport?: "mail" | "kx";
  /** Something was refused or put off for a `reason`: it counts in `kxgw_refused_total`. */
  readonly isRefusal?: true;
  /** How it counts for the success ratio of its neighbour. */
  readonly attempt?: "good" | "bad";
  /** It concerns the whole gateway and not one neighbour: the first line of the page says so. */
  readonly isTrouble?: true;
  /** `words` are the operator's own and may name a person: a public page leaves them out. */
  readonly isPrivate?: true;
  /**
   * Others can cause it as often as they like, so only some lines a minute are written. Never
   * true of what happened to an update of ours, which is the record of its life, nor of events of
   * the process, which are rare.
   */
  readonly isLimited?: true;
}

/** The names of an update, where all are known. */
const UPDATE = { seq: "number", hash: "text", fingerprint: "text" } as const;
/** An update on its way out. */
const LEAVING = { ...UPDATE, neighbour: "text" } as const;
/** An update on its way in; nobody is a neighbour when it is unknown who sent it. */
const ARRIVING = { ...UPDATE, neighbour: "text?", via: "text", messageId: "text?" } as const;
/** What a repair is about: an update, a key, or all that changed at a neighbour. */
const REPAIR = { hash: "text?", fingerprint: "text?", why: "text", neighbour: "text?" } as const;
/** What is wrong, and what the operator does about it. */
const REMEDY = { problem: "text", remedy: "text" } as const;
/** What a server answered. */
const REPLY = { code: "number?", words: "text" } as const;
/** No field at all. */
const NONE: Readonly<Record<string, never>> = {};
/** What went wrong with a try, and when the next one is made. */
const WAIT = { code: "number?", words: "text", attempt: "number", waitMs: "number" } as const;
/**
 * Who sent something: a neighbour, a stranger, "spool". Logs show the network of a `client`
 * only, and an `address` in full (docs/security.md).
 */
const CLIENT = { neighbour: "text?", client: "text?" } as const;
/** A key in a mail. */
const KEY = { neighbour: "text?", messageId: "text?", fingerprint: "text?" } as const;
/** What a delivery report says of a mail of ours; without a neighbour it is unmarked or forged. */
const BOUNCE = {
  ...({ seq: "number?", hash: "text?", neighbour: "text?" } as const),
  ...({ status: "text?", words: "text?" } as const),
} as const;

export const EVENTS = {
  // The process.
  ready: {
    level: "info",
    text: "listening",
    fields: {
      ...{ smtp: "list", lmtp: "list?", hkp: "list", kx: "list", admin: "text?" },
      ...{ mode: "text", site: "text", log: "text", version: "text" },
    },
  },
  migrating: {
    level: "info",
    text: "bringing the log up to date; the gateway listens after it",
    fields: {
      ...{ log: "text", from: "number", to: "number", bytes: "number" },
      ...{ done: "number", parts: "number" },
    },
  },
  migrated: {
    level: "info",
    text: "the log is up to date",
    fields: { log: "text", from: "number", to: "number", seconds: "number" },
  },
  stopping: {
    level: "info",
    text: "stopping",
    fields: { signal: "text" },
  },
  stopped: {
    level: "info",
    text: "stopped",
    fields: NONE,
  },
  reloaded: {
    level: "info",
    text: "new configuration in force",
    fields: NONE,
  },
  "reload-refused": {
    level: "error",
    text: "reload failed; the previous configuration stays in force",
    fields: { problem: "text" },
  },
  blocked: {
    level: "info",
    text: "key blocked by the operator",
    fields: { fingerprint: "text", words: "text", until: "text?", allowRevocation: "flag" },
    isPrivate: true,
  },
  unblocked: {
    level: "info",
    text: "block of a key removed by the operator",
    fields: { fingerprint: "text", words: "text" },
    isPrivate: true,
  },
  "block-ended": {
    level: "info",
    text: "block of a key ended by its date",
    fields: { fingerprint: "text" },
  },
  forgotten: {
    level: "info",
    text: "updates of a key deleted by the operator",
    fields: { fingerprint: "text", words: "text", updates: "number" },
    isPrivate: true,
  },
  "takes-nothing": {
    level: "warn",
    text: "new_keys is false and the log has no keys: all updates are refused",
    fields: NONE,
  },
  "no-control": {
    level: "warn",
    text: "no control socket; commands can only read the log",
    fields: { problem: "text" },
  },
  "idle-socket": {
    level: "warn",
    text: "a socket from systemd is not used by the configuration",
    fields: { name: "text" },
  },
  "notify-failed": {
    level: "warn",
    text: "systemd cannot be notified; reported once",
    fields: { problem: "text" },
  },
  "idle-neighbour": {
    level: "warn",
    text: "nothing can be sent to this neighbour",
    fields: { neighbour: "text", problem: "text" },
  },
  "log-trouble": {
    level: "error",
    text: "the update log or the key index cannot be used",
    fields: { kind: "text", ...REMEDY, door: "text" },
    isTrouble: true,
  },
  "log-damaged": {
    level: "error",
    text: "the update log is damaged; nothing is accepted until it is repaired",
    fields: REMEDY,
    isTrouble: true,
  },
  "log-replaced": {
    level: "error",
    text: "a file of the update log was deleted or replaced; nothing is accepted",
    fields: REMEDY,
    isTrouble: true,
  },
  "database-away": {
    level: "error",
    text: "the shared database does not answer; mail is deferred, KX is served from the copy",
    fields: { problem: "text" },
  },
  "database-back": {
    level: "info",
    text: "the shared database answers again",
    fields: { database: "text", awayMs: "number" },
  },
  "database-refused": {
    level: "error",
    text: "the shared database answers and cannot be used",
    fields: REMEDY,
  },
  "copy-loaded": {
    level: "info",
    text: "the copy of the shared log is complete",
    fields: { position: "number" },
  },
  "lease-taken": {
    level: "info",
    text: "this gateway holds a lease now, and does what only one of the site may do",
    fields: { lease: "text" },
  },
  "lease-lost": {
    level: "warn",
    text: "this gateway lost a lease with its session at the shared database",
    fields: { lease: "text" },
  },
  expired: {
    level: "debug",
    text: "old entries deleted from the log",
    fields: { bodies: "number", entries: "number" },
  },
  "hold-exceeded": {
    level: "warn",
    text: "updates expired before a site got them; their keys are fetched when it accepts mail",
    fields: { bodies: "number" },
  },
  "clock-jumped": {
    level: "error",
    text: "the clock jumped; nothing expires until it is stable for an hour",
    fields: { jumpMs: "number" },
    isTrouble: true,
  },
  // An update's life.
  accepted: {
    level: "info",
    text: "update accepted",
    fields: { ...ARRIVING, bytes: "number" },
    direction: "in",
    outcome: "accepted",
    transport: "mail",
    attempt: "good",
  },
  duplicate: {
    level: "debug",
    text: "update already known",
    fields: { ...ARRIVING, seq: "number?", bytes: "number?", reason: "text?" },
    direction: "in",
    outcome: "duplicate",
    transport: "mail",
  },
  trimmed: {
    level: "debug",
    text: "known packets removed from a key; its news is forwarded",
    fields: { neighbour: "text?", via: "text", messageId: "text?", bytes: "number" },
  },
  collision: {
    level: "error",
    text: "two different updates have one MD5; both are kept",
    fields: ARRIVING,
  },
  sent: {
    level: "info",
    text: "update handed over to a relay, or to the local keyserver",
    fields: {
      ...{ ...LEAVING, mails: "number", packed: "number?", bytes: "number", tookMs: "number" },
      ...{ how: "text", words: "text" },
    },
    direction: "out",
    outcome: "delivered",
    transport: "mail",
    attempt: "good",
  },
  served: {
    level: "info",
    text: "update sent to a KX peer on request",
    fields: { ...LEAVING, bytes: "number" },
    direction: "out",
    outcome: "delivered",
    transport: "kx",
    attempt: "good",
  },
  "served-again": {
    level: "info",
    text: "update sent once more to a KX peer that had asked for it or announced it before",
    fields: { ...LEAVING, bytes: "number" },
    direction: "out",
    isLimited: true,
  },
  "would-send": {
    level: "info",
    text: "update not sent in observe mode",
    fields: { ...LEAVING, mails: "number?", bytes: "number", via: "text?" },
    direction: "out",
    outcome: "would-send",
    transport: "mail",
  },
  suppressed: {
    level: "debug",
    text: "not mailed: the site is named among those that have the update",
    fields: { ...LEAVING, bytes: "number" },
    direction: "out",
    outcome: "in-trail",
  },
  withheld: {
    level: "info",
    text: "not sent: the key is blocked or was forgotten",
    fields: { ...LEAVING, reason: "text" },
    direction: "out",
    outcome: "withheld",
  },
  unfetched: {
    level: "info",
    text: "update expired; the KX peer did not fetch it, and it was not mailed",
    fields: LEAVING,
    direction: "out",
  },
  "path-changed": {
    level: "warn",
    text: "updates to this neighbour take another path",
    fields: { neighbour: "text", path: "text", reason: "text" },
  },
  retry: {
    level: "warn",
    text: "delivery failed temporarily; it is retried",
    fields: { ...LEAVING, fingerprint: "text?", hash: "text?", ...WAIT },
    direction: "out",
    outcome: "deferred",
    transport: "mail",
    attempt: "bad",
    isLimited: true,
  },
  stalled: {
    level: "error",
    text: "delivery fails after the whole retry schedule; it is still retried",
    fields: { ...LEAVING, ...WAIT },
    direction: "out",
    outcome: "deferred",
    transport: "mail",
    attempt: "bad",
  },
  "spool-waits": {
    level: "warn",
    text: "the local keyserver has not taken a file from its spool; it is told again",
    fields: { neighbour: "text", path: "text", waitedMs: "number" },
    isLimited: true,
  },
  "set-aside": {
    level: "warn",
    text: "an update fails for itself; it is retried apart from the others",
    fields: { ...LEAVING, ...WAIT },
    direction: "out",
    outcome: "deferred",
    transport: "mail",
    attempt: "bad",
    isLimited: true,
  },
  "refuses-all": {
    level: "error",
    text: "the site refuses every update; one is tried at a time until it takes one",
    fields: { neighbour: "text", updates: "number", ...REPLY },
  },
  reopened: {
    level: "info",
    text: "updates that a site did not take are sent again",
    fields: { neighbour: "text", updates: "number", reason: "text", fingerprint: "text?" },
  },
  "exceptions-dropped": {
    level: "error",
    text: "too many updates that a site did not take; the oldest of them are no longer remembered",
    fields: { neighbour: "text", updates: "number" },
  },
  "lane-renamed": {
    level: "info",
    text: "a neighbour was renamed; its queue is kept",
    fields: { neighbour: "text", former: "text" },
  },
  paused: {
    level: "info",
    text: "paused by the operator",
    fields: { neighbour: "text" },
  },
  resumed: {
    level: "info",
    text: "resumed by the operator",
    fields: { neighbour: "text" },
  },
  skipped: {
    level: "warn",
    text: "update given up for this site by the operator",
    fields: LEAVING,
  },
  undelivered: {
    level: "error",
    text: "site refused the update; it is offered again when its key comes again",
    fields: { ...LEAVING, ...REPLY },
    direction: "out",
    outcome: "refused",
    transport: "mail",
    attempt: "bad",
  },
  "body-expired": {
    level: "warn",
    text: "update expired before delivery; its key is fetched again",
    fields: LEAVING,
    direction: "out",
    outcome: "expired",
    transport: "mail",
  },
  unpacked: {
    level: "info",
    text: "site refused a mail with several updates; they are sent one by one",
    fields: { ...LEAVING, updates: "number", ...REPLY },
  },
  incomplete: {
    level: "warn",
    text: "the update has no user id, and none is known to complete it",
    fields: LEAVING,
  },
  oversized: {
    level: "warn",
    text: "a single packet is larger than max_mail of the site",
    fields: LEAVING,
  },
  // Repair of what was lost.
  "repair-asked": {
    level: "info",
    text: "lost updates requested by mail",
    fields: { ...REPAIR, days: "number?" },
    outcome: "asked",
  },
  "repair-retry": {
    level: "warn",
    text: "a keyserver did not return a lost update; it is retried",
    fields: { ...REPAIR, words: "text", days: "number?", waitMs: "number?" },
    outcome: "retry",
    isLimited: true,
  },
  repaired: {
    level: "info",
    text: "a lost update was fetched again",
    fields: { ...REPAIR, via: "text?", appended: "number", known: "number", tookMs: "number" },
    outcome: "repaired",
  },
  "repair-failed": {
    level: "error",
    text: "updates are lost: no keyserver returned them",
    fields: { ...REPAIR, seq: "number?", neighbours: "text?", reason: "text?", problem: "text" },
    outcome: "failed",
    isLimited: true,
  },
  backfill: {
    level: "info",
    text: "a neighbour is asked for its updates again",
    fields: { neighbour: "text", via: "text", days: "number?" },
  },
  reconciled: {
    level: "info",
    text: "the keys of a KX peer were compared with those of this site",
    fields: {
      neighbour: "text",
      isDryRun: "flag",
      here: "number",
      there: "number",
      common: "number",
      queued: "number",
      fetching: "number",
      staying: "number",
      told: "number",
    },
  },
  "reconcile-failed": {
    level: "warn",
    text: "the keys of a KX peer could not be compared with those of this site",
    fields: { neighbour: "text", problem: "text" },
  },
  // Servers that are followed by recon.
  "recon-up": {
    level: "info",
    text: "a server is followed by recon",
    fields: { server: "text", version: "text", filters: "text", keys: "number" },
  },
  "recon-crawled": {
    level: "info",
    text: "all keys of a server are known; what changes from now on is fetched",
    fields: { server: "text", keys: "number", start: "text" },
  },
  "recon-changes": {
    level: "debug",
    text: "keys of a server changed",
    fields: { server: "text", fresh: "number", gone: "number" },
  },
  "recon-refused": {
    level: "error",
    text: "a server refuses recon",
    fields: { server: "text", ...REMEDY },
    isLimited: true,
  },
  "recon-down": {
    level: "warn",
    text: "a server cannot be followed by recon; it is tried again",
    fields: { server: "text", ...REMEDY },
    isLimited: true,
  },
  "recon-uneven": {
    level: "warn",
    text: "the counts of a server's recon tree do not add up; its changes are still looked for",
    fields: { server: "text", sessions: "number" },
    isLimited: true,
  },
  "recon-wrong": {
    level: "warn",
    text: "a server returned keys that were not asked for; they were not taken",
    fields: { server: "text", problem: "text" },
    isLimited: true,
  },
  "recon-missing": {
    level: "warn",
    text: "a key that a server lists cannot be fetched from it",
    fields: { server: "text", md5: "text", problem: "text" },
    isLimited: true,
  },
  // Mail in.
  "mail-refused": {
    level: "warn",
    text: "mail refused",
    fields: {
      ...{ ...CLIENT, reason: "refusal", problem: "text", file: "text?", door: "text?" },
      /** A neighbour whose domain the sender gives, and the address that it came from. */
      ...{ resembles: "text?", address: "text?" },
    },
    direction: "in",
    outcome: "refused",
    transport: "mail",
    isRefusal: true,
    isLimited: true,
  },
  "mail-deferred": {
    level: "error",
    text: "mail could not be stored; the sender retries it",
    fields: { ...CLIENT, kind: "text", problem: "text", remedy: "text?", door: "text?" },
    direction: "in",
    outcome: "deferred",
    transport: "mail",
    isTrouble: true,
    isLimited: true,
  },
  "key-refused": {
    level: "warn",
    text: "a key in a mail was refused",
    fields: { ...KEY, reason: "refusal", problem: "text" },
    direction: "in",
    outcome: "refused",
    transport: "mail",
    isRefusal: true,
    isLimited: true,
  },
  pruned: {
    level: "warn",
    text: "packets that the policy excludes removed from a key; the rest is forwarded",
    fields: { ...KEY, hash: "text?", packets: "number", reason: "refusal", problem: "text" },
  },
  "too-fast": {
    level: "warn",
    text: "neighbour exceeded its accept_rate; deferred",
    fields: { ...CLIENT, reason: "refusal", waitMs: "number", door: "text?" },
    direction: "in",
    outcome: "deferred",
    transport: "mail",
    isRefusal: true,
    isLimited: true,
  },
  "reply-swallowed": {
    level: "info",
    text: "automatic reply discarded",
    fields: { neighbour: "text?" },
    isLimited: true,
  },
  "spool-stuck": {
    level: "error",
    text: "a file or directory of a spool cannot be used; left unchanged",
    fields: { file: "text", problem: "text" },
  },
  "refused-removed": {
    level: "warn",
    text: "refused mails of a spool deleted from refused/",
    fields: { file: "text", reason: "text", files: "number", bytes: "number", names: "list" },
  },
  bounce: {
    level: "warn",
    text: "a mail of the gateway bounced",
    fields: { ...BOUNCE, reason: "text" },
    attempt: "bad",
    isLimited: true,
  },
  "delivery-noted": {
    level: "info",
    text: "report received: a mail is delayed or delivered",
    fields: BOUNCE,
    isLimited: true,
  },
  "smtp-limited": {
    level: "info",
    text: "SMTP client over a limit; refused",
    fields: { ...CLIENT, reason: "text" },
    isLimited: true,
  },
  "hkp-limited": {
    level: "info",
    text: "HKP client over a limit; refused",
    fields: { ...CLIENT, reason: "text" },
    isLimited: true,
  },
  "certificate-renewed": {
    level: "info",
    text: "new certificate in force",
    fields: { file: "text" },
  },
  "certificate-refused": {
    level: "error",
    text: "the new certificate cannot be used; the previous one stays in force",
    fields: { file: "text", problem: "text" },
  },
  "smtp-error": {
    level: "debug",
    text: "SMTP connection failed",
    fields: { problem: "text" },
    isLimited: true,
  },
  // KX.
  "peer-connected": {
    level: "info",
    text: "KX peer connected",
    fields: { neighbour: "text", dialled: "flag", newest: "number?", version: "text" },
    attempt: "good",
    isLimited: true,
  },
  "peer-downgraded": {
    level: "warn",
    text: "KX peer spoke KX/1.1 before and speaks KX/1.0 now; kx_version accepts that",
    fields: { neighbour: "text" },
    isLimited: true,
  },
  "peer-disconnected": {
    level: "info",
    text: "KX connection ended",
    fields: { neighbour: "text", reason: "text?" },
    isLimited: true,
  },
  "peer-unreachable": {
    level: "warn",
    text: "KX peer cannot be reached; it is retried",
    fields: { neighbour: "text", problem: "text", waitMs: "number?" },
    attempt: "bad",
    isLimited: true,
  },
  "peer-untrusted": {
    level: "error",
    text: "KX peer could not be authenticated",
    fields: { neighbour: "text?", neighbours: "text?", problem: "text", waitMs: "number?" },
    attempt: "bad",
    isLimited: true,
  },
  "peer-unknown": {
    level: "warn",
    text: "KX connection refused: the address belongs to no KX peer",
    fields: { address: "text", neighbour: "text?", problem: "text?" },
    isLimited: true,
  },
  "peer-complaint": {
    level: "warn",
    text: "KX peer sent a complaint or violated the protocol",
    fields: { neighbour: "text?", problem: "text" },
    attempt: "bad",
    isLimited: true,
  },
  "kx-error": {
    level: "warn",
    text: "KX connection failed",
    fields: { neighbour: "text?", problem: "text" },
    attempt: "bad",
    isLimited: true,
  },
  "announced-known": {
    level: "debug",
    text: "KX peer announced known updates for the first time; as mail they would have come again",
    fields: { neighbour: "text", numbers: "number", bytes: "number" },
    isLimited: true,
  },
  "kx-traffic": {
    level: "debug",
    text: "bytes over KX with a peer since the last of these events",
    fields: { neighbour: "text", bytes: "number" },
    isLimited: true,
  },
  "peer-reset": {
    level: "warn",
    text: "all announcements of a KX peer are listed again",
    fields: { neighbour: "text", reason: "text" },
    isLimited: true,
  },
  "peer-gap": {
    level: "warn",
    text: "KX peer no longer lists some numbers",
    fields: { neighbour: "text", low: "number", high: "number", numbers: "number" },
    isLimited: true,
  },
  "update-declined": {
    level: "debug",
    text: "not fetched: the policy excludes its key",
    fields: { neighbour: "text", hash: "text", fingerprint: "text", reason: "refusal" },
    isRefusal: true,
    isLimited: true,
  },
  "update-refused": {
    level: "warn",
    text: "refused by the policy",
    fields: {
      neighbour: "text?",
      hash: "text?",
      fingerprint: "text?",
      why: "text?",
      reason: "refusal?",
      problem: "text",
    },
    direction: "in",
    outcome: "refused",
    transport: "kx",
    isRefusal: true,
    isLimited: true,
  },
  "update-wrong": {
    level: "warn",
    text: "KX peer sent an update that does not match its announcement",
    fields: {
      neighbour: "text",
      hash: "text",
      fingerprint: "text?",
      reason: "refusal?",
      problem: "text",
    },
    direction: "in",
    outcome: "wrong",
    transport: "kx",
    isRefusal: true,
    attempt: "bad",
    isLimited: true,
  },
  "update-gone": {
    level: "warn",
    text: "KX peer no longer has an announced update",
    fields: { neighbour: "text", number: "number", hash: "text", fingerprint: "text?" },
    direction: "in",
    outcome: "gone",
    transport: "kx",
    isLimited: true,
  },
  "update-lost": {
    level: "warn",
    text: "no peer that announced the update delivers it; its key is fetched again",
    fields: { hash: "text", fingerprint: "text?", neighbours: "text" },
    isLimited: true,
  },
  "fetch-timeout": {
    level: "debug",
    text: "KX peer did not deliver an update in time",
    fields: { neighbour: "text", hash: "text" },
    attempt: "bad",
    isLimited: true,
  },
} as const satisfies Record<string, EventKind>;

export type EventName = keyof typeof EVENTS;

/** The fields of an event as its readers get them: flat, small values. */
export type Fields = Readonly<
  Record<string, string | number | boolean | readonly string[] | undefined>
>;

type Table = { readonly [Event in EventName]: (typeof EVENTS)[Event]["fields"] };
type Value<Type> = Type extends `${infer Known extends keyof FieldTypes}?`
  ? FieldTypes[Known] | undefined
  : Type extends keyof FieldTypes
    ? FieldTypes[Type]
    : never;

type RowFields<Event extends EventName> = {
  readonly [Name in keyof Table[Event] as Table[Event][Name] extends `${string}?`
    ? never
    : Name]: Value<Table[Event][Name]>;
} & {
  readonly [Name in keyof Table[Event] as Table[Event][Name] extends `${string}?`
    ? Name
    : never]?: Value<Table[Event][Name]>;
};

/**
 * The fields that a report of an event must and may have; where it may be one of several events,
 * what suits each of them.
 */
export type FieldsOf<Event extends EventName> = (
  Event extends EventName
    ? (fields: RowFields<Event>) => void
    : never
) extends (fields: infer All extends Fields) => void
  ? All
  : never;

/** Where the rooms report to. The compiler checks each report against the table. */
export interface Diagnostics {
  report<Event extends EventName>(event: Event, fields: FieldsOf<Event>): void;
}

/** What hears reports without knowing which they are: log, limits, counters. */
export interface EventSink {
  report(event: EventName, fields?: Fields): void;
}

export function kindOf(event: EventName): EventKind {
  return EVENTS[event];
}

/** The events whose row has all of `traits`, in the order of the table. */
export function eventsWith(traits: Partial<Omit<EventKind, "text" | "fields">>): EventName[] {
  const wanted = Object.entries(traits);
  return (Object.keys(EVENTS) as EventName[]).filter((event) => {
    const row = new Map<string, unknown>(Object.entries(kindOf(event)));
    return wanted.every(([trait, value]) => row.get(trait) === value);
  });
}
