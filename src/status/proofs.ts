/**
 * What each neighbour itself has shown to have, and what was handed over without such a proof. A
 * neighbour proves an update by announcing it, by reading it over KX (`peering/read-proof.ts`), by
 * sending it, or, for the local keyserver, by its answer. A relay that took a mail proves nothing
 * of the server behind it, and neither does a peer that was told of an update.
 *
 * Everything is in memory. `restoreProofs` reads the deliveries of the log at the start; what a
 * neighbour proved by mail before the start is not known again, so that its state is then "handed
 * over" and never better than it was proven. A KX peer without a lane is offered everything that
 * the log holds: `watch` takes what the peer has neither sent, fetched nor announced from the log.
 * Of a neighbour only the newest `PROOF_LIMITS.unproven` updates are kept.
 */
import { AgedMap } from "../aged-map.js";
import type { Config } from "../config/config.js";
import { goesByKx, goesByMail } from "../config/paths.js";
import type { Fields } from "../diagnostics.js";
import { eventsWith } from "../diagnostics.js";
import type { Entry, UpdateLog } from "../log/update-log.js";
import { isSameAddress } from "../mail-address.js";
import { Policy } from "../policy.js";
import type { Seq, UpdateHash } from "../update.js";
import type { Report } from "./event-counters.js";

export const PROOF_LIMITS = {
  /** Updates of one neighbour that wait for a proof, about 1 MB; the oldest are forgotten. */
  unproven: 10_000,
} as const;

/**
 * `origin`: it sent an update, or was found to have it. `announced`, `read`: over KX. `taken`,
 * `collected`, `exited`: the local keyserver's own answer, as in `Proof` of `delivery/relay.ts`.
 */
export type ProofKind = "origin" | "announced" | "read" | "taken" | "collected" | "exited";

/**
 * How an update left that is not proven. `relayed`: the relay took the mail. `spooled`: a file is
 * in the keyserver's spool. `offered`: announced over KX. `named`: not sent, since a mail of
 * another neighbour names it among those that have the update. `accepted`: an earlier release noted
 * no more than that it left.
 */
export type HandedKind = "relayed" | "spooled" | "offered" | "named" | "accepted";

export interface Handed {
  readonly what: HandedKind;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** What is known of one neighbour. */
export interface Standing {
  /** Its newest statement about an update of the log; undefined if there was none. */
  readonly proof: { readonly what: ProofKind; readonly at: number } | undefined;
  /** Updates that left and that it has not proven. */
  readonly unproven: number;
  /** The oldest and the newest of them. */
  readonly oldest: Handed | undefined;
  readonly newest: Handed | undefined;
}

export const NO_STANDING: Standing = {
  ...{ proof: undefined, unproven: 0, oldest: undefined, newest: undefined },
};

/** KX peers by name. */
export interface Peers {
  readonly all: readonly string[];
  /** Those of which no lane keeps what is not proven: each new update counts as offered to them. */
  readonly withoutLane: readonly string[];
}

/** The log, and which of its updates peers may fetch now. */
export interface Offers {
  readonly log: Pick<UpdateLog, "newest" | "range"> & {
    readonly sendings: Pick<UpdateLog["sendings"], "overKx">;
  };
  readonly isOffered: (entry: Entry) => boolean;
}

interface Neighbour {
  proof: { readonly what: ProofKind; readonly at: number } | undefined;
  /** By hash, oldest first. */
  readonly handed: AgedMap<string, Handed>;
  /** Hashes that it has shown to have, oldest first; as many as wait for a proof at most. */
  readonly shown: AgedMap<string>;
}

const CAME_IN = [
  ...eventsWith({ direction: "in", outcome: "accepted" }),
  ...eventsWith({ direction: "in", outcome: "duplicate" }),
];
const ACCEPTED = eventsWith({ direction: "in", outcome: "accepted" });
/** An update that left and came back is an exception, or is sent again. */
const CAME_BACK = ["undelivered", "bounce"];

export class Proofs {
  readonly #neighbours = new Map<string, Neighbour>();
  #peers: Peers = { all: [], withoutLane: [] };

