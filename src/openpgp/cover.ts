/**
 * Whether one transferable key holds all packets of another: who took the first needs nothing of
 * the second. Packets are compared by their contents; where they stand makes no difference. Pure.
 */
import { Refusal } from "../errors.js";
import { type Packet, packetKey, readPackets } from "./packet.js";

/** False when either cannot be read, or when there is no `part`. */
export function isCovered(part: Uint8Array | undefined, whole: Uint8Array): boolean {
  const [some, all] = [packetsOf(part), packetsOf(whole)];
  if (some === undefined || all === undefined) return false;
  const names = new Set(all.map(packetKey));
  return some.every((packet) => names.has(packetKey(packet)));
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
