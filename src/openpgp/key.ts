/**
 * Reads a keyring as transferable public keys in canonical order.
 *
 * The order is that of thesis 4.2, so that equal packets make equal updates at every server: the
 * primary key and its direct signatures, user ids and attributes as one group, subkeys as another.
 * Siblings are sorted by memcmp, and duplicates are removed. A packet belongs to the component that
 * it follows, whatever its tag. No signature is verified, and a user id may have none. A signature
 * under the wrong component stays there.
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
  PacketCursor,
  packetAt,
  TAG,
} from "./packet.js";

/**
 * A primary key, user id, attribute or subkey, and the packets under it: signatures (tag 2) and
 * packets with unknown tags, in canonical order, each once.
 */
export interface Component {
  readonly packet: Packet;
  readonly signatures: readonly Packet[];
}

/** One public key in canonical order. */
export interface TransferableKey {
  readonly primary: Component;
  /** User ids (tag 13) and user attributes (tag 17), as one group. */
  readonly userIds: readonly Component[];
  readonly subkeys: readonly Component[];
  /** Version octet of the primary key: 2 to 6. */
  readonly version: number;
  readonly fingerprint: Fingerprint;
}

/** Packets that are local to a keyring or empty are dropped (RFC 9580 5.8, 5.10, 5.14). */
const DROPPED: ReadonlySet<number> = new Set([TAG.marker, TAG.trust, TAG.padding]);
/** Encrypted, compressed, literal and signed data, and the reserved tag 0. */
const NOT_KEY_MATERIAL: ReadonlySet<number> = new Set([0, 1, 3, 4, 8, 9, 11, 18, 19, 20]);

/** Tags that follow a primary key. */
const KEY_PARTS: ReadonlySet<number> = new Set([
  ...[TAG.signature, TAG.userId, TAG.userAttribute, TAG.publicSubkey, TAG.secretSubkey],
]);
const PRIMARY_KEYS: ReadonlySet<number> = new Set([TAG.secretKey, TAG.publicKey]);
/** The possible first octets of a packet with tag 5 or 6; indeterminate lengths are refused. */
const KEY_HEADERS: ReadonlySet<number> = new Set(
  [...PRIMARY_KEYS].flatMap((tag) => [
    ...[0, 1, 2].map((lengthType) => 0x80 | (tag << 2) | lengthType),
    0xc0 | tag,
  ]),
);

/** A refusal costs about 10 us and 1 KiB; 2 MiB of data could cause a million of them. */
const MAX_REFUSALS = 1000;
/** Octets that may be read again after faults, as a multiple of the length of the data. */
const MAX_REREAD = 4;
/** Packets between steps; each costs a microsecond. */
const STEP_PACKETS = 500;
/** Keys between steps; a small one costs 20 us. */
const STEP_KEYS = 50;
/** Items that are sorted in one step; this takes half a millisecond. */
const SORT_RUN = 1000;
/** Octets between steps in the search for the next key. */
const STEP_OCTETS = 64 * 1024;

/**
 * Reads the keys of a keyring, each in canonical order. A key starts at each public key packet.
 *
 * A key that is refused is returned as a Refusal, and reading continues: 'secret-key' (tags 5, 7),
 * 'not-key-material' (also for packets before the first primary key), 'bad-packet'. Where the
 * framing breaks, reading continues at the next primary key packet. A truncated key is lost, but
 * octets between two keys that are no packet do not affect these keys. Each refusal names the key
 * by its fingerprint, or by its number and offset. Empty data gives []. After 1000 refusals the
 * rest is not read ('too-large').
 */
export function readKeys(data: Uint8Array): (TransferableKey | Refusal)[] {
  return finish(readingKeys(data));
}

/** The same in steps. Reading stops a few keys after `most`. */
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
 * Whether `data` has more than `most` public keys. Only packet headers are read, so this is cheap
 * before keys are sorted. Keys after a framing fault are not counted.
 */
export function* hasMoreKeys(data: Uint8Array, most: number): Steps<boolean> {
  let [keys, packets] = [0, 0];
  try {
    const cursor = new PacketCursor(data);
    for (cursor.next(); cursor.tag !== -1; cursor.next()) {
      if (cursor.tag === TAG.publicKey) keys += 1;
      if (keys > most) return true;
      packets += 1;
      if (packets % STEP_PACKETS === 0) yield;
    }
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
  }
  return false;
}

