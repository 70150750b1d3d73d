/**
 * Byte streams between hosts, as TCP gives them: in order, cut anywhere, late, and gone when the
 * connection breaks. Knows no protocol and no gateway. A side that is written to has bytes that are
 * unsent (its own memory) and bytes on the way (the kernels' and the wire's, at most 64 KiB); both
 * are lost when the connection breaks, and only of the first kind does the writer know.
 *
 * Faults are ordered from outside: cut, half-open, clog, partition. A partition drops nothing that
 * is on the way, it holds it up; new connections do not come about.
 */
import type { Dice } from "./dice.js";
import type { EventQueue } from "./queue.js";

const ON_THE_WAY = 64 * 1024;
/** How long a dialler waits for a host that does not answer, as `TCP_LIMITS.connectMs`. */
const CONNECT_MS = 30_000;
/** A reader that does not want bytes is asked again after this. */
const CONGESTED_MS = 500;
/** What is held up by a partition is sent again after this, as TCP does after a while. */
const RESEND_MS = 3000;

/** Whoever has connections. Calls come from the queue, one at a time. */
export interface Host {
  readonly name: string;
  /** Whether it takes this connection; then `opened` follows. */
  accepts(from: string): boolean;
  opened(line: Line, peer: string, dialled: boolean): void;
  /** It was dialled in vain. */
  unreachable(peer: string): void;
  received(line: Line, bytes: Uint8Array): void;
  /** Some of what was written has left; so much is unsent. */
  flushed(line: Line, unsentBytes: number): void;
  /** The other side will write no more. */
  finished(line: Line): void;
  /** It is gone, whoever ended it. */
  closed(line: Line): void;
  /** Whether it does not read for now. */
  isCongested(line: Line): boolean;
}

interface Direction {
  readonly from: Host;
  readonly to: Host;
  unsent: Buffer[];
  unsentBytes: number;
  wire: Buffer[];
  wireBytes: number;
  isPumping: boolean;
  isFlushing: boolean;
  /** FIN: written, and arrived. */
  isEnding: boolean;
  isEnded: boolean;
  cloggedUntil: number;
}

export interface Line {
  readonly id: number;
  readonly directions: readonly [Direction, Direction];
  /** Hosts that still know of it. */
  readonly open: Set<Host>;
}

/** How the bytes travel in one world; times in milliseconds. */
export interface StreamOptions {
  readonly latency: readonly [number, number];
  /** Share of the deliveries that are cut to at most 100 bytes. */
  readonly smallCuts: number;
}

export class Streams {
  readonly #queue: EventQueue;
  readonly #dice: Dice;
  readonly #options: StreamOptions;
  readonly #lines = new Map<number, Line>();
  #lastId = 0;
  /** Which side of the partition each host is on; no partition while it is empty. */
  #sides = new Map<string, number>();
  /** Until when no new connection with a host comes about, by its name. */
  readonly #blocked = new Map<string, number>();

  constructor(queue: EventQueue, dice: Dice, options: StreamOptions) {
    this.#queue = queue;
    this.#dice = dice;
    this.#options = options;
  }

  get lines(): Line[] {
    return [...this.#lines.values()];
  }

  linesOf(host: Host): Line[] {
    return this.lines.filter(({ open }) => open.has(host));
  }

  dial(from: Host, to: Host): void {
    this.#queue.after(this.#latency(), `${from.name} dials ${to.name}`, () => {
      if (this.isCut(from.name, to.name) || this.#isBlocked(from, to)) {
        this.#queue.after(CONNECT_MS, `${from.name} gives up`, () => from.unreachable(to.name));
        return;
      }
      if (!to.accepts(from.name)) return from.unreachable(to.name);
      this.#lastId += 1;
      const directions = [direction(from, to), direction(to, from)] as const;
      const line: Line = { id: this.#lastId, directions, open: new Set([from, to]) };
      this.#lines.set(line.id, line);
      to.opened(line, from.name, false);
      if (line.open.has(from)) from.opened(line, to.name, true);
    });
  }

  write(line: Line, from: Host, bytes: Uint8Array): void {
    const way = wayFrom(line, from);
    if (!line.open.has(from) || way.isEnding) return;
    way.unsent.push(Buffer.from(bytes));
    way.unsentBytes += bytes.length;
    this.#fill(line, way);
  }

  /** FIN, once everything has left. */
  end(line: Line, from: Host): void {
    const way = wayFrom(line, from);
    if (!line.open.has(from) || way.isEnding) return;
    way.isEnding = true;
    this.#pump(line, way);
  }

