/**
 * Mail and KX in one counted world: an edge is a mail edge or a KX edge, so that a pure world is
 * one where all are of a kind, and a gateway is a server with both. Mail floods as pksd's does: to
 * all that are not in the trail. KX runs the real announcer on every edge and fetches what is
 * unknown; `thesis` makes it the protocol of 2003: announced to all but the source, one line a
 * message, the first announcer alone is asked, and what a broken connection loses is lost unless
 * somebody else announces it later.  What stands for real things: a mail takes a relay's time and
 * is read by a queue run that takes one file in 3 s; a server that is away gets its mails within an
 * hour of its return, those that are not older than 5 days; a KX message takes a network's time.
 * Nothing is limited by bandwidth.
 */
import { Announcer } from "../../../src/kx/announcer.js";
import { EventQueue, type Happening } from "./events.js";
import { Measures, type Result } from "./measure.js";
import type { Topology } from "./topology.js";
import { getBytes, lineBytes, listBytes, mailBytes, NOTICE_FRAME, updateBytes } from "./wire.js";
import type { Birth } from "./workload.js";

export interface FloodOptions {
  readonly topology: Topology;
  readonly births: readonly Birth[];
  readonly dice: () => number;
  /** Whether the edge between two servers is KX; otherwise it is mail. */
  readonly isKx: (a: number, b: number) => boolean;
  /** KX as the thesis has it, not as we do it. */
  readonly thesis?: boolean;
  /** One server is away for a while. */
  readonly outage?: { readonly server: number; readonly from: number; readonly to: number };
  /** Share of mails that a mail system loses. */
  readonly mailLoss?: number;
  /** Share of UPDATEs whose connection breaks before they are there. */
  readonly fetchLoss?: number;
}

const HOUR_MS = 3_600_000;
const MAIL = {
  /** A relay hands a mail on after this, and then some, on average. */
  leastMs: 2000,
  meanMs: 10_000,
  /** pks-queue-run.sh takes one file in 3 s. */
  serviceMs: 3000,
  retryMs: HOUR_MS,
  lifetimeMs: 120 * HOUR_MS,
} as const;
const KX = {
  leastMs: 20,
  meanMs: 60,
  reconnectMs: 30_000,
  /** Bodies are kept so long: by us, and by the thesis. */
  retainMs: 96 * HOUR_MS,
  thesisRetainMs: 72 * HOUR_MS,
  /** Octets of state that each neighbour costs: a cursor with its hash, an announcer. */
  stateBytes: 60,
} as const;

const BIRTH = 0;
const ARRIVAL = 1;
const READ = 2;
const TICK = 3;
const NOTICE = 4;
const DELIVERY = 5;
const AWAY = 6;
const BACK = 7;

/** What one server says to another over KX. */
interface Line {
  /** Its place among all. */
  readonly index: number;
  readonly from: number;
  readonly to: number;
  readonly announcer: Announcer;
  /** When a TICK is in the queue for. */
  tickAt: number;
  /** How far the other one has heard. */
  heard: number;
}

/** Runs the world to its end: until nothing is under way any more. */
export function flood(options: FloodOptions): Result {
  return new Flood(options).run();
}

class Flood {
  readonly #options: FloodOptions;
  readonly #queue = new EventQueue();
  readonly #measures: Measures;
  readonly #mailTo: number[][];
  readonly #lines: Line[] = [];
  readonly #linesOf: Line[][];
  readonly #logs: number[][];
  /** Who mailed update u to server s, at s * updates + u; -1 for nobody. */
  readonly #parent: Int32Array;
  /** Whether server s has asked for update u. */
  readonly #asked: Uint8Array;
  readonly #busyUntil: Float64Array;
  #awayServer = -1;

