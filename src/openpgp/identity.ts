/**
 * The user id by which a mail server can be made to take an update of this key (design: what they
 * refuse, completion): pksd and onak refuse a key that shows no user id at all.
 *
 * One user id and its newest certification by the key itself, as small as possible, for the log
 * keeps one a key. Self-signatures are recognised by the issuer they name, not verified: whoever
 * reads the mail verifies them. A revoked user id serves as well as any other.
 */
import type { Identity } from "../update.js";
import type { TransferableKey } from "./key.js";
import { encodePackets, type Packet, TAG } from "./packet.js";
import { selfSignatureInfo } from "./signature.js";

/** Certifications of a user id: generic, persona, casual, positive. */
const FIRST_CERTIFICATION = 0x10;
const LAST_CERTIFICATION = 0x13;

/**
 * The user id (tag 13, never an attribute) with the newest self-certification, and that signature.
 * Without any self-certification the first user id alone; undefined when the key shows no user id.
 */
export function identityOf(key: TransferableKey): Identity | undefined {
  const userIds = key.userIds.filter(({ packet }) => packet.tag === TAG.userId);
  let newest: { packets: Packet[]; signedAt: number } | undefined;
  for (const { packet, signatures } of userIds) {
    for (const signature of signatures) {
      const info = selfSignatureInfo(key, signature);
      if (info === undefined) continue;
      if (info.type < FIRST_CERTIFICATION || info.type > LAST_CERTIFICATION) continue;
      if (newest !== undefined && info.createdAt <= newest.signedAt) continue;
      newest = { packets: [packet, signature], signedAt: info.createdAt };
    }
  }
  const first = userIds[0];
  if (newest === undefined && first !== undefined) {
    newest = { packets: [first.packet], signedAt: 0 };
  }
  return newest && { packets: encodePackets(newest.packets), signedAt: newest.signedAt };
}
