/**
 * Reduces a key to its unknown packets ("news"). Old keyservers often send whole merged keys of
 * which one signature is new; SKS and Hockeypuck always do. A packet name identifies the key, the
 * parent and the packet. The caller knows which names are known. Every receiver can merge the news:
 *  1. A parent with news includes its self-signatures.
 *  2. One user id is included, since pksd and onak refuse a key without one.
 *  3. A parent without a known self-signature includes all packets under it, and a key without a
 *     user id with one is sent whole: a receiver that verifies has discarded the earlier packets.
 * Forged packets are news as well. Only the signature on the user id of rule 2 is verified.
 */
import { hash } from "node:crypto";
import { finish, type Steps } from "../steps.js";
import type { PacketName } from "../update.js";
import type { Component, TransferableKey } from "./key.js";
import { assembling, keyComponents } from "./key.js";
import { type Packet, TAG } from "./packet.js";
import { isSelfSignature } from "./signature.js";
import { namingAt } from "./skeleton.js";

/** Octets of a SHA-256 in a name. Collisions are infeasible, by chance or on purpose. */
const NAME_OCTETS = 16;
/** Packets between steps. A name costs a few microseconds, and its look-up more. */
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
 * The digest of the packets that a key has, as 32 lower-case hex digits: SHA-256 of their names,
 * sorted and each once, cut to 16 octets. Two servers that hold the same packets have the same
 * digest, whatever their order.
 */
export function digestOfNames(names: readonly PacketName[]): string {
  const sorted = names.toSorted(Buffer.compare);
  const once = sorted.filter((name, i) => !sorted[i - 1]?.equals(name));
  return hash("sha256", Buffer.concat(once)).slice(0, 2 * NAME_OCTETS);
}

/**
 * The news of a key, in canonical order: the whole key when its primary packet is unknown,
 * undefined when all packets are known. `at` is the current time in milliseconds since 1970.
 */
export function* findingNews(
  key: TransferableKey,
  isKnown: (name: PacketName) => boolean,
  at: number,
): Steps<TransferableKey | undefined> {
  const fingerprint = Buffer.from(key.fingerprint, "hex");
  const primaryName = nameOf(fingerprint, key.primary.packet);
  if (!isKnown(primaryName)) return key;
  const views: View[] = [];
  for (const one of keyComponents(key)) {
    const isPrimary = one.packet === key.primary.packet;
    const name = isPrimary ? primaryName : nameOf(fingerprint, one.packet);
    const isNew = !isPrimary && !isKnown(name);
    views.push(yield* viewOf(key, one, { name, isNew }, isKnown));
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

/** What is known of a component. */
interface View {
  readonly hasNews: boolean;
  /** Whether a self-signature under it was known. */
  readonly wasBound: boolean;
  /** What is sent of it when it has news. */
  readonly news: Component;
}

function* viewOf(
  key: TransferableKey,
  { packet, signatures }: Component,
  parent: { readonly name: PacketName; readonly isNew: boolean },
  isKnown: (name: PacketName) => boolean,
): Steps<View> {
  const judged: { signature: Packet; isNew: boolean; isOwn: boolean }[] = [];
  for (const signature of signatures) {
    const isNew = !isKnown(nameOf(parent.name, signature));
    judged.push({ signature, isNew, isOwn: isSelfSignature(key, signature) });
    if (judged.length % STEP_PACKETS === 0) yield;
  }
  const hasNews = parent.isNew || judged.some(({ isNew }) => isNew);
  const wasBound = judged.some(({ isNew, isOwn }) => isOwn && !isNew);
  const isWhole = !wasBound && packet.tag !== TAG.publicKey;
  const kept = judged.filter(({ isNew, isOwn }) => isWhole || isNew || isOwn);
  return { hasNews, wasBound, news: { packet, signatures: kept.map((one) => one.signature) } };
}

function isUserId({ tag }: Packet): boolean {
  return tag === TAG.userId;
}

function nameOf(parent: Uint8Array, { tag, body }: Packet): PacketName {
  const octets = Buffer.allocUnsafe(parent.length + 1 + body.length);
  octets.set(parent);
  octets[parent.length] = tag;
  octets.set(body, parent.length + 1);
  return Buffer.from(hash("sha256", octets).slice(0, 2 * NAME_OCTETS), "hex");
}
