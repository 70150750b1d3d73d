/**
 * Reads and writes OpenPGP packet framing: octets to (tag, body) and back (RFC 9580 section 4.2).
 *
 * Bodies are views of the input, so a caller that keeps a packet keeps the whole input. Bodies are
 * not interpreted. Partial and indeterminate lengths are refused, since keys must not use them and
 * a key must have only one framing. Headers are written in the old format up to tag 15, which
 * pksd 0.9.6 requires.
 */
import { Refusal } from "../errors.js";

/** The packet tags that the gateway distinguishes. */
export const TAG = {
  signature: 2,
  secretKey: 5,
  publicKey: 6,
  secretSubkey: 7,
  marker: 10,
  trust: 12,
  userId: 13,
  publicSubkey: 14,
  userAttribute: 17,
  padding: 21,
} as const;

/** One packet: `tag` 0 to 63, `body` without its header. */
export interface Packet {
  readonly tag: number;
  readonly body: Uint8Array;
}

const MAX_OLD_TAG = 15;

/**
 * Yields the packets of `data` from offset `start` on, each with the offset of its header.
 * Throws Refusal 'bad-packet' where the framing breaks; packets yielded before remain valid.
 */
export function* walkPackets(
  data: Uint8Array,
  start = 0,
): Generator<{ packet: Packet; offset: number }> {
  const octets = bufferOf(data);
  let offset = start;
  while (offset < data.length) {
    const header = readHeader(octets, offset);
    const { tag, end } = header;
    yield { packet: { tag, body: data.subarray(header.start, end) }, offset };
    offset = end;
  }
}

