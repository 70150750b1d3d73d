/**
 * The operator's orders about a key: block it, remove the block, forget its updates in the log. An
 * order is parsed from texts, sent as a path of the control socket, and carried out on the log by
 * the running gateway or, if none runs, by the command. A block that ends by its date is removed as
 * by an order. `policy.ts` defines the effect of a block. Copies of the key on other keyservers are
 * not affected.
 */

import { updateOf } from "./admit.js";
import type { Block } from "./block.js";
import type { Clock } from "./clock.js";
import type { PolicySettings } from "./config/config.js";
import { parseFingerprint } from "./config/fingerprint.js";
import type { Reading } from "./config/units.js";
import { parseDate } from "./config/units.js";
import type { Diagnostics } from "./diagnostics.js";
import { Refusal } from "./errors.js";
import type { UpdateLog } from "./log/update-log.js";
import { LogGuard } from "./log-guard.js";
import { assembleKey, type Component, keyPackets, readKeys } from "./openpgp/key.js";
import { hardRevocations, Policy } from "./policy.js";
import { several } from "./text.js";
import type { Fingerprint, Seq } from "./update.js";

export type RemovalVerb = "block" | "unblock" | "forget";

const VERBS: readonly string[] = ["block", "unblock", "forget"] satisfies RemovalVerb[];

/** Maximum length of a reason, which is shown in lists and is part of a request. */
const MAX_REASON = 500;
/** Maximum number of updates of a key that is counted for an answer. */
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

/** The outcome of an order; `missing` if there was nothing to change. */
export interface RemovalOutcome {
  readonly done: boolean;
  readonly words: string;
  readonly missing?: true;
}

/** An order that was given at `now` (ms since 1970), or the fault in it. */
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

/** The path of an order on the control socket of a running gateway. */
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

/** The order of such a path; undefined if `verb` is not a verb of removal. */
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

/** Maximum size of a log that a running gateway rebuilds, which blocks it for a second. */
export const REBUILD_BYTES = 64 * 1024 ** 2;

/** How often blocks that end by their date are looked for. */
const LOOK_MS = 3000;

/** The components and settings with which an order is carried out. */
export interface Place {
  readonly policy: PolicySettings;
  readonly log: RevocationLog & Pick<UpdateLog, "removals">;
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
  /** Maximum size of a log that is rebuilt after a key was forgotten. */
  readonly rebuildBytes: number;
  /** Lists the announcements of all KX peers again, from the oldest. */
  readonly listAgain: () => void;
}

/** The same for `BlockEnds`, which rebuilds nothing. */
export interface EndsPlace extends Omit<Place, "rebuildBytes"> {
  /** Announces the updates of these keys to all KX peers again. */
  readonly offerAgain: (keys: readonly string[]) => void;
}

/** Carries out an order, durably. Throws `Trouble`; then nothing was changed. */
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

/**
 * Ends blocks at their date, so that what they kept out and held back moves again: the hashes that
 * were refused are deleted, what was withheld is sent, and the KX peers are listed again, since the
 * receive cursors have passed what was declined. A block of the command is marked in the log; so
 * one that ended while no gateway ran is noticed at the start. A block of the list stays there, and
 * counts as ended since the newest entry of the log. What was withheld for a key is announced to
 * the KX peers again: for a block that is over, also at each start and by each gateway of a site.
 */
export class BlockEnds {
  readonly #place: EndsPlace;
  readonly #guard: LogGuard;
  /** Ends up to this time (ms since 1970) have been handled. */
  #handled: number;
  /** The blocks that are over and were noticed, and when they ended. */
  readonly #noticed = new Map<string, number>();
  /** Keys whose updates are still to be announced again, because the log failed. */
  readonly #toOffer = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  /** `since` is when blocks were applied last, in milliseconds since 1970. */
  constructor(place: EndsPlace, since: number) {
    this.#place = place;
    this.#guard = new LogGuard("removal", place.clock, place.diagnostics);
    this.#handled = since;
  }

