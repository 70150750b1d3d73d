/**
 * The user id by which a mail server can be made to take an update of this key (design: what they
 * refuse, completion): pksd and onak refuse a key that shows no user id at all.
 *
 * One user id and its newest certification by the key itself, as small as possible, for the log
 * keeps one a key. Self-signatures are recognised by the issuer they name, not verified: whoever
 * reads the mail verifies them. A revoked user id serves as well as any other.
 */
import { finish, type Steps } from "../steps.js";
import type { Identity } from "../update.js";
import type { Component, TransferableKey } from "./key.js";
import { encodePackets, type Packet, TAG } from "./packet.js";
import { selfSignatureInfo } from "./signature.js";

/** Certifications of a user id: generic, persona, casual, positive. */
const FIRST_CERTIFICATION = 0x10;
const LAST_CERTIFICATION = 0x13;
/** Signatures after which there is a step; each costs about a microsecond. */
const STEP_SIGNATURES = 200;

/**
 * The user id (tag 13, never an attribute) with the newest self-certification, and that signature.
 * Without any self-certification the first user id alone; undefined when the key shows no user id.
 */
export function identityOf(key: TransferableKey): Identity | undefined {
  return finish(findingIdentity(key));
}

/** The same in steps. */
export function* findingIdentity(key: TransferableKey): Steps<Identity | undefined> {
  const found = yield* newestIdentity(key);
  if (found === undefined) return undefined;
  const { component, signedAt } = found;
  return { packets: encodePackets([component.packet, ...component.signatures]), signedAt };
}

/** The same as a part of a key, in steps. */
export function* findingIdentityComponent(key: TransferableKey): Steps<Component | undefined> {
  return (yield* newestIdentity(key))?.component;
}

function* newestIdentity(
  key: TransferableKey,
): Steps<{ readonly component: Component; readonly signedAt: number } | undefined> {
  const userIds = key.userIds.filter(({ packet }) => packet.tag === TAG.userId);
  let newest: { packet: Packet; signature: Packet; signedAt: number } | undefined;
  let looked = 0;
  for (const { packet, signatures } of userIds) {
    for (const signature of signatures) {
      looked += 1;
      if (looked % STEP_SIGNATURES === 0) yield;
      const info = selfSignatureInfo(key, signature);
      if (info === undefined) continue;
      if (info.type < FIRST_CERTIFICATION || info.type > LAST_CERTIFICATION) continue;
      if (newest !== undefined && info.createdAt <= newest.signedAt) continue;
      newest = { packet, signature, signedAt: info.createdAt };
    }
  }
  const first = userIds[0];
  if (newest === undefined) {
    return first && { component: { packet: first.packet, signatures: [] }, signedAt: 0 };
  }
  const { packet, signature, signedAt } = newest;
  return { component: { packet, signatures: [signature] }, signedAt };
}
