/**
 * What the gateway tells its operator: every event that it can report, at which level, and the
 * sentence that goes with it. The names are stable, scripts and alerts may rely on them. Rooms get
 * a `Diagnostics` and know nothing of log formats or counters; whoever builds it decides.
 *
 * Levels: error wants the operator to act, warn will be tried again or is worth a look, info is one
 * line per update accepted or sent, debug is protocol. Fields may hold fingerprints and hashes,
 * never user ids, bodies or passwords. `hash` is on every line of an update's life.
 */

export type Level = "error" | "warn" | "info" | "debug";

interface EventKind {
  readonly level: Level;
  readonly text: string;
}

export const EVENTS = {
  // The process.
  ready: { level: "info", text: "listening" },
  stopping: { level: "info", text: "stopping" },
  stopped: { level: "info", text: "stopped" },
  reloaded: { level: "info", text: "new configuration in force" },
  "reload-refused": {
    level: "error",
    text: "reload failed; the previous configuration stays in force",
  },
  blocked: { level: "info", text: "key blocked by the operator" },
  unblocked: { level: "info", text: "block of a key removed by the operator" },
  forgotten: { level: "info", text: "updates of a key deleted by the operator" },
  "takes-nothing": {
    level: "warn",
    text: "new_keys is false and the log has no keys: all updates are refused",
  },
  "no-control": { level: "warn", text: "no control socket; commands can only read the log" },
  "idle-socket": { level: "warn", text: "a socket from systemd is not used by the configuration" },
  "notify-failed": { level: "warn", text: "systemd cannot be notified; reported once" },
  "idle-neighbour": { level: "warn", text: "nothing can be sent to this neighbour" },
  "log-trouble": { level: "error", text: "the update log cannot be used" },
  "log-damaged": {
    level: "error",
    text: "the update log is damaged; nothing is accepted until it is repaired",
  },
  "log-replaced": {
    level: "error",
    text: "a file of the update log was deleted or replaced; nothing is accepted",
  },
  expired: { level: "debug", text: "old entries deleted from the log" },
  "hold-exceeded": {
    level: "warn",
    text: "updates expired before a site got them; their keys are fetched when it accepts mail",
  },
  "clock-jumped": {
    level: "error",
    text: "the clock jumped; nothing expires until it is stable for an hour",
  },
  // An update's life.
  accepted: { level: "info", text: "update accepted" },
  duplicate: { level: "debug", text: "update already known" },
  trimmed: { level: "debug", text: "known packets removed from a key; its news is forwarded" },
  collision: { level: "error", text: "two different updates have one MD5; both are kept" },
  sent: { level: "info", text: "update delivered" },
  served: { level: "info", text: "update sent to a KX peer on request" },
  "would-send": { level: "info", text: "update not sent in observe mode" },
  suppressed: { level: "debug", text: "not mailed: the site already has the update" },
  withheld: { level: "info", text: "not sent: the key is blocked or was forgotten" },
  unfetched: {
    level: "info",
    text: "update expired; the KX peer did not fetch it, and it was not mailed",
  },
  "path-changed": { level: "warn", text: "updates to this neighbour take another path" },
  retry: { level: "warn", text: "delivery failed temporarily; it is retried" },
  stalled: {
    level: "error",
    text: "delivery fails after the whole retry schedule; it is still retried",
  },
  paused: { level: "info", text: "paused by the operator" },
  resumed: { level: "info", text: "resumed by the operator" },
  skipped: { level: "warn", text: "update given up for this site by the operator" },
  undelivered: { level: "error", text: "site refused the update permanently; skipped" },
  "body-expired": {
    level: "warn",
    text: "update expired before delivery; its key is fetched again",
  },
  unpacked: {
    level: "info",
    text: "site refused a mail with several updates; they are sent one by one",
  },
  incomplete: {
    level: "warn",
    text: "the update has no user id, and none is known to complete it",
  },
  oversized: { level: "warn", text: "a single packet is larger than max_mail of the site" },
  // Repair of what was lost.
  "repair-asked": { level: "info", text: "lost updates requested by mail" },
  "repair-retry": {
    level: "warn",
    text: "a keyserver did not return a lost update; it is retried",
  },
  repaired: { level: "info", text: "a lost update was fetched again" },
  "repair-failed": { level: "error", text: "updates are lost: no keyserver returned them" },
  backfill: { level: "info", text: "a neighbour is asked for its updates again" },
  // Mail in.
  "mail-refused": { level: "warn", text: "mail refused" },
  "mail-deferred": { level: "error", text: "mail could not be stored; the sender retries it" },
  "key-refused": { level: "warn", text: "a key in a mail was refused" },
  pruned: { level: "warn", text: "packets over a limit removed from a key; the rest is forwarded" },
  "too-fast": { level: "warn", text: "neighbour exceeded its accept_rate; deferred" },
  "reply-swallowed": { level: "info", text: "automatic reply discarded" },
  "spool-stuck": {
    level: "error",
    text: "a file or directory of a spool cannot be used; left unchanged",
  },
  "refused-removed": { level: "warn", text: "refused mails of a spool deleted from refused/" },
  bounce: { level: "warn", text: "a mail of the gateway bounced" },
  "delivery-noted": { level: "info", text: "report received: a mail is delayed or delivered" },
  "smtp-limited": { level: "info", text: "SMTP client over a limit; refused" },
  "hkp-limited": { level: "info", text: "HKP client over a limit; refused" },
  "certificate-renewed": { level: "info", text: "new certificate in force" },
  "certificate-refused": {
    level: "error",
    text: "the new certificate cannot be used; the previous one stays in force",
  },
  "smtp-error": { level: "debug", text: "SMTP connection failed" },
  // KX.
  "peer-connected": { level: "info", text: "KX peer connected" },
  "peer-disconnected": { level: "info", text: "KX connection ended" },
  "peer-unreachable": { level: "warn", text: "KX peer cannot be reached; it is retried" },
  "peer-untrusted": { level: "error", text: "KX peer could not be authenticated" },
  "peer-unknown": {
    level: "warn",
    text: "KX connection refused: the address belongs to no KX peer",
  },
  "peer-complaint": { level: "warn", text: "KX peer sent a complaint or violated the protocol" },
  "peer-reset": {
    level: "warn",
    text: "KX peer restarted its numbering; all updates are listed again",
  },
  "peer-gap": { level: "warn", text: "KX peer no longer lists some numbers" },
  "update-declined": { level: "debug", text: "not fetched: the policy excludes its key" },
  "update-refused": { level: "warn", text: "refused by the policy" },
  "update-wrong": {
    level: "warn",
    text: "KX peer sent an update that does not match its announcement",
  },
  "update-gone": { level: "warn", text: "KX peer no longer has an announced update" },
  "update-lost": {
    level: "warn",
    text: "no peer that announced the update delivers it; its key is fetched again",
  },
  "fetch-timeout": { level: "debug", text: "KX peer did not deliver an update in time" },
} as const satisfies Record<string, EventKind>;

export type EventName = keyof typeof EVENTS;

/** What comes with an event: flat, small values. */
export type Fields = Readonly<
  Record<string, string | number | boolean | readonly string[] | undefined>
>;

export interface Diagnostics {
  report(event: EventName, fields?: Fields): void;
}
