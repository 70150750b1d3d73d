/**
 * What a keyserver holds after all that it was sent, as running servers were seen to merge (pksd
 * 0.9.6, SKS 1.1.6, onak 0.6.2, Hockeypuck 2.3.3; 2026-11). The oracles beside this one say whether
 * a key is taken at all. A store holds one key; a ring has a store for each key.
 *
 * Not modelled: which signatures verify. Hockeypuck's store believes that a signature which names
 * the key is the key's own, save those that the test calls forged.
 */

import * as onak from "./onak.js";
import { fingerprintOf, keysOf, type Packet, TAG, versionOf, walk } from "./packets.js";
import * as pksd from "./pksd.js";
import { firstBlock, type Reading, textOf } from "./raw-mail.js";
import * as sks from "./sks.js";

/** A primary key, user id, attribute or subkey, and what stands under it. */
interface Group {
  readonly head: Packet;
  readonly under: Packet[];
}

/** A string that equal packets share. */
export function nameOf({ tag, body }: Pick<Packet, "tag" | "body">): string {
  return `${tag} ${Buffer.from(body).toString("hex")}`;
}

/** Names of packets by the name of what they stand under; a head stands under itself. */
export type Holdings = Map<string, Set<string>>;

/** RSA, Elgamal and DSA, by their number in a subkey of version 4. */
const KNOWN_SUBKEYS: readonly number[] = [1, 2, 3, 16, 17];

const HEADS: readonly number[] = [TAG.key, TAG.userId, TAG.attribute, TAG.subkey];

export function groupsOf(key: readonly Packet[]): Group[] {
  const groups: Group[] = [];
  for (const packet of key) {
    if (HEADS.includes(packet.tag)) groups.push({ head: packet, under: [] });
    else groups.at(-1)?.under.push(packet);
  }
  return groups;
}

function merge(holdings: Holdings, { head, under }: Group): void {
  const held = holdings.get(nameOf(head)) ?? new Set();
  for (const packet of [head, ...under]) held.add(nameOf(packet));
  holdings.set(nameOf(head), held);
}

function keyIn(raw: Uint8Array): Packet[] {
  const packets = walk(firstBlock(textOf(raw))?.packets ?? new Uint8Array()) ?? [];
  return keysOf(packets)[0] ?? [];
}

type Reader = (raw: Uint8Array) => Reading;

export interface Store {
  readonly held: Holdings;
  /** Reads a mail as the server does. */
  take(raw: Uint8Array): void;
  /** Merges a key that the server has accepted. */
  add(key: readonly Packet[]): void;
}

function storeOf(read: Reader, held: Holdings, add: Store["add"]): Store {
  return {
    held,
    add,
    take(raw) {
      if (read(raw).accepted.length > 0) add(keyIn(raw));
    },
  };
}

/** SKS adds what a key has to what it has of it. It loses a key with a subkey that is not v4. */
export function sksStore(): Store {
  const held: Holdings = new Map();
  return storeOf(sks.read, held, (key) => {
    for (const one of groupsOf(key)) merge(held, one);
  });
}

/** So does onak, which keeps no packet of an unknown tag. Seen on 0.6.2. */
export function onakStore(): Store {
  const held: Holdings = new Map();
  return storeOf(onak.read, held, (key) => {
    for (const one of groupsOf(key.filter(isKnownTag))) merge(held, one);
  });
}

function isKnownTag({ tag }: { readonly tag: number }): boolean {
  return [TAG.key, TAG.subkey, TAG.userId, TAG.attribute, TAG.signature].includes(tag);
}

/**
 * pksd adds user ids and their signatures. Its record of a key has one subkey with one binding: of
 * a mail that brings news the first subkey that it can read, with its first binding, replaces what
 * it had, and without one it has none. News are user ids, signatures under them, the first
 * revocation of the key, and another first user id than in the record; a mail without news changes
 * nothing. So a subkey that comes alone is ignored, and stored with the next news. It ignores
 * subkey revocations. Seen on pksd 0.9.6.
 */
