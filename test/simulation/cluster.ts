/**
 * A site of several gateways: the database that they share, in memory, and the session of each. It
 * stands for `src/cluster/postgres-store.ts` and the server, with the times of `SHARED_LIMITS`. A
 * node that is cut off notices it in a call or in a beat, and the server ends its session later
 * and gives its leases to others. The leases are the real ones (`src/cluster/leases.ts`).
 *
 * What must hold of the whole site is checked here: a number is given once, the row of a lane is
 * stored by the holder of its lease, a takeover repeats at most one part, and what was acknowledged
 * is in the database.
 */
import { type LeaseStore, SharedLeases } from "../../src/cluster/leases.js";
import { SHARED_LIMITS } from "../../src/cluster/limits.js";
import type { StoreListener } from "../../src/cluster/postgres-store.js";
import type { Diagnostics } from "../../src/diagnostics.js";
import { Trouble } from "../../src/errors.js";
import type {
  Commit,
  RowKey,
  SharedChanges,
  SharedRow,
  SharedStore,
} from "../../src/log/shared-port.js";
import type { UpdateLog } from "../../src/log/update-log.js";
import type { LogName, Seq } from "../../src/update.js";
import { type MemorySession, MemoryShared } from "../support/memory-shared.js";
import type { Dice } from "./dice.js";
import { Violation } from "./ledger.js";
import type { EventQueue } from "./queue.js";
import { Crash } from "./store.js";
import type { Trace } from "./trace.js";

const { answerMs, beatMs, silentMs } = SHARED_LIMITS;
const EXPIRY = "expiry";
/** Until another node hears of a commit. */
const NEWS_MS = [1, 100] as const;
const CONNECT_MS = [100, 2000] as const;

/** A place in a lane: an update, and how many of its parts are sent with this one. */
export interface Place {
  readonly seq: number;
  readonly part: number;
}

/** The parts of a lane that its site has taken, over all nodes. */
interface Delivered {
  last: Place | undefined;
  /** How often a node has taken the lane over, and how many parts were delivered again. */
  takes: number;
  repeats: number;
}

/** A session at the server, which may outlive what its node knows of it. */
interface Session {
  readonly link: NodeLink;
  readonly store: MemorySession;
  isOver: boolean;
}

export class SimSite {
  readonly database = new MemoryShared();
  readonly queue: EventQueue;
  readonly dice: Dice;
  readonly trace: Trace;
  /** The server is away. */
  isDown = false;
  /** What the operator was told by any of the nodes: see `Ledger`. */
  readonly givenUp = new Set<string>();
  readonly excused = new Set<string>();
  readonly expired = new Set<string>();
  readonly #name: string;
  readonly #holders = new Map<string, Session>();
  readonly #sessions = new Set<Session>();
  readonly #delivered = new Map<string, Delivered>();

  constructor(name: string, queue: EventQueue, dice: Dice, trace: Trace) {
    this.#name = name;
    this.queue = queue;
    this.dice = dice;
    this.trace = trace;
  }

