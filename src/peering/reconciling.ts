/**
 * Reconciliation with KX peers (feature "reconcile"): runs of `kx/reconcile.ts` over the key index,
 * by order or by schedule, the answers to those of peers, and what follows from differences. It has
 * no connections: sessions report to it, and `orders` returns what is to be sent. `now` is
 * milliseconds of a monotonic clock; dates that are stored come from the `Clock`.
 *
 *  1. A run has one question open. It outlives its connection for a while (`awayMs`); it ends when
 *     an answer does not come (`answerMs`). A peer without an index, or one that breaks the
 *     protocol, ends it as well. Each peer has one run at most.
 *  2. Keys that differ go into the repair queue, which fetches them from the peer's own keyserver:
 *     at the side that asks when its run finds them, at the other side when it is told of them.
 *  3. The key is remembered with the digest that it has at the peer, and is not fetched again until
 *     that digest changes: the policies of both sides may differ, and then the difference stays.
 *     If it could not be fetched, that is forgotten (`RepairDoor`), and the next run fetches it.
 *  4. What a peer says is not checked here: it uses the peer's share of the repair queue. Of
 *     the keys that it tells of, at most `told` a day are fetched, from its own keyserver.
 *  5. Answers cost up to a third of a millisecond for each range, with six million keys, and so
 *     does each key that a peer tells of. Each peer has a rate for both.
 */
import type { Clock } from "../clock.js";
import type { Diagnostics } from "../diagnostics.js";
import { Trouble } from "../errors.js";
import type { KeyState } from "../kx/range-sum.js";
import {
  answerRanges,
  BadAnswer,
  type Items,
  type KeyRange,
  RECONCILE_LIMITS,
  Reconciler,
} from "../kx/reconcile.js";
import type { KeyIndex } from "../log/key-index.js";
import type { KeyIndexFile } from "../log/key-index-file.js";
import type { UpdateLog } from "../log/update-log.js";
import type { LogGuard } from "../log-guard.js";
import type { Rules } from "../policy.js";
import { TokenBucket } from "../rate.js";
import type { PeerOrder } from "./connection.js";
import type { ReconcileReport } from "./reconcile-report.js";

const DAY_MS = 24 * 60 * 60_000;

export const RECONCILING_LIMITS = {
  /** An honest peer answers within a second, or after other answers if it catches up. */
  answerMs: 120_000,
  /** How long a run waits for a new connection of the peer. */
  awayMs: 10 * 60_000,
  /** How often a scheduled run is made. */
  everyMs: DAY_MS,
  /** A scheduled run begins so long after a connection, when what was missed has been fetched. */
  settleMs: 60_000,
  /** Keys that are fetched in a day because a peer told of them. */
  told: { count: 5000, periodMs: DAY_MS },
  /** Keys that a peer tells of and that are looked up: two runs at once, and one more an hour. */
  heard: { count: 10_000, periodMs: 2 * 60 * 60_000 },
  /** Ranges that are answered: forty questions at once, and four a second. */
  answers: { count: 40 * RECONCILE_LIMITS.ranges, periodMs: 10_000 },
} as const;

export interface ReconcilingComponents {
  readonly log: Pick<UpdateLog, "repairs">;
  readonly index: KeyIndexFile;
  readonly guard: LogGuard;
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
  readonly rules: Pick<Rules, "declines">;
}

/** What is configured of a peer. */
export interface ReconcilePeer {
  /** Whether its keyserver is known, so that keys can be fetched from it. */
  readonly canFetch: boolean;
  readonly isDaily: boolean;
}

interface Run {
  readonly reconciler: Reconciler;
  readonly isDryRun: boolean;
  startedAt: number;
  /** When it ends unless something happens, on the monotonic clock. */
  endsAt: number;
  /** Keys that the peer is to be told of. */
  readonly telling: KeyState[];
  queued: number;
  fetching: number;
  staying: number;
  postponed: number;
  told: number;
}

interface Peer extends ReconcilePeer {
  readonly name: string;
  /** Whether a connection is in use that has the feature. */
  isUsable: boolean;
  run: Run | undefined;
  /** A run that ended by its budget; the next one goes on with it. */
  rest: Reconciler | undefined;
  last: ReconcileReport | undefined;
  /** When the next scheduled run is due, on the monotonic clock. */
  dueAt: number;
  readonly told: TokenBucket;
  readonly heard: TokenBucket;
  readonly answers: TokenBucket;
}

