/**
 * What the old servers share: they treat a mail as one text, cut at the first empty line, and look
 * for the first armor block in it with no MIME decoding. Also writes armor for altered mails. Every
 * byte is one Latin-1 character here.
 */
import type { Packet } from "./packets.js";

/** What a server made of one mail. */
export interface Reading {
  /** Fingerprints of the keys it took, in order. */
  readonly accepted: readonly string[];
  /** Whether it would leave out `address` when it passes the news on. */
  seenTrail(address: string): boolean;
  /** One line for each thing it did not take, with the reason. */
  readonly refused: readonly string[];
}

export interface Block {
  readonly packets: Uint8Array;
  readonly crc: "right" | "wrong" | "missing";
  readonly crlf: boolean;
}

const BLOCK = new RegExp(
  [
    /^-----BEGIN PGP PUBLIC KEY BLOCK-----[ \t]*(\r?)\n/,
    /(?:[!-9;-~]+: ?[^\n]*\n)*[ \t]*\r?\n/,
    /([A-Za-z0-9+/=\s]*?)(?:^=([A-Za-z0-9+/]{4})\s*?\n)?^-----END PGP PUBLIC KEY BLOCK-----/,
  ]
    .map((part) => part.source)
    .join(""),
  "m",
);

export function textOf(raw: Uint8Array): string {
  return Buffer.from(raw).toString("latin1");
}

/** The head with its last line end, and the body. */
export function cut(text: string): { head: string; body: string } {
  const gap = /\r?\n\r?\n/.exec(text);
  if (gap === null) return { head: text, body: "" };
  const end = gap.index + gap[0].length;
  return { head: `${text.slice(0, gap.index)}\n`, body: text.slice(end) };
}

/** First value of a field, line by line and not unfolded, or undefined. */
export function field(head: string, name: string): string | undefined {
  return new RegExp(`^${name}:[ \\t]*(.*?)\\s*$`, "im").exec(head)?.[1];
}

/** The first armor block of a text, or undefined. */
export function firstBlock(text: string): Block | undefined {
  const match = BLOCK.exec(text);
  if (match === null) return undefined;
  const [, cr, base64 = "", sum] = match;
  const packets = new Uint8Array(Buffer.from(base64.replaceAll(/\s/g, ""), "base64"));
  const crc = sum === undefined ? "missing" : sum === crc24(packets) ? "right" : "wrong";
  return { packets, crc, crlf: cr !== "" };
}

export function refuseAll(reason: string): Reading {
  return { accepted: [], seenTrail: () => false, refused: [reason] };
}

/** An armored block in lines of 64 with LF, as the servers write it. */
export function armored(parts: readonly Uint8Array[], crc: "crc" | "no crc" = "crc"): string {
  const bytes = Buffer.concat(parts);
  const lines = bytes.toString("base64").match(/.{1,64}/g) ?? [];
  return [
    "-----BEGIN PGP PUBLIC KEY BLOCK-----",
    "",
    ...lines,
    ...(crc === "crc" ? [`=${crc24(bytes)}`] : []),
    "-----END PGP PUBLIC KEY BLOCK-----",
    "",
  ].join("\n");
}

export function bytesOf(key: readonly Packet[]): Uint8Array {
  return new Uint8Array(Buffer.concat(key.map((each) => each.bytes)));
}

/** CRC-24 of RFC 9580 section 6.1 as four characters. */
export function crc24(bytes: Uint8Array): string {
  let crc = 0xb704ce;
  for (const byte of bytes) {
    crc ^= byte << 16;
    for (let bit = 0; bit < 8; bit += 1) {
      crc <<= 1;
      if (crc & 0x1000000) crc ^= 0x1864cfb;
    }
  }
  const sum = Buffer.from([(crc >> 16) & 0xff, (crc >> 8) & 0xff, crc & 0xff]);
  return sum.toString("base64");
}