/** The packet whose header is at `offset`; undefined without a complete packet there. */
export function packetAt(data: Uint8Array, offset: number): Packet | undefined {
  try {
    return walkPackets(data, offset).next().value?.packet;
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

/**
 * Walks over the packets of `data` without an object for each: what is compared for every update is
 * read in this way. `next` throws Refusal 'bad-packet' where the framing breaks.
 */
export class PacketCursor {
  readonly data: Buffer;
  /** Tag of the packet; -1 before the first and after the last one. */
  tag = -1;
  /** Offset of its header, and of its body. */
  at = 0;
  start = 0;
  end = 0;

  constructor(data: Uint8Array) {
    this.data = bufferOf(data);
  }

  /** Goes to the packet whose header is at `offset`, by default to the next one. */
  next(offset = this.end): void {
    this.at = offset;
    if (offset >= this.data.length) {
      this.tag = -1;
      return;
    }
    const { tag, start, end } = readHeader(this.data, offset);
    this.tag = tag;
    this.start = start;
    this.end = end;
  }

  get body(): Uint8Array {
    return this.data.subarray(this.start, this.end);
  }

  /** As `comparePackets`. */
  compare(other: PacketCursor): number {
    const { data, start, end } = other;
    return this.tag - other.tag || this.data.compare(data, start, end, this.start, this.end);
  }
}

/** Whether `data` is whole packets from its start to its end, whatever is in them. */
export function isFramed(data: Uint8Array): boolean {
  try {
    const cursor = new PacketCursor(data);
    for (cursor.next(); cursor.tag !== -1; ) cursor.next();
    return true;
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}

/** All packets of `data`; bodies are views of it. Throws Refusal 'bad-packet'. */
export function readPackets(data: Uint8Array): Packet[] {
  return Array.from(walkPackets(data), ({ packet }) => packet);
}

/** Encodes a packet with the shortest header: old format up to tag 15, new format above. */
export function encodePacket(packet: Packet): Uint8Array {
  return encodePackets([packet]);
}

/** Encodes packets like `encodePacket`, concatenated. */
export function encodePackets(packets: readonly Packet[]): Uint8Array {
  const out = new Uint8Array(encodedSize(packets));
  const view = new DataView(out.buffer);
  let offset = 0;
  for (const { tag, body } of packets) {
    offset = writeHeader(view, offset, tag, body.length);
    out.set(body, offset);
    offset += body.length;
  }
  return out;
}

/** The size of the output of `encodePackets`. */
export function encodedSize(packets: readonly Packet[]): number {
  let size = 0;
  for (const { tag, body } of packets) size += headerSize(tag, body.length) + body.length;
  return size;
}

/** Canonical order: memcmp of `0xC0|tag` and the body; a prefix sorts first (thesis 4.2). */
export function comparePackets(a: Packet, b: Packet): number {
  return a.tag - b.tag || Buffer.compare(a.body, b.body);
}

/** A string that is equal exactly for equal packets. */
export function packetKey({ tag, body }: Packet): string {
  const octets = bufferOf(body);
  return `${tag} ${octets.toString("latin1")}`;
}

function readHeader(octets: Buffer, offset: number): { tag: number; start: number; end: number } {
  const first = octets.readUInt8(offset);
  if ((first & 0x80) === 0) throw broken(offset, "no packet starts here");
  const isNew = (first & 0x40) !== 0;
  const tag = isNew ? first & 0x3f : (first >> 2) & 0x0f;
  const lengthSize = isNew ? newLengthSize(octets, offset) : oldLengthSize(first, offset);
  const start = offset + 1 + lengthSize;
  if (start > octets.length) throw broken(offset, "the packet header is cut off");
  const end =
    start + (isNew ? newLength(octets, offset + 1) : oldLength(octets, offset + 1, start));
  if (end > octets.length) throw broken(offset, "the packet is cut off");
  return { tag, start, end };
}

function oldLengthSize(first: number, offset: number): number {
  const type = first & 0x03;
  if (type === 3) throw broken(offset, "a packet of indeterminate length");
  return 1 << type;
}

function oldLength(octets: Buffer, at: number, end: number): number {
  switch (end - at) {
    case 1:
      return octets.readUInt8(at);
    case 2:
      return octets.readUInt16BE(at);
    default:
      return octets.readUInt32BE(at);
  }
}

function newLengthSize(octets: Buffer, offset: number): number {
  if (offset + 1 >= octets.length) throw broken(offset, "the packet header is cut off");
  const octet = octets.readUInt8(offset + 1);
  if (octet < 192) return 1;
  if (octet < 224) return 2;
  if (octet < 255) throw broken(offset, "a packet of partial length");
  return 5;
}

function newLength(octets: Buffer, at: number): number {
  const octet = octets.readUInt8(at);
  if (octet < 192) return octet;
  if (octet < 224) return ((octet - 192) << 8) + octets.readUInt8(at + 1) + 192;
  return octets.readUInt32BE(at + 1);
}

function headerSize(tag: number, length: number): number {
  if (tag <= MAX_OLD_TAG) return length < 0x100 ? 2 : length < 0x10000 ? 3 : 5;
  return length < 192 ? 2 : length < 8384 ? 3 : 6;
}

/** Writes the header and returns the offset after it. */
function writeHeader(view: DataView, offset: number, tag: number, length: number): number {
  const size = headerSize(tag, length);
  if (tag <= MAX_OLD_TAG) {
    const type = size === 2 ? 0 : size === 3 ? 1 : 2;
    view.setUint8(offset, 0x80 | (tag << 2) | type);
    if (type === 0) view.setUint8(offset + 1, length);
    else if (type === 1) view.setUint16(offset + 1, length);
    else view.setUint32(offset + 1, length);
  } else {
    view.setUint8(offset, 0xc0 | tag);
    if (size === 2) view.setUint8(offset + 1, length);
    else if (size === 3) view.setUint16(offset + 1, length - 192 + 0xc000);
    else {
      view.setUint8(offset + 1, 0xff);
      view.setUint32(offset + 2, length);
    }
  }
  return offset + size;
}

function broken(offset: number, what: string): Refusal {
  return new Refusal("bad-packet", `${what} (offset ${offset})`);
}

/** The same octets as a Buffer, not copied. */
export function bufferOf(data: Uint8Array): Buffer {
  const { buffer, byteOffset, byteLength } = data;
  return Buffer.isBuffer(data) ? data : Buffer.from(buffer, byteOffset, byteLength);
}
