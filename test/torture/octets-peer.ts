/**
 * A KX/1.1 peer at an address of its own that connects to the gateway and has the feature octets:
 * it shows a log with a name, answers LIST, and answers GETUPDATE with whatever octets it is given.
 */
import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { FEATURES, featuresOf, type Message } from "../../src/kx/messages.js";
import { Parser } from "../../src/kx/parser.js";
import { serialize } from "../../src/kx/serializer.js";
import { readArmor } from "../../src/openpgp/armor.js";
import { encodeKey, readKeys } from "../../src/openpgp/key.js";
import type { LogName } from "../../src/update.js";
import type { Made } from "./material.js";

/** Our words: without "sha256", so that an announcement is the same before OPEN and after. */
const WORDS = FEATURES.filter((word) => word !== "sha256").concat("reconcile");

export interface OctetsPeerOptions {
  readonly port: number;
  readonly from: string;
  /** The name of the log that it shows. */
  readonly log?: LogName;
  /** Its log, from number 1. */
  readonly updates?: readonly Made[];
  /** Performs a GETUPDATE; nothing is sent otherwise. */
  readonly give?: (peer: OctetsPeer, tag: string, numbers: readonly number[]) => void;
}

export class OctetsPeer {
  readonly socket: Socket;
  readonly heard: Message[] = [];
  isClosed = false;
  /** The greeting is over; false if it ended before. */
  readonly opened: Promise<boolean>;
  readonly closed: Promise<void>;
  readonly #options: OctetsPeerOptions;
  readonly #own: { readonly log: LogName; readonly features: readonly string[] };
  readonly #parser = new Parser(undefined, true);
  #isOpen: () => void = () => {};
  #tags = 0;

  constructor(options: OctetsPeerOptions) {
    const { port, from, log } = options;
    this.#options = options;
    this.#own = { log: log ?? logName(), features: WORDS };
    this.socket = connect({ host: "127.0.0.1", port, localAddress: from, noDelay: true });
    this.socket.on("error", () => this.socket.destroy());
    this.socket.on("data", (bytes) => {
      for (const one of this.#parser.reading(bytes)) {
        if (one.command !== "malformed" && one.command !== "unframed") {
          if (one.command !== "oversized") this.#take(one);
        }
      }
    });
    this.closed = new Promise((resolve) => {
      this.socket.on("close", () => {
        this.isClosed = true;
        resolve();
      });
    });
    const open = new Promise<void>((resolve) => {
      this.#isOpen = resolve;
    });
    this.opened = Promise.race([open, this.closed]).then(() => !this.isClosed);
    this.write(serialize({ command: "HELO", tag: "KX11", version: "1.0" }));
  }

  write(bytes: Uint8Array): void {
    if (!this.isClosed) this.socket.write(bytes);
  }

  /** Writes a text in which `|` ends a line; resolves when the socket takes more. */
  async say(text: string): Promise<void> {
    if (this.isClosed || this.socket.write(text.replaceAll("|", "\r\n"), "latin1")) return;
    const drained = new Promise<void>((resolve) => this.socket.once("drain", resolve));
    await Promise.race([drained, this.closed]);
  }

  /** A tag that is not used yet. */
  tag(): string {
    this.#tags += 1;
    return `p${this.#tags.toString(36).padStart(3, "0")}`;
  }

  /** An UPDATE of octets with one update, as the answer to a GETUPDATE. */
  frame(inReplyTo: string, number: number, { armor }: Made): Buffer {
    const [block] = readArmor(Buffer.from(armor));
    const [key] = block instanceof Error || block === undefined ? [] : readKeys(block.data);
    if (key === undefined || key instanceof Error) throw new Error("the key that was made is none");
    const deliveries = [{ number, packets: encodeKey(key) }];
    const tag = this.tag();
    return Buffer.from(serialize({ command: "DELIVERY", tag, inReplyTo, deliveries }));
  }

  /** Messages of a command that quote a tag. */
  answers(command: Message["command"], tag?: string): Message[] {
    return this.heard.filter((one) => {
      const quoted = "inReplyTo" in one ? one.inReplyTo : undefined;
      return one.command === command && (tag === undefined || quoted === tag);
    });
  }

  #take(message: Message): void {
    this.heard.push(message);
    const { updates = [], give } = this.#options;
    switch (message.command) {
      case "HELO":
        this.#say({ command: "IHAVE", inReplyTo: undefined }, updates.length);
        this.write(serialize({ command: "OPEN", tag: this.tag(), ...this.#own }));
        break;
      case "OPEN":
        this.#parser.features = featuresOf(message, this.#own);
        this.#isOpen();
        break;
      case "LIST":
        this.#say({ command: "IHAVE", inReplyTo: message.tag }, 1, message.ranges[0]);
        break;
      case "GETUPDATE":
        give?.(this, message.tag, message.numbers);
        break;
      default:
    }
  }

  /** Announces our numbers from `first` on that are in the range. */
  #say(
    reply: { readonly command: "IHAVE"; readonly inReplyTo: string | undefined },
    first: number,
    {
      low = 0,
      high = Infinity,
    }: { readonly low?: number | undefined; readonly high?: number | undefined } = {},
  ): void {
    const { updates = [] } = this.#options;
    const announcements = updates.flatMap(({ update: { fingerprint, hash } }, n) => {
      const number = n + 1;
      const isShown = number >= Math.max(first, low) && number <= high;
      return isShown ? [{ number, fingerprint, hash }] : [];
    });
    this.write(serialize({ ...reply, tag: this.tag(), announcements }));
  }
}

export function logName(): LogName {
  return randomBytes(16).toString("hex") as LogName;
}
