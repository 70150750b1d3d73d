/**
 * Verifies that a signature was made by the primary key of its key (RFC 9580 section 5.2.4).
 *
 * The gateway passes on updates without verification. Packets that it adds to a mail itself are
 * verified here first; otherwise anybody could make it send a forged self-signature in place of the
 * genuine one. Supported are RSA, DSA, ECDSA on the NIST curves and EdDSA, and signatures of
 * version 3 to 6. When the key cannot be used (another algorithm, an unusual size), the result is
 * undefined, not false.
 */
import { createHash, createPublicKey, type KeyObject, verify } from "node:crypto";
import { bufferOf, type Packet, TAG } from "./packet.js";

/** Hash algorithms as node:crypto names them, by number (RFC 9580 section 9.5). */
const HASHES: Readonly<Record<number, string>> = {
  1: "md5",
  2: "sha1",
  3: "ripemd160",
  8: "sha256",
  9: "sha384",
  10: "sha512",
  11: "sha224",
  12: "sha3-256",
  14: "sha3-512",
};

/** NIST curves by OID in hex: the name in a JWK, and the octets of a coordinate. */
const CURVES: Readonly<Record<string, readonly [name: string, octets: number]>> = {
  "2a8648ce3d030107": ["P-256", 32],
  "2b81040022": ["P-384", 48],
  "2b81040023": ["P-521", 66],
};
const ED25519_OID = "2b06010401da470f01";

/** Above these sizes a check takes more than a millisecond. No real key is larger. */
const MAX_RSA_OCTETS = 1024;
const MAX_EXPONENT_OCTETS = 8;
const MAX_DSA_OCTETS = 384;

/** How a signature is checked with one primary key. */
interface Checker {
  readonly algorithms: readonly number[];
  check(hash: string, data: Buffer, signature: Reader): boolean;
}

/** Checks self-signatures of one primary key. */
export class SelfCheck {
  readonly #primary: Packet;
  #checker: Checker | undefined;
  #isRead = false;

  constructor(primary: Packet) {
    this.#primary = primary;
  }