  /**
   * The KX peers of the configuration in force. To one that is new, or that has no lane any more,
   * what the log offers counts as offered.
   */
  watch(peers: Peers, { log, isOffered }: Offers): void {
    const before = this.#peers.withoutLane;
    this.#peers = peers;
    const fresh = peers.withoutLane.filter((name) => !before.includes(name));
    if (fresh.length === 0) return;
    const newest = log.newest() as Seq;
    const from = Math.max(1, newest - PROOF_LIMITS.unproven + 1) as Seq;
    const offered = log.range(from, newest, PROOF_LIMITS.unproven).filter(isOffered);
    for (const name of fresh) {
      const has = new Set(log.sendings.overKx(from, name));
      const { shown } = this.#of(name);
      for (const { seq, hash, origin, receivedAt: at } of offered) {
        if (origin.neighbour === name || has.has(seq) || shown.has(hash)) continue;
        this.handed(name, hash, { what: "offered", at });
      }
    }
  }

  /** Whether anything was noted of a neighbour. */
  knows(name: string): boolean {
    return this.#neighbours.has(name);
  }

  /** What a report says of a neighbour; to be called for each. */
  note({ event, at, fields }: Report): void {
    const { hash, neighbour } = fields;
    if (typeof hash !== "string") return;
    if (ACCEPTED.includes(event)) {
      for (const peer of this.#peers.withoutLane) {
        if (peer !== neighbour) this.handed(peer, hash, { what: "offered", at });
      }
    }
    if (typeof neighbour !== "string") return;
    if (CAME_IN.includes(event)) {
      this.shown(neighbour, hash, fields.via === "kx" ? "announced" : "origin", at);
    } else if (event === "sent") this.#left(neighbour, hash, fields, at);
    else if (event === "suppressed") this.#passed(neighbour, hash, at);
    else if (CAME_BACK.includes(event)) this.#of(neighbour).handed.delete(hash);
  }

  /** The neighbour itself has shown that it has the update. */
  shown(name: string, hash: string, what: ProofKind, at: number): void {
    const neighbour = this.#of(name);
    neighbour.handed.delete(hash);
    neighbour.shown.set(hash, true);
    limit(neighbour.shown);
    if (at >= (neighbour.proof?.at ?? 0)) neighbour.proof = { what, at };
  }

  /** The update left, without a proof by the neighbour. */
  handed(name: string, hash: string, handed: Handed): void {
    const neighbour = this.#of(name);
    neighbour.handed.delete(hash);
    neighbour.handed.set(hash, handed);
    limit(neighbour.handed);
  }

  of(name: string): Standing {
    const neighbour = this.#neighbours.get(name);
    if (neighbour === undefined) return NO_STANDING;
    const { proof, handed } = neighbour;
    const [oldest] = handed.values();
    let newest: Handed | undefined;
    for (const one of handed.values()) newest = one;
    return { proof, unproven: handed.size, oldest, newest };
  }

  #left(name: string, hash: string, { how }: Fields, at: number): void {
    if (how === "taken" || how === "collected" || how === "exited") {
      return this.shown(name, hash, how, at);
    }
    const what = how === "relayed" || how === "spooled" ? how : "accepted";
    this.handed(name, hash, { what, at });
  }

  /** A lane left it out. The lane of a KX peer stops at what the peer has not announced. */
  #passed(name: string, hash: string, at: number): void {
    if (this.#peers.all.includes(name) || this.#of(name).shown.has(hash)) return;
    this.handed(name, hash, { what: "named", at });
  }

  #of(name: string): Neighbour {
    const known = this.#neighbours.get(name);
    if (known !== undefined) return known;
    // Names come from the configuration, so there are as many as neighbours.
    const neighbour = {
      ...{ proof: undefined, handed: new AgedMap<string, Handed>(), shown: new AgedMap<string>() },
    };
    this.#neighbours.set(name, neighbour);
    return neighbour;
  }
}

function limit(all: AgedMap<string, unknown>): void {
  if (all.size > PROOF_LIMITS.unproven && all.oldest !== undefined) all.delete(all.oldest);
}

