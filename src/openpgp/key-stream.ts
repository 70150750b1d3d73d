/**
 * Cuts a dump of a keyserver that comes in pieces, binary or armored and of any size, into blocks
 * of whole keys for `readKeys`. Memory is bounded: a block has some megabytes, and at most
 * `maxBytes`. Where the framing of a block is broken, `readKeys` reports it and finds the next key;
 * the key that was cut at the end of such a block is lost.
 *
 * Armor is read leniently here, since a dump is a file of the site's own: text outside of blocks
 * and the checksum are skipped. What is damaged shows as a broken packet.
 */

import { Refusal } from "../errors.js";
import { TAG, walkPackets } from "./packet.js";

export const KEY_STREAM_LIMITS = {
  /** Bytes that are gathered before they are cut. */
  blockBytes: 4 * 1024 * 1024,
  /** Largest key. Keys that were flooded with signatures have more than 50 MB at some servers. */
  maxBytes: 128 * 1024 * 1024,
  /** Longest line of armor that is read; gpg writes 64 characters. */
  lineBytes: 4096,
} as const;

const LF = 0x0a;
const BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END = "-----END PGP ";

export class KeyStream {
  readonly #limits: Record<keyof typeof KEY_STREAM_LIMITS, number>;
  #pieces: Uint8Array[] = [];
  #bytes = 0;
  /** How many bytes must be there before the next attempt to cut. */
  #wanted: number;
  #form: "unknown" | "binary" | "armored" = "unknown";
  #place: "outside" | "headers" | "data" | "after" = "outside";
  /** A line of armor whose end was not received, and base64 that makes no group of four yet. */
  #line = "";
  #base64 = "";

  constructor(limits: Record<keyof typeof KEY_STREAM_LIMITS, number> = KEY_STREAM_LIMITS) {
    this.#limits = limits;
    this.#wanted = limits.blockBytes;
  }

  /** Takes the next piece; returns the blocks that it completes, in order. */
  push(piece: Uint8Array): Uint8Array[] {
    if (piece.length === 0) return [];
    // Bit 7 is set in every packet header and in no ASCII.
    if (this.#form === "unknown") {
      this.#form = ((piece[0] ?? 0) & 0x80) !== 0 ? "binary" : "armored";
    }
    if (this.#form === "armored") return this.#pushArmored(piece);
    this.#keep(piece);
    return this.#cut();
  }

  /** The end of the dump: the rest. */
  end(): Uint8Array[] {
    const more = this.#form === "armored" ? this.#takeLine(this.#line) : [];
    return [...more, ...this.#rest()];
  }

  /** After `end`: whether the dump ended within a block of armor. */
  get isCutOff(): boolean {
    return this.#place !== "outside";
  }

  #keep(piece: Uint8Array): void {
    this.#pieces.push(piece);
    this.#bytes += piece.length;
  }

  #rest(): Uint8Array[] {
    const bytes = this.#bytes === 0 ? [] : [Buffer.concat(this.#pieces)];
    this.#pieces = [];
    this.#bytes = 0;
    this.#wanted = this.#limits.blockBytes;
    return bytes;
  }

  /** Cuts before the last key that has begun. */
  #cut(): Uint8Array[] {
    if (this.#bytes < this.#wanted) return [];
    const [bytes = new Uint8Array()] = this.#rest();
    const end = lastKeyIn(bytes);
    if (end > 0) {
      this.#keep(bytes.subarray(end));
      this.#wanted = Math.max(this.#limits.blockBytes, 2 * this.#bytes);
      return [bytes.subarray(0, end)];
    }
    if (bytes.length >= this.#limits.maxBytes) return [bytes];
    this.#keep(bytes);
    this.#wanted = 2 * this.#bytes;
    return [];
  }

  #pushArmored(piece: Uint8Array): Uint8Array[] {
    const blocks: Uint8Array[] = [];
    let start = 0;
    for (let end = piece.indexOf(LF); end >= 0; end = piece.indexOf(LF, start)) {
      const line = this.#line + latin1(piece.subarray(start, end));
      this.#line = "";
      start = end + 1;
      blocks.push(...this.#takeLine(line));
    }
    this.#line = (this.#line + latin1(piece.subarray(start))).slice(0, this.#limits.lineBytes);
    return blocks;
  }

  #takeLine(text: string): Uint8Array[] {
    const line = text.trim();
    switch (this.#place) {
      case "outside":
        if (line === BEGIN) this.#place = "headers";
        return [];
      case "headers":
        if (line === "") this.#place = "data";
        if (line === "" || line.includes(":")) return [];
        this.#place = "data";
        return this.#takeLine(text);
      default: {
        if (line.startsWith(END)) {
          const rest = this.#decode(
            this.#base64.padEnd(4 * Math.ceil(this.#base64.length / 4), "="),
          );
          this.#base64 = "";
          this.#place = "outside";
          this.#keep(rest);
          return this.#rest();
        }
        if (this.#place === "after" || line.startsWith("=")) {
          this.#place = "after";
          return [];
        }
        const all = this.#base64 + line;
        const whole = all.length - (all.length % 4);
        this.#base64 = all.slice(whole);
        this.#keep(this.#decode(all.slice(0, whole)));
        return this.#cut();
      }
    }
  }

  #decode(base64: string): Uint8Array {
    return Buffer.from(base64, "base64");
  }
}

/** The offset of the last public key packet that the framing leads to; 0 if there is no other. */
function lastKeyIn(bytes: Uint8Array): number {
  let last = 0;
  try {
    for (const { packet, offset } of walkPackets(bytes)) {
      if (packet.tag === TAG.publicKey) last = offset;
    }
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
  }
  return last;
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}
