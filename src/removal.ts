/**
 * The operator's orders about a key: block it, take the block back, forget what the log holds of
 * it. Read from texts, written as the path that the control socket takes, and carried out on the
 * log, by the running gateway or, while none runs, by the command. What a block means is the
 * policy's; what other keyservers have is out of reach.
 */

import type { Clock } from "./clock.js";
import type { PolicySettings } from "./config/config.js";
import { parseFingerprint } from "./config/fingerprint.js";
import type { Reading } from "./config/units.js";
import { parseDate } from "./config/units.js";
import type { Diagnostics } from "./diagnostics.js";
import type { UpdateLog } from "./log/update-log.js";
import { Policy } from "./policy.js";
import { several } from "./text.js";
import type { Fingerprint } from "./update.js";

export type RemovalVerb = "block" | "unblock" | "forget";

const VERBS: readonly string[] = ["block", "unblock", "forget"] satisfies RemovalVerb[];

/** Longest reason; it is shown in lists and has to fit into a request. */
const MAX_REASON = 500;
/** Updates of one key that are counted for an answer. */
const COUNTED = 1000;

export interface RemovalOrder {
  readonly verb: RemovalVerb;
  readonly fingerprint: Fingerprint;
  readonly reason: string;
  /** When a block ends, milliseconds since 1970. */
  readonly until: number | undefined;
  /** Whether hard revocations pass a block. */
  readonly allowRevocation: boolean;
}

/** What came of an order; `missing` when there was nothing to do it to. */
export interface RemovalOutcome {
  readonly done: boolean;
  readonly words: string;
  readonly missing?: true;
}

/** An order as it was written at `now` (ms since 1970), or what is wrong with it. */
export function readOrder(
  verb: RemovalVerb,
  given: {
    readonly fingerprint: string;
    readonly reason: string | undefined;
    readonly until: string | undefined;
    readonly allowRevocation: boolean;
  },
  now: number,
): Reading<RemovalOrder> {
  const key = parseFingerprint(given.fingerprint);
  if ("fault" in key) return key;
  const reason = given.reason?.trim() ?? "";
  if (reason === "") return { fault: 'a reason is missing: add --reason "asked by its owner"' };
  if (reason.length > MAX_REASON || /\p{Cc}/u.test(reason)) {
    return { fault: `the reason must be one line of at most ${MAX_REASON} characters` };
  }
  const { allowRevocation } = given;
  const common = { verb, fingerprint: key.value, reason, allowRevocation };
  if (given.until === undefined) return { value: { ...common, until: undefined } };
  const until = parseDate(given.until);
  if ("fault" in until) return until;
  if (until.value <= now) return { fault: `${given.until} is in the past: write a future date` };
  return { value: { ...common, until: until.value } };
}

/** The path by which an order goes to a running gateway, and how it is read there. */
export function pathOf({
  verb,
  fingerprint,
  reason,
  until,
  allowRevocation,
}: RemovalOrder): string {
  const query = new URLSearchParams({ reason });
  if (until !== undefined) query.set("until", new Date(until).toISOString());
  if (allowRevocation) query.set("revocations", "pass");
  return `/keys/${fingerprint}/${verb}?${query}`;
}

/** The order of such a path; undefined when `verb` is none. */
export function orderOf(
  verb: string,
  fingerprint: string,
  query: URLSearchParams,
  now: number,
): Reading<RemovalOrder> | undefined {
  if (!isVerb(verb)) return undefined;
  const reason = query.get("reason") ?? undefined;
  const until = query.get("until") ?? undefined;
  const allowRevocation = query.get("revocations") === "pass";
  return readOrder(verb, { fingerprint, reason, until, allowRevocation }, now);
}

/** Up to this size of the log a running gateway rebuilds it: a second in which nobody is served. */
export const REBUILD_BYTES = 64 * 1024 ** 2;

/** What an order is carried out on. */
interface Place {
  readonly policy: PolicySettings;
  readonly log: UpdateLog;
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
  /** Up to which size a log is rebuilt when something was forgotten. */
  readonly rebuildBytes: number;
}

