/**
 * One update as the armor blocks that old mail servers can take (design: what they refuse).
 *
 *  1. Every fragment starts with the primary key and shows a user id, for pksd and onak refuse a
 *     key without: the update's own, else the one that the caller remembers (completion).
 *  2. Nothing drags another down. What one of the servers chokes on is a fragment of its own: keys
 *     of version 5 and above, user attributes, packets of unknown tags. The rest is plain.
 *  3. A key above the size cap is split into pieces that give the same key when they are merged.
 *     What must be repeated in each piece may take three quarters of the cap, else it is not split:
 *     many small signatures under one huge user id would come out as gigabytes.
 *
 * Knows nothing of mails or sites. Limits: a packet above the cap leaves in a fragment above it.
 */
import type { Identity } from "../update.js";
import { armoredSize } from "./armor.js";
import { identityOf } from "./identity.js";
import {
  assembleKey,
  type Component,
  encodeKey,
  keyComponents,
  keyPackets,
  type TransferableKey,
} from "./key.js";
import { comparePackets, encodedSize, type Packet, readPackets, TAG } from "./packet.js";
import { selfSignatureInfo } from "./signature.js";

/** Which servers can take it: all (plain), all but pksd, only onak, or who knows its version. */
export type FragmentKind = "plain" | "attributes" | "unknown" | "modern";

export interface Fragment {
  readonly kind: FragmentKind;
  /** Encoded packets in canonical order, the primary key first: one armor block. */
  readonly packets: Uint8Array;
  /** Whether the user id in it was added from `identity`. */
  readonly completed: boolean;
}

const SUBKEY_BINDING = 0x18;
/** Of the cap, what a piece may spend on packets that are repeated in other pieces. */
const REPEATED_SHARE = 3 / 4;

/**
 * The fragments of an update, at least one. `identity` completes an update that has no user id of
 * its own and is ignored otherwise; without it such an update leaves as it is. No fragment is
 * longer than `maxBytes` once armored, save where a single packet is too large (see above).
 */
export function fragments(
  key: TransferableKey,
  identity: Identity | undefined,
  maxBytes: number,
): Fragment[] {
  const own = identityOf(key);
  const completed = own === undefined && identity !== undefined;
  const anchor = anchorOf(own ?? identity);
  const parts = key.version >= 5 ? [{ kind: "modern" as const, key }] : divide(key);
  return parts.flatMap(({ kind, key: part }) =>
    split(part, anchor, maxBytes).map((piece) => ({ kind, packets: encodeKey(piece), completed })),
  );
}

interface Part {
  readonly kind: FragmentKind;
  readonly key: TransferableKey;
}

/** What all servers take, what pksd refuses, what pksd and SKS refuse; empty parts left out. */
function divide(key: TransferableKey): Part[] {
  const known = keyComponents(key).map((component) => only(component, isSignature));
  const isAttribute = ({ packet }: Component): boolean => packet.tag === TAG.userAttribute;
  const plain = known.filter((component) => !isAttribute(component));
  const attributes = known.filter(isAttribute);
  const unknown = keyComponents(key)
    .filter(({ signatures }) => !signatures.every(isSignature))
    .map((component) => {
      const binding = bindingOf(key, component);
      return only(component, (packet) => !isSignature(packet) || packet === binding);
    });
  const primary = bare(key.primary);
  const parts: Part[] = [];
  if (attributes.length > 0) {
    parts.push({ kind: "attributes", key: assembleKey([primary, ...attributes]) });
  }
  if (unknown.length > 0) {
    parts.push({ kind: "unknown", key: assembleKey([primary, ...unknown]) });
  }
  const holdsNews = plain.length > 1 || (plain[0]?.signatures.length ?? 0) > 0;
  if (holdsNews || parts.length === 0) parts.unshift({ kind: "plain", key: assembleKey(plain) });
  return parts;
}

/** The part with the anchor in it, as one key or as pieces that each fit. */
function split(
  part: TransferableKey,
  anchor: Component | undefined,
  maxBytes: number,
): TransferableKey[] {
  const whole = assembleKey([...keyComponents(part), ...listed(anchor)]);
  if (armoredSize(encodedSize(keyPackets(whole))) <= maxBytes) return [whole];
  const lead = leadOf(whole, anchor, maxBytes);
  if (lead === undefined) return [whole];
  const splitter = new Splitter(lead, maxBytes);
  for (const component of keyComponents(whole)) {
    splitter.add(component, bindingOf(whole, component));
  }
  return splitter.finish();
}

/**
 * What every piece starts with: the primary key and the anchor, or, when that is too long to be
 * repeated, the shortest user id alone. Undefined when even this is too long.
 */
function leadOf(
  key: TransferableKey,
  anchor: Component | undefined,
  maxBytes: number,
): Component[] | undefined {
  const shortest = key.userIds
    .filter(({ packet }) => packet.tag === TAG.userId)
    .toSorted((a, b) => a.packet.body.length - b.packet.body.length)[0];
  const primary = bare(key.primary);
  return [
    [primary, ...listed(anchor)],
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

function anchorOf(identity: Identity | undefined): Component | undefined {
  if (identity === undefined) return undefined;
  const [packet, ...signatures] = readPackets(identity.packets);
  return packet && { packet, signatures };
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
