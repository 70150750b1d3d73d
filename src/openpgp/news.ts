/**
 * What of a key is news: old keyservers send whole merged keys, SKS and Hockeypuck always, of which
 * one signature may be new. A packet is known by its name, which says where it stands: key, parent,
 * packet. Who remembers names, and for how long, is not known here.
 *
 * News is cut so that every receiver can merge it, and nothing is withheld that one may lack:
 *
 *  1. A parent that has news goes with its self-signatures.
 *  2. One user id goes along, for pksd and onak refuse a key without any.
 *  3. A parent of which no self-signature was known goes with all that stands under it, and a key
 *     of which no user id was known with one goes whole: a receiver that verifies threw away what
 *     it had of them before.
 *
 * A forged packet is news as well; only the user id of rule 2 has a signature that verifies.
 */
import { createHash } from "node:crypto";
import { finish, type Steps } from "../steps.js";
import type { PacketName } from "../update.js";
import type { Component, TransferableKey } from "./key.js";
import { assembling, keyComponents } from "./key.js";
import { type Packet, TAG } from "./packet.js";
import { isSelfSignature } from "./signature.js";
import { namingAt } from "./skeleton.js";

/** Octets of a SHA-256 that make a name: no two packets share one by accident or on purpose. */
const NAME_OCTETS = 16;
/** Packets after which there is a step; a name costs a few microseconds, and looking it up more. */
const STEP_PACKETS = 50;

/** The names of all packets, in canonical order. */
export function packetNames(key: TransferableKey): PacketName[] {
  return finish(namingPackets(key));
}

/** The same in steps. */
export function* namingPackets(key: TransferableKey): Steps<PacketName[]> {
  const names: PacketName[] = [];
  const fingerprint = Buffer.from(key.fingerprint, "hex");
  for (const { packet, signatures } of keyComponents(key)) {
    const parent = nameOf(fingerprint, packet);
    names.push(parent);
    for (const signature of signatures) {
      names.push(nameOf(parent, signature));
      if (names.length % STEP_PACKETS === 0) yield;
    }
  }
  return names;
}

/**
 * The key cut down to what is not known, in canonical order: the whole key when its primary packet
 * is not known, undefined when all of it is. `at` is now, in milliseconds since 1970.
 */
export function newsOf(
  key: TransferableKey,
  isKnown: (name: PacketName) => boolean,
  at: number,
): TransferableKey | undefined {
  return finish(findingNews(key, isKnown, at));
}

/** The same in steps. */
export function* findingNews(
  key: TransferableKey,
  isKnown: (name: PacketName) => boolean,
  at: number,
): Steps<TransferableKey | undefined> {
  const fingerprint = Buffer.from(key.fingerprint, "hex");
  if (!isKnown(nameOf(fingerprint, key.primary.packet))) return key;
  const views: View[] = [];
  for (const one of keyComponents(key)) {
    views.push(yield* viewOf(key, one, fingerprint, isKnown));
    if (views.length % STEP_PACKETS === 0) yield;
  }
  const news = views.filter(({ hasNews }) => hasNews).map(({ news }) => news);
  if (news.length === 0) return undefined;
  if (!views.some(({ wasBound, news: { packet } }) => wasBound && isUserId(packet))) return key;
  const hasUserId = news.some(({ packet }) => isUserId(packet));
  const name = hasUserId ? undefined : yield* namingAt(key, at);
  const primary = { packet: key.primary.packet, signatures: [] };
  return yield* assembling([primary, ...news, ...(name === undefined ? [] : [name])]);
}

/** A component as it stands to what is known. */
interface View {
  readonly hasNews: boolean;
  /** Whether a self-signature under it was known. */
  readonly wasBound: boolean;
  /** What goes on of it when it has news. */
  readonly news: Component;
}

function* viewOf(
  key: TransferableKey,
  { packet, signatures }: Component,
  fingerprint: Uint8Array,
  isKnown: (name: PacketName) => boolean,
): Steps<View> {
  const parent = nameOf(fingerprint, packet);
  const judged: { signature: Packet; isNew: boolean; isOwn: boolean }[] = [];
  for (const signature of signatures) {
    const isNew = !isKnown(nameOf(parent, signature));
    judged.push({ signature, isNew, isOwn: isSelfSignature(key, signature) });
    if (judged.length % STEP_PACKETS === 0) yield;
  }
  const hasNews = !isKnown(parent) || judged.some(({ isNew }) => isNew);
  const wasBound = judged.some(({ isNew, isOwn }) => isOwn && !isNew);
  const isWhole = !wasBound && packet.tag !== TAG.publicKey;
  const kept = judged.filter(({ isNew, isOwn }) => isWhole || isNew || isOwn);
  return { hasNews, wasBound, news: { packet, signatures: kept.map((one) => one.signature) } };
}

function isUserId({ tag }: Packet): boolean {
  return tag === TAG.userId;
}

function nameOf(parent: Uint8Array, { tag, body }: Packet): PacketName {
  const hash = createHash("sha256").update(parent).update(Uint8Array.of(tag)).update(body);
  return hash.digest().subarray(0, NAME_OCTETS);
}