  /** Breaks it: what is unsent or on the way is lost, and both sides hear of it. */
  destroy(line: Line, by?: Host): void {
    if (!this.#lines.delete(line.id)) return;
    if (by !== undefined) this.#close(line, by);
    const delay = by === undefined ? 0 : this.#latency();
    for (const { from: host } of line.directions) {
      if (host === by) continue;
      this.#queue.after(delay, `line ${line.id} breaks for ${host.name}`, () => {
        this.#close(line, host);
      });
    }
  }

  /** One side is gone without a word; the other finds out by itself, if ever. */
  forget(line: Line, by: Host): void {
    line.open.delete(by);
    if (line.open.size === 0) this.#lines.delete(line.id);
  }

  clog(line: Line, from: Host, until: number): void {
    const way = wayFrom(line, from);
    way.cloggedUntil = Math.max(way.cloggedUntil, until);
  }

  /** Hosts of different numbers do not reach each other; an empty map heals it. */
  partition(sides: ReadonlyMap<string, number>): void {
    this.#sides = new Map(sides);
  }

  isCut(a: string, b: string): boolean {
    return (this.#sides.get(a) ?? 0) !== (this.#sides.get(b) ?? 0);
  }

  /** New connections with a host come about again at `until`; those that are there stay. */
  block(host: Host, until: number): void {
    this.#blocked.set(host.name, until);
  }

  #isBlocked(...hosts: readonly Host[]): boolean {
    return hosts.some(({ name }) => (this.#blocked.get(name) ?? 0) > this.#queue.now);
  }

  /** Takes back what clogs. */
  heal(): void {
    this.#sides.clear();
    this.#blocked.clear();
    for (const line of this.#lines.values()) {
      for (const way of line.directions) way.cloggedUntil = 0;
    }
  }

  /** Lets as much onto the wire as it holds, and says so in a moment. */
  #fill(line: Line, way: Direction): void {
    let moved = false;
    while (way.unsent[0] !== undefined && way.wireBytes < ON_THE_WAY) {
      const [first] = way.unsent;
      const piece = first.subarray(0, ON_THE_WAY - way.wireBytes);
      if (piece.length === first.length) way.unsent.shift();
      else way.unsent[0] = first.subarray(piece.length);
      way.unsentBytes -= piece.length;
      way.wire.push(piece);
      way.wireBytes += piece.length;
      moved = true;
    }
    if (moved && !way.isFlushing) {
      way.isFlushing = true;
      this.#queue.after(0, `line ${line.id} takes from ${way.from.name}`, () => {
        way.isFlushing = false;
        if (line.open.has(way.from)) way.from.flushed(line, way.unsentBytes);
      });
    }
    this.#pump(line, way);
  }

  #pump(line: Line, way: Direction): void {
    if (way.isPumping || (way.wireBytes === 0 && !way.isEnding)) return;
    way.isPumping = true;
    const step = () => {
      way.isPumping = false;
      this.#deliver(line, way);
    };
    this.#queue.after(this.#latency(), `line ${line.id} to ${way.to.name}`, step);
  }

  #deliver(line: Line, way: Direction): void {
    if (!this.#lines.has(line.id)) return;
    const { now } = this.#queue;
    const isHeld = now < way.cloggedUntil || this.isCut(way.from.name, way.to.name);
    const isDeaf = line.open.has(way.to) && way.to.isCongested(line);
    if (isHeld || isDeaf || !line.open.has(way.to)) {
      // To a host that has forgotten the line its bytes are news: it answers with a reset.
      if (!isHeld && !line.open.has(way.to)) return this.destroy(line, way.to);
      way.isPumping = true;
      const pause = isHeld ? RESEND_MS : CONGESTED_MS;
      const again = Math.max(now + pause, Math.min(way.cloggedUntil, now + 60_000));
      this.#queue.at(again, `line ${line.id} to ${way.to.name} again`, () => {
        way.isPumping = false;
        this.#deliver(line, way);
      });
      return;
    }
    if (way.wireBytes > 0) {
      const bytes = this.#cut(way);
      this.#fill(line, way);
      way.to.received(line, bytes);
    } else if (way.isEnding && !way.isEnded) {
      way.isEnded = true;
      way.to.finished(line);
      if (line.directions.every(({ isEnded }) => isEnded)) this.destroy(line);
    }
    if (this.#lines.has(line.id) && !way.isEnded) this.#pump(line, way);
  }

  #cut(way: Direction): Uint8Array {
    const all = Buffer.concat(way.wire);
    const most = this.#dice.chance(this.#options.smallCuts) ? 100 : ON_THE_WAY;
    const size = Math.min(all.length, this.#dice.int(1, most));
    way.wire = [all.subarray(size)];
    way.wireBytes = all.length - size;
    return Uint8Array.from(all.subarray(0, size));
  }

  #close(line: Line, host: Host): void {
    if (line.open.delete(host)) host.closed(line);
  }

  #latency(): number {
    return this.#dice.span(...this.#options.latency);
  }
}

function direction(from: Host, to: Host): Direction {
  return {
    from,
    to,
    unsent: [],
    unsentBytes: 0,
    wire: [],
    wireBytes: 0,
    isPumping: false,
    isFlushing: false,
    isEnding: false,
    isEnded: false,
    cloggedUntil: 0,
  };
}

function wayFrom(line: Line, from: Host): Direction {
  const way = line.directions.find((one) => one.from === from);
  if (way === undefined) throw new Error(`line ${line.id} does not begin at ${from.name}`);
  return way;
}
