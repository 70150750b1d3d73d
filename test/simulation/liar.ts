/**
 * How a neighbour lies on the wire. It is a gateway like any other, save that its messages pass
 * through here: it keeps UPDATEs back (stall), sends a key that is not the announced one (wrong
 * body), announces numbers that it has not got (forge) or thousands of them (flood), announces the
 * same again and again (repeat), and breaks the line in the middle of things (reset).
 */
import { createHash } from "node:crypto";
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
    const text = Buffer.from(bytes).toString("latin1");
    const [tag = "", command = "", reply = ""] = text.slice(0, 64).split("\r\n");
    if (this.isQuiet) return wire.write(bytes);
    if (command === "UPDATE") return this.#update(text, bytes, wire);
    wire.write(bytes);
    if (command !== "IHAVE" || reply !== "NOTIFY") return;
    const [last] = /\d+ [0-9A-F]+ [0-9a-f]{32}(?=\r\n\.\r\n$)/.exec(text) ?? [];
    if (last === undefined || tag === "0002") return;
    this.#announced(last, wire);
  }

  #update(text: string, bytes: Uint8Array, wire: Wire): void {
    if (this.#tells("stall", 0.7)) return;
    if (this.#tells("reset", 0.3)) {
      wire.write(bytes.subarray(0, bytes.length >> 1));
      return wire.break();
    }
    if (this.#tells("wrong body", 0.7)) {
      const head = text.slice(0, text.indexOf("-----BEGIN"));
      const armor = armored(this.#keys.next().key).replaceAll(/\r?\n/g, "\r\n");
      return wire.write(Buffer.from(`${head}${armor.trimEnd()}\r\n.\r\n`, "latin1"));
    }
    wire.write(bytes);
  }

  #announced(last: string, wire: Wire): void {
    const number = Number(last.split(" ")[0]);
    if (this.#tells("forge", 0.3)) {
      const far = this.#dice.pick([1, 5, 900, 1100, 100_000, 2 ** 31 - 1 - number]);
      this.#notice([this.#invented(Math.min(number + far, 2 ** 31 - 1))], wire);
    }
    if (this.#tells("flood", 0.1)) {
      const lines = Array.from({ length: FLOOD_LINES }, (_, index) =>
        this.#invented(number + 1 + index),
      );
      this.#notice(lines, wire);
    }
    if (!this.#tells("repeat", 0.5)) return;
    for (let times = 1; times <= REPEATS; times += 1) {
      this.#queue.after(times * REPEAT_MS, "a liar repeats itself", () => {
        if (!this.isQuiet) this.#notice([last], wire);
      });
    }
  }

  #notice(lines: readonly string[], wire: Wire): void {
    this.#tag += 1;
    const tag = `#${String(this.#tag % 1000).padStart(3, "0")}`;
    const text = [tag, "IHAVE", "NOTIFY", ...lines, ".", ""].join("\r\n");
    wire.write(Buffer.from(text, "latin1"));
  }

  #invented(number: number): string {
    const hash = createHash("md5").update(`${this.#dice.next()}`).digest("hex");
    return `${number} ${FINGERPRINT} ${hash}`;
  }

  #tells(lie: Lie, share: number): boolean {
    if (!this.#lies.includes(lie) || !this.#dice.chance(share)) return false;
    this.#trace.sometimes(`lie: ${lie}`);
    return true;
  }
}
