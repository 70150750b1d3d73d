/**
 * The shared store over PostgreSQL (`log/shared-port.ts`), with the leases of this gateway. Calls
 * block; events come between two turns of the event loop. When the session is lost, the listeners
 * are told before anything can be committed through the next session: so they stop what they had
 * leases for, and nothing that they still do reaches the database.
 */
import { readFileSync } from "node:fs";
import type { Clock } from "../clock.js";
import type { SharedDatabase } from "../config/config.js";
import { Trouble } from "../errors.js";
import type { Commit, RowKey, SharedChanges, SharedRow, SharedStore } from "../log/shared-port.js";
import type { LogName } from "../update.js";
import { Channel } from "./channel.js";
import { awayTrouble } from "./database-trouble.js";
import { SHARED_LIMITS } from "./limits.js";
import {
  EXPIRY,
  type NodeNote,
  type NodeRow,
  type Request,
  type SessionFacts,
  type SharedEvent,
  type ToldTrouble,
} from "./messages.js";

export interface PostgresSettings {
  readonly database: SharedDatabase;
  /** Address of the site. */
  readonly site: string;
  /** Name of this gateway, unique in the site and the same after a restart. */
  readonly node: string;
  readonly version: string;
  /** Whether the tables are created in an empty database; true by default. */
  readonly mayCreate?: boolean;
  /** Whether the name is claimed and the gateway shown to the others; true by default. */
  readonly isNode?: boolean;
  /** The program of the thread; tests run that of the build. */
  readonly worker?: URL;
}

/** Listeners must not throw. */
export interface StoreListener {
  /** Another gateway committed. */
  news?(): void;
  /** There is a session, the first or another one. */
  connected?(session: SessionFacts): void;
  /** The session ended, and this gateway has no lease any more. */
  lost?(problem: string): void;
  /** The database answers and cannot be used. */
  refused?(trouble: ToldTrouble): void;
  granted?(lease: string): void;
  /** Once a second while there is a session: the state of the gateways is new. */
  beat?(): void;
}

/** The state of the database, as this gateway sees it. */
export interface SharedState {
  /** Undefined while the database is away. */
  readonly session: SessionFacts | undefined;
  /** Why there is no session. */
  readonly problem: string | undefined;
  /** Newest position that was seen. */
  readonly newest: number;
  /** All gateways of the site, as of the last second with a session. */
  readonly nodes: readonly NodeRow[];
}

export class PostgresStore implements SharedStore {
  readonly #channel: Channel;
  readonly #listeners = new Set<StoreListener>();
  #session: SessionFacts | undefined;
  /** The last session, if it was lost and that has been told. */
  #lostGeneration = 0;
  /** Leases of this session. */
  readonly #held = new Set<string>();
  #problem: string | undefined;
  #newest = 0;
  #nodes: readonly NodeRow[] = [];
  #hasName = false;

