/**
 * The oracles' own packet walker: bytes to packets, packets to keys, a key to its fingerprint. A
 * second opinion, so it shares nothing with src/openpgp: headers, versions and lengths only, and
 * what it cannot walk it says by returning undefined (RFC 9580 sections 4.2 and 5.5.4).
 */
import { createHash } from "node:crypto";

export const TAG = { signature: 2, key: 6, trust: 12, userId: 13, subkey: 14, attribute: 17 };

export interface Packet {
  readonly tag: number;
  readonly newFormat: boolean;
  readonly body: Uint8Array;
  /** Header and body as they were found. */
  readonly bytes: Uint8Array;
}

/** The packets in order, or undefined when the bytes do not end where a packet does. */
export function walk(bytes: Uint8Array): Packet[] | undefined {
  const packets: Packet[] = [];
  let at = 0;
  while (at < bytes.length) {
    const header = headerAt(bytes, at);
    if (header === undefined) return undefined;
    const end = header.bodyAt + header.length;
    if (end > bytes.length) return undefined;
    packets.push({
      tag: header.tag,
      newFormat: header.newFormat,
      body: bytes.subarray(header.bodyAt, end),
      bytes: bytes.subarray(at, end),
    });
    at = end;
  }
  return packets;
}

function headerAt(bytes: Uint8Array, at: number) {
  const octet = (offset: number) => bytes[at + offset] ?? Number.NaN;
  const big = (from: number, count: number) => {
    let value = 0;
    for (let i = 0; i < count; i += 1) value = value * 256 + octet(from + i);
    return value;
  };
  const first = octet(0);
  if (!(first & 0x80)) return undefined;
  const newFormat = (first & 0x40) !== 0;
  let size: number;
  let length: number;
  if (newFormat) {
    const lead = octet(1);
    size = lead < 192 ? 1 : lead < 224 ? 2 : 5;
    if (lead >= 224 && lead < 255) return undefined;
    length = size === 1 ? lead : size === 2 ? (lead - 192) * 256 + octet(2) + 192 : big(2, 4);
  } else {
    if ((first & 3) === 3) return undefined;
    size = [1, 2, 4][first & 3] ?? 4;
    length = big(1, size);
  }
  if (Number.isNaN(length)) return undefined;
  const tag = newFormat ? first & 0x3f : (first >> 2) & 0x0f;
  return { tag, newFormat, length, bodyAt: at + 1 + size };
}

/** Packets by key: each group begins with a primary key, except a first one that has none. */
export function keysOf(packets: readonly Packet[]): Packet[][] {
  const keys: Packet[][] = [];
  for (const packet of packets) {
    const current = keys.at(-1);
    if (packet.tag === TAG.key || current === undefined) keys.push([packet]);
    else current.push(packet);
  }
  return keys;
}

export function versionOf(key: readonly Packet[]): number {
  return key[0]?.tag === TAG.key ? (key[0].body[0] ?? 0) : 0;
}

/** Public-key algorithm of the primary key: 1 RSA, 17 DSA, 22 EdDSA and so on. */
export function algorithmOf(key: readonly Packet[]): number {
  return key[0]?.body[versionOf(key) <= 3 ? 7 : 5] ?? 0;
}

/** Upper-case hex fingerprint of the primary key of a v4, v5 or v6 key; "v3" for the old ones. */
export function fingerprintOf(key: readonly Packet[]): string {
  const body = key[0]?.body ?? new Uint8Array();
  const version = versionOf(key);
  if (version < 4) return `v${version}`;
  const hash = createHash(version === 4 ? "sha1" : "sha256");
  const prefix = Buffer.alloc(version === 4 ? 3 : 5);
  prefix[0] = version === 4 ? 0x99 : 0x95 + version;
  prefix.writeUIntBE(body.length, 1, prefix.length - 1);
  return hash.update(prefix).update(body).digest("hex").toUpperCase();
}

/** One packet with an old-format header (tags to 15) or a new-format one, for altered mails. */
export function packet(tag: number, body: Uint8Array, format: "old" | "new"): Uint8Array {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  const header = format === "old" ? [0x82 | (tag << 2)] : [0xc0 | tag, 0xff];
  return new Uint8Array([...header, ...length, ...body]);
}
