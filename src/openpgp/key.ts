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
import { finish, type Steps } from "../steps.js";
import type { Fingerprint } from "../update.js";
import { fingerprintOf } from "./fingerprint.js";
import { isPrimaryKey } from "./key-material.js";
import {
  comparePackets,
  encodePackets,
  type Packet,
  packetAt,
  TAG,
  walkPackets,
} from "./packet.js";

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

/** What stands under a primary key. */
const KEY_PARTS: ReadonlySet<number> = new Set([
  ...[TAG.signature, TAG.userId, TAG.userAttribute, TAG.publicSubkey, TAG.secretSubkey],
]);
const PRIMARY_KEYS: ReadonlySet<number> = new Set([TAG.secretKey, TAG.publicKey]);
/** First octets of packets of tags 5 and 6 with a length that keys may have. */
const KEY_HEADERS: ReadonlySet<number> = new Set(
  [...PRIMARY_KEYS].flatMap((tag) => [
    ...[0, 1, 2].map((lengthType) => 0x80 | (tag << 2) | lengthType),
    0xc0 | tag,
  ]),
);

/** A refusal costs some 10 us and 1 KiB, and 2 MiB could hold a million of them. */
const MAX_REFUSALS = 1000;
/** Octets that are read again after faults, as a multiple of all of them. */
const MAX_REREAD = 4;
/** Packets after which there is a step; each costs a microsecond. */
const STEP_PACKETS = 500;
/** Keys after which there is a step; a small one costs 20 us. */
const STEP_KEYS = 50;
/** As many are sorted in half a millisecond. */
const SORT_RUN = 1000;
/** Octets after which there is a step in the search for the next key. */
const STEP_OCTETS = 64 * 1024;

/**
 * The keys of a keyring, cut at every public key packet, each in canonical order.
 *
 * A key that cannot be taken is a Refusal in its place and the next one is still read: 'secret-key'
 * (tags 5, 7), 'not-key-material' (also packets before the first primary key), 'bad-packet'. Where
 * the framing breaks, reading goes on at the next primary key packet: a key that is cut short costs
 * itself, octets between two keys that are no packet cost neither. Each refusal names the key by
 * its fingerprint, or by its number and offset. Empty data has no keys. After 1000 refusals the
 * rest is not read ('too-large').
 */
export function readKeys(data: Uint8Array): (TransferableKey | Refusal)[] {
  return finish(readingKeys(data));
}

/** The same in steps; no more than some keys beyond `most` are read. */
export function* readingKeys(
  data: Uint8Array,
  most = Infinity,
): Steps<(TransferableKey | Refusal)[]> {
  const ring = new Ring(data);
  let at: number | undefined = 0;
  while (at !== undefined && ring.found.length <= most) at = yield* ring.read(at);
  return ring.found;
}

/**
 * Whether there are more than `most` public keys in `data`, found by the headers alone, so that it
 * is known before any of them is put in order. What stands behind a fault is not counted.
 */
export function* hasMoreKeys(data: Uint8Array, most: number): Steps<boolean> {
  let [keys, packets] = [0, 0];
  try {
    for (const { packet } of walkPackets(data)) {
      if (packet.tag === TAG.publicKey) keys += 1;
      if (keys > most) return true;
      packets += 1;
      if (packets % STEP_PACKETS === 0) yield;
    }
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
  }
  return false;
}

/** A keyring while it is read. */
class Ring {
  readonly found: (TransferableKey | Refusal)[] = [];
  readonly #data: Uint8Array;
  #refusals = 0;
  #keys = 0;
  #octetsLeft: number;

  constructor(data: Uint8Array) {
    this.#data = data;
    this.#octetsLeft = MAX_REREAD * data.length;
  }