  start(): void {
    this.look();
    this.#timer = setInterval(() => this.look(), LOOK_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Ends what is due. When the log fails, this is tried again at the next look. */
  look(): void {
    const { policy, log, clock, diagnostics, listAgain, offerAgain } = this.#place;
    const now = clock.now();
    const isDue = ({ until }: Block) => until !== undefined && until <= now;
    const stored = log.removals.blocks().filter(isDue);
    const listed = [...policy.blocks].filter(([, block]) => {
      return isDue(block) && (block.until ?? 0) > this.#handled;
    });
    const ended = [...stored.map(({ fingerprint }) => fingerprint), ...listed.map(([key]) => key)];
    const isDone = this.#guard.run(() => {
      for (const fingerprint of ended) log.removals.unblock(fingerprint as Fingerprint, now);
      return true;
    });
    if (isDone === undefined) return;
    this.#handled = now;
    const rules = new Policy(policy, log, clock);
    const free = [...new Set(ended)].filter((key) => rules.blockOn(key) === undefined);
    for (const fingerprint of free) diagnostics.report("block-ended", { fingerprint });
    if (free.length > 0) listAgain();
    for (const [key] of listed) this.#toOffer.add(key);
    for (const { fingerprint, at } of log.removals.over(now)) {
      if (this.#noticed.get(fingerprint) === at) continue;
      this.#noticed.set(fingerprint, at);
      this.#toOffer.add(fingerprint);
    }
    if (this.#toOffer.size === 0) return;
    this.#guard.run(() => {
      offerAgain([...this.#toOffer].filter((key) => rules.blockOn(key) === undefined));
      this.#toOffer.clear();
    });
  }
}

/** The updates of these keys in the log, of each the newest, ascending. */
export function updatesOf(log: Pick<UpdateLog, "lookup">, keys: readonly string[]): Seq[] {
  const seqs = keys.flatMap((key) => log.lookup.byFingerprint(key as Fingerprint, COUNTED));
  return seqs.sort((a, b) => a - b);
}

/** What `passRevocations` uses of the log. */
export type RevocationLog = Pick<UpdateLog, "append" | "body" | "lookup" | "trails">;

/**
 * Appends the hard revocations of a blocked key that the log holds only together with packets that
 * are withheld now, as an update of their own: KX names an update by its hash, so an entry cannot
 * leave in part. Returns how many there were. Throws `Trouble`.
 */
export function passRevocations(log: RevocationLog, fingerprint: Fingerprint, at: number): number {
  let bundled: Component | undefined;
  const passing = new Set<string>();
  const trails: string[][] = [];
  for (const seq of log.lookup.byFingerprint(fingerprint, COUNTED)) {
    const [key] = readKeys(log.body(seq) ?? new Uint8Array());
    if (key === undefined || key instanceof Refusal) continue;
    const { primary } = hardRevocations(key);
    if (primary.signatures.length === 0) continue;
    if (keyPackets(key).length === primary.signatures.length + 1) {
      for (const { body } of primary.signatures) passing.add(nameOf(body));
      continue;
    }
    const signatures = [...(bundled?.signatures ?? []), ...primary.signatures];
    bundled = { packet: primary.packet, signatures };
    trails.push(log.trails.get(seq));
  }
  const missing = bundled?.signatures.filter(({ body }) => !passing.has(nameOf(body))) ?? [];
  if (bundled === undefined || missing.length === 0) return 0;
  const update = updateOf(assembleKey([{ packet: bundled.packet, signatures: missing }]));
  // A site has all of them when it has each entry that they came in.
  const [first = [], ...others] = trails;
  const trail = first.filter((one) => others.every((trail) => trail.includes(one)));
  const origin = { neighbour: undefined, transport: "import" } as const;
  log.append([{ update, origin, trail, receivedAt: at, evenKnown: true }]);
  return update.packets.length - 1;
}

function nameOf(body: Uint8Array): string {
  return Buffer.from(body).toString("base64");
}

function block(order: RemovalOrder, { log, clock, diagnostics }: Place): RemovalOutcome {
  const { fingerprint, reason, until, allowRevocation } = order;
  log.removals.setBlock(fingerprint, { reason, until, allowRevocation }, clock.now());
  const end = until === undefined ? undefined : new Date(until).toISOString();
  diagnostics.report("blocked", { fingerprint, words: reason, until: end, allowRevocation });
  const held = log.lookup.byFingerprint(fingerprint, COUNTED).length;
  const passed = allowRevocation ? passRevocations(log, fingerprint, clock.now()) : 0;
  const also = passed > 0 ? `, and ${several(passed, "revocation")} of the log is sent alone` : "";
  const exception = allowRevocation ? `; hard revocations pass${also}` : "";
  const known =
    held === 0
      ? "The log holds no update of it: check that this is the fingerprint of the primary key."
      : `${several(held, "update")} in the log will not be sent any more.`;
  const time = end === undefined ? "until it is unblocked" : `until ${end}`;
  return { done: true, words: `${fingerprint} is blocked ${time}${exception}. ${known}` };
}

function unblock(
  { fingerprint, reason }: RemovalOrder,
  { policy, log, clock, diagnostics, listAgain }: Place,
): RemovalOutcome {
  const list = policy.blocks.has(fingerprint) ? policy.blocklist : undefined;
  const rest = `is in the list ${list}: remove it there and reload the gateway.`;
  if (!log.removals.unblock(fingerprint, clock.now())) {
    const words = `${fingerprint} ${list === undefined ? "is not blocked." : rest}`;
    return { done: false, missing: true, words };
  }
  diagnostics.report("unblocked", { fingerprint, words: reason });
  if (list !== undefined) return { done: true, words: `The block is removed, but the key ${rest}` };
  // The receive cursors have passed the announcements that were declined.
  listAgain();
  const words =
    "What was withheld from neighbours is sent to them. KX peers are asked again for what was " +
    "declined; what was refused by mail and HKP is accepted when it is sent again.";
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
