/**
 * Material for the tests of this room: the real keys, the hash vectors, packets in any framing, and
 * signature packets that claim what a test wants them to claim (none of them verifies).
 */
import { readdirSync, readFileSync } from "node:fs";
import { readArmor } from "../../src/openpgp/armor.js";
import { assembleKey, readKeys, type TransferableKey } from "../../src/openpgp/key.js";
import type { Packet } from "../../src/openpgp/packet.js";

const FIXTURES = new URL("../fixtures/", import.meta.url);

export interface Vector {
  readonly name: string;
  readonly note: string;
  readonly fingerprint: string;
  readonly hash: string;
  readonly packets_base64: string;
}

export const vectors: readonly Vector[] = JSON.parse(
  readFileSync(new URL("update-hash.json", FIXTURES), "utf8"),
);

/** The octets of a vector. */
export function vectorData(name: string): Uint8Array {
  const found = vectors.find((vector) => vector.name === name);
  if (found === undefined) throw new Error(`no vector ${name}`);
  return Buffer.from(found.packets_base64, "base64");
}

export interface RealKey {
  readonly name: string;
  readonly armor: Buffer;
  readonly data: Uint8Array;
}

/** The 22 real keys, armored and as octets. */
export const realKeys: readonly RealKey[] = readdirSync(new URL("keys/", FIXTURES))
  .sort()
  .map((name) => {
    const armor = readFileSync(new URL(`keys/${name}`, FIXTURES));
    return { name, armor, data: onlyBlock(armor) };
  });

export function realKey(keyId: string): RealKey {
  const found = realKeys.find(({ name }) => name.includes(keyId));
  if (found === undefined) throw new Error(`no key ${keyId}`);
  return found;
}

export function mail(name: string): Buffer {
  return readFileSync(new URL(`mails/${name}`, FIXTURES));
}

/** The data of the one good block of a text. */
export function onlyBlock(text: Uint8Array): Uint8Array {
  const [block, ...more] = readArmor(text);
  if (block === undefined || block instanceof Error || more.length > 0) {
    throw new Error(`expected one block, not ${block}, ${more.length} more`);
  }
  return block.data;
}

/** The one good key of some data. */
export function onlyKey(data: Uint8Array): TransferableKey {
  const [key, ...more] = readKeys(data);
  if (key === undefined || key instanceof Error || more.length > 0) {
    throw new Error(`expected one key, not ${key}, ${more.length} more`);
  }
  return key;
}

/** What merging these octets gives, each being one key with the same primary key. */
export function merged(pieces: readonly Uint8Array[]): TransferableKey {
  return assembleKey(
    pieces.map(onlyKey).flatMap(({ primary, userIds, subkeys }) => {
      return [primary, ...userIds, ...subkeys];
    }),
  );
}

export function packet(tag: number, body: Uint8Array | string): Packet {
  return { tag, body: Uint8Array.from(Buffer.from(body)) };
}

/** A packet with an old-format header of the given length type 0 to 3. */
export function oldFramed(tag: number, lengthType: number, body: Uint8Array): Buffer {
  const length = Buffer.alloc([1, 2, 4, 0][lengthType] ?? 0);
  if (length.length > 0) length.writeUIntBE(body.length, 0, length.length);
  return Buffer.concat([Buffer.of(0x80 | (tag << 2) | lengthType), length, body]);
}

/** A packet with a new-format header and the given length octets. */
export function newFramed(tag: number, length: readonly number[], body: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(0xc0 | tag, ...length), body]);
}

/** A version 4 signature that claims a type, a time and an issuer, and carries `filler`. */
export function claim(
  type: number,
  createdAt: number,
  issuer: string,
  filler: Uint8Array = new Uint8Array(8),
): Packet {
  const time = Buffer.alloc(6);
  time.writeUInt8(5);
  time.writeUInt8(2, 1);
  time.writeUInt32BE(createdAt, 2);
  const octets = Buffer.from(issuer, "hex");
  const named =
    octets.length === 8
      ? Buffer.from([9, 16, ...octets])
      : Buffer.from([octets.length + 2, 33, octets.length === 20 ? 4 : 6, ...octets]);
  const hashed = Buffer.concat([time, named]);
  return packet(
    2,
    Buffer.from([4, type, 22, 8, hashed.length >> 8, hashed.length, ...hashed, 0, 0, ...filler]),
  );
}
