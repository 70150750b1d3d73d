/**
 * The data of an IHAVE and of an UPDATE as octets (feature "octets" of KX/1.1, docs/protocol.md),
 * and their compression. Integers have four octets, the most significant first. Everything is
 * written and read in one pass, and a reader returns undefined for data of another form.
 *
 * Key packets cannot be compressed, so an UPDATE is not. Of a listing a tenth is saved; it is
 * compressed in parts, as it is read from the log, so that no part takes long.
 */
import { constants, deflateRawSync, inflateRawSync } from "node:zlib";
import type { UpdateDigest, UpdateHash } from "../update.js";
import { type Announcement, type Delivery, MAX_NUMBER } from "./messages.js";

const NUMBER_BYTES = 4;
const HASH_BYTES = 16;
const DIGEST_BYTES = 32;
/** Octets of a fingerprint; none if it is not known. */
const FINGERPRINTS: ReadonlySet<number> = new Set([0, 16, 20, 32]);
/** An empty last block: what is in front of it was compressed part by part. */
const LAST_BLOCK = Buffer.of(0x03, 0x00);

/** Announcements one after the other; with their SHA-256 if `hasDigest`. */
export function writeAnnouncements(all: readonly Announcement[], hasDigest: boolean): Buffer {
  const most = NUMBER_BYTES + 1 + DIGEST_BYTES + HASH_BYTES + DIGEST_BYTES;
  const octets = Buffer.allocUnsafe(all.length * most);
  let at = 0;
  for (const { number, fingerprint = "", hash, digest = "" } of all) {
    at = octets.writeUInt32BE(number, at);
    at = octets.writeUInt8(fingerprint.length / 2, at);
    at += octets.write(fingerprint, at, "hex");
    at += octets.write(hash, at, "hex");
    if (hasDigest) at += octets.write(digest, at, "hex");
  }
  return octets.subarray(0, at);
}

/** Reads at most `most` announcements, and nothing else. */
export function readAnnouncements(
  octets: Buffer,
  hasDigest: boolean,
  most: number,
): Announcement[] | undefined {
  const found: Announcement[] = [];
  const rest = HASH_BYTES + (hasDigest ? DIGEST_BYTES : 0);
  for (let at = 0; at < octets.length; ) {
    const length = octets[at + NUMBER_BYTES] ?? -1;
    const from = at + NUMBER_BYTES + 1;
    const hashAt = from + length;
    const end = hashAt + rest;
    if (!FINGERPRINTS.has(length) || end > octets.length || found.length >= most) return undefined;
    const number = octets.readUInt32BE(at);
    if (number > MAX_NUMBER) return undefined;
    const name = octets.toString("hex", from, hashAt).toUpperCase();
    const fingerprint = length === 0 ? undefined : name;
    const digestAt = hashAt + HASH_BYTES;
    const hash = octets.toString("hex", hashAt, digestAt) as UpdateHash;
    const digest = octets.toString("hex", digestAt, end) as UpdateDigest;
    found.push(hasDigest ? { number, fingerprint, hash, digest } : { number, fingerprint, hash });
    at = end;
  }
  return found;
}

/** Updates one after the other: number, length, packets. */
export function writeDeliveries(all: readonly Delivery[]): Buffer {
  return Buffer.concat(
    all.flatMap(({ number, packets = new Uint8Array(0) }) => {
      const head = Buffer.allocUnsafe(2 * NUMBER_BYTES);
      head.writeUInt32BE(packets.length, head.writeUInt32BE(number, 0));
      return [head, packets];
    }),
  );
}

/** Reads 1 to `most` updates, and nothing else. The packets are views of `octets`. */
export function readDeliveries(octets: Buffer, most: number): Delivery[] | undefined {
  const found: Delivery[] = [];
  for (let at = 0; at < octets.length; ) {
    const from = at + 2 * NUMBER_BYTES;
    if (from > octets.length || found.length >= most) return undefined;
    const number = octets.readUInt32BE(at);
    const end = from + octets.readUInt32BE(at + NUMBER_BYTES);
    if (number > MAX_NUMBER || end > octets.length) return undefined;
    found.push({ number, packets: end === from ? undefined : octets.subarray(from, end) });
    at = end;
  }
  return found.length === 0 ? undefined : found;
}

/** A part of what is compressed; `joined` makes a whole of the parts. */
export function deflatedPart(octets: Uint8Array): Buffer {
  return deflateRawSync(octets, { level: 1, finishFlush: constants.Z_SYNC_FLUSH });
}

export function joined(parts: readonly Uint8Array[]): Buffer {
  return Buffer.concat([...parts, LAST_BLOCK]);
}

/**
 * The octets that were compressed; undefined if they are not exactly `length`, and if something
 * follows them. No more than `length` octets are ever written.
 */
export function inflated(octets: Uint8Array, length: number): Buffer | undefined {
  try {
    // The types of Node do not know what `info` returns.
    const { buffer, engine } = inflateRawSync(octets, {
      maxOutputLength: Math.max(1, length),
      info: true,
    }) as unknown as { buffer: Buffer; engine: { bytesWritten: number } };
    return buffer.length === length && engine.bytesWritten === octets.length ? buffer : undefined;
  } catch {
    return undefined;
  }
}