  private constructor(settings: PostgresSettings, clock: Pick<Clock, "monotonic">) {
    const { database, site, node, version, mayCreate = true, isNode = true, worker } = settings;
    const { tls } = database;
    const own = { ...database, tls: tls && { ca: tls.ca && readFileSync(tls.ca, "utf8") } };
    const program = worker ?? new URL("./worker.js", import.meta.url);
    this.#channel = new Channel(
      program,
      { database: own, site, node, version, mayCreate, isNode },
      clock,
      (event) => this.#obey(event),
    );
  }

  /**
   * Opens the database and waits for a session. Throws `Trouble`: 'away' if no host answers; every
   * other kind says what is wrong with the database, and nothing was changed there. With
   * `mayBeAway` a database that does not answer is waited for in the background.
   */
  static async open(
    settings: PostgresSettings,
    clock: Pick<Clock, "monotonic">,
    { mayBeAway = false } = {},
  ): Promise<PostgresStore> {
    const store = new PostgresStore(settings, clock);
    try {
      const found = store.#channel.call({ type: "open" }, 0, SHARED_LIMITS.openMs);
      store.#connected(found as SessionFacts);
      return store;
    } catch (error) {
      if (mayBeAway && error instanceof Trouble && error.kind === "away") {
        store.#problem = error.message;
        return store;
      }
      await store.close();
      throw error;
    }
  }

  state(): SharedState {
    return {
      session: this.#session,
      problem: this.#problem,
      newest: this.#newest,
      nodes: this.#nodes,
    };
  }

  /** Whether the session has the name of this gateway for itself; known from the first beat on. */
  get hasName(): boolean {
    return this.#hasName;
  }

  listen(listener: StoreListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  commit(after: Commit, rows: readonly SharedRow[]): Commit | "behind" {
    const own = rows.map((row) => (row.body ? { ...row, body: new Uint8Array(row.body) } : row));
    const result = this.#call({ type: "commit", after, rows: own }) as Commit | "behind";
    if (result !== "behind") this.#newest = Math.max(this.#newest, result.position);
    return result;
  }

  changes(position: number, limit: number, base?: Commit): SharedChanges {
    const found = this.#call({ type: "changes", position, limit, base }) as SharedChanges;
    this.#newest = Math.max(this.#newest, found.newest.position);
    return found;
  }

  name(): LogName | undefined {
    return this.#call({ type: "name" }) as LogName | undefined;
  }

  get expires(): boolean {
    return this.#held.has(EXPIRY);
  }

  discard(position: number, rows: readonly RowKey[]): void {
    if (this.expires) this.#call({ type: "discard", position, rows });
  }

  /** The leases that this gateway wants. `granted` is told of those that it gets. */
  want(leases: readonly string[]): void {
    for (const lease of this.#held) if (!leases.includes(lease)) this.#held.delete(lease);
    this.#channel.note({ type: "want", leases });
  }

  /** What the other gateways see of this one, from the next second on. */
  show(node: NodeNote): void {
    this.#channel.note({ type: "node", node });
  }

  /** Gives back the leases and ends the session. */
  async close(): Promise<void> {
    this.#listeners.clear();
    this.#session = undefined;
    this.#problem = "the gateway stops";
    await this.#channel.close(SHARED_LIMITS.answerMs);
  }

  #call(request: Request): unknown {
    if (this.#session === undefined) throw awayTrouble(this.#problem ?? "the session was lost");
    return this.#channel.call(request, this.#session.generation, SHARED_LIMITS.answerMs);
  }

  #obey(event: SharedEvent): void {
    switch (event.type) {
      case "connected":
        return this.#connected(event.session);
      case "lost":
        return this.#lost(event.generation, event.problem);
      case "refused":
        this.#problem = event.trouble.message;
        return this.#tell((one) => one.refused?.(event.trouble));
      case "granted":
        // A lease of an earlier session is void.
        if (event.generation !== this.#session?.generation) return;
        this.#held.add(event.lease);
        return this.#tell((one) => one.granted?.(event.lease));
      case "beat":
        this.#nodes = event.nodes;
        this.#hasName = event.hasName;
        this.#heard(event.newest);
        return this.#tell((one) => one.beat?.());
      case "news":
        return this.#heard(event.newest);
      case "bug":
        throw new Error(`the database thread failed: ${event.message}`);
      default:
        event satisfies never;
    }
  }

  #connected(session: SessionFacts): void {
    // The opening and the event tell of the same session.
    const isKnown = this.#session?.generation === session.generation;
    if (isKnown || session.generation <= this.#lostGeneration) return;
    this.#session = session;
    this.#problem = undefined;
    this.#tell((one) => one.connected?.(session));
    this.#heard(session.newest);
  }

  #lost(generation: number, problem: string): void {
    this.#lostGeneration = generation;
    this.#session = undefined;
    this.#hasName = false;
    this.#held.clear();
    this.#problem = problem;
    this.#tell((one) => one.lost?.(problem));
  }

  #heard(newest: number): void {
    if (newest <= this.#newest) return;
    this.#newest = newest;
    this.#tell((one) => one.news?.());
  }

  #tell(call: (listener: StoreListener) => void): void {
    for (const listener of [...this.#listeners]) call(listener);
  }
}
