/**
 * Divides an update into fragments that legacy servers can read (docs/neighbours.md: requirements).
 * These rules are for a receiver of an unknown kind. A known kind needs fewer of them (`NEEDS`).
 *  1. Each fragment has the primary key and a user id, a verified one if known: pksd and onak
 *     refuse a key without any.
 *  2. Each user id and subkey has its newest self-signature: Hockeypuck drops it otherwise. All
 *     known subkeys are included, the encryption subkey first: pksd replaces all subkeys of the key
 *     by the first one of a mail that it can read.
 *  3. Packets that one of the servers cannot process are in a fragment of their own: keys of
 *     version 5 and above, user attributes, subkeys of another version than 4, unknown tags.
 *  4. A key above the size limit is cut into pieces. Each piece satisfies rules 1 and 2.
 */
import type { ServerKind } from "../server-kinds.js";
import { armoredSize } from "./armor.js";
import {
  assembleKey,
  type Component,
  encodeKey,
  keyComponents,
  keyPackets,
  type TransferableKey,
} from "./key.js";
import { comparePackets, encodedSize, type Packet, packetKey, TAG } from "./packet.js";
import { selfSignatureInfo } from "./signature.js";
import { isOdd, Known, shownName } from "./skeleton.js";

/**
 * Which servers can process it: all (plain), all but pksd (attributes), all but SKS (odd: a subkey
 * of another version than 4), none (unknown), or those that support its version (modern).
 */
export type FragmentKind = "plain" | "attributes" | "odd" | "unknown" | "modern";

export interface Fragment {
  readonly kind: FragmentKind;
  /** The encoded packets of one armor block: the primary key first, subkeys as in rule 2. */
  readonly packets: Uint8Array;
  /** Whether it has a user id, or the receiver needs none; pksd and onak refuse it otherwise. */
  readonly isNamed: boolean;
}

/** What a receiver needs beside the update. */
interface Needs {
  /** A user id. */
  readonly name: boolean;
  /** The known subkeys. */
  readonly subkeys: boolean;
  /** The self-signature under each user id and subkey. */
  readonly selfSignatures: boolean;
  /** What it never takes, so that it is not sent. */
  readonly never: readonly FragmentKind[];
}

const ALL_NEEDS: Needs = { name: true, subkeys: true, selfSignatures: true, never: [] };
const NO_NEEDS: Needs = { name: false, subkeys: false, selfSignatures: false, never: [] };
/** By kind; a gateway has a skeleton of its own, and takes all packets in any company. */
const NEEDS: Readonly<Record<Exclude<ServerKind, "gateway">, Needs>> = {
  pksd: { ...NO_NEEDS, name: true, subkeys: true, never: ["modern", "attributes", "unknown"] },
  onak: { ...NO_NEEDS, name: true, never: ["modern"] },
  sks: { ...NO_NEEDS, never: ["modern", "odd", "unknown"] },
  hockeypuck: { ...NO_NEEDS, name: true, selfSignatures: true },
};

const SUBKEY_BINDING = 0x18;
/**
 * The share of the size limit for the packets of the update itself when it is cut. The rest is for
 * packets that complete it. The share is fixed, so that the pieces are the same when the update is
 * sent again with a larger skeleton: the lane counts pieces.
 */
const OWN_SHARE = 3 / 4;
/**
 * The largest share of a piece for packets that are repeated in each piece. Above it the update is
 * not cut: many small signatures under one huge user id would become gigabytes.
 */
const REPEATED_SHARE = 3 / 4;

/**
 * The fragments of an update for a receiver of a kind, undefined for an unknown kind; none if that
 * kind can process nothing of it. `skeleton` is the stored skeleton of its key, `at` the time in ms
 * since 1970. An armored fragment is at most `maxBytes` long, unless a single packet is larger. If
 * not all that is needed fits, packets are included in this order: those of the update, a user id,
 * subkeys in the order of their use to a pksd, signatures under user ids.
 */
