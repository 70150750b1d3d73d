/**
 * Whether one transferable key holds all packets of another. A server that took the first then
 * needs nothing of the second. Packets are compared by their contents and not by position. Pure.
 */
import { Refusal } from "../errors.js";
import { type Packet, packetKey, readPackets } from "./packet.js";

/** False when either cannot be read, or when there is no `part`. */
export function isCovered(part: Uint8Array | undefined, whole: Uint8Array): boolean {
  return coveredBy(whole)(part);
}

/** The same for several parts of one key, which is read once. */
export function coveredBy(whole: Uint8Array): (part: Uint8Array | undefined) => boolean {
  const names = new Set(packetsOf(whole)?.map(packetKey));
  return (part) => packetsOf(part)?.every((packet) => names.has(packetKey(packet))) ?? false;
}

function packetsOf(bytes: Uint8Array | undefined): Packet[] | undefined {
  if (bytes === undefined) return undefined;
  try {
    return readPackets(bytes);
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}