/** The state of reading a keyring. */
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

  /** Reads from `start` to the end or to the next fault; returns the offset to continue at. */
  *read(start: number): Steps<number | undefined> {
    let draft = new Draft(undefined, start, 0);
    let end = start;
    try {
      const cursor = new PacketCursor(this.#data);
      for (cursor.next(start); cursor.tag !== -1; cursor.next()) {
        const { tag, at: offset } = cursor;
        const packet = { tag, body: this.#data.subarray(cursor.start, cursor.end) };
        end = cursor.end;
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

  /** Handles a fault at `end`; returns the offset of the next key, if there is one. */
  *#recover(
    draft: Draft,
    { start, end, next }: { start: number; end: number; next: number | undefined },
    { reason, message }: Refusal,
  ): Steps<number | undefined> {
    // A truncated packet of the key includes the start of the next key, or reaches beyond the end.
    // Any other fault is between two keys, and the key before it is complete.
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

/** The offset of the first packet from `start` to `end` that is certainly a primary key. */
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

/** The tag of the packet header at `offset`, or -1 without one. */
function tagAt(data: Uint8Array, offset: number): number {
  const octet = data[offset] ?? 0;
  if ((octet & 0x80) === 0) return -1;
  return (octet & 0x40) === 0 ? (octet >> 2) & 0x0f : octet & 0x3f;
}

/**
 * Makes a key of components in any order: equal components are merged and each group is sorted.
 * Throws Error unless they include exactly one primary key (equal ones count as one), and Refusal
 * 'bad-packet' when its fingerprint cannot be computed.
 */
export function assembleKey(components: readonly Component[]): TransferableKey {
  return finish(assembling(components));
}

/** The same in steps. */
export function* assembling(components: readonly Component[]): Steps<TransferableKey> {
  const { primaries, names, subkeys } = grouped(components);
  const [primary, ...others] = inOrder(primaries) ?? (yield* canonical(primaries));
  if (primary === undefined || others.length > 0) throw new Error("a key has one primary key");
  const body = primary.packet.body;
  return {
    primary,
    userIds: inOrder(names) ?? (yield* canonical(names)),
    subkeys: inOrder(subkeys) ?? (yield* canonical(subkeys)),
    version: body[0] ?? 0,
    fingerprint: fingerprintOf(body),
  };
}

/** Components of one key in canonical order, the primary key first, equal ones merged. */
export function mergeComponents(components: readonly Component[]): Component[] {
  const { primaries, names, subkeys } = grouped(components);
  return [primaries, names, subkeys].flatMap((group) => inOrder(group) ?? finish(canonical(group)));
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

/** A key that is being read. Without a primary key: the packets before the first primary key. */
class Draft {
  readonly #primary: Packet | undefined;
  readonly #offset: number;
  /** The number of the key in the keyring, from 1. */
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

  /** The refusal for a secret key packet before `offset`. */
  secretBefore(offset: number): Refusal | undefined {
    const isSecret = this.#refusal?.reason === "secret-key";
    return isSecret && this.#refusedAt < offset ? this.#refusal : undefined;
  }

  /** The lowest offset at which the next key may start. */
  get afterPrimary(): number {
    // When the primary key packet is malformed, only its header octet is certain.
    if (this.#primary === undefined) return this.#offset;
    return this.#offset + (isPrimaryKey(this.#primary) ? this.#primary.body.length : 1);
  }

  /** Adds a packet; returns the number of packets added so far. */
  add(packet: Packet, offset: number): number {
    this.#packets += 1;
    if (packet.tag === TAG.secretKey || packet.tag === TAG.secretSubkey) {
      // A secret key overrides any other refusal, since its owner must learn of it.
      this.#refuse("secret-key", "a secret key packet", offset);
    } else if (this.#refusal !== undefined || DROPPED.has(packet.tag)) {
      // The packet is dropped.
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

  /** The key, or its refusal. Undefined without packets before the first primary key. */
  *outcome(): Steps<TransferableKey | Refusal | undefined> {
    if (this.#refusal !== undefined || this.#primary === undefined) return this.#refusal;
    try {
      return yield* assembling(this.#components);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return new Refusal(error.reason, `${error.message}${this.#place()}`);
    }
  }

  /** A suffix for a message that names the key. */
  name(): string {
    const which = this.#which();
    return which === "" ? "" : ` in ${which}`;
  }

  /** The same for a fault after the key. */
  nameBefore(): string {
    const which = this.#which();
    return which === "" ? "" : ` after ${which}`;
  }

  /** The fingerprint; undefined when the primary key cannot be read. */
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

/** The groups that are sorted each for itself. Components of other tags are left out. */
function grouped(components: readonly Component[]) {
  const primaries: Component[] = [];
  const names: Component[] = [];
  const subkeys: Component[] = [];
  for (const one of components) {
    const { tag } = one.packet;
    if (tag === TAG.publicKey) primaries.push(one);
    else if (tag === TAG.userId || tag === TAG.userAttribute) names.push(one);
    else if (tag === TAG.publicSubkey) subkeys.push(one);
  }
  return { primaries, names, subkeys };
}

/** A group of at most one component with at most one signature is in order, as most are. */
function inOrder(group: readonly Component[]): readonly Component[] | undefined {
  const isShort = group.length <= 1 && (group[0]?.signatures.length ?? 0) <= 1;
  return isShort ? group : undefined;
}

/** The components of one group in canonical order, equal ones merged. */
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

/** The packets in canonical order, each once. */
function* distinct(packets: readonly Packet[]): Steps<Packet[]> {
  if (packets.length <= 1) return [...packets];
  const sorted = yield* sort(packets, comparePackets);
  const found: Packet[] = [];
  for (const [index, packet] of sorted.entries()) {
    const before = found.at(-1);
    if (before === undefined || comparePackets(before, packet) !== 0) found.push(packet);
    if (index % SORT_RUN === 0) yield;
  }
  return found;
}

/** A stable sort: short runs are sorted at once and then merged in steps. */
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