export function pksdStore(): Store {
  const held: Holdings = new Map();
  let firstName: string | undefined;
  let isRevoked = false;
  return storeOf(pksd.read, held, (key) => {
    const groups = groupsOf(key);
    const names = groups.filter(({ head }) => head.tag === TAG.userId);
    const isNew = held.size === 0;
    const [primary] = groups;
    const revokes = primary?.under.some(({ body }) => typeOf(body) === 0x20) === true;
    const [first] = names.map(({ head }) => nameOf(head));
    const hasNews =
      isNew ||
      first !== firstName ||
      (revokes && !isRevoked) ||
      names.some(({ head, under }) => {
        const known = held.get(nameOf(head));
        return known === undefined || under.some((one) => !known.has(nameOf(one)));
      });
    for (const one of groups) if (one.head.tag !== TAG.subkey) merge(held, one);
    isRevoked ||= revokes;
    if (!hasNews) return;
    firstName = first;
    for (const name of [...held.keys()]) if (name.startsWith(`${TAG.subkey} `)) held.delete(name);
    const isReadable = ({ head }: Group) => {
      const isOld = (head.body[0] ?? 0) <= 4;
      return head.tag === TAG.subkey && isOld && KNOWN_SUBKEYS.includes(head.body[5] ?? 0);
    };
    const [subkey] = groups.filter(isReadable);
    if (subkey === undefined) return;
    const binding = subkey.under.filter(({ body }) => typeOf(body) === 0x18).slice(0, 1);
    merge(held, { head: subkey.head, under: binding });
  });
}

/** A server that reads mails, with all its keys. */
export class Ring {
  readonly #read: Reader;
  readonly #make: () => Store;
  readonly #stores = new Map<string, Store>();

  constructor(kind: "pksd" | "sks" | "onak") {
    this.#read = { pksd, sks, onak }[kind].read;
    this.#make = { pksd: pksdStore, sks: sksStore, onak: onakStore }[kind];
  }

  /** What it holds of a key. */
  held(fingerprint: string): Holdings {
    return this.#stores.get(fingerprint)?.held ?? new Map();
  }

  /** Reads a mail; returns the fingerprints of the keys that it took. */
  take(raw: Uint8Array): readonly string[] {
    const { accepted } = this.#read(raw);
    const packets = walk(firstBlock(textOf(raw))?.packets ?? new Uint8Array()) ?? [];
    for (const key of keysOf(packets)) {
      const fingerprint = fingerprintOf(key);
      if (!accepted.includes(fingerprint)) continue;
      const store = this.#stores.get(fingerprint) ?? this.#make();
      this.#stores.set(fingerprint, store);
      store.add(key);
    }
    return accepted;
  }
}

/**
 * Hockeypuck throws away a user id without a valid self-signature, and a subkey without a binding,
 * in the same submission, with all that stands under it; user attributes and unknown packets too.
 */
export function hockeypuckStore(isForged: (signature: Packet) => boolean = () => false) {
  const held: Holdings = new Map();
  return {
    held,
    /** The packets of one submission. */
    take(bytes: Uint8Array): void {
      const [key = []] = keysOf(walk(bytes) ?? []);
      if (versionOf(key) !== 4) return;
      const groups = groupsOf(key).map(({ head, under }) => ({
        head,
        under: under.filter(({ tag }) => tag === TAG.signature),
      }));
      const [primary, ...others] = groups;
      if (primary === undefined) return;
      const valid = others.filter(({ head, under }) => {
        if (head.tag === TAG.attribute) return false;
        const types = head.tag === TAG.subkey ? [0x18] : [0x10, 0x11, 0x12, 0x13];
        return under.some((one) => {
          return types.includes(typeOf(one.body)) && isOwn(key, one) && !isForged(one);
        });
      });
      if (!valid.some(({ head }) => head.tag === TAG.userId)) return;
      for (const one of [primary, ...valid]) merge(held, one);
    },
  };
}

/** Signature type of a packet body, version 3 or later. */
export function typeOf(body: Uint8Array): number {
  return (body[0] ?? 0) <= 3 ? (body[2] ?? 0) : (body[1] ?? 0);
}

/** Whether the signature names the key: by the last eight octets of its fingerprint, anywhere. */
export function isOwn(key: readonly Packet[], { body }: Packet): boolean {
  const id = Buffer.from(fingerprintOf(key), "hex").subarray(-8);
  return Buffer.from(body).includes(id);
}
