/**
 * The updates of a simulated world: small public keys of version 4 with real self-signatures, and
 * news of them later: a user id or a subkey more, a signature of somebody else (with or without the
 * self-signature of the user id, as pksd sends it), a revocation that shows no user id at all, or a
 * revocation in one key with packets that no gateway carries. Also what a key holds, packet by
 * packet, by which a world compares what its servers have come to know. Where gateways have
 * different policies some news holds a photo, too.
 */
import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign } from "node:crypto";
import { Refusal } from "../../src/errors.js";
import { encodeArmor } from "../../src/openpgp/armor.js";
import { encodeKey, keyComponents, readKeys, type TransferableKey } from "../../src/openpgp/key.js";
import { encodePackets, type Packet, TAG } from "../../src/openpgp/packet.js";
import type { Dice } from "./dice.js";

const OID = [9, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];
const ED25519 = 22;
const ECDH = 18;
const SHA256 = 8;
const PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");
/** Before all worlds begin, so that no signature is from the future. */
const CREATED = 1_790_000_000;
/** More than a gateway carries. */
const HUGE_NAME = 2100;

const CERTIFICATION = 0x13;
const FOREIGN = 0x10;
const BINDING = 0x18;
const REVOCATION = 0x20;

/** A piece of news about one key. */
export interface News {
  readonly name: string;
  readonly key: TransferableKey;
  /** What of it every server takes that takes such packets at all. */
  readonly pieces: readonly string[];
  /** Whether it shows no user id, so that only a server that remembers one can pass it on. */
  readonly isBare: boolean;
}

interface Signed {
  readonly packet: Packet;
  readonly signatures: Packet[];
}

/** A key with all that was ever made of it. */
interface Made {
  readonly secret: KeyObject;
  readonly fingerprint: Buffer;
  readonly primary: Packet;
  readonly direct: Packet[];
  readonly names: Signed[];
  readonly subkeys: Signed[];
}

/** Makes the news of one world. */
export class Keys {
  readonly #dice: Dice;
  /** Dice of their own: the keys of worlds without photos stay as they are. */
  readonly #photos: Dice | undefined;
  readonly #made: Made[] = [];
  /** The self-signature of each user id, as pieces. */
  readonly #owns = new Map<string, string>();
  #signatures = 0;

  constructor(dice: Dice, hasPhotos = false) {
    this.#dice = dice;
    this.#photos = hasPhotos ? dice.fork("photos") : undefined;
  }

  /** A new key, or something new about an old one. */
  next(): News {
    const old = this.#made.length > 0 && this.#dice.chance(0.4);
    return old ? this.#more(this.#dice.int(0, this.#made.length - 1)) : this.#fresh();
  }

