/**
 * onak 0.6.2 behind onak-mail.pl as it was measured: the subject is exactly INCREMENTAL or ADD in
 * any case; the raw body, its first armor block, CRC not needed; CRLF is refused; a key without a
 * user id is refused; a key of version 5 or above loses itself and all that follows. Reads unknown
 * tags (it does not keep them), attributes, new headers and EdDSA. Trail by a line regex, compared
 * exactly, not unfolded.
 */
import { fingerprintOf, keysOf, TAG, versionOf, walk } from "./packets.js";
import { cut, field, firstBlock, type Reading, refuseAll, textOf } from "./raw-mail.js";

export function read(raw: Uint8Array): Reading {
  const { head, body } = cut(textOf(raw));
  if (!/^(incremental|add)$/i.test(field(head, "Subject") ?? "")) return refuseAll("no command");
  const block = firstBlock(body);
  if (block === undefined) return refuseAll("no armor");
  if (block.crlf) return refuseAll("CRLF line ends");
  if (block.crc === "wrong") return refuseAll("CRC wrong");
  const packets = walk(block.packets);
  if (packets === undefined) return refuseAll("packets end early");
  const accepted: string[] = [];
  const refused: string[] = [];
  let lost = false;
  for (const key of keysOf(packets)) {
    lost ||= versionOf(key) > 4 || versionOf(key) === 0;
    if (lost) refused.push("lost behind a key it cannot parse");
    else if (!key.some((each) => each.tag === TAG.userId)) refused.push("no user id");
    else accepted.push(fingerprintOf(key));
  }
  const sites = [...head.matchAll(/^X-KeyServer-Sent:[ \t]*(.*?)\s*$/gim)].map(([, site]) => site);
  return { accepted, refused, seenTrail: (address) => sites.includes(address) };
}