/** Does it, on disk when it returns. Throws `Trouble`; then nothing was done. */
export function carryOut(order: RemovalOrder, place: Place): RemovalOutcome {
  switch (order.verb) {
    case "block":
      return block(order, place);
    case "unblock":
      return unblock(order, place);
    case "forget":
      return forget(order, place);
    default:
      return order.verb satisfies never;
  }
}

function block(order: RemovalOrder, { log, clock, diagnostics }: Place): RemovalOutcome {
  const { fingerprint, reason, until, allowRevocation } = order;
  log.removals.setBlock(fingerprint, { reason, until, allowRevocation }, clock.now());
  const end = until === undefined ? undefined : new Date(until).toISOString();
  diagnostics.report("blocked", { fingerprint, words: reason, until: end, allowRevocation });
  const held = log.lookup.byFingerprint(fingerprint, COUNTED).length;
  const exception = allowRevocation ? "; hard revocations pass" : "";
  const known =
    held === 0
      ? "The log holds no update of it: check that this is the fingerprint of the primary key."
      : `${several(held, "update")} in the log will not be sent any more.`;
  const time = end === undefined ? "until it is unblocked" : `until ${end}`;
  return { done: true, words: `${fingerprint} is blocked ${time}${exception}. ${known}` };
}

function unblock(
  { fingerprint, reason }: RemovalOrder,
  { policy, log, clock, diagnostics }: Place,
): RemovalOutcome {
  const list = policy.blocks.has(fingerprint) ? policy.blocklist : undefined;
  const rest = `is in the list ${list}: remove it there and reload the gateway.`;
  if (!log.removals.unblock(fingerprint, clock.now())) {
    const words = `${fingerprint} ${list === undefined ? "is not blocked." : rest}`;
    return { done: false, missing: true, words };
  }
  diagnostics.report("unblocked", { fingerprint, words: reason });
  if (list !== undefined) return { done: true, words: `The block is removed, but the key ${rest}` };
  const words =
    "What was withheld from neighbours is sent to them. What was refused on its way in is " +
    "accepted when it is sent again.";
  return { done: true, words: `${fingerprint} is no longer blocked. ${words}` };
}

function forget({ fingerprint, reason }: RemovalOrder, place: Place): RemovalOutcome {
  const { policy, log, clock, diagnostics, rebuildBytes } = place;
  const now = clock.now();
  const { updates, bodies, ...files } = log.removals.forget(fingerprint, reason, now, rebuildBytes);
  if (updates > 0) diagnostics.report("forgotten", { fingerprint, words: reason, updates });
  if (files.trouble !== undefined) {
    const { message, remedy } = files.trouble;
    const words =
      "The key is forgotten, but copies of its rows may remain in unused parts of the file, " +
      `which could not be rebuilt: ${message}. ${remedy} Then repeat the command.`;
    return { done: false, words };
  }
  if (!files.isClean) {
    const words =
      "The key is forgotten, but another process reads the log, so old pages are still in it. " +
      "Repeat the command when that process has ended.";
    return { done: false, words };
  }
  const rest = files.isRebuilt
    ? ""
    : " Copies of single rows may remain in unused parts of the file, which is too large to be " +
      "rebuilt while the gateway runs. To remove them, stop the gateway and repeat the command.";
  if (updates === 0) {
    const words = `The log holds no update of ${fingerprint} that is not forgotten.${rest}`;
    return { done: false, missing: true, words };
  }
  const isBlocked = new Policy(policy, log, clock).blockOn(fingerprint) !== undefined;
  const next = isBlocked
    ? "The key is blocked, so new updates are refused."
    : `New updates of the key are accepted; kxgw block ${fingerprint} refuses them.`;
  const held = bodies === updates ? "" : ` (${bodies} still held)`;
  return {
    done: true,
    words: `${several(updates, "update")} of the key${held} forgotten. ${next}${rest}`,
  };
}

function isVerb(verb: string): verb is RemovalVerb {
  return VERBS.includes(verb);
}