  /** Each key with all that was ever made of it. */
  wholes(): TransferableKey[] {
    return this.#made.map(({ primary, direct, names, subkeys }) =>
      keyFrom([primary, ...direct, ...flat([...names, ...subkeys])]),
    );
  }

  /**
   * The self-signatures of which a server that verifies needs one to take a piece: that of the user
   * id which the piece is or stands under, and else any of the key.
   */
  selfSignaturesFor(piece: string): string[] {
    const [fingerprint = "", parent = ""] = piece.split("/");
    const own = this.#owns.get(`${fingerprint}/${parent}`);
    if (own !== undefined) return [own];
    return [...this.#owns.values()].filter((one) => one.startsWith(`${fingerprint}/`));
  }

  #fresh(): News {
    const n = this.#made.length;
    const seed = this.#random();
    const secret = createPrivateKey({
      key: Buffer.concat([PKCS8, seed]),
      format: "der",
      type: "pkcs8",
    });
    const { x = "" } = createPublicKey(secret).export({ format: "jwk" });
    const primary = {
      tag: TAG.publicKey,
      body: publicBody(ED25519, Buffer.from(x, "base64url")),
    };
    const fingerprint = createHash("sha1").update(framed(primary)).digest();
    const made: Made = { secret, fingerprint, primary, direct: [], names: [], subkeys: [] };
    this.#made.push(made);
    this.#name(made, n, 60);
    if (this.#dice.chance(0.5)) this.#subkey(made);
    const key = keyFrom([primary, ...flat([...made.names, ...made.subkeys])]);
    return { name: `key ${n}`, key, pieces: contentOf(key), isBare: false };
  }

  #more(n: number): News {
    const made = this.#made[n];
    if (made === undefined) throw new Error("a key without packets");
    const kind = this.#dice.pick(["name", "foreign", "foreign", "subkey", "bare", "junk"] as const);
    const name = `news of key ${n}`;
    const news = (packets: readonly Packet[], more: readonly Packet[] = []) => {
      const pieces = contentOf(keyFrom([made.primary, ...packets]));
      const key = keyFrom([made.primary, ...packets, ...more]);
      return { name, key, pieces, isBare: kind === "bare" };
    };
    switch (kind) {
      case "name":
        return news(flat([this.#name(made, n, this.#dice.span(40, 4000))]), this.#photo());
      case "foreign":
        return news(this.#foreign(made));
      case "subkey":
        if (made.subkeys.length < 2) return news(flat([this.#subkey(made)]));
        return news(this.#foreign(made));
      case "bare":
        return news([this.#revocation(made)]);
      case "junk": {
        const [known] = made.names;
        if (known === undefined) throw new Error("a key without a user id");
        const packets = [this.#revocation(made), ...flat([known]).slice(0, 2)];
        return news(packets, this.#junk(made));
      }
      default:
        return kind satisfies never;
    }
  }

  /** Sometimes a photo with a signature. */
  #photo(): Packet[] {
    const photos = this.#photos;
    if (photos === undefined || !photos.chance(0.5)) return [];
    const bytes = (length: number) => Uint8Array.from({ length }, () => photos.int(0, 255));
    const signature = Uint8Array.of(4, CERTIFICATION, 22, 8, 0, 0, 0, 0, 0, 0, ...bytes(50));
    return [
      { tag: TAG.userAttribute, body: bytes(photos.span(20, 2000)) },
      { tag: TAG.signature, body: signature },
    ];
  }

  #name(made: Made, n: number, filler: number): Signed {
    const text = `Sim ${n}.${made.names.length} <${n}.${made.names.length}@sim.example>`;
    const packet = { tag: TAG.userId, body: Buffer.from(text) };
    const added = { packet, signatures: [this.#signed(made, CERTIFICATION, packet, filler)] };
    made.names.push(added);
    const [, name = "", own = ""] = contentOf(keyFrom([made.primary, ...flat([added])]));
    this.#owns.set(name, own);
    return added;
  }

  #subkey(made: Made): Signed {
    const kdf = [3, 1, SHA256, 9];
    const body = Buffer.concat([publicBody(ECDH, this.#random()), Uint8Array.from(kdf)]);
    const packet = { tag: TAG.publicSubkey, body };
    const added = { packet, signatures: [this.#signed(made, BINDING, packet, 20)] };
    made.subkeys.push(added);
    return added;
  }

  #revocation(made: Made): Packet {
    const revocation = this.#signed(made, REVOCATION, undefined, 40);
    made.direct.push(revocation);
    return revocation;
  }

  /** Somebody else's signature on a user id, half of the time without that of the key itself. */
  #foreign({ names }: Made): Packet[] {
    const { packet, signatures } = this.#dice.pick(names);
    const fingerprint = this.#random().subarray(0, 20);
    const hashed = hashedArea(CREATED + this.#signatures, fingerprint);
    const random = Buffer.concat([this.#random(), this.#random()]);
    const foreign = assembled(FOREIGN, hashed, Buffer.alloc(0), random.subarray(0, 2), random);
    const own = this.#dice.chance(0.5) ? signatures.slice(0, 1) : [];
    signatures.push(foreign);
    return [packet, ...own, foreign];
  }

  /** Packets that do not get far: a user id over the limit, and a subkey of version 5. */
  #junk(made: Made): Packet[] {
    const huge = { tag: TAG.userId, body: Buffer.alloc(HUGE_NAME, "x") };
    const odd = publicBody(ECDH, this.#random());
    odd[0] = 5;
    const subkey = { tag: TAG.publicSubkey, body: Buffer.concat([odd, Buffer.of(3, 1, 8, 9)]) };
    const names = [huge, this.#signed(made, CERTIFICATION, huge, 20)];
    const subkeys = this.#dice.chance(0.5) ? [subkey, this.#signed(made, BINDING, subkey, 20)] : [];
    return [...names, ...subkeys];
  }

  /** A signature of the key over itself, or over a component of it. */
  #signed(made: Made, type: number, target: Packet | undefined, filler: number): Packet {
    this.#signatures += 1;
    const { secret, primary, fingerprint } = made;
    const hashed = hashedArea(CREATED + this.#signatures, fingerprint);
    const head = Buffer.concat([Buffer.of(4, type, ED25519, SHA256), counted(hashed)]);
    const trailer = Buffer.alloc(6);
    trailer.writeUInt16BE(0x04ff);
    trailer.writeUInt32BE(head.length, 2);
    const signedOver = target === undefined ? Buffer.alloc(0) : framed(target);
    const data = Buffer.concat([framed(primary), signedOver, head, trailer]);
    const digest = createHash("sha256").update(data).digest();
    const unhashed = Buffer.alloc(6 + filler);
    unhashed.writeUInt8(255);
    unhashed.writeUInt32BE(1 + filler, 1);
    unhashed.writeUInt8(100, 5);
    const check = digest.subarray(0, 2);
    return assembled(type, hashed, unhashed, check, sign(null, digest, secret));
  }

  #random(): Buffer {
    return createHash("sha256").update(`${this.#dice.next()}`).digest();
  }
}

function flat(components: readonly Signed[]): Packet[] {
  return components.flatMap(({ packet, signatures }) => [packet, ...signatures]);
}

function publicBody(algorithm: number, point: Uint8Array): Buffer {
  const created = Buffer.alloc(4);
  created.writeUInt32BE(CREATED);
  const head = [4, ...created, algorithm, ...OID, 0x01, 0x07, 0x40];
  return Buffer.concat([Uint8Array.from(head), point]);
}

/** The octets of a component as they are signed. */
function framed({ tag, body }: Packet): Buffer {
  const isName = tag === TAG.userId;
  const head = Buffer.alloc(isName ? 5 : 3);
  head.writeUInt8(isName ? 0xb4 : 0x99);
  head.writeUIntBE(body.length, 1, head.length - 1);
  return Buffer.concat([head, body]);
}

function hashedArea(created: number, fingerprint: Uint8Array): Buffer {
  const time = Buffer.of(5, 2, 0, 0, 0, 0);
  time.writeUInt32BE(created, 2);
  return Buffer.concat([time, Buffer.of(22, 33, 4), fingerprint]);
}

function counted(area: Buffer): Buffer {
  return Buffer.concat([Buffer.of(area.length >> 8, area.length & 255), area]);
}

function assembled(
  type: number,
  hashed: Buffer,
  unhashed: Buffer,
  check: Uint8Array,
  value: Buffer,
): Packet {
  const head = Buffer.of(4, type, ED25519, SHA256);
  const numbers = [integer(value.subarray(0, 32)), integer(value.subarray(32, 64))];
  const body = Buffer.concat([head, counted(hashed), counted(unhashed), check, ...numbers]);
  return { tag: TAG.signature, body };
}

/** A multiprecision integer. */
function integer(octets: Buffer): Buffer {
  const start = octets.findIndex((octet) => octet !== 0);
  const digits = start === -1 ? Buffer.alloc(0) : octets.subarray(start);
  const bits = digits.length === 0 ? 0 : digits.length * 8 - Math.clz32(digits[0] ?? 0) + 24;
  return Buffer.concat([Buffer.of(bits >> 8, bits & 255), digits]);
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

/** Whether a piece is a subkey or stands under one. */
export function isOfSubkey(piece: string): boolean {
  return piece.split("/")[1]?.startsWith(`${TAG.publicSubkey}:`) === true;
}