export function fragments(
  key: TransferableKey,
  skeleton: Uint8Array | undefined,
  maxBytes: number,
  at: number,
  receiver?: ServerKind,
): Fragment[] {
  return made(key, skeleton, maxBytes, at, receiver).map(({ fragment }) => fragment);
}

/** The fragments that an update has when there is room for all of it. */
export interface Uncut {
  readonly fragments: readonly Fragment[];
  /** The least `maxBytes` for which `fragments` returns the same. */
  readonly leastBytes: number;
}

/** The fragments of an update without a limit of size, as `fragments` has them. */
export function uncut(
  key: TransferableKey,
  skeleton: Uint8Array | undefined,
  at: number,
  receiver?: ServerKind,
): Uncut {
  const all = made(key, skeleton, Infinity, at, receiver);
  const least = all.map(({ ownBytes, bytes }) => {
    return Math.max(Math.ceil(armoredSize(ownBytes) / OWN_SHARE), armoredSize(bytes));
  });
  return { fragments: all.map(({ fragment }) => fragment), leastBytes: Math.max(0, ...least) };
}

interface Made {
  readonly fragment: Fragment;
  /** Octets of its packets before it was completed, and after. */
  readonly ownBytes: number;
  readonly bytes: number;
}

function made(
  key: TransferableKey,
  skeleton: Uint8Array | undefined,
  maxBytes: number,
  at: number,
  receiver: ServerKind | undefined,
): Made[] {
  if (receiver === "gateway") {
    return split(key, undefined, maxBytes).map((piece) => {
      const packets = encodeKey(piece);
      const bytes = packets.length;
      return { fragment: { kind: "plain", packets, isNamed: true }, ownBytes: bytes, bytes };
    });
  }
  const needs = receiver === undefined ? ALL_NEEDS : NEEDS[receiver];
  const known = new Known(key, skeleton, at);
  const name = shownName(key);
  const parts = key.version >= 5 ? [{ kind: "modern" as const, key }] : divide(key);
  return parts
    .filter(({ kind }) => !needs.never.includes(kind))
    .flatMap(({ kind, key: part }) =>
      split(part, name, maxBytes).map((piece) => {
        const subkeys = needs.subkeys && (kind === "plain" || kind === "odd");
        const ownBytes = encodedSize(keyPackets(piece));
        const full = completed(piece, ownBytes, known, maxBytes, { ...needs, subkeys });
        const isShown = full.key.userIds.some(({ packet }) => packet.tag === TAG.userId);
        const ordered = { ...full.key, subkeys: known.inOrderOfUse(full.key.subkeys) };
        const packets = encodeKey(ordered);
        const fragment = { kind, packets, isNamed: isShown || !needs.name };
        return { fragment, ownBytes, bytes: full.bytes };
      }),
    );
}

/** How many packets of an update are not sent, because a receiver of the kind never takes them. */
export function neverSent(key: TransferableKey, receiver: ServerKind | undefined): number {
  if (receiver === undefined || receiver === "gateway" || key.version >= 5) return 0;
  const { never } = NEEDS[receiver];
  return divide(key)
    .filter(({ kind }) => never.includes(kind))
    .reduce((count, { key: part }) => count + keyPackets(part).length - 1, 0);
}

