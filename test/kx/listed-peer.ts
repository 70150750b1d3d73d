/**
 * A peer as a reception sees it: a numbered log that grows, expires, has holes and may be replaced,
 * and answers listings from it. And a reception that listens to it, with a record of what it asked.
 */
import { createHash } from "node:crypto";
import type { Announcement } from "../../src/kx/messages.js";
import type { ReceiveOutput, WirePosition } from "../../src/kx/receive-state.js";
import { ReceiveState } from "../../src/kx/receive-state.js";
import type { LogName, UpdateHash } from "../../src/update.js";

export const ROUND = 2 ** 31;
/** The highest number on the wire. */
export const TOP = ROUND - 1;

/** An announcement that no log stands behind. */
export function forged(number: number, name = "forged"): Announcement {
  return { number, fingerprint: undefined, hash: hashOf(`${name} ${number}`) };
}

export function hashOf(name: string): UpdateHash {
  return createHash("md5").update(name).digest("hex") as UpdateHash;
}

export class ListedPeer {
  /** Positions that grow for ever; the wire shows them modulo 2^31. */
  readonly entries = new Map<number, UpdateHash>();
  /** The name of the log that it tells in KX/1.1. */
  log: LogName | undefined;
  readonly #name: string;
  #last: number;
  #passed: number;

  /** The first entry will be at position `first`. */
  constructor(name = "log", first = 1) {
    this.#name = name;
    this.#last = first - 1;
    this.#passed = first;
  }

  /** Appends after a hole in the numbers, if any; a hole never hides the number 0. */
  append(count = 1, hole = 0): Announcement[] {
    const far = this.#last + hole + 1;
    if (Math.floor(far / ROUND) === Math.floor(this.#last / ROUND)) this.#last += hole;
    return Array.from({ length: count }, () => {
      this.#last += 1;
      const hash = hashOf(`${this.#name} ${this.#last}`);
      this.entries.set(this.#last, hash);
      return announcement(this.#last, hash);
    });
  }

  /** Drops the oldest, but never the newest. */
  expire(count: number): void {
    for (const position of [...this.entries.keys()].slice(0, count)) {
      if (position !== this.#last) this.entries.delete(position);
    }
  }

  newest(): Announcement | undefined {
    const hash = this.entries.get(this.#last);
    return hash && announcement(this.#last, hash);
  }

  at(number: number): UpdateHash | undefined {
    return this.entries.get(this.#positionOf(number));
  }

  list(low: number, high: number): Announcement[] {
    const announcements: Announcement[] = [];
    for (let number = low; number <= high; number++) {
      const hash = this.at(number);
      if (hash !== undefined) announcements.push({ number, fingerprint: undefined, hash });
    }
    return announcements;
  }

  /** What is in the log up to a wire number and was not handed out by this before. */
  passed(number: number): UpdateHash[] {
    const end = this.#positionOf(number);
    const hashes: UpdateHash[] = [];
    for (; this.#passed <= end; this.#passed++) {
      const hash = this.entries.get(this.#passed);
      if (hash !== undefined) hashes.push(hash);
    }
    return hashes;
  }

  #positionOf(number: number): number {
    const behind = (((this.#last - number) % ROUND) + ROUND) % ROUND;
    return this.#last - behind;
  }
}

function announcement(position: number, hash: UpdateHash): Announcement {
  return { number: position % ROUND, fingerprint: undefined, hash };
}

export class Listener {
  readonly known = new Set<UpdateHash>();
  readonly receiveState: ReceiveState;
  now = 1_000_000;
  /** What was asked and not answered. */
  pending: { low: number; high: number } | undefined;
  /** Every LIST and everything else that was said, as text. */
  lists: string[] = [];
  said: string[] = [];
  wanted: Announcement[] = [];
  onCursor: (at: WirePosition) => void = () => {};

  constructor(cursor?: WirePosition) {
    this.receiveState = new ReceiveState(cursor, ({ hash }) => this.known.has(hash));
  }

  take(outputs: readonly ReceiveOutput[]): this {
    for (const output of outputs) {
      switch (output.type) {
        case "list":
          if (this.pending !== undefined) throw new Error("two listings at once");
          this.pending = { low: output.low, high: output.high };
          this.lists.push(`${output.low}-${output.high}`);
          break;
        case "want":
          this.wanted.push(output.announcement);
          break;
        case "cursor":
          this.said.push(`cursor ${output.at?.number}`);
          if (output.at !== undefined) this.onCursor(output.at);
          break;
        case "gap":
          this.said.push(`gap ${output.low}-${output.high}`);
          break;
        case "reset":
          this.said.push(`reset ${output.reason}`);
          break;
        default:
          output satisfies never;
      }
    }
    return this;
  }

  greet(peer: ListedPeer): this {
    this.pending = undefined;
    return this.take(this.receiveState.established(peer.newest(), this.now, peer.log));
  }

  /** Another connection is used from now on, on which the peer has just greeted if it is given. */
  move(peer?: ListedPeer): this {
    this.pending = undefined;
    const greeting = peer && { newest: peer.newest(), log: peer.log };
    return this.take(this.receiveState.moved(greeting, this.now));
  }

  hangUp(): void {
    this.pending = undefined;
    this.wanted = [];
    this.receiveState.disconnected();
  }

  hear(announcements: readonly Announcement[]): this {
    return this.take(this.receiveState.announced(announcements, this.now));
  }

  /** The peer answers what was asked, or that list of announcements instead. */
  answer(peer: ListedPeer, instead?: readonly Announcement[]): this {
    const asked = this.pending;
    if (asked === undefined) throw new Error("nothing was asked");
    this.pending = undefined;
    const { low, high } = asked;
    const announcements = instead ?? peer.list(low, high);
    return this.take(this.receiveState.listed(low, high, announcements, this.now));
  }

  /** Answers until nothing more is asked; throws when that has no end. */
  answerAll(peer: ListedPeer): this {
    for (let n = 0; this.pending !== undefined; n++) {
      if (n > 200_000) throw new Error("listings without end");
      this.answer(peer);
    }
    return this;
  }

  /** An update is here. */
  hold(hash: UpdateHash): this {
    this.known.add(hash);
    return this.take(this.receiveState.settled(hash, this.now));
  }

  /** The first so many of what is wanted arrive. */
  deliver(count = Infinity): this {
    for (const { hash } of this.wanted.splice(0, count)) this.hold(hash);
    return this;
  }

  wait(ms: number): this {
    this.now += ms;
    return this.take(this.receiveState.tick(this.now));
  }

  get cursor(): number | undefined {
    return this.receiveState.cursor?.number;
  }
}

/** A listener that has all of the peer's log, and forgets how it came to that. */
export function inStep(peer: ListedPeer): Listener {
  const listener = new Listener().greet(peer);
  for (let n = 0; n < 1000 && (listener.pending || listener.wanted.length > 0); n++) {
    listener.answerAll(peer).deliver();
  }
  listener.lists = [];
  listener.said = [];
  return listener;
}
