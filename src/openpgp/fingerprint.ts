/**
 * Computes the fingerprint and the key id from the body of a primary key packet of version 2 to 6
 * (RFC 9580 section 5.5.4; version 5 as GnuPG writes it).
 *
 * From version 4 on the body is hashed unchanged. For versions 2 and 3 the two RSA integers are
 * read. The key material is not checked otherwise.
 */
import { hash } from "node:crypto";
import { Refusal } from "../errors.js";
import type { Fingerprint } from "../update.js";

/**
 * Octets before the key material: version and creation time, then validity and algorithm (v3),
 * algorithm (v4), or algorithm and a length (v5, v6).
 */
const V3_INTEGERS_AT = 8;
const V4_MIN_OCTETS = 6;
const V5_MATERIAL_AT = 10;

/**
 * The fingerprint of a primary key packet as upper-case hex: MD5 (v2, v3), SHA-1 (v4), SHA-256
 * (v5, v6). Throws Refusal 'bad-packet' for any other version and for a truncated body.
 */
export function fingerprintOf(body: Uint8Array): Fingerprint {
  switch (body[0]) {
    case 2:
    case 3: {
      const { n, e } = rsaIntegers(body);
      return digest("md5", n, e);
    }
    case 4:
      if (body.length < V4_MIN_OCTETS || body.length > 0xffff) throw damaged();
      return digest("sha1", prefix(0x99, 2, body), body);
    case 5:
      requireMaterial(body);
      return digest("sha256", prefix(0x9a, 4, body), body);
    case 6:
      requireMaterial(body);
      return digest("sha256", prefix(0x9b, 4, body), body);
    case undefined:
      throw damaged();
    default:
      throw new Refusal("bad-packet", "the primary key packet is of an unknown version");
  }
}

/**
 * The key id as 16 upper-case hex digits: the low 64 bits of the modulus (v2, v3), or the end (v4)
 * or the start (v5, v6) of the fingerprint. `fingerprint` is the one of the same body.
 */
export function keyId(body: Uint8Array, fingerprint: Fingerprint): string {
  switch (fingerprint.length) {
    case 32:
      return Buffer.from(rsaIntegers(body).n.subarray(-8))
        .toString("hex")
        .toUpperCase()
        .padStart(16, "0");
    case 40:
      return fingerprint.slice(-16);
    default:
      return fingerprint.slice(0, 16);
  }
}

/** The two integers without their bit counts. Throws Refusal unless they fill the body exactly. */
function rsaIntegers(body: Uint8Array): { n: Uint8Array; e: Uint8Array } {
  const nEnd = integerEnd(body, V3_INTEGERS_AT);
  const eEnd = integerEnd(body, nEnd);
  if (eEnd !== body.length) throw damaged();
  return { n: body.subarray(V3_INTEGERS_AT + 2, nEnd), e: body.subarray(nEnd + 2, eEnd) };
}

function integerEnd(body: Uint8Array, at: number): number {
  const high = body[at];
  const low = body[at + 1];
  if (high === undefined || low === undefined) throw damaged();
  const end = at + 2 + Math.ceil(((high << 8) | low) / 8);
  if (end > body.length) throw damaged();
  return end;
}

function requireMaterial(body: Uint8Array): void {
  if (body.length < V5_MATERIAL_AT) throw damaged();
  const count = Buffer.from(body.buffer, body.byteOffset + 6, 4).readUInt32BE();
  if (V5_MATERIAL_AT + count > body.length) throw damaged();
}

/** The octets that are hashed before the body: a marker and the length of the body. */
function prefix(marker: number, lengthOctets: number, body: Uint8Array): Uint8Array {
  const octets = Buffer.alloc(1 + lengthOctets);
  octets.writeUInt8(marker);
  octets.writeUIntBE(body.length, 1, lengthOctets);
  return octets;
}

/** In one call, which is twice as fast as an object that is updated. */
function digest(algorithm: "md5" | "sha1" | "sha256", ...parts: Uint8Array[]): Fingerprint {
  return hash(algorithm, Buffer.concat(parts)).toUpperCase() as Fingerprint;
}

function damaged(): Refusal {
  return new Refusal("bad-packet", "the primary key packet is damaged");
}
