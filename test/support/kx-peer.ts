/**
 * The smallest honest KX peer: it waits to be dialled or dials, announces what it was given,
 * answers LIST and GETUPDATE at once, and notes what was announced to it. It reads with the
 * gateway's own parser and knows no timeout; with a `KxReader` it has a cursor and fetches.
 */
import { connect, type Socket } from "node:net";
import type { Announcement, Message } from "../../src/kx/messages.js";
import { Parser } from "../../src/kx/parser.js";
import { serialize } from "../../src/kx/serializer.js";
import type { Update } from "../../src/update.js";
import type { Made } from "../torture/material.js";
import type { KxLink, KxReader } from "./kx-reader.js";
import { Listener } from "./listener.js";

const ANSWER_MS = 20_000;

export class KxPeer {
  readonly #listener = new Listener((socket) => this.#converse(socket));
  /** The connections on which the greeting is done. */
  readonly #sockets = new Set<Socket>();
  readonly #dialled = new Set<Socket>();
  readonly #updates: Made[] = [];
  /** Every announcement that came in, in order. */
  readonly heard: Announcement[] = [];
  /** How often each of our numbers was asked for. */
  readonly asked = new Map<number, number>();
  /** Whether it asks for every update that it hears of; the bodies are counted and forgotten. */
  isFetching = false;
  fetched = 0;
  /** Reads the log of the gateway, over all connections. */
  readonly #reader: KxReader | undefined;
  /** How many it has announced beyond those that it has. */
  #boasted = 0;
  readonly #requests = new Map<string, (answer: Message) => void>();
  #tags = 0;

  constructor(reader?: KxReader) {
    this.#reader = reader;
  }

  /** Listens on a free port of 127.0.0.1 and resolves with it. */
  async start(): Promise<number> {
    return await this.#listener.start();
  }

  async stop(): Promise<void> {
    this.hangUp();
    await this.#listener.stop();
  }

  /** Dials a gateway from an address of loopback; resolves when the connection has ended. */
  async dial(port: number, from: string): Promise<void> {
    const socket = connect({ host: "127.0.0.1", port, localAddress: from });
    this.#dialled.add(socket);
    socket.on("error", () => socket.destroy());
    const ended = new Promise<void>((resolve) => socket.once("close", () => resolve()));
    this.#converse(socket);
    await ended;
    this.#dialled.delete(socket);
  }

  /** Ends the connections that it dialled, as a network does. */
  hangUp(): void {
    for (const socket of this.#dialled) socket.destroy();
  }

  get connected(): boolean {
    return this.#sockets.size > 0;
  }

  get updates(): readonly Made[] {
    return this.#updates;
  }

  /** Has one more update from now on, and tells it. */
  add(one: Made): void {
    this.#updates.push(one);
    const announcements = this.#range(this.#updates.length, this.#updates.length);
    for (const socket of this.#sockets) {
      this.#send(socket, { command: "IHAVE", tag: "", inReplyTo: undefined, announcements });
    }
  }

  /** Tells of updates as its next numbers, so many in a message; it does not have them. */
  announce(updates: readonly Pick<Update, "hash" | "fingerprint">[], lines: number): void {
    const [socket] = this.#sockets;
    for (let from = 0; socket !== undefined && from < updates.length; from += lines) {
      const announcements = updates.slice(from, from + lines).map(({ hash, fingerprint }, n) => {
        const number = this.#updates.length + this.#boasted + from + n + 1;
        return { number, fingerprint, hash };
      });
      this.#send(socket, { command: "IHAVE", tag: "", inReplyTo: undefined, announcements });
    }
    this.#boasted += updates.length;
  }

  /** Asks the gateway for one of its updates; the answer, or undefined when none came in time. */
  async fetch(number: number): Promise<Message | undefined> {
    return await this.#ask((tag) => ({ command: "GETUPDATE", tag, numbers: [number] }));
  }

  /** Asks the gateway for its announcements in a range. */
  async list(low: number, high: number): Promise<Message | undefined> {
    return await this.#ask((tag) => ({ command: "LIST", tag, ranges: [{ low, high }] }));
  }

  async #ask(question: (tag: string) => Message): Promise<Message | undefined> {
    const [socket] = this.#sockets;
    if (socket === undefined) return undefined;
    const tag = this.#tag();
    const answer = new Promise<Message | undefined>((resolve) => {
      this.#requests.set(tag, resolve);
      setTimeout(() => resolve(undefined), ANSWER_MS).unref();
    });
    socket.write(serialize(question(tag)));
    return await answer;
  }