/** Adds to a piece of `ownBytes` the packets that the receiver needs, as far as there is room. */
function completed(
  piece: TransferableKey,
  ownBytes: number,
  known: Known,
  maxBytes: number,
  needs: Needs,
): { readonly key: TransferableKey; readonly bytes: number } {
  const components = keyComponents(piece);
  const shown = new Map(components.map((one) => [packetKey(one.packet), one]));
  let size = ownBytes;
  const added: Component[] = [];
  const add = ({ packet, signatures }: Component): boolean => {
    const there = shown.get(packetKey(packet));
    const missing = signatures.filter(
      (signature) => !there?.signatures.some((one) => isEqual(one, signature)),
    );
    if (there !== undefined && missing.length === 0) return true;
    const cost = encodedSize(there === undefined ? [packet, ...missing] : missing);
    if (armoredSize(size + cost) > maxBytes) return false;
    added.push({ packet, signatures: missing });
    size += cost;
    return true;
  };
  if (needs.name && !known.isNamed(components)) known.names().some(add);
  if (needs.subkeys) for (const subkey of known.subkeys()) add(subkey);
  for (const { packet } of needs.selfSignatures ? components : []) {
    for (const signature of known.signaturesOf(packet)) add({ packet, signatures: [signature] });
  }
  const key = added.length === 0 ? piece : assembleKey([...components, ...added]);
  return { key, bytes: size };
}

interface Part {
  readonly kind: FragmentKind;
  readonly key: TransferableKey;
}

/** Divides the update by rule 3; empty parts are left out. */
function divide(key: TransferableKey): Part[] {
  const known = keyComponents(key).map((component) => only(component, isSignature));
  const isAttribute = ({ packet }: Component): boolean => packet.tag === TAG.userAttribute;
  const isOddSubkey = ({ packet }: Component): boolean => isOdd(packet);
  const plain = known.filter((one) => !isAttribute(one) && !isOddSubkey(one));
  const unknown = keyComponents(key)
    .filter(({ signatures }) => !signatures.every(isSignature))
    .map((component) => {
      const binding = bindingOf(key, component);
      return only(component, (packet) => !isSignature(packet) || packet === binding);
    });
  const primary = bare(key.primary);
  const parts: Part[] = [];
  const others = [
    ["attributes", known.filter(isAttribute)],
    ["odd", known.filter(isOddSubkey)],
    ["unknown", unknown],
  ] as const;
  for (const [kind, components] of others) {
    if (components.length > 0) parts.push({ kind, key: assembleKey([primary, ...components]) });
  }
  const holdsNews = plain.length > 1 || (plain[0]?.signatures.length ?? 0) > 0;
  if (holdsNews || parts.length === 0) parts.unshift({ kind: "plain", key: assembleKey(plain) });
  return parts;
}

/** The part with the user id of the update, as one key or as pieces that fit. */
function split(
  part: TransferableKey,
  name: Component | undefined,
  maxBytes: number,
): TransferableKey[] {
  const room = maxBytes * OWN_SHARE;
  const whole = assembleKey([...keyComponents(part), ...listed(name)]);
  if (armoredSize(encodedSize(keyPackets(whole))) <= room) return [whole];
  const lead = leadOf(whole, name, maxBytes);
  if (lead === undefined) return [whole];
  const heads = keyComponents(whole).map(({ packet, signatures }) => {
    const binding = bindingOf(whole, { packet, signatures });
    return { packet, signatures, binding, size: encodedSize([packet, ...listed(binding)]) };
  });
  const largest = heads.reduce((most, { size }) => Math.max(most, size), 0) + sizeOf(lead);
  // A component that leaves so little room may use the whole limit.
  const isLarge = armoredSize(largest) > room * REPEATED_SHARE;
  const splitter = new Splitter(lead, isLarge ? maxBytes : room);
  for (const { binding, ...component } of heads) splitter.add(component, binding);
  return splitter.finish();
}

/**
 * The components that each piece starts with: the primary key and the user id, or the shortest user
 * id without signatures when that is too long to be repeated. Undefined when this is too long, too.
 */
function leadOf(
  key: TransferableKey,
  name: Component | undefined,
  maxBytes: number,
): Component[] | undefined {
  const shortest = key.userIds
    .filter(({ packet }) => packet.tag === TAG.userId)
    .toSorted((a, b) => a.packet.body.length - b.packet.body.length)[0];
  const primary = bare(key.primary);
  return [
    [primary, ...listed(name)],
    [primary, ...listed(shortest && bare(shortest))],
  ].find((lead) => armoredSize(sizeOf(lead)) <= maxBytes * REPEATED_SHARE);
}