export class Reconciling {
  readonly #components: ReconcilingComponents;
  readonly #peers = new Map<string, Peer>();

  constructor(components: ReconcilingComponents, peers: ReadonlyMap<string, ReconcilePeer>) {
    this.#components = components;
    const { told, heard, answers } = RECONCILING_LIMITS;
    for (const [name, settings] of peers) {
      this.#peers.set(name, {
        ...settings,
        name,
        isUsable: false,
        run: undefined,
        rest: undefined,
        last: this.#stored(name),
        dueAt: Infinity,
        told: new TokenBucket(told, -Infinity),
        heard: new TokenBucket(heard, -Infinity),
        answers: new TokenBucket(answers, -Infinity),
      });
    }
  }

  /** Starts a run; returns why not, or undefined. */
  start(name: string, isDryRun: boolean, now: number): string | undefined {
    const peer = this.#peers.get(name);
    if (peer === undefined) return `${name} is not a KX peer.`;
    const fault = this.#faultOf(peer, isDryRun);
    if (fault !== undefined) return fault;
    const { index, clock, guard } = this.#components;
    let reconciler = isDryRun ? undefined : peer.rest;
    if (!isDryRun) peer.rest = undefined;
    reconciler?.renew();
    reconciler ??= guard.run(() => new Reconciler(index, !isDryRun));
    if (reconciler === undefined) return "The key index cannot be read.";
    const endsAt = now + RECONCILING_LIMITS.answerMs;
    const counts = { queued: 0, fetching: 0, staying: 0, postponed: 0, told: 0 };
    const startedAt = clock.now();
    peer.run = { reconciler, isDryRun, startedAt, endsAt, telling: [], ...counts };
    peer.dueAt = peer.isDaily ? now + RECONCILING_LIMITS.everyMs : Infinity;
    return undefined;
  }

  #faultOf(peer: Peer, isDryRun: boolean): string | undefined {
    const { name, run, isUsable, canFetch } = peer;
    if (run !== undefined) return `${name} is being compared already.`;
    if (!isUsable) {
      return `${name} is not connected by KX/1.1, or its gateway does not reconcile.`;
    }
    const index = this.#index();
    if (index instanceof Trouble) return `${index.message}. ${index.remedy}`;
    if (index === undefined) return 'There is no key index. Make it with "kxgw index build".';
    if (canFetch || isDryRun) return undefined;
    const remedy = 'Set repair = "hkp://..." in its [[peer]], or compare only, with --dry-run.';
    return `It is not known where keys of ${name} can be fetched. ${remedy}`;
  }

  /** A connection of the peer is in use, with or without the feature. */
  connected(name: string, isUsable: boolean, now: number): void {
    const peer = this.#peers.get(name);
    if (peer === undefined) return;
    // An answer on the former connection may be lost.
    peer.run?.reconciler.failed();
    peer.isUsable = isUsable;
    if (peer.run !== undefined) peer.run.endsAt = now + RECONCILING_LIMITS.answerMs;
    if (!isUsable) this.#end(peer, "its gateway no longer reconciles");
    else if (peer.isDaily && peer.canFetch) {
      const { everyMs, settleMs } = RECONCILING_LIMITS;
      const passed = this.#components.clock.now() - (peer.last?.startedAt ?? -Infinity);
      peer.dueAt = now + Math.max(settleMs, everyMs - Math.max(0, passed));
    }
  }

  disconnected(name: string, now: number): void {
    const peer = this.#peers.get(name);
    if (peer === undefined) return;
    peer.isUsable = false;
    peer.dueAt = Infinity;
    if (peer.run === undefined) return;
    peer.run.reconciler.failed();
    peer.run.endsAt = now + RECONCILING_LIMITS.awayMs;
  }

  /** Takes the answer to our question. Returns the fault of the peer, if there is one. */
  answered(name: string, items: Items, now: number): string | undefined {
    const peer = this.#peers.get(name);
    const run = peer?.run;
    if (peer === undefined || run === undefined) return undefined;
    run.endsAt = now + RECONCILING_LIMITS.answerMs;
    try {
      const { wanted, told } = run.reconciler.answered(items);
      if (!run.isDryRun) {
        const { queued, fetching, staying, postponed } = this.#fetch(peer, wanted, wanted.length);
        run.reconciler.wants(queued);
        run.queued += queued;
        run.fetching += fetching;
        run.staying += staying;
        run.postponed += postponed;
      }
      run.telling.push(...told);
    } catch (error) {
      if (error instanceof BadAnswer) {
        this.#end(peer, `its answer is wrong: ${error.message}`);
        return `ITEMS with ${error.message}`;
      }
      this.#components.guard.tell(error);
      this.#end(peer, "the log or the key index failed");
    }
    return undefined;
  }

  /** The peer does not answer our question. */
  refused(name: string, problem: string): void {
    const peer = this.#peers.get(name);
    if (peer !== undefined) this.#end(peer, problem);
  }

  /**
   * The peer says that it has these keys and that we do not, or have others. What is above a limit
   * is ignored; the next run of the peer tells of it again.
   */
  told(name: string, keys: readonly KeyState[], now: number): void {
    const peer = this.#peers.get(name);
    if (peer === undefined || !peer.canFetch) return;
    if (peer.heard.left(now) < keys.length || peer.told.left(now) < 1) return;
    peer.heard.take(now, keys.length);
    const { guard, index } = this.#components;
    guard.run(() => {
      if (index.refresh() === undefined) return;
      const news = keys.filter(({ fingerprint, digest }) => index.digestOf(fingerprint) !== digest);
      const { queued } = this.#fetch(peer, news, Math.floor(peer.told.left(now)));
      peer.told.take(now, queued);
    });
  }

  /** Rule 5: how long the answer to a question of the peer has to wait, in milliseconds. */
  waitMs(name: string, now: number): number {
    return this.#peers.get(name)?.answers.waitMs(now) ?? 0;
  }

  /** The answer to a question of the peer; undefined if there is no index here. */
  answer(name: string, asked: readonly KeyRange[], now: number): Items | undefined {
    this.#peers.get(name)?.answers.take(now, asked.length);
    const { guard, index } = this.#components;
    return guard.run(() => (index.refresh() ? answerRanges(index, asked) : undefined));
  }

  /** What is to be sent now. */
  orders(now: number): PeerOrder[] {
    const orders: PeerOrder[] = [];
    for (const peer of this.#peers.values()) {
      if (now >= peer.dueAt) this.#startScheduled(peer, now);
      if (peer.run !== undefined) this.#advance(peer, peer.run, orders, now);
    }
    return orders;
  }

  #startScheduled(peer: Peer, now: number): void {
    peer.dueAt = now + RECONCILING_LIMITS.everyMs;
    const fault = peer.run === undefined ? this.start(peer.name, false, now) : undefined;
    if (fault === undefined) return;
    const failed = { ...NONE, problem: fault, startedAt: this.#components.clock.now() };
    this.#tell(peer, { ...failed, endedAt: failed.startedAt });
  }

  #advance(peer: Peer, run: Run, orders: PeerOrder[], now: number): void {
    if (now >= run.endsAt) {
      return this.#end(peer, peer.isUsable ? "it does not answer" : "it is not connected");
    }
    if (!peer.isUsable) return;
    const { guard, index } = this.#components;
    const asked = guard.run(() => {
      index.refresh();
      return { ranges: run.reconciler.next() };
    });
    if (asked === undefined) return this.#end(peer, "the key index cannot be read");
    if (asked.ranges !== undefined) {
      orders.push({ type: "compare", peer: peer.name, ranges: asked.ranges });
      run.endsAt = now + RECONCILING_LIMITS.answerMs;
    }
    while (run.telling.length > 0) {
      const keys = run.telling.splice(0, RECONCILE_LIMITS.told);
      run.told += keys.length;
      orders.push({ type: "tell", peer: peer.name, keys });
    }
    const { isDone, isOverBudget, isAsking } = run.reconciler;
    if (isDone || (isOverBudget && !isAsking)) this.#end(peer, undefined);
  }

  /** When `orders` is due; Infinity for never. */
  nextAt(): number {
    let next = Infinity;
    for (const { run, dueAt } of this.#peers.values()) {
      next = Math.min(next, dueAt, run?.endsAt ?? Infinity);
    }
    return next;
  }

  /** The run of a peer, or its last one; undefined if there was none. */
  report(name: string): ReconcileReport | undefined {
    const peer = this.#peers.get(name);
    return peer?.run === undefined ? peer?.last : this.#reportOf(peer.run, "running", undefined);
  }

  /** Rules 2 and 3; at most `most` keys are fetched. */
  #fetch(peer: Peer, keys: readonly KeyState[], most: number) {
    const { log, index, clock, rules } = this.#components;
    const at = clock.now();
    const open = index.refresh();
    const fresh: KeyState[] = [];
    let fetching = 0;
    for (const key of keys) {
      if (rules.declines(key.fingerprint) !== undefined) continue;
      if (open?.wasAsked(peer.name, key) !== true) fresh.push(key);
      // A key of an earlier run that is in the queue is not known to stay different.
      else if (log.repairs.get(key.fingerprint) !== undefined) fetching += 1;
    }
    const tried = fresh.slice(0, most);
    const neighbours = [peer.name];
    const taken = log.repairs.wantAll(
      tried.map(({ fingerprint }) => ({ fingerprint, why: "reconcile", neighbours, at })),
    );
    const queued = tried.filter((_, n) => taken[n] === true);
    open?.asked(peer.name, queued, at);
    return {
      queued: queued.length,
      fetching,
      staying: keys.length - fresh.length - fetching,
      postponed: fresh.length - queued.length,
    };
  }

  #end(peer: Peer, problem: string | undefined): void {
    const { run } = peer;
    if (run === undefined) return;
    const isOver = problem === undefined && !run.reconciler.isDone;
    const state = problem !== undefined ? "failed" : isOver ? "budget" : "done";
    const report = this.#reportOf(run, state, problem);
    peer.run = undefined;
    if (isOver && !run.isDryRun) peer.rest = run.reconciler;
    this.#tell(peer, report);
  }

  #tell(peer: Peer, report: ReconcileReport): void {
    const { diagnostics, guard, index } = this.#components;
    peer.last = report;
    const { isDryRun, here, there, common, queued, fetching, staying, told, problem } = report;
    const counts = { here, there, common, queued, fetching, staying, told };
    const fields = { neighbour: peer.name, isDryRun, ...counts };
    if (problem === undefined) diagnostics.report("reconciled", fields);
    else diagnostics.report("reconcile-failed", { neighbour: peer.name, problem });
    // Only a run that fetched counts for the schedule of the next process.
    if (isDryRun || problem !== undefined) return;
    guard.run(() => index.refresh()?.setRun(peer.name, JSON.stringify(report)));
  }

  #reportOf(run: Run, state: ReconcileReport["state"], problem: string | undefined) {
    const { isDryRun, startedAt, queued, fetching, staying, postponed, told } = run;
    const counts = run.reconciler.counts;
    const { here, onlyHere, differing } = counts;
    // Until all is compared, what was not compared counts as common.
    const common = Math.max(0, here - onlyHere - differing);
    const endedAt = state === "running" ? undefined : this.#components.clock.now();
    const times = { startedAt, endedAt };
    return {
      state,
      problem,
      isDryRun,
      ...times,
      ...counts,
      common,
      queued,
      fetching,
      staying,
      postponed,
      told,
    };
  }

  #stored(name: string): ReconcileReport | undefined {
    const { guard, index } = this.#components;
    const text = guard.run(() => index.refresh()?.run(name));
    return text === undefined ? undefined : (JSON.parse(text) as ReconcileReport);
  }

  #index(): KeyIndex | Trouble | undefined {
    try {
      return this.#components.index.refresh();
    } catch (error) {
      if (error instanceof Trouble) return error;
      throw error;
    }
  }
}

/** A run that did not begin. */
const NONE = {
  state: "failed",
  isDryRun: false,
  here: 0,
  there: 0,
  common: 0,
  onlyHere: 0,
  onlyThere: 0,
  differing: 0,
  questions: 0,
  queued: 0,
  fetching: 0,
  staying: 0,
  postponed: 0,
  told: 0,
} as const;