  /**
   * Whether the primary key made `signature` over `component` (itself, a user id, an attribute or a
   * subkey). Undefined when no signature of this key can be checked. Never throws.
   */
  holds(component: Packet, signature: Packet): boolean | undefined {
    try {
      if (!this.#isRead) this.#checker = checkerOf(this.#primary.body);
    } catch {
      this.#checker = undefined;
    }
    this.#isRead = true;
    if (this.#checker === undefined) return undefined;
    try {
      return holds(this.#checker, this.#primary, component, signature.body);
    } catch {
      return false;
    }
  }
}

function holds(checker: Checker, primary: Packet, component: Packet, body: Uint8Array): boolean {
  const octets = bufferOf(body);
  const { algorithm, hash, trailer, salt, check, values } = partsOf(octets);
  const name = HASHES[hash];
  if (name === undefined || !checker.algorithms.includes(algorithm)) return false;
  const data = Buffer.concat([salt, ...targetOf(primary, component, octets[0] === 3), trailer]);
  // This test is cheap and rejects nearly all signatures on another component.
  if (!createHash(name).update(data).digest().subarray(0, 2).equals(check)) return false;
  return checker.check(name, data, values);
}

/** The octets that are hashed of the primary key and of the signed component. */
function targetOf(primary: Packet, component: Packet, isOld: boolean): Uint8Array[] {
  const key = framedKey(primary.body);
  if (component.tag === TAG.publicKey) return [...key];
  if (component.tag === TAG.publicSubkey) return [...key, ...framedKey(component.body)];
  if (isOld) return [...key, component.body];
  const head = Buffer.alloc(5);
  head.writeUInt8(component.tag === TAG.userAttribute ? 0xd1 : 0xb4);
  head.writeUInt32BE(component.body.length, 1);
  return [...key, head, component.body];
}

function framedKey(body: Uint8Array): [Uint8Array, Uint8Array] {
  const version = body[0] ?? 0;
  const head = Buffer.alloc(version >= 5 ? 5 : 3);
  head.writeUInt8(version >= 5 ? 0x95 + version : 0x99);
  head.writeUIntBE(body.length, 1, head.length - 1);
  return [head, body];
}

/** The fields of a signature packet. Throws when it is truncated or of an unknown version. */
function partsOf(octets: Buffer) {
  const version = octets.readUInt8(0);
  if (version === 3) {
    return {
      algorithm: octets.readUInt8(15),
      hash: octets.readUInt8(16),
      trailer: octets.subarray(2, 7),
      salt: Buffer.alloc(0),
      check: octets.subarray(17, 19),
      values: new Reader(octets.subarray(19)),
    };
  }
  if (version < 4 || version > 6) throw new RangeError("a signature of an unknown version");
  const count = version === 6 ? 4 : 2;
  const hashedEnd = 4 + count + octets.readUIntBE(4, count);
  const unhashedEnd = hashedEnd + count + octets.readUIntBE(hashedEnd, count);
  const rest = new Reader(octets.subarray(unhashedEnd));
  const check = rest.take(2);
  const salt = version === 6 ? rest.take(rest.take(1).readUInt8()) : Buffer.alloc(0);
  const end = Buffer.alloc(version === 5 ? 10 : 6);
  end.writeUInt8(version);
  end.writeUInt8(0xff, 1);
  end.writeUInt32BE(hashedEnd, end.length - 4);
  return {
    algorithm: octets.readUInt8(2),
    hash: octets.readUInt8(3),
    trailer: Buffer.concat([octets.subarray(0, hashedEnd), end]),
    salt,
    check,
    values: rest,
  };
}

/** Reads integers and octets in sequence. Throws RangeError at the end. */
class Reader {
  #rest: Buffer;

  constructor(octets: Buffer) {
    this.#rest = octets;
  }

  take(count: number): Buffer {
    if (count > this.#rest.length) throw new RangeError("cut off");
    const taken = this.#rest.subarray(0, count);
    this.#rest = this.#rest.subarray(count);
    return taken;
  }

  /** A multiprecision integer without leading zeros. */
  integer(): Buffer {
    const taken = this.take(Math.ceil(this.take(2).readUInt16BE() / 8));
    const start = taken.findIndex((octet) => octet !== 0);
    return start === -1 ? Buffer.alloc(0) : taken.subarray(start);
  }

  /** The same, padded with leading zeros to `count` octets. */
  fixed(count: number): Buffer {
    const value = this.integer();
    if (value.length > count) throw new RangeError("too long");
    return Buffer.concat([Buffer.alloc(count - value.length), value]);
  }

  /** Octets after a length octet. */
  counted(): Buffer {
    return this.take(this.take(1).readUInt8());
  }
}

/** The checker for a primary key; undefined for an unsupported key. Throws for a damaged one. */
function checkerOf(body: Uint8Array): Checker | undefined {
  const octets = bufferOf(body);
  const version = octets.readUInt8(0);
  const at = version <= 3 ? 7 : 5;
  const values = new Reader(octets.subarray(at + (version >= 5 ? 5 : 1)));
  switch (octets.readUInt8(at)) {
    case 1:
    case 3:
      return rsa(values.integer(), values.integer());
    case 17:
      return dsa(values.integer(), values.integer(), values.integer(), values.integer());
    case 19:
      return ecdsa(values.counted().toString("hex"), values.integer());
    case 22:
      return eddsa(values.counted().toString("hex"), values.integer());
    case 27:
      return edwards(27, okp("Ed25519", values.take(32)), (from) => from.take(64));
    case 28:
      return edwards(28, okp("Ed448", values.take(57)), (from) => from.take(114));
    default:
      return undefined;
  }
}

function rsa(n: Buffer, e: Buffer): Checker | undefined {
  if (n.length > MAX_RSA_OCTETS || e.length > MAX_EXPONENT_OCTETS) return undefined;
  const key = createPublicKey({
    key: { kty: "RSA", n: n.toString("base64url"), e: e.toString("base64url") },
    format: "jwk",
  });
  return {
    algorithms: [1, 3],
    check: (hash, data, signature) => verify(hash, data, key, signature.fixed(n.length)),
  };
}

function dsa(p: Buffer, q: Buffer, g: Buffer, y: Buffer): Checker | undefined {
  if (p.length > MAX_DSA_OCTETS) return undefined;
  const oid = Buffer.from("06072a8648ce380401", "hex");
  const parameters = der(0x30, derInteger(p), derInteger(q), derInteger(g));
  const point = der(0x03, Buffer.alloc(1), derInteger(y));
  const info = der(0x30, der(0x30, oid, parameters), point);
  const key = createPublicKey({ key: info, format: "der", type: "spki" });
  return pairOfIntegers(17, key, q.length);
}

function ecdsa(oid: string, point: Buffer): Checker | undefined {
  const [crv = "", octets = 0] = CURVES[oid] ?? [];
  if (octets === 0) return undefined;
  const [x, y] = [point.subarray(1, 1 + octets), point.subarray(1 + octets)];
  const key = createPublicKey({
    key: { kty: "EC", crv, x: x.toString("base64url"), y: y.toString("base64url") },
    format: "jwk",
  });
  return pairOfIntegers(19, key, octets);
}

function pairOfIntegers(algorithm: number, key: KeyObject, octets: number): Checker {
  return {
    algorithms: [algorithm],
    check: (hash, data, signature) =>
      verify(
        hash,
        data,
        { key, dsaEncoding: "ieee-p1363" },
        Buffer.concat([signature.fixed(octets), signature.fixed(octets)]),
      ),
  };
}

function eddsa(oid: string, point: Buffer): Checker | undefined {
  if (oid !== ED25519_OID) return undefined;
  const key = okp("Ed25519", point.subarray(1));
  return edwards(22, key, (from) => Buffer.concat([from.fixed(32), from.fixed(32)]));
}

function okp(crv: string, point: Buffer): KeyObject {
  return createPublicKey({
    key: { kty: "OKP", crv, x: point.toString("base64url") },
    format: "jwk",
  });
}

/** EdDSA in OpenPGP signs the digest, not the data. */
function edwards(algorithm: number, key: KeyObject, read: (from: Reader) => Buffer): Checker {
  return {
    algorithms: [algorithm],
    check: (hash, data, signature) =>
      verify(null, createHash(hash).update(data).digest(), key, read(signature)),
  };
}

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const head = length < 0x80 ? [length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...head), content]);
}

function derInteger(value: Buffer): Buffer {
  const isNegative = ((value[0] ?? 0) & 0x80) !== 0;
  return der(0x02, Buffer.alloc(isNegative ? 1 : 0), value);
}
