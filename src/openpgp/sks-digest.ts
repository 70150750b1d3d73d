/**
 * The MD5 by which SKS and Hockeypuck name a whole key: its packets in the order of tag and octets,
 * each as tag, length (both 32 bits, big-endian) and body. Trust packets belong to it in SKS and
 * not in Hockeypuck.
 */
import { createHash } from "node:crypto";
import { comparePackets, type Packet, readPackets, TAG } from "./packet.js";

/** The names that a key in binary form may have, the usual one first. Throws Refusal. */
export function sksDigests(key: Uint8Array): Buffer[] {
  const packets = readPackets(key).toSorted(comparePackets);
  const others = packets.filter(({ tag }) => tag !== TAG.trust);
  return others.length === packets.length ? [digest(packets)] : [digest(packets), digest(others)];
}

function digest(packets: readonly Packet[]): Buffer {
  const hash = createHash("md5");
  const head = Buffer.alloc(8);
  for (const { tag, body } of packets) {
    head.writeUInt32BE(tag);
    head.writeUInt32BE(body.length, 4);
    hash.update(head).update(body);
  }
  return hash.digest();
}
