/**
 * The value behind the page of one neighbour: its part of the status, the queue with what it did
 * not take, its latest events, what to do, and its updates by the hour. `[local]` is a neighbour
 * here; a server that is followed by recon has a page of its own, by its place in the config,
 * because its name is its address and the public page has no addresses.
 */
import type { Exception, ExceptionState } from "../log/exceptions.js";
import type { Fingerprint, Seq } from "../update.js";
import type { EventCounters, Report } from "./event-counters.js";
import type { FlowHours } from "./flow-hours.js";
import { flowDays, flowHours } from "./flow-hours.js";
import { maskedDeep } from "./mask.js";
import type { Diagnosis } from "./remedies.js";
import { remediesOf } from "./remedies.js";
import type { Sources, Status } from "./status.js";
import { recentJson, status } from "./status.js";

const NEIGHBOUR_PAGE = {
  /** Exceptions of each state. */
  exceptions: 20,
  events: 50,
  /** Of these events, warnings and errors at most, when routine would fill the page. */
  trouble: 20,
} as const;

/** An update that the neighbour did not take. */
export interface Untaken {
  readonly seq: Seq;
  readonly fingerprint: Fingerprint;
  readonly state: ExceptionState;
  readonly reason: Exception["reason"];
  readonly code: number;
  readonly reply: string;
  readonly tries: number;
  /** ISO 8601; `next` is null unless it waits. */
  readonly since: string;
  readonly next: string | null;
}

export interface NeighbourDetail {
  readonly status: Status;
  readonly one: Status["neighbours"][number];
  readonly kind: string | null;
  /** Servers that are followed by recon and count as this neighbour. */
  readonly recon: Status["recon"];
  readonly remedies: readonly Diagnosis[];
  readonly untaken: readonly Untaken[];
  /** The update that is sent next. */
  readonly first: { readonly seq: Seq; readonly fingerprint: Fingerprint } | null;
  readonly events: Status["recent"];
  readonly hours: FlowHours;
  readonly days: FlowHours;
}

/** The page of the neighbour with this name; undefined if there is none. */
export function neighbourDetail(
  sources: Sources,
  name: string,
  mask: boolean,
): NeighbourDetail | undefined {
  const { log, counters, clock, config } = sources;
  const whole = status(sources, mask);
  const one = whole.neighbours.find((each) => each.name === name);
  if (one === undefined) return undefined;
  const detail = {
    one,
    kind: config.neighbours.find((each) => each.name === name)?.kind ?? null,
    recon: whole.recon.filter(({ neighbour }) => neighbour === name),
    remedies: remediesOf(one, whole),
    untaken: untakenOf(name, sources),
    first: one.site === undefined ? null : firstOf(log, { name, address: addressOf(one, sources) }),
    events: latestOf(counters, name).map(recentJson),
    hours: flowHours(counters, name),
    days: flowDays(counters, clock.now(), name),
  };
  return { ...(mask ? maskedDeep(detail) : detail), status: whole };
}

export interface ReconDetail {
  readonly status: Status;
  readonly one: Status["recon"][number];
  readonly events: Status["recent"];
  readonly hours: FlowHours;
  readonly days: FlowHours;
}

/** The page of the server that is the `place`th of those followed; undefined if there is none. */
export function reconDetail(
  sources: Sources,
  place: number,
  mask: boolean,
): ReconDetail | undefined {
  const { counters, clock } = sources;
  const whole = status(sources, mask);
  const one = whole.recon[place - 1];
  const name = sources.recon?.()[place - 1]?.neighbour;
  if (one === undefined || name === undefined) return undefined;
  const detail = {
    one,
    events: latestOf(counters, name).map(recentJson),
    hours: flowHours(counters, name),
    days: flowDays(counters, clock.now(), name),
  };
  return { ...(mask ? maskedDeep(detail) : detail), status: whole };
}

/** The mail address of its lane, as the log knows it. */
function addressOf({ name }: Status["neighbours"][number], { lanes }: Sources) {
  return lanes().find((lane) => lane.name === name)?.address;
}

function firstOf(log: Sources["log"], site: { name: string; address: string | undefined }) {
  const { first } = log.pending.of(site);
  const entry = first === undefined ? undefined : log.entry(first);
  return entry === undefined ? null : { seq: entry.seq, fingerprint: entry.fingerprint };
}

const STATES: readonly ExceptionState[] = ["waiting", "refused", "withheld"];

function untakenOf(name: string, { log }: Pick<Sources, "log">): Untaken[] {
  const rows = STATES.flatMap((state) =>
    log.exceptions.list(name, state, NEIGHBOUR_PAGE.exceptions),
  );
  return rows.map(({ seq, fingerprint, state, reason, code, text, tries, at, nextAt }) => ({
    ...{ seq, fingerprint, state, reason, code, reply: text, tries },
    since: new Date(at).toISOString(),
    next: state === "waiting" ? new Date(nextAt).toISOString() : null,
  }));
}

/** The latest reports about a neighbour, newest first; trouble keeps its share. */
function latestOf(counters: EventCounters, name: string): Report[] {
  const all = counters.recentOf(name);
  const trouble = all.filter(({ level }) => level !== "info");
  const routine = all.filter(({ level }) => level === "info");
  const { events, trouble: share } = NEIGHBOUR_PAGE;
  const kept = trouble.slice(0, Math.max(share, events - routine.length));
  return [...kept, ...routine.slice(0, events - kept.length)].sort((a, b) => b.id - a.id);
}
