/**
 * Hockeypuck 2.3 takes no mail at all. This oracle reads the armor of the mail's body as its
 * /pks/add would: keys of all versions and algorithms, both header formats, CRC not needed. It
 * knows no trail. Its checks of self-signatures and sizes are not modelled.
 */
import { fingerprintOf, keysOf, versionOf, walk } from "./packets.js";
import { cut, firstBlock, type Reading, refuseAll, textOf } from "./raw-mail.js";

export function read(raw: Uint8Array): Reading {
  const block = firstBlock(cut(textOf(raw)).body);
  if (block === undefined) return refuseAll("no armor");
  if (block.crc === "wrong") return refuseAll("CRC wrong");
  const packets = walk(block.packets);
  if (packets === undefined) return refuseAll("packets end early");
  const keys = keysOf(packets).filter((key) => versionOf(key) > 0);
  return { accepted: keys.map(fingerprintOf), refused: [], seenTrail: () => false };
}
