/**
 * What one gateway does because of the other gateways of its site: it keeps the copy at the newest
 * position, gives the doors their leases, and tells them which KX sessions the others have. A
 * gateway without a shared log has `ALONE` (`leases.ts`) and `nobody` in place of it.
 */
import { hostname } from "node:os";
import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import type { Clock } from "../clock.js";
import type { Config } from "../config/config.js";
import type { Diagnostics } from "../diagnostics.js";
import { Trouble } from "../errors.js";
import { assertCopy } from "../log/connection.js";
import type { UpdateLog } from "../log/update-log.js";
import { LogGuard } from "../log-guard.js";
import { ALONE, type Leases, SharedLeases } from "./leases.js";
import { SHARED_LIMITS } from "./limits.js";
import { EXPIRY } from "./messages.js";
import type { SharedState } from "./postgres-store.js";
import { PostgresStore } from "./postgres-store.js";

/** What a gateway knows of the others and of the database; for status and metrics. */
export interface ClusterState extends SharedState {
  /** Name of this gateway. */
  readonly node: string;
  /** What to do about `problem`, if there is something to do. */
  readonly remedy: string | undefined;
  /** Milliseconds since the last session ended; undefined while there is one. */
  readonly awayMs: number | undefined;
  /** Position of the copy of this gateway. */
  readonly position: number;
  /** Milliseconds since the copy was last seen at the newest position; 0 if it is there. */
  readonly behindMs: number;
  /** The leases that this gateway asks for, and those under which it works. */
  readonly wanted: readonly string[];
  readonly taken: readonly string[];
}

/** What the doors know of the other gateways. */
export interface Others {
  readonly leases: Leases;
  /** Undefined for a gateway that is alone. */
  state(): ClusterState | undefined;
  /** Brings the copy to the newest position, as far as the database answers. Does not throw. */
  refresh(): void;
  /** A KX session of this gateway with a peer began, or the last one ended. */
  session(peer: string, isUp: boolean): void;
  /**
   * Calls `listener` when the first session of any gateway with a peer began and when the last one
   * ended, and at once for those of other gateways. Returns the function that unsubscribes.
   */
  onSession(listener: (peer: string, isUp: boolean) => void): () => void;
}

