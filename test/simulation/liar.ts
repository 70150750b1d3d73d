/**
 * How a neighbour lies on the wire. It is a gateway like any other, save that its messages pass
 * through here: it keeps UPDATEs back (stall), sends a key that is not the announced one (wrong
 * body), announces numbers that it has not got (forge) or thousands of them (flood), announces the
 * same again and again (repeat), and breaks the line in the middle of things (reset).
 */
import { createHash } from "node:crypto";
import { type Announcement, type Features, NO_FEATURES } from "../../src/kx/messages.js";
import { type Parsed, Parser } from "../../src/kx/parser.js";
import { serialize } from "../../src/kx/serializer.js";
import { encodeKey } from "../../src/openpgp/key.js";
import type { UpdateDigest, UpdateHash } from "../../src/update.js";
import type { Dice } from "./dice.js";
import { armored, type Keys } from "./material.js";
import type { EventQueue } from "./queue.js";
import type { Trace } from "./trace.js";

export const LIES = ["stall", "wrong body", "forge", "flood", "repeat", "reset"] as const;
export type Lie = (typeof LIES)[number];

/** What the liar can do on one line. */
export interface Wire {
  write(bytes: Uint8Array): void;
  break(): void;
}

const FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567";
const FLOOD_LINES = 400;
const REPEAT_MS = 3000;
const REPEATS = 8;

/** What two gateways of KX/1.1 use after the greeting. */
const OCTETS: Features = { ...NO_FEATURES, sha256: true, octets: true };

/** Our own message, as the peer will read it. */
function read(bytes: Uint8Array, features: Features): Parsed {
  const parser = new Parser();
  parser.features = features;
  const [message] = parser.push(bytes);
  if (message === undefined) throw new Error("a liar says half a message");
  return message;
}

export class Liar {
  readonly #lies: readonly Lie[];
  readonly #dice: Dice;
  readonly #queue: EventQueue;
  readonly #trace: Trace;
  readonly #keys: Keys;
  #tag = 0;
  isQuiet = false;

  constructor(lies: readonly Lie[], queue: EventQueue, dice: Dice, trace: Trace, keys: Keys) {
    this.#lies = lies;
    this.#queue = queue;
    this.#dice = dice;
    this.#trace = trace;
    this.#keys = keys;
  }

  /** Passes one message on, or what becomes of it. */
  say(bytes: Uint8Array, wire: Wire): void {
    if (this.isQuiet) return wire.write(bytes);
    const text = Buffer.from(bytes).toString("latin1");
    const [tag = "", commandLine = ""] = text.slice(0, 64).split("\r\n");
    const [command, length] = commandLine.split(" ");
    const features = length === undefined ? NO_FEATURES : OCTETS;
    if (command === "UPDATE") return this.#update(bytes, features, wire);
    wire.write(bytes);
    if (command !== "IHAVE" || tag === "0002") return;
    const message = read(bytes, features);
    if (message.command !== "IHAVE" || message.inReplyTo !== undefined) return;
    const last = message.announcements.at(-1);
    if (last !== undefined) this.#announced(last, features, wire);
  }

  #update(bytes: Uint8Array, features: Features, wire: Wire): void {
    if (this.#tells("stall", 0.7)) return;
    if (this.#tells("reset", 0.3)) {
      wire.write(bytes.subarray(0, bytes.length >> 1));
      return wire.break();
    }
    if (!this.#tells("wrong body", 0.7)) return wire.write(bytes);
    const message = read(bytes, features);
    const { key } = this.#keys.next();
    if (message.command === "UPDATE") {
      const armor = Buffer.from(armored(key), "latin1");
      wire.write(serialize({ ...message, armor }, features));
    } else if (message.command === "DELIVERY") {
      const packets = encodeKey(key);
      const deliveries = message.deliveries.map(({ number }) => ({ number, packets }));
      wire.write(serialize({ ...message, deliveries }, features));
    }
  }

  #announced(last: Announcement, features: Features, wire: Wire): void {
    const { number } = last;
    if (this.#tells("forge", 0.3)) {
      const far = this.#dice.pick([1, 5, 900, 1100, 100_000, 2 ** 31 - 1 - number]);
      this.#notice([this.#invented(Math.min(number + far, 2 ** 31 - 1))], features, wire);
    }
    if (this.#tells("flood", 0.1)) {
      const many = Array.from({ length: FLOOD_LINES }, (_, index) =>
        this.#invented(number + 1 + index),
      );
      this.#notice(many, features, wire);
    }
    if (!this.#tells("repeat", 0.5)) return;
    for (let times = 1; times <= REPEATS; times += 1) {
      this.#queue.after(times * REPEAT_MS, "a liar repeats itself", () => {
        if (!this.isQuiet) this.#notice([last], features, wire);
      });
    }
  }

  #notice(announcements: readonly Announcement[], features: Features, wire: Wire): void {
    this.#tag += 1;
    const tag = `#${String(this.#tag % 1000).padStart(3, "0")}`;
    const notice = { command: "IHAVE", tag, inReplyTo: undefined, announcements } as const;
    wire.write(serialize(notice, features));
  }

  #invented(number: number): Announcement {
    const hash = createHash("md5").update(`${this.#dice.next()}`).digest("hex") as UpdateHash;
    const digest = `${hash}${hash}` as UpdateDigest;
    return { number, fingerprint: FINGERPRINT, hash, digest };
  }

  #tells(lie: Lie, share: number): boolean {
    if (!this.#lies.includes(lie) || !this.#dice.chance(share)) return false;
    this.#trace.sometimes(`lie: ${lie}`);
    return true;
  }
}
