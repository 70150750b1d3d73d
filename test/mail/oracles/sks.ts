/**
 * SKS 1.1.6 as it was measured: any subject (procmail filters before it), no From needed, the first
 * armor block of the raw file with a right CRC. A packet of an unknown tag refuses its whole key;
 * so does a subkey of another version than 4 ("Fingerprint.from_packet: Unexpected version number"
 * in its log), although it answers over HKP that the key was added. A key of version 5 or above
 * loses itself and all that follows it. Takes keys without a user id, new headers, attributes and
 * CRLF. It never reads the trail, and passes nothing on that came by mail.
 */
import { fingerprintOf, keysOf, TAG, versionOf, walk } from "./packets.js";
import { firstBlock, type Reading, refuseAll, textOf } from "./raw-mail.js";

const KNOWN_TAGS: readonly number[] = Object.values(TAG);

export function read(raw: Uint8Array): Reading {
  const block = firstBlock(textOf(raw));
  if (block === undefined) return refuseAll("no armor");
  if (block.crc !== "right") return refuseAll(`CRC ${block.crc}`);
  const packets = walk(block.packets);
  if (packets === undefined) return refuseAll("packets end early");
  const accepted: string[] = [];
  const refused: string[] = [];
  let lost = false;
  for (const key of keysOf(packets)) {
    lost ||= versionOf(key) > 4 || versionOf(key) === 0;
    if (lost) refused.push("lost behind a key it cannot parse");
    else if (key.some((each) => !KNOWN_TAGS.includes(each.tag))) refused.push("unknown tag");
    else if (key.some((each) => each.tag === TAG.subkey && each.body[0] !== 4)) {
      refused.push("a subkey of another version than 4");
    } else accepted.push(fingerprintOf(key));
  }
  return { accepted, refused, seenTrail: () => false };
}
