/**
 * One update as the armor blocks that its receiver can take (docs/neighbours.md: who needs what).
 * The rules are those for a receiver of an unknown kind; a known one needs fewer of them.
 *  1. Every fragment shows the primary key and a user id that is known to be the key's: pksd and
 *     onak refuse a key without any.
 *  2. Each user id and subkey in it has its newest self-signature: Hockeypuck drops what lacks it.
 *     All known subkeys are in it, the one to encrypt to first: of the first one that it can read
 *     pksd makes the key's only subkey, whatever it had.
 *  3. What one of the servers chokes on is a fragment of its own: keys of version 5 and above, user
 *     attributes, subkeys of another version than 4, unknown tags.
 *  4. A key above the size cap is cut into pieces of which each is complete by rules 1 and 2.
 */
import type { ServerKind } from "../config/kinds.js";
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
 * Which servers can take it: all (plain), all but pksd (attributes), all but SKS (odd: a subkey of
 * another version than 4), only onak (unknown), or who knows its version (modern).
 */
export type FragmentKind = "plain" | "attributes" | "odd" | "unknown" | "modern";

export interface Fragment {
  readonly kind: FragmentKind;
  /** Encoded packets, the primary key first, subkeys in the order of rule 2: one armor block. */
  readonly packets: Uint8Array;
  /** Whether it shows a user id or its receiver needs none; pksd and onak refuse it without one. */
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
  sks: { ...NO_NEEDS, never: ["modern", "unknown"] },
  hockeypuck: { ...NO_NEEDS, name: true, selfSignatures: true },
};

const SUBKEY_BINDING = 0x18;
/**
 * Of the cap, what the update itself may fill when it is cut; the rest is for what completes it.
 * A fixed share, so that the cuts are the same when the update is sent again after more was learnt
 * of its key: the lane counts pieces.
 */
const OWN_SHARE = 3 / 4;
/**
 * What a piece may spend on packets of the update that are repeated in other pieces, else it is not
 * cut: many small signatures under one huge user id would come out as gigabytes.
 */
const REPEATED_SHARE = 3 / 4;

/**
 * The fragments of an update for a receiver of a kind, undefined when it is not known; none when
 * that kind takes nothing of it. `skeleton` is what is remembered of its key, `at` the time in ms
 * since 1970. No fragment is longer than `maxBytes` once armored, save where a single packet is too
 * large. When not all that is needed fits, first come the update's own packets, then a user id,
 * then subkeys in the order of their use to a pksd, then signatures under user ids.
 */
export function fragments(
  key: TransferableKey,
  skeleton: Uint8Array | undefined,
  maxBytes: number,
  at: number,
  receiver?: ServerKind,
): Fragment[] {
  if (receiver === "gateway") {
    return split(key, undefined, maxBytes).map((piece) => {
      return { kind: "plain", packets: encodeKey(piece), isNamed: true };
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
        const made = completed(piece, known, maxBytes, { ...needs, subkeys });
        const isShown = made.userIds.some(({ packet }) => packet.tag === TAG.userId);
        const ordered = { ...made, subkeys: known.inOrderOfUse(made.subkeys) };
        return { kind, packets: encodeKey(ordered), isNamed: isShown || !needs.name };
      }),
    );
}

/** The piece with what its receiver needs beside it, as far as there is room. */
function completed(
  piece: TransferableKey,
  known: Known,
  maxBytes: number,
  needs: Needs,
): TransferableKey {
  const components = keyComponents(piece);
  const shown = new Map(components.map((one) => [packetKey(one.packet), one]));
  let size = encodedSize(keyPackets(piece));
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
  return added.length === 0 ? piece : assembleKey([...components, ...added]);
}

interface Part {
  readonly kind: FragmentKind;
  readonly key: TransferableKey;
}

/** The update by who can take it; empty parts are left out. */
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

/** The part with the user id that the update shows, as one key or as pieces that each fit. */
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
  // What leaves so little room for itself gets all of it.
  const isLarge = armoredSize(largest) > room * REPEATED_SHARE;
  const splitter = new Splitter(lead, isLarge ? maxBytes : room);
  for (const { binding, ...component } of heads) splitter.add(component, binding);
  return splitter.finish();
}

/**
 * What every piece starts with: the primary key and the user id, or, when that is too long to be
 * repeated, the shortest user id alone. Undefined when even this is too long.
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

/** Fills pieces one after the other; each starts with the lead. */
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

  /** Shares the signatures out; the component, with its binding, is repeated where they go. */
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

  /** Opens the component with one signature, in this piece or in the next; returns its list. */
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
