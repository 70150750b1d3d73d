/**
 * A transferable public key in canonical order, and a keyring cut into such keys.
 *
 * The order is the one of thesis 4.2, so that equal packets make equal updates wherever they were
 * merged: primary key and its direct signatures, user ids and attributes as one group, subkeys as
 * another, siblings by memcmp, equal ones once. A packet belongs to the component that it follows,
 * whatever its tag. Nothing here verifies a signature or knows whether a user id is bound at all.
 * Signatures are not moved to where they would verify: a misplaced one stays misplaced.
 */
import { Refusal } from "../errors.js";
import type { Fingerprint } from "../update.js";
import { fingerprintOf } from "./fingerprint.js";
import { comparePackets, encodePackets, type Packet, TAG, walkPackets } from "./packet.js";

/** A primary key, user id, attribute or subkey, and all that stands under it: signatures (tag 2)
 * and packets of unknown tags, in canonical order, each once. */
export interface Component {
  readonly packet: Packet;
  readonly signatures: readonly Packet[];
}

/** One public key, always in canonical order. */
export interface TransferableKey {
  readonly primary: Component;
  /** User ids (tag 13) and user attributes (tag 17): one group. */
  readonly userIds: readonly Component[];
  readonly subkeys: readonly Component[];
  /** Version octet of the primary key: 2 to 6. */
  readonly version: number;
  readonly fingerprint: Fingerprint;
}

/** Local to one keyring, or without content: not part of an update (RFC 9580 5.8, 5.10, 5.14). */
const DROPPED: ReadonlySet<number> = new Set([TAG.marker, TAG.trust, TAG.padding]);
/** Encrypted, compressed, literal and signed data, and the reserved tag 0. */
const NOT_KEY_MATERIAL: ReadonlySet<number> = new Set([0, 1, 3, 4, 8, 9, 11, 18, 19, 20]);

/** A refusal costs some 10 us and 1 KiB, and 2 MiB could hold a million of them. */
const MAX_REFUSALS = 1000;

/**
 * The keys of a keyring, cut at every public key packet, each in canonical order.
 *
 * A key that cannot be taken is a Refusal in its place and the next one is still read: 'secret-key'
 * (tags 5, 7), 'not-key-material' (also packets before the first primary key), 'bad-packet'. When
 * the framing breaks, the key in which it breaks and the rest are lost, as the last element says.
 * Empty data has no keys. After 1000 refusals the rest is not read ('too-large').
 */
export function readKeys(data: Uint8Array): (TransferableKey | Refusal)[] {
  const found: (TransferableKey | Refusal)[] = [];
  let refusals = 0;
  const take = (outcome: TransferableKey | Refusal | undefined): void => {
    if (outcome instanceof Refusal) refusals += 1;
    if (outcome !== undefined) found.push(outcome);
  };
  let draft = new Draft(undefined, 0);
  try {
    for (const { packet, offset } of walkPackets(data)) {
      if (packet.tag !== TAG.publicKey) {
        draft.add(packet, offset);
        continue;
      }
      take(draft.outcome());
      if (refusals >= MAX_REFUSALS) {
        take(new Refusal("too-large", `too many bad keys, not read from offset ${offset} on`));
        return found;
      }
      draft = new Draft(packet, offset);
    }
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    take(draft.refusal);
    take(new Refusal(error.reason, `${error.message}${draft.name()}`));
    return found;
  }
  take(draft.outcome());
  return found;
}

/**
 * The key that these components make up, whatever their order: equal ones are merged, each group
 * sorted. Exactly one primary key must be among them (several equal ones count as one).
 * Throws Refusal 'bad-packet' when the primary key has no fingerprint that we know.
 */
export function assembleKey(components: readonly Component[]): TransferableKey {
  const [primary, ...others] = canonical(components.filter(isTag(TAG.publicKey)));
  if (primary === undefined || others.length > 0) throw new Error("a key has one primary key");
  const body = primary.packet.body;
  return {
    primary,
    userIds: canonical(components.filter(isTag(TAG.userId, TAG.userAttribute))),
    subkeys: canonical(components.filter(isTag(TAG.publicSubkey))),
    version: body[0] ?? 0,
    fingerprint: fingerprintOf(body),
  };
}

