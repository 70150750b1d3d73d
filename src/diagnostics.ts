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
  reloaded: { level: "info", text: "another configuration is in force" },
  "reload-refused": { level: "error", text: "the configuration was not changed" },
  blocked: { level: "info", text: "key blocked by the operator" },
  unblocked: { level: "info", text: "block on a key taken back by the operator" },
  forgotten: { level: "info", text: "updates of a key forgotten by the operator's order" },
  "takes-nothing": {
    level: "warn",
    text: "new_keys is false and the log knows no key: nothing is taken",
  },
  "no-control": { level: "warn", text: "no control socket: commands read the log alone" },
  "idle-socket": { level: "warn", text: "no door takes this socket that systemd opened" },
  "notify-failed": { level: "warn", text: "systemd does not hear of our state; said once" },
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
  expired: { level: "debug", text: "old entries left the log" },
  "hold-exceeded": {
    level: "warn",
    text: "updates expired that a site has not got; their keys are fetched when it takes mail",
  },
  "clock-jumped": {
    level: "error",
    text: "the clock jumped; nothing expires until it has been steady for an hour",
  },
  // An update's life.
  accepted: { level: "info", text: "update accepted" },
  duplicate: { level: "debug", text: "update known already" },
  trimmed: { level: "debug", text: "known packets of a key were left out; its news goes on" },
  collision: { level: "error", text: "two different updates share one MD5; both are kept" },
  sent: { level: "info", text: "update delivered" },
  served: { level: "info", text: "update handed to a KX peer" },
  "would-send": { level: "info", text: "update would have been sent" },
  suppressed: { level: "debug", text: "not mailed: the site has it" },
  withheld: { level: "info", text: "not sent: its key was blocked or forgotten" },
  unfetched: { level: "info", text: "KX peer never fetched the update; not mailed either" },
  "path-changed": { level: "warn", text: "another road to this neighbour is in use" },
  retry: { level: "warn", text: "site did not take the mail; will try again" },
  stalled: { level: "error", text: "site takes no mail although the schedule has run out" },
  paused: { level: "info", text: "paused by the operator" },
  resumed: { level: "info", text: "resumed by the operator" },
  skipped: { level: "warn", text: "update given up for this site by the operator" },
  undelivered: { level: "error", text: "site refused the update for good; skipped" },
  "body-expired": {
    level: "warn",
    text: "update expired before the site took it; its key is to be fetched again",
  },
  unpacked: { level: "info", text: "site refused several updates in one mail; sent one by one" },
  incomplete: { level: "warn", text: "no user id known to complete the update for legacy servers" },
  oversized: { level: "warn", text: "one packet alone is larger than the site's mails may be" },
  // Repair of what was lost.
  "repair-asked": { level: "info", text: "asked by mail for what was lost" },
  "repair-retry": { level: "warn", text: "a keyserver did not give what was lost; will try again" },
  repaired: { level: "info", text: "what was lost was fetched again" },
  "repair-failed": { level: "error", text: "updates are lost: nobody gives them again" },
  backfill: { level: "info", text: "a neighbour is asked anew for what it has" },
  // Mail in.
  "mail-refused": { level: "warn", text: "mail refused" },
  "mail-deferred": { level: "error", text: "mail could not be stored; the sender will try again" },
  "key-refused": { level: "warn", text: "a key in a mail was refused" },
  pruned: { level: "warn", text: "packets over a limit were left out of a key; the rest goes on" },
  "too-fast": { level: "warn", text: "neighbour is over its accept_rate; put off" },
  "reply-swallowed": { level: "info", text: "automatic reply swallowed" },
  "spool-stuck": { level: "error", text: "a file or directory of mails cannot be used; left" },
  "refused-removed": { level: "warn", text: "refused mails of a spool were removed from refused/" },
  bounce: { level: "warn", text: "a mail of ours came back" },
  "delivery-noted": { level: "info", text: "a report says that our mail is late, or is delivered" },
  "smtp-limited": { level: "info", text: "SMTP client over a limit; turned away" },
  "hkp-limited": { level: "info", text: "HKP client over a limit; turned away" },
  "certificate-renewed": { level: "info", text: "another certificate is in force" },
  "certificate-refused": {
    level: "error",
    text: "the new certificate cannot be used; not changed",
  },
  "smtp-error": { level: "debug", text: "SMTP connection failed" },
  // KX.
  "peer-connected": { level: "info", text: "KX peer connected" },
  "peer-disconnected": { level: "info", text: "KX connection ended" },
  "peer-unreachable": { level: "warn", text: "KX peer cannot be reached; will try again" },
  "peer-untrusted": { level: "error", text: "KX peer could not prove who it is" },
  "peer-unknown": { level: "warn", text: "KX connection from an address that is no KX peer's" },
  "peer-complaint": { level: "warn", text: "KX peer complained or misbehaved" },
  "peer-reset": { level: "warn", text: "KX peer's numbers start anew; all is listed again" },
  "peer-gap": { level: "warn", text: "KX peer no longer lists some numbers" },
  "update-declined": { level: "debug", text: "not fetched: policy does not carry its key" },
  "update-refused": { level: "warn", text: "policy does not carry this update" },
  "update-wrong": { level: "warn", text: "KX peer sent an update that does not verify" },
  "update-gone": { level: "warn", text: "KX peer does not have an update any more" },
  "update-lost": {
    level: "warn",
    text: "nobody who announced the update delivers it; its key is to be fetched again",
  },
  "fetch-timeout": { level: "debug", text: "KX peer did not deliver in time" },
} as const satisfies Record<string, EventKind>;

export type EventName = keyof typeof EVENTS;

/** What comes with an event: flat, small values. */
export type Fields = Readonly<
  Record<string, string | number | boolean | readonly string[] | undefined>
>;

export interface Diagnostics {
  report(event: EventName, fields?: Fields): void;
}