  /** No session is left, and none comes about until `comeBack`. */
  goAway(): void {
    this.isDown = true;
    for (const session of [...this.#sessions]) this.end(session);
  }

  comeBack(): void {
    this.isDown = false;
  }

  connect(link: NodeLink): Session {
    const session = { link, store: this.database.session(), isOver: false };
    this.#sessions.add(session);
    return session;
  }

  /** The server ends a session, and others may have its leases. */
  end(session: Session): void {
    if (session.isOver) return;
    session.isOver = true;
    this.#sessions.delete(session);
    for (const [lease, holder] of this.#holders) if (holder === session) this.release(lease);
    session.link.missLater(session);
  }

  release(lease: string): void {
    this.#holders.delete(lease);
    for (const { link } of this.#sessions) link.tryLater();
  }

  /** Whether the session has the lease now. */
  tryLease(lease: string, session: Session): boolean {
    if (session.isOver || this.#holders.has(lease)) return false;
    this.#holders.set(lease, session);
    return true;
  }

  commit(session: Session, after: Commit, rows: readonly SharedRow[]): Commit | "behind" {
    // Any node notes where a new lane begins.
    const known = rows.filter(({ table, key }) => this.database.get(table, key) !== undefined);
    let answer: Commit | "behind";
    try {
      answer = session.store.commit(after, rows);
    } catch (error) {
      if (error instanceof Trouble) throw error;
      // What the database does not take: a number that is given already, an entry that is deleted.
      throw new Violation("no number is given twice", `${session.link.label}: ${error}`);
    }
    if (answer === "behind") return answer;
    for (const row of known) this.#check(session, row);
    for (const { link } of this.#sessions) if (link !== session.link) link.hear();
    return answer;
  }

  #check(session: Session, { table, key }: SharedRow): void {
    const [first] = JSON.parse(key) as unknown[];
    if (table === "lanes" && this.#holders.get(`lane:${first}`) !== session) {
      const text = `${session.link.label} stores the cursor of ${first} without its lease`;
      throw new Violation("only its holder stores a cursor", text);
    }
  }

  /** A node that answers 250 has its updates in the database. */
  acknowledged(label: string, seqs: readonly Seq[]): void {
    const lost = seqs.find((seq) => this.database.get("updates", `[${seq}]`)?.data === undefined);
    if (lost === undefined) return;
    throw new Violation("acknowledged is in the database", `${label} has acknowledged ${lost}`);
  }

  /** A node begins to run a lane. */
  takes(lane: string): void {
    this.#of(lane).takes += 1;
  }

  /**
   * The site of a lane has taken a part that the lane sent in its turn, and the node was told. The
   * lane is at its cursor in the database, or its holder has died since the last part.
   */
  taken(lane: string, place: Place): void {
    const delivered = this.#of(lane);
    const { last } = delivered;
    const isAgain =
      last !== undefined &&
      (place.seq < last.seq || (place.seq === last.seq && place.part <= last.part));
    if (!isAgain) {
      delivered.last = place;
      return;
    }
    delivered.repeats += 1;
    this.trace.sometimes("a takeover repeats a part");
    // The first one to take the lane has taken it over from nobody.
    if (delivered.repeats < delivered.takes) return;
    const { repeats, takes } = delivered;
    const text = `${this.#name} ${lane}: ${repeats} parts, ${takes - 1} takeovers`;
    throw new Violation("a takeover repeats at most one part", text);
  }

  #of(lane: string): Delivered {
    const known = this.#delivered.get(lane) ?? { last: undefined, takes: 0, repeats: 0 };
    this.#delivered.set(lane, known);
    return known;
  }
}

/** What a node does for its link. */
export interface NodeWays {
  readonly label: string;
  /** A step of the process that holds the link, if it still lives then. */
  step(work: (log: UpdateLog) => void): void;
  readonly diagnostics: Diagnostics;
}

/** What happens at the next commit of a node. */
export type CommitOrder = "answer lost" | "crash between commits";

/** The way of one process to the database, from its start to its end. */
export class NodeLink implements SharedStore, LeaseStore {
  readonly leases: SharedLeases;
  readonly #site: SimSite;
  readonly #ways: NodeWays;
  #session: Session | undefined;
  #listener: StoreListener | undefined;
  #wanted: readonly string[] = [];
  readonly #held = new Set<string>();
  #log: UpdateLog | undefined;
  /** The network between the node and the server is cut. */
  #isCut = false;
  #isPaused = false;
  #isEnded = false;
  #isFollowing = false;
  #isTrying = false;
  #order: CommitOrder | undefined;

  constructor(site: SimSite, ways: NodeWays) {
    this.#site = site;
    this.#ways = ways;
    if (!site.isDown) this.#session = site.connect(this);
    else this.#connectLater();
    const isNewest = () => this.isNewest();
    const tell = () => this.#followLater(beatMs);
    this.leases = new SharedLeases(this, isNewest, tell, ways.diagnostics);
    this.leases.ask(EXPIRY, { take: () => {}, lose: () => {} });
  }

  get label(): string {
    return this.#ways.label;
  }

  get site(): SimSite {
    return this.#site;
  }

  /** The log that follows the database from now on. */
  follow(log: UpdateLog): void {
    this.#log = log;
    this.hear();
  }

  /** Brings the copy to the newest position; whether it is there. */
  isNewest(): boolean {
    return this.#log?.catchUp() ?? false;
  }

  /** Loads what the copy lacks. Throws `Trouble` if it cannot be used yet. */
  load(log: UpdateLog): void {
    try {
      while (!log.catchUp());
    } catch (error) {
      if (!(error instanceof Trouble) || log.copy?.isComplete !== true) throw error;
    }
  }

  /** Before a peer is greeted. */
  refresh(): void {
    if (this.#session === undefined) return;
    try {
      while (this.#log?.catchUp() === false);
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
    }
  }

  // What happens to it.

  /** What happens at the next commit, or nothing any more. */
  order(order: CommitOrder | undefined): void {
    this.#order = order;
  }

  /** The network is cut; the node finds out within a beat and an answer, the server later. */
  cut(): void {
    if (this.#isCut || this.#isEnded) return;
    this.#isCut = true;
    const session = this.#session;
    if (session === undefined) return;
    const { queue, dice } = this.#site;
    const notices = dice.int(beatMs, beatMs + answerMs);
    queue.after(notices, `${this.label} misses the database`, () => this.#lose(session));
    queue.after(silentMs, `the database misses ${this.label}`, () => this.#site.end(session));
  }

  /** The network is there again. */
  mend(): void {
    this.#isCut = false;
  }

  /** The process is stopped, as by SIGSTOP, until `resume`. */
  pause(): void {
    const session = this.#session;
    this.#isPaused = true;
    if (session === undefined) return;
    this.#site.queue.after(silentMs, `the database misses ${this.label}`, () => {
      if (this.#isPaused) this.#site.end(session);
    });
  }

  resume(): void {
    this.#isPaused = false;
    const session = this.#session;
    if (session?.isOver === true) this.missLater(session);
  }

  /** The server has ended the session, and the next beat shows it. */
  missLater(session: Session): void {
    const { queue, dice } = this.#site;
    queue.after(dice.int(0, beatMs), `${this.label} misses the database`, () => {
      if (!this.#isPaused) this.#lose(session);
    });
  }

  /** The process is gone; `silently`, so that the server hears nothing of it. */
  end(silently: boolean): void {
    this.#isEnded = true;
    const session = this.#session;
    this.#session = undefined;
    if (session === undefined) return;
    if (!silently && !this.#isCut) this.#site.end(session);
    else this.#site.queue.after(silentMs, "a session is dead", () => this.#site.end(session));
  }

  // The store.

  name(): LogName | undefined {
    return this.#ask().store.name();
  }

  commit(after: Commit, rows: readonly SharedRow[]): Commit | "behind" {
    const session = this.#ask();
    const order = this.#order;
    const answer = this.#site.commit(session, after, rows);
    if (answer === "behind" || order === undefined) return answer;
    this.#order = undefined;
    this.#site.trace.sometimes(order);
    if (order === "crash between commits") throw new Crash(order);
    this.#lose(session);
    this.#site.end(session);
    throw away();
  }

  changes(position: number, limit: number, base?: Commit): SharedChanges {
    return this.#ask().store.changes(position, limit, base);
  }

  get expires(): boolean {
    return this.#held.has(EXPIRY);
  }

  discard(position: number, rows: readonly RowKey[]): void {
    if (!this.expires) return;
    const { store } = this.#ask();
    store.expires = true;
    store.discard(position, rows);
  }

  #ask(): Session {
    const session = this.#session;
    if (session === undefined) throw away();
    if (!this.#isCut && !session.isOver) return session;
    this.#lose(session);
    throw away();
  }

  // The leases.

  listen(listener: StoreListener): () => void {
    this.#listener = listener;
    return () => {
      this.#listener = undefined;
    };
  }

  want(leases: readonly string[]): void {
    this.#wanted = leases;
    for (const lease of [...this.#held]) {
      if (leases.includes(lease)) continue;
      this.#held.delete(lease);
      this.#site.release(lease);
    }
    this.tryLater();
  }

  /** Asks within a beat for the leases that it has not got. */
  tryLater(): void {
    if (this.#isTrying || this.#isEnded) return;
    this.#isTrying = true;
    const { queue, dice } = this.#site;
    queue.after(dice.int(0, beatMs), `${this.label} asks for leases`, () => {
      this.#isTrying = false;
      if (this.#isPaused) return this.tryLater();
      const session = this.#session;
      if (session === undefined || session.isOver || this.#isCut || this.#isEnded) return;
      for (const lease of this.#wanted) {
        // What it was granted a moment ago may have killed the process.
        if (this.#isEnded) return;
        if (this.#held.has(lease) || !this.#site.tryLease(lease, session)) continue;
        this.#held.add(lease);
        this.#ways.step(() => {
          if (this.#session === session) this.#listener?.granted?.(lease);
        });
      }
    });
  }

  /** The session is over, as far as the node knows: its leases are lost before the next one. */
  #lose(session: Session): void {
    if (this.#session !== session) return;
    this.#session = undefined;
    this.#held.clear();
    this.#site.queue.after(0, `${this.label} has no session`, () => {
      if (this.#isEnded) return;
      this.#ways.step(() => {
        this.#listener?.lost?.("the session was lost");
        this.#connectLater();
      });
    });
  }

  #connectLater(): void {
    const { queue, dice } = this.#site;
    queue.after(dice.int(...CONNECT_MS), `${this.label} connects to the database`, () => {
      if (this.#isEnded || this.#session !== undefined) return;
      if (this.#isCut || this.#isPaused || this.#site.isDown) return this.#connectLater();
      this.#session = this.#site.connect(this);
      this.hear();
      this.tryLater();
    });
  }

  // Following.

  /** Another node has committed. */
  hear(): void {
    const { dice } = this.#site;
    this.#followLater(dice.int(...NEWS_MS));
  }

  #followLater(ms: number): void {
    if (this.#isFollowing || this.#isEnded) return;
    this.#isFollowing = true;
    this.#site.queue.after(ms, `${this.label} follows`, () => {
      this.#isFollowing = false;
      if (this.#isEnded || this.#session === undefined) return;
      this.#ways.step((log) => this.#follow(log));
    });
  }

  #follow(log: UpdateLog): void {
    try {
      if (log.catchUp()) this.leases.begin();
      else this.#followLater(0);
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      this.#followLater(beatMs);
    }
  }
}

function away(): Trouble {
  return new Trouble("away", "the database does not answer", "Start it.");
}