  /** Reads from `start` to the end or to the next fault; returns where to go on after that. */
  *read(start: number): Steps<number | undefined> {
    let draft = new Draft(undefined, start, 0);
    let end = start;
    try {
      for (const { packet, offset } of walkPackets(this.#data, start)) {
        end = packet.body.byteOffset + packet.body.length - this.#data.byteOffset;
        if (packet.tag !== TAG.publicKey) {
          if (draft.add(packet, offset) % STEP_PACKETS === 0) yield;
          continue;
        }
        const inside = isPrimaryKey(packet)
          ? undefined
          : yield* nextKey(this.#data, draft.afterPrimary, end);
        if (inside !== undefined) {
          const fault = new Refusal("bad-packet", `the packet is cut off (offset ${offset})`);
          return yield* this.#recover(draft, { start, end: offset, next: inside }, fault);
        }
        this.#take(yield* draft.outcome());
        if (this.#isFull(offset)) return undefined;
        this.#keys += 1;
        draft = new Draft(packet, offset, this.#keys);
        if (this.#keys % STEP_KEYS === 0) yield;
      }
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const next = yield* nextKey(this.#data, draft.afterPrimary);
      return yield* this.#recover(draft, { start, end, next }, error);
    }
    this.#take(yield* draft.outcome());
    return undefined;
  }

  /** After a fault at `end`: returns where the next key begins, if there is one. */
  *#recover(
    draft: Draft,
    { start, end, next }: { start: number; end: number; next: number | undefined },
    { reason, message }: Refusal,
  ): Steps<number | undefined> {
    // A packet of the key that is cut short swallows the beginning of the next one, or lacks an
    // end. Anything else stands between two keys, and the one before is complete.
    const tag = tagAt(this.#data, end);
    const isCutShort = (next ?? Infinity) < end || KEY_PARTS.has(tag);
    const lost = isCutShort ? draft : undefined;
    if (!isCutShort) this.#take(yield* draft.outcome());
    else this.#take(draft.secretBefore(next ?? end));
    let where = lost?.name() ?? draft.nameBefore();
    if (!isCutShort && PRIMARY_KEYS.has(tag)) {
      this.#keys += 1;
      where = ` in the key (number ${this.#keys}, offset ${end})`;
    }
    this.#take(new Refusal(reason, `${message}${where}`, lost?.fingerprint()));
    this.#octetsLeft -= end - start;
    if (next === undefined || this.#isFull(next)) return undefined;
    if (this.#octetsLeft >= 0) return next;
    this.#take(new Refusal("too-large", `too many faults, not read from offset ${next} on`));
    return undefined;
  }

  #isFull(offset: number): boolean {
    if (this.#refusals < MAX_REFUSALS) return false;
    this.#take(new Refusal("too-large", `too many bad keys, not read from offset ${offset} on`));
    return true;
  }

  #take(outcome: TransferableKey | Refusal | undefined): void {
    if (outcome instanceof Refusal) this.#refusals += 1;
    if (outcome !== undefined) this.found.push(outcome);
  }
}

/** The offset of the first packet from `start` to `end` that can be nothing but a primary key. */
function* nextKey(data: Uint8Array, start: number, end = data.length): Steps<number | undefined> {
  for (let at = start; at < end; at++) {
    if (at % STEP_OCTETS === 0) yield;
    const octet = data[at] ?? 0;
    if (!KEY_HEADERS.has(octet)) continue;
    const packet = packetAt(data, at);
    if (packet !== undefined && isPrimaryKey(packet)) return at;
  }
  return undefined;
}

/** Tag of the packet header at `offset`, -1 when there is none. */
function tagAt(data: Uint8Array, offset: number): number {
  const octet = data[offset] ?? 0;
  if ((octet & 0x80) === 0) return -1;
  return (octet & 0x40) === 0 ? (octet >> 2) & 0x0f : octet & 0x3f;
}

/**
 * The key that these components make up, whatever their order: equal ones are merged, each group
 * sorted. Exactly one primary key must be among them (several equal ones count as one).
 * Throws Refusal 'bad-packet' when the primary key has no fingerprint that we know.
 */
export function assembleKey(components: readonly Component[]): TransferableKey {
  return finish(assembling(components));
}

/** The same in steps. */
export function* assembling(components: readonly Component[]): Steps<TransferableKey> {
  const [primary, ...others] = yield* canonical(components.filter(isTag(TAG.publicKey)));
  if (primary === undefined || others.length > 0) throw new Error("a key has one primary key");
  const body = primary.packet.body;
  return {
    primary,
    userIds: yield* canonical(components.filter(isTag(TAG.userId, TAG.userAttribute))),
    subkeys: yield* canonical(components.filter(isTag(TAG.publicSubkey))),
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
  /** Which key of the keyring it is, from 1. */
  readonly #number: number;
  readonly #components: OpenComponent[] = [];
  #refusal: Refusal | undefined;
  #refusedAt = 0;
  #packets = 0;

  constructor(primary: Packet | undefined, offset: number, number: number) {
    this.#primary = primary;
    this.#offset = offset;
    this.#number = number;
    if (primary !== undefined) this.#components.push({ packet: primary, signatures: [] });
  }

  /** The refusal for a secret key packet that stands before `offset`. */
  secretBefore(offset: number): Refusal | undefined {
    const isSecret = this.#refusal?.reason === "secret-key";
    return isSecret && this.#refusedAt < offset ? this.#refusal : undefined;
  }

  /** The offset from which on another key may begin. */
  get afterPrimary(): number {
    // Of a primary packet that is none, the header alone is certain.
    if (this.#primary === undefined) return this.#offset;
    return this.#offset + (isPrimaryKey(this.#primary) ? this.#primary.body.length : 1);
  }

  /** Adds a packet; returns how many were added. */
  add(packet: Packet, offset: number): number {
    this.#packets += 1;
    if (packet.tag === TAG.secretKey || packet.tag === TAG.secretSubkey) {
      // Whatever else is wrong, a secret key is what its owner must hear about.
      this.#refuse("secret-key", "a secret key packet", offset);
    } else if (this.#refusal !== undefined || DROPPED.has(packet.tag)) {
      // It is neither kept nor judged.
    } else if (NOT_KEY_MATERIAL.has(packet.tag)) {
      this.#refuse("not-key-material", `a packet of tag ${packet.tag}`, offset);
    } else if (this.#primary === undefined) {
      this.#refuse("not-key-material", "data before the first primary key", offset);
    } else if (opensComponent(packet)) {
      this.#components.push({ packet, signatures: [] });
    } else {
      this.#components.at(-1)?.signatures.push(packet);
    }
    return this.#packets;
  }

  /** The key or why not; undefined when there is nothing before the first primary key. */
  *outcome(): Steps<TransferableKey | Refusal | undefined> {
    if (this.#refusal !== undefined || this.#primary === undefined) return this.#refusal;
    try {
      return yield* assembling(this.#components);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return new Refusal(error.reason, `${error.message}${this.#place()}`);
    }
  }

  /** What to add to a message so that the reader knows which key is meant. */
  name(): string {
    const which = this.#which();
    return which === "" ? "" : ` in ${which}`;
  }

  /** The same for what stands behind the key. */
  nameBefore(): string {
    const which = this.#which();
    return which === "" ? "" : ` behind ${which}`;
  }

  /** Undefined when the primary key cannot be read. */
  fingerprint(): Fingerprint | undefined {
    try {
      return this.#primary && fingerprintOf(this.#primary.body);
    } catch {
      return undefined;
    }
  }

  #which(): string {
    if (this.#primary === undefined) return "";
    const fingerprint = this.fingerprint();
    return fingerprint === undefined ? `the key${this.#place()}` : `key ${fingerprint}`;
  }

  #place(): string {
    return ` (number ${this.#number}, offset ${this.#offset})`;
  }

  #refuse(reason: "secret-key" | "not-key-material", what: string, offset: number): void {
    if (this.#refusal?.reason === "secret-key") return;
    const words = `${what} (offset ${offset})${this.name()}`;
    this.#refusal = new Refusal(reason, words, this.fingerprint());
    this.#refusedAt = offset;
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
function* canonical(group: readonly Component[]): Steps<Component[]> {
  const sorted = yield* sort(group, (a, b) => comparePackets(a.packet, b.packet));
  const merged: OpenComponent[] = [];
  for (const { packet, signatures } of sorted) {
    const last = merged.at(-1);
    if (last !== undefined && comparePackets(last.packet, packet) === 0) {
      for (const signature of signatures) last.signatures.push(signature);
    } else {
      merged.push({ packet, signatures: [...signatures] });
    }
  }
  const found: Component[] = [];
  for (const { packet, signatures } of merged) {
    found.push({ packet, signatures: yield* distinct(signatures) });
    if (found.length % STEP_PACKETS === 0) yield;
  }
  return found;
}

/** Sorted, each once. */
function* distinct(packets: readonly Packet[]): Steps<Packet[]> {
  const sorted = yield* sort(packets, comparePackets);
  const found: Packet[] = [];
  for (const [index, packet] of sorted.entries()) {
    const before = found.at(-1);
    if (before === undefined || comparePackets(before, packet) !== 0) found.push(packet);
    if (index % SORT_RUN === 0) yield;
  }
  return found;
}

/** Sorted by `compare`, stable: short runs at once, and then merged in steps. */
function* sort<T>(items: readonly T[], compare: (a: T, b: T) => number): Steps<T[]> {
  if (items.length <= SORT_RUN) return items.toSorted(compare);
  const middle = items.length >> 1;
  const left = yield* sort(items.slice(0, middle), compare);
  yield;
  const right = yield* sort(items.slice(middle), compare);
  yield;
  const merged: T[] = [];
  let [i, j] = [0, 0];
  while (i < left.length && j < right.length) {
    const [a, b] = [left[i] as T, right[j] as T];
    const isLeft = compare(a, b) <= 0;
    merged.push(isLeft ? a : b);
    if (isLeft) i += 1;
    else j += 1;
    if (merged.length % SORT_RUN === 0) yield;
  }
  while (i < left.length) merged.push(left[i++] as T);
  while (j < right.length) merged.push(right[j++] as T);
  return merged;
}
