/**
 * The update hash, by which all servers identify an update (thesis 4.2).
 *
 * The input is each packet in canonical order as `0xC0|tag`, `0xFF`, a four-octet length, and the
 * body. This length format is possible for every packet. The thesis omits the length; then octets
 * could move from one packet to the next one without a change of the hash. The hash is MD5. The
 * SHA-256 of the same input distinguishes two updates with the same MD5.
 */
import { createHash, type Hash, hash } from "node:crypto";
import { finish, type Steps } from "../steps.js";
import type { UpdateDigest, UpdateHash } from "../update.js";
import { keyPackets, type TransferableKey } from "./key.js";
import type { Packet } from "./packet.js";

/** Packets are hashed in pieces of this size: one call per piece instead of two per packet. */
const PIECE_BYTES = 64 * 1024;
const HEADER_BYTES = 6;

/** The two names of an update. */
export interface UpdateName {
  readonly hash: UpdateHash;
  readonly digest: UpdateDigest;
}

export function updateHash(key: TransferableKey): UpdateName {
  return finish(namingUpdate(key));
}

/** The same in steps: a key may have 8 MiB and 100,000 packets. */
export function* namingUpdate(key: TransferableKey): Steps<UpdateName> {
  const packets = keyPackets(key);
  const total = packets.reduce((sum, { body }) => sum + HEADER_BYTES + body.length, 0);
  if (total <= PIECE_BYTES) return nameOf(packets, total);
  const hashes: readonly [Hash, Hash] = [createHash("md5"), createHash("sha256")];
  const feed = (octets: Uint8Array): void => {
    for (const one of hashes) one.update(octets);
  };
  const piece = Buffer.allocUnsafe(PIECE_BYTES);
  let used = 0;
  for (const packet of packets) {
    const { body } = packet;
    const fits = HEADER_BYTES + body.length <= piece.length;
    if (used + HEADER_BYTES + (fits ? body.length : 0) > piece.length) {
      feed(piece.subarray(0, used));
      used = 0;
      yield;
    }
    used = writeHeader(piece, used, packet);
    if (fits) {
      piece.set(body, used);
      used += body.length;
    } else {
      feed(piece.subarray(0, used));
      feed(body);
      used = 0;
    }
  }
  feed(piece.subarray(0, used));
  const [md5, sha256] = hashes;
  return {
    hash: md5.digest("hex") as UpdateHash,
    digest: sha256.digest("hex") as UpdateDigest,
  };
}

/** The name of a small key. A hash in one call takes two thirds of the time. */
function nameOf(packets: readonly Packet[], total: number): UpdateName {
  const octets = Buffer.allocUnsafe(total);
  let used = 0;
  for (const packet of packets) {
    used = writeHeader(octets, used, packet);
    octets.set(packet.body, used);
    used += packet.body.length;
  }
  return {
    hash: hash("md5", octets) as UpdateHash,
    digest: hash("sha256", octets) as UpdateDigest,
  };
}

/** Writes what is hashed before the body, and returns the offset after it. */
function writeHeader(octets: Buffer, offset: number, { tag, body }: Packet): number {
  octets.writeUInt16BE(((0xc0 | tag) << 8) | 0xff, offset);
  return octets.writeUInt32BE(body.length, offset + 2);
}