/** For a gateway that is alone. */
export function nobody(): Others {
  const listeners = new Set<(peer: string, isUp: boolean) => void>();
  return {
    leases: ALONE,
    state: () => undefined,
    refresh: () => {},
    session: (peer, isUp) => {
      for (const listener of listeners) listener(peer, isUp);
    },
    onSession: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/**
 * Opens the database of a configuration whose log is shared; undefined for a log of one gateway. A
 * database that does not answer is waited for in the background. Throws `Trouble` if it or the
 * file of the copy cannot be used; nothing was changed then.
 */
export async function openStore(
  { log, site }: Pick<Config, "log" | "site">,
  clock: Clock,
  version: string,
): Promise<PostgresStore | undefined> {
  if (log.shared === undefined) return undefined;
  // A database that this gateway has read from is not empty, unless it was lost.
  const mayCreate = assertCopy(log.path)?.base === undefined;
  const settings = { database: log.shared, site: site.address, node: nodeName(log), version };
  const store = await PostgresStore.open({ ...settings, mayCreate }, clock, { mayBeAway: true });
  if (await ownsName(store, clock)) return store;
  const holder = store.state().nodes.find(({ name }) => name === settings.node)?.address;
  await store.close();
  const from = typeof holder === "string" ? `, from ${holder}` : "";
  const message = `log.node: a gateway with the name ${settings.node} uses the database${from}`;
  const remedy = "Give each gateway of the site a log.node of its own. Or stop the other one.";
  throw new Trouble("not-ours", message, remedy);
}

/**
 * Waits until the session of `store` has the name of this gateway, as long as a former session of
 * it may live. Returns false if another one keeps it. Without a session the name is asked for when
 * there is one.
 */
export async function ownsName(
  store: Pick<PostgresStore, "hasName" | "state">,
  clock: Pick<Clock, "monotonic">,
): Promise<boolean> {
  const until = clock.monotonic() + SHARED_LIMITS.nameMs;
  while (!store.hasName && store.state().session !== undefined) {
    if (clock.monotonic() > until) return false;
    await sleep(50);
  }
  return true;
}

/**
 * The name of a gateway in its site: the configured one, or that of its host with the log, since a
 * host may have two.
 */
export function nodeName({ node, path }: Pick<Config["log"], "node" | "path">): string {
  return node ?? `${hostname()}:${path}`;
}

/**
 * Loads what the copy lacks. Without an answer of the database a complete copy is used as it is.
 * Throws `Trouble` when the copy is not complete, or is one of another site.
 */
export async function load(log: ClusterLog, diagnostics: Diagnostics): Promise<void> {
  const isNew = log.copy?.isComplete === false;
  try {
    while (!log.catchUp()) await setImmediate();
  } catch (error) {
    const isAway = error instanceof Trouble && error.kind === "away";
    if (!isAway || log.copy?.isComplete !== true) throw error;
  }
  if (isNew) diagnostics.report("copy-loaded", { position: log.copy?.position ?? 0 });
}

const LIMITS = {
  /** After so long the greeting of a KX peer no longer waits for the copy. */
  refreshMs: 2000,
  /** When the sessions of another gateway no longer count. */
  silentMs: 10_000,
} as const;

/** What the cluster uses of the log. */
export type ClusterLog = Pick<UpdateLog, "catchUp" | "copy">;

export interface ClusterComponents {
  readonly store: PostgresStore;
  readonly log: ClusterLog;
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
  /** Name of this gateway in the site. */
  readonly node: string;
}

export class Cluster implements Others {
  readonly leases: SharedLeases;
  readonly #store: PostgresStore;
  readonly #log: ClusterLog;
  readonly #clock: Clock;
  readonly #diagnostics: Diagnostics;
  readonly #guard: LogGuard;
  readonly #node: string;
  readonly #own = new Set<string>();
  /** Peers with which some gateway has a session. */
  #all = new Set<string>();
  readonly #listeners = new Set<(peer: string, isUp: boolean) => void>();
  #isFollowing = false;
  #awaySince: number | undefined;
  /** The remedy of the last refusal. */
  #remedy: string | undefined;
  /** When the copy was last seen at the newest position, and when the last beat came. */
  #newestAt: number;
  #beatAt: number;
  #isStopped = false;

  constructor({ store, log, clock, diagnostics, node }: ClusterComponents) {
    this.#store = store;
    this.#log = log;
    this.#clock = clock;
    this.#diagnostics = diagnostics;
    this.#node = node;
    this.#newestAt = clock.monotonic();
    this.#beatAt = clock.monotonic();
    this.#guard = new LogGuard("cluster", clock, diagnostics);
    const catchUp = () => log.catchUp();
    const tell = (trouble: Trouble) => this.#guard.tell(trouble);
    this.leases = new SharedLeases(store, catchUp, tell, diagnostics);
    if (store.state().session === undefined) this.#away(store.state().problem ?? "");
    store.listen({
      news: () => this.#follow(),
      connected: () => this.#back(),
      lost: (problem) => this.#away(problem),
      refused: ({ message: problem, remedy }) => {
        this.#remedy = remedy;
        diagnostics.report("database-refused", { problem, remedy });
      },
      beat: () => this.#beat(),
    });
    this.leases.ask(EXPIRY, { take: () => {}, lose: () => {} });
  }

  state(): ClusterState {
    const now = this.#clock.monotonic();
    const { nodes, ...shared } = this.#store.state();
    const sinceBeat = now - this.#beatAt;
    return {
      ...shared,
      nodes: nodes.map((one) => ({ ...one, silentMs: one.silentMs + sinceBeat })),
      node: this.#node,
      position: this.#log.copy?.position ?? 0,
      remedy: shared.session === undefined ? this.#remedy : undefined,
      awayMs: this.#awaySince === undefined ? undefined : now - this.#awaySince,
      behindMs: this.#isNewest() ? 0 : now - this.#newestAt,
      wanted: this.leases.wanted,
      taken: this.leases.taken,
    };
  }

  refresh(): void {
    const until = this.#clock.monotonic() + LIMITS.refreshMs;
    this.#guard.run(() => {
      while (this.#store.state().session !== undefined && !this.#log.catchUp()) {
        if (this.#clock.monotonic() > until) return;
      }
    });
  }

  session(peer: string, isUp: boolean): void {
    if (isUp) this.#own.add(peer);
    else this.#own.delete(peer);
    this.#show();
    this.#compare();
  }

  onSession(listener: (peer: string, isUp: boolean) => void): () => void {
    this.#listeners.add(listener);
    for (const peer of this.#all) listener(peer, true);
    return () => this.#listeners.delete(listener);
  }

  /** Gives back the leases and ends the session. The doors are closed by then. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#store.close();
  }

  #isNewest(): boolean {
    return (this.#log.copy?.position ?? 0) >= this.#store.state().newest;
  }

  /** One piece in a turn of the event loop, so that a long way does not block the doors. */
  #follow(): void {
    if (this.#isFollowing) return;
    this.#isFollowing = true;
    void setImmediate().then(() => {
      this.#isFollowing = false;
      if (this.#isStopped || this.#store.state().session === undefined) return;
      const isNewest = this.#guard.run(() => this.#log.catchUp());
      if (isNewest === false) this.#follow();
      else if (isNewest) {
        this.#newestAt = this.#clock.monotonic();
        this.leases.begin();
      }
    });
  }

  #beat(): void {
    this.#beatAt = this.#clock.monotonic();
    // After a failure, and for leases whose holders could not begin.
    if (!this.#isNewest()) this.#follow();
    else {
      this.#newestAt = this.#beatAt;
      this.leases.begin();
    }
    this.#show();
    this.#compare();
  }

  #show(): void {
    const position = this.#log.copy?.position ?? 0;
    this.#store.show({ position, sessions: [...this.#own] });
  }

  #compare(): void {
    const { nodes } = this.#store.state();
    const others = nodes.filter(({ name, silentMs }) => {
      return name !== this.#node && silentMs < LIMITS.silentMs;
    });
    const now = new Set([...this.#own, ...others.flatMap(({ sessions }) => sessions)]);
    const before = this.#all;
    this.#all = now;
    const tell = (peer: string, isUp: boolean) => {
      for (const listener of this.#listeners) listener(peer, isUp);
    };
    for (const peer of now) if (!before.has(peer)) tell(peer, true);
    for (const peer of before) if (!now.has(peer)) tell(peer, false);
  }

  #away(problem: string): void {
    this.#remedy = undefined;
    if (this.#awaySince !== undefined) return;
    this.#awaySince = this.#clock.monotonic();
    this.#diagnostics.report("database-away", { problem });
  }

  #back(): void {
    const { session } = this.#store.state();
    const awayMs = Math.round(this.#clock.monotonic() - (this.#awaySince ?? NaN));
    if (this.#awaySince !== undefined) {
      this.#diagnostics.report("database-back", { database: session?.server ?? "", awayMs });
    }
    this.#awaySince = undefined;
    this.#follow();
  }
}
