/**
 * pksd 0.9.6 as it was measured: needs From; a subject that begins with INCREMENTAL or ADD; the
 * first armor block of the raw text, with a right CRC; knows RSA and DSA up to version 4, skips
 * other keys and reads on; refuses a whole key for a new-format header, a tag that it does not
 * know, a user attribute, or no user id. CRLF does not disturb it. Its loop check is a substring
 * search. Not modelled: a subkey that comes alone is left out while the rest of its key is taken.
 */
import {
  algorithmOf,
  fingerprintOf,
  keysOf,
  type Packet,
  TAG,
  versionOf,
  walk,
} from "./packets.js";
import { cut, field, firstBlock, type Reading, refuseAll, textOf } from "./raw-mail.js";

const KNOWN_TAGS = [TAG.signature, TAG.key, TAG.trust, TAG.userId, TAG.subkey];
/** RSA (three ways), Elgamal, DSA: what existed. */
const KNOWN_ALGORITHMS = [1, 2, 3, 16, 17, 20];

export function read(raw: Uint8Array): Reading {
  const text = textOf(raw);
  const { head, body } = cut(text);
  if (!field(head, "From")) return refuseAll("mail message does not have From: header");
  if (!/^(incremental|add)/i.test(field(head, "Subject") ?? "")) return refuseAll("no command");
  const block = firstBlock(body);
  if (block === undefined) return refuseAll("no armor");
  if (block.crc !== "right") return refuseAll(`CRC ${block.crc}`);
  const packets = walk(block.packets);
  if (packets === undefined) return refuseAll("packets end early");
  const accepted: string[] = [];
  const refused: string[] = [];
  for (const key of keysOf(packets)) {
    const reason = faultOf(key);
    if (reason === undefined) accepted.push(fingerprintOf(key));
    else refused.push(reason);
  }
  const lowered = head.toLowerCase();
  return {
    accepted,
    refused,
    seenTrail: (address) => lowered.includes(`x-keyserver-sent: ${address.toLowerCase()}\n`),
  };
}

function faultOf(key: readonly Packet[]): string | undefined {
  if (versionOf(key) === 0) return "no primary key first";
  if (versionOf(key) > 4) return `version ${versionOf(key)}`;
  if (!KNOWN_ALGORITHMS.includes(algorithmOf(key))) return `algorithm ${algorithmOf(key)}`;
  if (key.some((each) => each.tag === TAG.attribute)) return "user attribute";
  if (key.some((each) => !KNOWN_TAGS.includes(each.tag))) return "unknown tag";
  if (key.some((each) => each.newFormat)) return "new-format header";
  if (!key.some((each) => each.tag === TAG.userId)) return "no user id";
  return undefined;
}