  constructor(options: FloodOptions) {
    const { topology, births, isKx, outage } = options;
    const servers = topology.neighbours.length;
    this.#options = options;
    this.#measures = new Measures(servers, births.length);
    this.#parent = new Int32Array(servers * births.length).fill(-1);
    this.#asked = new Uint8Array(servers * births.length);
    this.#busyUntil = new Float64Array(servers);
    this.#logs = Array.from({ length: servers }, () => []);
    this.#mailTo = topology.neighbours.map((all, one) => all.filter((two) => !isKx(one, two)));
    this.#linesOf = topology.neighbours.map((all, from) => {
      const kx = all.filter((to) => isKx(from, to));
      return kx.map((to) => {
        const index = this.#lines.length;
        const line = { index, from, to, announcer: new Announcer(0), tickAt: Infinity, heard: 0 };
        this.#lines.push(line);
        return line;
      });
    });
    for (const [update, { at, server }] of births.entries()) {
      this.#queue.push(at, BIRTH, server, update, 0);
      this.#measures.bornAt[update] = at;
    }
    if (outage !== undefined) {
      this.#queue.push(outage.from, AWAY, outage.server, 0, 0);
      this.#queue.push(outage.to, BACK, outage.server, 0, 0);
    }
  }

  run(): Result {
    const next: Happening = { at: 0, kind: 0, a: 0, b: 0, c: 0 };
    while (this.#queue.take(next)) {
      this.#measures.events += 1;
      this.#happen(next);
    }
    const { topology, outage } = this.#options;
    const degree = topology.neighbours.reduce((sum, { length }) => sum + length, 0);
    const isAllMail = this.#lines.length === 0;
    const state = isAllMail ? 0 : (KX.stateBytes * degree) / topology.neighbours.length;
    return this.#measures.result(state, outage?.server);
  }

  #happen({ at, kind, a, b, c }: Happening): void {
    switch (kind) {
      case BIRTH:
        // Whoever would have published it there waits until the server is back.
        if (a === this.#awayServer)
          this.#queue.push(this.#options.outage?.to ?? at, BIRTH, a, b, 0);
        else this.#hold(a, b, -1, at);
        break;
      case ARRIVAL:
        this.#arrive(a, b, c, at);
        break;
      case READ:
        this.#measures.queued(a, -1);
        if (!this.#measures.holds(a, b)) this.#hold(a, b, c, at);
        break;
      case TICK:
        this.#tick(a, at);
        break;
      case NOTICE:
        this.#notice(a, b, c, at);
        break;
      case DELIVERY:
        if (!this.#measures.holds(a, b)) this.#hold(a, b, -1, at, this.#lines[c]?.from);
        break;
      case AWAY:
        this.#awayServer = a;
        break;
      default:
        this.#back(a, at);
    }
  }

  /** The server has the update now; `parent` mailed it, or it came by KX from `source`. */
  #hold(server: number, update: number, parent: number, at: number, source = -1): void {
    this.#measures.held(server, update, at);
    this.#parent[server * this.#measures.updates + update] = parent;
    const newest = (this.#logs[server] ?? []).push(update);
    this.#mail(server, update, at);
    for (const line of this.#linesOf[server] ?? []) {
      const isEcho = line.to === source;
      if (this.#options.thesis === true) {
        if (!isEcho) this.#sayOne(line, newest, at);
        continue;
      }
      line.announcer.grew(newest, isEcho, at);
      this.#schedule(line);
    }
  }

  #mail(server: number, update: number, at: number): void {
    const { births, dice, mailLoss = 0 } = this.#options;
    const size = births[update]?.size ?? 0;
    const trail = this.#trail(server, update);
    for (const to of this.#mailTo[server] ?? []) {
      if (trail.includes(to)) continue;
      this.#measures.sent(server, to, mailBytes(size, trail.length - 1));
      const delay = MAIL.leastMs - MAIL.meanMs * Math.log(1 - dice());
      if (dice() >= mailLoss) this.#queue.push(at + delay, ARRIVAL, to, update, server);
    }
  }

  /** The server and, back to where it came in by mail, all that mailed it on. */
  #trail(server: number, update: number): number[] {
    const trail = [server];
    for (let one = server; ; ) {
      const before = this.#parent[one * this.#measures.updates + update] ?? -1;
      if (before < 0) return trail;
      trail.push(before);
      one = before;
    }
  }

  /** A mail is at the door: read when its turn comes, or kept by its sender until then. */
  #arrive(to: number, update: number, from: number, at: number): void {
    const { outage, dice } = this.#options;
    if (to === this.#awayServer && outage !== undefined) {
      const again = outage.to + dice() * MAIL.retryMs;
      if (again - at > MAIL.lifetimeMs) return;
      this.#queue.push(again, ARRIVAL, to, update, from);
      return;
    }
    this.#measures.copies += 1;
    this.#count(to, update, at, 0);
    this.#measures.queued(to, 1);
    const free = Math.max(at, this.#busyUntil[to] ?? 0) + MAIL.serviceMs;
    this.#busyUntil[to] = free;
    this.#queue.push(free, READ, to, update, from);
  }

  #schedule(line: Line): void {
    const at = line.announcer.nextAt();
    if (at === undefined || at >= line.tickAt) return;
    line.tickAt = at;
    this.#queue.push(at, TICK, line.index, 0, 0);
  }

  #tick(index: number, at: number): void {
    const line = this.#lines[index];
    if (line === undefined) return;
    line.tickAt = Infinity;
    if (line.from === this.#awayServer || line.to === this.#awayServer) return;
    const span = line.announcer.due(at);
    if (span !== undefined) {
      line.announcer.sent(span.high, at);
      this.#say(line, span.low, span.high, at);
    }
    this.#schedule(line);
  }

  #say(line: Line, low: number, high: number, at: number): void {
    let bytes = NOTICE_FRAME;
    for (let number = low; number <= high; number++) bytes += lineBytes(number);
    this.#measures.sent(line.from, line.to, bytes);
    this.#measures.kx.notices += 1;
    this.#measures.kx.lines += high - low + 1;
    line.heard = high;
    this.#queue.push(at + this.#latency(), NOTICE, line.index, low, high);
  }

  /** The thesis announces each update on its own; while the other is away nobody listens. */
  #sayOne(line: Line, number: number, at: number): void {
    if (line.to === this.#awayServer) return;
    this.#say(line, number, number, at);
  }

  #notice(index: number, low: number, high: number, at: number): void {
    const line = this.#lines[index];
    if (line === undefined || line.to === this.#awayServer) return;
    for (let number = low; number <= high; number++) {
      const update = this.#logs[line.from]?.[number - 1];
      if (update !== undefined) this.#wanted(line, number, update, at);
    }
  }

  #wanted(line: Line, number: number, update: number, at: number): void {
    const { births, dice, thesis = false, fetchLoss = 0 } = this.#options;
    const place = line.to * this.#measures.updates + update;
    if (this.#measures.holds(line.to, update) || this.#asked[place] === 1) return;
    const retain = thesis ? KX.thesisRetainMs : KX.retainMs;
    const since = this.#measures.heldAt[line.from * this.#measures.updates + update] ?? 0;
    this.#measures.sent(line.to, line.from, getBytes(number));
    this.#measures.kx.gets += 1;
    // What has expired there is asked of the next one that announces it.
    if (at - since > retain) return;
    const bytes = updateBytes(number, births[update]?.size ?? 0);
    this.#measures.sent(line.from, line.to, bytes);
    this.#count(line.to, update, at, 0);
    this.#measures.kx.updates += 1;
    const arrives = at + this.#latency() + this.#latency();
    if (dice() >= fetchLoss) {
      this.#asked[place] = 1;
      this.#queue.push(arrives, DELIVERY, line.to, update, line.index);
      this.#measures.copies += 1;
    } else if (!thesis) {
      this.#queue.push(at + KX.reconnectMs, NOTICE, line.index, number, number);
    }
    // In the thesis the highest number was seen: nobody asks again unless another one announces.
  }

  /** The server is there again: it lists what each neighbour has had since, and is listed. */
  #back(server: number, at: number): void {
    this.#awayServer = -1;
    for (const line of this.#lines) {
      if (line.to !== server && line.from !== server) continue;
      const newest = this.#logs[line.from]?.length ?? 0;
      this.#measures.sent(line.to, line.from, listBytes(line.heard));
      if (newest <= line.heard) continue;
      const low = line.heard + 1;
      line.announcer.grew(newest, false, at);
      line.announcer.sent(newest, at);
      for (let number = low; number <= newest; number++) {
        this.#measures.sent(line.from, line.to, lineBytes(number));
        this.#count(line.to, undefined, at, lineBytes(number));
      }
      line.heard = newest;
      this.#queue.push(at + this.#latency(), NOTICE, line.index, low, newest);
    }
  }

  /** What the server that was away gets in the hour after its return. */
  #count(server: number, update: number | undefined, at: number, bytes: number): void {
    const { outage, births } = this.#options;
    if (outage === undefined || server !== outage.server) return;
    if (at < outage.to || at > outage.to + HOUR_MS) return;
    this.#measures.burstBytes += bytes;
    if (update === undefined) return;
    this.#measures.burstCopies += 1;
    this.#measures.burstBytes += births[update]?.size ?? 0;
  }

  #latency(): number {
    return KX.leastMs - KX.meanMs * Math.log(1 - this.#options.dice());
  }
}