/** The KX peers, and those of them that never get mail. In observe mode nothing is offered. */
export function peersOf({ mode, kx, outbound, neighbours }: Config): Peers {
  if (kx === undefined) return { all: [], withoutLane: [] };
  const peers = neighbours.filter(goesByKx);
  const all = peers.map(({ name }) => name);
  if (mode === "observe") return { all, withoutLane: [] };
  const unmailed = peers.filter((one) => outbound === undefined || !goesByMail(one));
  return { all, withoutLane: unmailed.map(({ name }) => name) };
}

/** What the log offers to KX peers: what has not expired and policy does not withhold. */
export function offersOf(
  { policy, log: { retainMs } }: Pick<Config, "policy" | "log">,
  {
    log,
    now,
  }: { readonly log: Offers["log"] & Pick<UpdateLog, "body" | "removals">; readonly now: number },
): Offers {
  const rules = new Policy(policy, log, { now: () => now });
  return {
    log,
    isOffered: (entry) => entry.receivedAt > now - retainMs && rules.withholds(entry) === undefined,
  };
}

/** What the proofs are restored from. */
export type ProofLog = Pick<UpdateLog, "entry" | "exceptions" | "lanes" | "newest" | "trails"> & {
  readonly range: UpdateLog["range"];
  readonly sendings: Pick<UpdateLog["sendings"], "latest" | "of">;
};

/**
 * Reads what was delivered before the start, and which of it a neighbour announced over KX; of all
 * neighbours or of one.
 */
export function restoreProofs(log: ProofLog, proofs: Proofs, only?: string): void {
  const from = Math.max(1, log.newest() - PROOF_LIMITS.unproven + 1);
  const rows = log.sendings
    .latest(from, PROOF_LIMITS.unproven)
    .filter(({ way, neighbour }) => way === "lane" && (only ?? neighbour) === neighbour);
  const hashes = new Map<Seq, UpdateHash | undefined>();
  for (const { seq, neighbour, at, how } of rows.toReversed()) {
    if (!hashes.has(seq)) hashes.set(seq, log.entry(seq)?.hash);
    const hash = hashes.get(seq);
    if (hash === undefined) continue;
    const fields = { hash, neighbour, how };
    proofs.note({ id: 0, at, event: "sent", level: "info", fields });
    const isAnnounced = log.sendings
      .of(seq)
      .some((one) => one.neighbour === neighbour && one.how === "announced");
    if (isAnnounced) proofs.shown(neighbour, hash, "announced", at);
  }
  for (const { site, address } of log.lanes.addressed()) {
    if (site !== (only ?? site)) continue;
    const last = rows.find(({ neighbour }) => neighbour === site)?.seq;
    restoreLost(log, proofs, { name: site, address, last });
  }
}

/** More than a kill can lose: the journal writes every ten seconds, or when it has so many. */
const LOST_ENTRIES = 1000;

/**
 * A kill loses the records of the last seconds, but the lane knows that it delivered: what it
 * passed after the last record, and what came before its last success, left as well. Without any
 * record it is not known where the lane began, so that one update stands for all of them.
 */
function restoreLost(
  log: ProofLog,
  proofs: Proofs,
  { name, address, last = 0 }: { name: string; address: string; last: number | undefined },
): void {
  const lane = log.lanes.get(name);
  if (lane === undefined || lane.lastSuccessAt === 0) return;
  const { cursor, lastSuccessAt: at } = lane;
  const from = Math.max(last + 1, cursor - LOST_ENTRIES + 1, 1) as Seq;
  const lost = log
    .range(from, cursor as Seq, LOST_ENTRIES)
    .filter(({ seq, origin, receivedAt }) => {
      if (receivedAt > at || origin.neighbour === name) return false;
      const has = log.trails.get(seq).some((one) => isSameAddress(one, address));
      return !has && log.exceptions.get(name, seq) === undefined;
    });
  for (const { hash } of last === 0 ? lost.slice(-1) : lost) {
    proofs.handed(name, hash, { what: "accepted", at });
  }
}