/** The components in canonical order, the primary key first. */
export function keyComponents(key: TransferableKey): Component[] {
  return [key.primary, ...key.userIds, ...key.subkeys];
}

/** The packets in canonical order. */
export function keyPackets(key: TransferableKey): Packet[] {
  const packets: Packet[] = [];
  for (const { packet, signatures } of keyComponents(key)) {
    packets.push(packet);
    for (const signature of signatures) packets.push(signature);
  }
  return packets;
}

/** The packets in canonical order as octets: the body of an update. */
export function encodeKey(key: TransferableKey): Uint8Array {
  return encodePackets(keyPackets(key));
}

interface OpenComponent {
  readonly packet: Packet;
  readonly signatures: Packet[];
}

/** A key while it is read; without a primary key it is what stands before the first one. */
class Draft {
  readonly #primary: Packet | undefined;
  readonly #offset: number;
  readonly #components: OpenComponent[] = [];
  #refusal: Refusal | undefined;

  constructor(primary: Packet | undefined, offset: number) {
    this.#primary = primary;
    this.#offset = offset;
    if (primary !== undefined) this.#components.push({ packet: primary, signatures: [] });
  }

  get refusal(): Refusal | undefined {
    return this.#refusal;
  }

  add(packet: Packet, offset: number): void {
    if (packet.tag === TAG.secretKey || packet.tag === TAG.secretSubkey) {
      // Whatever else is wrong, a secret key is what its owner must hear about.
      this.#refuse("secret-key", `a secret key packet (offset ${offset})`);
    } else if (this.#refusal !== undefined || DROPPED.has(packet.tag)) {
      return;
    } else if (NOT_KEY_MATERIAL.has(packet.tag)) {
      this.#refuse("not-key-material", `a packet of tag ${packet.tag} (offset ${offset})`);
    } else if (this.#primary === undefined) {
      this.#refuse("not-key-material", `data before the first primary key (offset ${offset})`);
    } else if (opensComponent(packet)) {
      this.#components.push({ packet, signatures: [] });
    } else {
      this.#components.at(-1)?.signatures.push(packet);
    }
  }

  /** The key or why not; undefined when there is nothing before the first primary key. */
  outcome(): TransferableKey | Refusal | undefined {
    if (this.#refusal !== undefined || this.#primary === undefined) return this.#refusal;
    try {
      return assembleKey(this.#components);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return new Refusal(error.reason, `${error.message} (offset ${this.#offset})`);
    }
  }

  /** What to add to a message so that the reader knows which key is meant. */
  name(): string {
    if (this.#primary === undefined) return "";
    try {
      return ` in key ${fingerprintOf(this.#primary.body)}`;
    } catch {
      return ` in the key at offset ${this.#offset}`;
    }
  }

  #refuse(reason: "secret-key" | "not-key-material", what: string): void {
    if (this.#refusal?.reason === "secret-key") return;
    this.#refusal = new Refusal(reason, `${what}${this.name()}`);
    this.#components.length = 0;
  }
}

function opensComponent({ tag }: Packet): boolean {
  return tag === TAG.userId || tag === TAG.userAttribute || tag === TAG.publicSubkey;
}

function isTag(...tags: number[]): (component: Component) => boolean {
  return ({ packet }) => tags.includes(packet.tag);
}

/** The components of one group in order, equal ones merged. */
function canonical(group: readonly Component[]): Component[] {
  const sorted = group.toSorted((a, b) => comparePackets(a.packet, b.packet));
  const merged: OpenComponent[] = [];
  for (const { packet, signatures } of sorted) {
    const last = merged.at(-1);
    if (last !== undefined && comparePackets(last.packet, packet) === 0) {
      for (const signature of signatures) last.signatures.push(signature);
    } else {
      merged.push({ packet, signatures: [...signatures] });
    }
  }
  return merged.map(({ packet, signatures }) => ({ packet, signatures: distinct(signatures) }));
}

/** Sorted, each once. */
function distinct(packets: Packet[]): Packet[] {
  packets.sort(comparePackets);
  return packets.filter((packet, index) => {
    const before = packets[index - 1];
    return before === undefined || comparePackets(before, packet) !== 0;
  });
}
