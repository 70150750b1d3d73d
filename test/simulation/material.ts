/**
 * The updates of a simulated world: small public keys of version 4 that the gate admits, and news
 * of them later: a user id more, a signature more, or a revocation that shows no user id at all.
 * Where gateways have different policies some news holds a photo, too.
 * The signatures verify nowhere; the hashes, the armor and the CRC are the real ones. And what a
 * key holds, packet by packet, by which a world compares what its servers have come to know.
 */
import { createHash } from "node:crypto";
import { Refusal } from "../../src/errors.js";
import { encodeArmor } from "../../src/openpgp/armor.js";
import { encodeKey, keyComponents, readKeys, type TransferableKey } from "../../src/openpgp/key.js";
import { encodePackets, type Packet, TAG } from "../../src/openpgp/packet.js";
import type { Dice } from "./dice.js";

const ED25519 = [22, 9, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01, 0x01, 0x07, 0x40];

/** A piece of news about one key. */
export interface News {
  readonly name: string;
  readonly key: TransferableKey;
  /** Whether it shows no user id, so that only a server that remembers one can pass it on. */
  readonly isBare: boolean;
}

/** Makes the news of one world. */
export class Keys {
  readonly #dice: Dice;
  /** Dice of their own: the keys of worlds without photos stay as they are. */
  readonly #photos: Dice | undefined;
  readonly #made: Packet[][] = [];

  constructor(dice: Dice, hasPhotos = false) {
    this.#dice = dice;
    this.#photos = hasPhotos ? dice.fork("photos") : undefined;
  }

  /** A new key, or something new about an old one. */
  next(): News {
    const old = this.#made.length > 0 && this.#dice.chance(0.4);
    return old ? this.#more(this.#dice.int(0, this.#made.length - 1)) : this.#fresh();
  }

  #fresh(): News {
    const n = this.#made.length;
    const point = createHash("sha256").update(`${this.#dice.next()}/${n}`).digest();
    const primary = {
      tag: TAG.publicKey,
      body: Uint8Array.of(4, 0x60, 0, 0, 0, ...ED25519, ...point),
    };
    this.#made.push([primary]);
    const packets = [primary, this.#userId(n, 0), this.#signature(0x13, 60), ...this.#photo()];
    return { name: `key ${n}`, key: keyFrom(packets), isBare: false };
  }

  #more(n: number): News {
    const history = this.#made[n] ?? [];
    const [primary] = history;
    if (primary === undefined) throw new Error("a key without packets");
    const isBare = this.#dice.chance(0.3);
    const added = isBare
      ? [this.#signature(0x20, 40)]
      : [this.#userId(n, history.length), this.#signature(0x13, this.#dice.span(40, 4000))];
    if (!isBare) added.push(...this.#photo());
    history.push(...added);
    return { name: `news of key ${n}`, key: keyFrom([primary, ...added]), isBare };
  }

  /** Sometimes a photo with a signature. */
  #photo(): Packet[] {
    const photos = this.#photos;
    if (photos === undefined || !photos.chance(0.3)) return [];
    const bytes = (length: number) => Uint8Array.from({ length }, () => photos.int(0, 255));
    const signature = Uint8Array.of(4, 0x13, 22, 8, 0, 0, 0, 0, 0, 0, ...bytes(50));
    return [
      { tag: TAG.userAttribute, body: bytes(photos.span(20, 2000)) },
      { tag: TAG.signature, body: signature },
    ];
  }

  #userId(n: number, m: number): Packet {
    return { tag: TAG.userId, body: Buffer.from(`Sim ${n}.${m} <${n}.${m}@sim.example>`) };
  }

  #signature(type: number, filler: number): Packet {
    const body = Buffer.alloc(10 + filler);
    body.set([4, type, 22, 8, 0, 0, 0, 0, 0, 0]);
    for (let at = 10; at < 26; at += 1) body[at] = this.#dice.int(0, 255);
    return { tag: TAG.signature, body };
  }
}

function keyFrom(packets: readonly Packet[]): TransferableKey {
  const [key] = readKeys(encodePackets(packets));
  if (key === undefined || key instanceof Refusal) throw new Error("the key that was made is none");
  return key;
}

/** The key in one armor block. */
export function armored(key: TransferableKey): string {
  return encodeArmor(encodeKey(key));
}

/** The packets of a key under what they belong to, each as a short text with tag and length. */
export function contentOf(key: TransferableKey): string[] {
  const name = ({ tag, body }: Packet) =>
    `${tag}:${createHash("md5").update(body).digest("base64url").slice(0, 16)}:${body.length}`;
  return keyComponents(key).flatMap(({ packet, signatures }) => {
    const own = `${key.fingerprint}/${name(packet)}`;
    return [own, ...signatures.map((signature) => `${own}/${name(signature)}`)];
  });
}
