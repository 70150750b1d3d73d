/**
 * What an honest KX peer reads of a log, over all its connections: it lists from its cursor after
 * each greeting, takes announcements in their order, and asks for the body of each new number. What
 * a peer must never see is a fault: a number that was skipped or not listed, a number with two
 * updates, an update with two numbers, a log that is behind the cursor, a body that is another one.
 * It is no part of the gateway: `ReceiveState` would repair what has to be found here.
 */
import { admit } from "../../src/admit.js";
import type { Announcement, Message } from "../../src/kx/messages.js";

/** Requests for bodies that wait for an answer on one connection; the gateway answers in order. */
const ASKED_AT_ONCE = 50;
/** Faults that are kept; the first ones say what is wrong. */
const MOST_FAULTS = 20;

/** One connection of the peer. */
export interface KxLink {
  /** Sends a request and returns its tag, which the answer names. */
  ask(question: Question): string;
}

type Question =
  | { readonly command: "LIST"; readonly low: number; readonly high: number }
  | { readonly command: "GETUPDATE"; readonly number: number };

interface Reading {
  /** The last number that was told without being asked for; undefined before the greeting. */
  told: number | undefined;
  readonly listings: Map<string, { readonly low: number; readonly high: number }>;
  readonly asked: Map<string, number>;
}

export class KxReader {
  /** What was wrong, in words. */
  readonly faults: string[] = [];
  /** The hash of each number that was announced or listed. */
  readonly hashes = new Map<number, string>();
  /** The hashes of the updates whose bodies came. */
  readonly bodies = new Set<string>();
  /** Connections whose greeting came. */
  greetings = 0;
  readonly #numbers = new Map<string, number>();
  readonly #links = new Map<KxLink, Reading>();
  /** Every number up to it is known. */
  #cursor = 0;
  /** Known numbers whose body was not asked for. */
  #wanted: number[] = [];

  get cursor(): number {
    return this.#cursor;
  }

  /** Whether it waits for nothing that it asked for. */
  get isIdle(): boolean {
    return [...this.#links.values()].every(
      ({ asked, listings }) => asked.size + listings.size === 0,
    );
  }

  opened(link: KxLink): void {
    this.#links.set(link, { told: undefined, listings: new Map(), asked: new Map() });
  }

  /** What was asked for on this connection is asked for on another one. */
  closed(link: KxLink): void {
    const reading = this.#links.get(link);
    this.#links.delete(link);
    this.#wanted.unshift(...(reading?.asked.values() ?? []));
    for (const [other, { told }] of this.#links) if (told !== undefined) this.#fetch(other);
  }

  /** Takes an IHAVE, an UPDATE or an ERROR; other messages are not for a reader. */
  heard(link: KxLink, message: Message): void {
    const reading = this.#links.get(link);
    if (reading === undefined) return;
    if (message.command === "IHAVE") {
      const { inReplyTo, announcements } = message;
      const listing = reading.listings.get(inReplyTo ?? "");
      if (listing !== undefined) {
        reading.listings.delete(inReplyTo ?? "");
        this.#listed(listing.low, listing.high, announcements);
      } else if (reading.told === undefined) this.#greeted(link, reading, announcements);
      else this.#announced(reading, announcements);
    } else if (message.command === "UPDATE") {
      const number = reading.asked.get(message.inReplyTo);
      reading.asked.delete(message.inReplyTo);
      if (number !== undefined) this.#received(number, message.armor);
    } else if (message.command === "ERROR") {
      const number = reading.asked.get(message.inReplyTo ?? "");
      reading.asked.delete(message.inReplyTo ?? "");
      this.#fault(`ERROR ${message.code} ${message.text}, number ${number}`);
    }
    this.#fetch(link);
  }

  /** `entries` are the updates of the site: says what of it is not known, or has no body. */
  missing(entries: ReadonlyMap<number, string>): string[] {
    const unknown = [...entries].filter(([number, hash]) => this.hashes.get(number) !== hash);
    const strange = [...this.hashes].filter(([number]) => !entries.has(number));
    const absent = [...entries.values()].filter((hash) => !this.bodies.has(hash));
    return [
      ...(unknown.length > 0 ? [`${unknown.length} numbers are not known as they are`] : []),
      ...(strange.length > 0 ? [`${strange.length} numbers were announced and are not there`] : []),
      ...(absent.length > 0 ? [`${absent.length} bodies did not come`] : []),
    ];
  }

  #greeted(link: KxLink, reading: Reading, announcements: readonly Announcement[]): void {
    this.greetings += 1;
    const newest = announcements.at(-1)?.number ?? 0;
    reading.told = newest;
    if (newest < this.#cursor) this.#fault(`greeted with ${newest}, the cursor is ${this.#cursor}`);
    else if (newest > 0) {
      // With the cursor itself, whose hash shows that the log is the same.
      const low = Math.max(1, this.#cursor);
      reading.listings.set(link.ask({ command: "LIST", low, high: newest }), { low, high: newest });
    }
  }

  #announced(reading: Reading, announcements: readonly Announcement[]): void {
    for (const one of announcements) {
      const next = (reading.told ?? 0) + 1;
      if (one.number !== next) this.#fault(`announced ${one.number} where ${next} comes next`);
      reading.told = one.number;
      this.#note(one);
    }
  }

  #listed(low: number, high: number, announcements: readonly Announcement[]): void {
    for (const one of announcements) this.#note(one);
    const shown = new Set(announcements.map(({ number }) => number));
    for (let number = low; number <= high; number += 1) {
      if (!shown.has(number)) this.#fault(`${number} is not in the list from ${low} to ${high}`);
    }
  }

  #note({ number, hash }: Announcement): void {
    const before = this.hashes.get(number);
    if (before === hash) return;
    if (before !== undefined) return this.#fault(`number ${number} has two updates`);
    const other = this.#numbers.get(hash);
    if (other !== undefined) this.#fault(`number ${number} has the update of ${other}`);
    this.hashes.set(number, hash);
    this.#numbers.set(hash, number);
    this.#wanted.push(number);
    while (this.hashes.has(this.#cursor + 1)) this.#cursor += 1;
  }

  #fetch(link: KxLink): void {
    const asked = this.#links.get(link)?.asked;
    while (asked !== undefined && asked.size < ASKED_AT_ONCE) {
      const number = this.#wanted.shift();
      if (number === undefined) return;
      asked.set(link.ask({ command: "GETUPDATE", number }), number);
    }
  }

  #received(number: number, armor: Uint8Array): void {
    const [update, ...others] = admit([armor]).updates;
    const hash = this.hashes.get(number) ?? "";
    if (update?.hash !== hash || others.length > 0) this.#fault(`the body of ${number} is another`);
    else this.bodies.add(hash);
  }

  #fault(what: string): void {
    if (this.faults.length < MOST_FAULTS) this.faults.push(what);
  }
}