/** Fills pieces one after the other. Each piece starts with the lead. */
class Splitter {
  readonly #lead: readonly Component[];
  readonly #leadSize: number;
  readonly #maxBytes: number;
  readonly #pieces: TransferableKey[] = [];
  #components: Component[] = [];
  #size: number;

  constructor(lead: readonly Component[], maxBytes: number) {
    this.#lead = lead;
    this.#leadSize = sizeOf(lead);
    this.#maxBytes = maxBytes;
    this.#size = this.#leadSize;
  }

  /** Distributes the signatures. Each piece with some of them has the component and its binding. */
  add(component: Component, binding: Packet | undefined): void {
    const led = this.#lead.find(({ packet }) => isEqual(packet, component.packet));
    const head = { packet: component.packet, signatures: listed(binding) };
    const headSize = led === undefined ? sizeOf([head]) : 0;
    if (armoredSize(this.#leadSize + headSize) > this.#maxBytes * REPEATED_SHARE) {
      this.#pieces.push(assembleKey([...this.#lead, component]));
      return;
    }
    const repeated = [...head.signatures, ...(led?.signatures ?? [])];
    const shared = component.signatures.filter(
      (packet) => !repeated.some((other) => isEqual(packet, other)),
    );
    if (shared.length === 0 && led !== undefined) return;
    let open = this.#place(head, headSize, shared[0]);
    for (const packet of shared.slice(1)) {
      const size = this.#size + encodedSize([packet]);
      if (armoredSize(size) > this.#maxBytes) {
        open = this.#place(head, headSize, packet);
      } else {
        open.push(packet);
        this.#size = size;
      }
    }
  }

  finish(): TransferableKey[] {
    this.#close();
    return this.#pieces;
  }

  /** Adds the component with one signature, to this piece or the next; returns its signatures. */
  #place(head: Component, headSize: number, packet: Packet | undefined): Packet[] {
    const signatures = [...head.signatures, ...listed(packet)];
    const cost = headSize + encodedSize(listed(packet));
    if (armoredSize(this.#size + cost) > this.#maxBytes) this.#close();
    this.#components.push({ packet: head.packet, signatures });
    this.#size += cost;
    return signatures;
  }

  #close(): void {
    if (this.#components.length === 0) return;
    this.#pieces.push(assembleKey([...this.#lead, ...this.#components]));
    this.#components = [];
    this.#size = this.#leadSize;
  }
}

/** The newest self-signature that binds a subkey; undefined for any other component. */
function bindingOf(key: TransferableKey, { packet, signatures }: Component): Packet | undefined {
  if (packet.tag !== TAG.publicSubkey) return undefined;
  let newest: { signature: Packet; createdAt: number } | undefined;
  for (const signature of signatures) {
    const info = selfSignatureInfo(key, signature);
    if (info?.type !== SUBKEY_BINDING) continue;
    if (newest !== undefined && info.createdAt <= newest.createdAt) continue;
    newest = { signature, createdAt: info.createdAt };
  }
  return newest?.signature;
}

function isEqual(a: Packet, b: Packet): boolean {
  return comparePackets(a, b) === 0;
}

function isSignature({ tag }: Packet): boolean {
  return tag === TAG.signature;
}

function only({ packet, signatures }: Component, wanted: (packet: Packet) => boolean): Component {
  return { packet, signatures: signatures.filter(wanted) };
}

function bare({ packet }: Component): Component {
  return { packet, signatures: [] };
}

function sizeOf(components: readonly Component[]): number {
  return components.reduce(
    (size, { packet, signatures }) => size + encodedSize([packet]) + encodedSize(signatures),
    0,
  );
}

function listed<T>(item: T | undefined): T[] {
  return item === undefined ? [] : [item];
}