  #converse(socket: Socket): void {
    const parser = new Parser();
    socket.setNoDelay(true);
    const link = this.#linkOf(socket);
    this.#reader?.opened(link);
    socket.on("close", () => {
      this.#sockets.delete(socket);
      this.#reader?.closed(link);
    });
    this.#send(socket, { command: "HELO", tag: "", version: "1.0" });
    socket.on("data", (bytes) => {
      for (const message of parser.push(bytes)) {
        const { command } = message;
        if (command === "malformed" || command === "oversized" || command === "unframed") continue;
        const asked =
          "inReplyTo" in message ? this.#requests.get(message.inReplyTo ?? "") : undefined;
        if (asked !== undefined) asked(message);
        else {
          this.#answer(socket, message);
          this.#reader?.heard(link, message);
        }
      }
    });
  }

  #linkOf(socket: Socket): KxLink {
    return {
      ask: (question) => {
        const tag = this.#tag();
        const message: Message =
          question.command === "LIST"
            ? { command: "LIST", tag, ranges: [{ low: question.low, high: question.high }] }
            : { command: "GETUPDATE", tag, numbers: [question.number] };
        if (socket.writable) socket.write(serialize(message));
        return tag;
      },
    };
  }

  #answer(socket: Socket, message: Message): void {
    const newest = this.#updates.length;
    switch (message.command) {
      case "HELO": {
        const announcements = this.#range(Math.max(1, newest), newest);
        this.#send(socket, { command: "IHAVE", tag: "", inReplyTo: undefined, announcements });
        this.#sockets.add(socket);
        break;
      }
      case "IHAVE":
        this.heard.push(...message.announcements);
        for (const { number } of this.isFetching ? message.announcements : []) {
          this.#send(socket, { command: "GETUPDATE", tag: "", numbers: [number] });
        }
        break;
      case "UPDATE":
        this.fetched += 1;
        break;
      case "LIST": {
        const inReplyTo = message.tag;
        const announcements = message.ranges.flatMap(({ low, high }) =>
          this.#range(Math.max(1, low ?? 1), Math.min(newest, high ?? newest)),
        );
        this.#send(socket, { command: "IHAVE", tag: "", inReplyTo, announcements });
        break;
      }
      case "GETUPDATE":
        for (const number of message.numbers) this.#deliver(socket, message.tag, number);
        break;
      case "CLOSE":
        if (message.inReplyTo === undefined) {
          this.#send(socket, { command: "CLOSE", tag: "", inReplyTo: message.tag });
          socket.end();
        }
        break;
      default:
        break;
    }
  }

  #deliver(socket: Socket, inReplyTo: string, number: number): void {
    this.asked.set(number, (this.asked.get(number) ?? 0) + 1);
    const [announcement] = this.#range(number, number);
    const armor = this.#updates[number - 1]?.armor;
    if (announcement === undefined || armor === undefined) {
      const text = `${number} update not available`;
      this.#send(socket, { command: "ERROR", tag: "", inReplyTo, code: 500, text });
      return;
    }
    const bytes = Buffer.from(armor, "latin1");
    this.#send(socket, { command: "UPDATE", tag: "", inReplyTo, announcement, armor: bytes });
  }

  #range(low: number, high: number): Announcement[] {
    return this.#updates.slice(Math.max(0, low - 1), Math.max(0, high)).map(({ update }, index) => {
      const { fingerprint, hash } = update;
      return { number: Math.max(1, low) + index, fingerprint, hash };
    });
  }

  /** The tag of each message is filled in here. */
  #send(socket: Socket, message: Message): void {
    if (socket.writable) socket.write(serialize({ ...message, tag: this.#tag() }));
  }

  #tag(): string {
    this.#tags += 1;
    return this.#tags.toString(36).padStart(4, "0").slice(-4);
  }
}
