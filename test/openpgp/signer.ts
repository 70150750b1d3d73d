/**
 * Keys whose signatures verify, made as a test wants them: version 4, EdDSA, from a number. What
 * another key signs in their name, or what was changed later, does not verify.
 */
import { createHash, createPrivateKey, createPublicKey, sign } from "node:crypto";
import { fingerprintOf } from "../../src/openpgp/fingerprint.js";
import { encodePackets, type Packet, TAG } from "../../src/openpgp/packet.js";

const CURVE = Buffer.from("092b06010401da470f01", "hex");
const PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");

export interface Claims {
  /** Unix seconds. */
  readonly at: number;
  readonly type?: number;
  /** Seconds from `at` on. */
  readonly lifetime?: number;
  /** Seconds from the creation of the key on. */
  readonly keyLifetime?: number;
  readonly keyFlags?: number;
}

export class Signer {
  readonly primary: Packet;
  readonly fingerprint: string;
  readonly #secret: ReturnType<typeof createPrivateKey>;

  constructor(n: number) {
    const seed = createHash("sha256").update(`signer ${n}`).digest();
    this.#secret = createPrivateKey({
      key: Buffer.concat([PKCS8, seed]),
      format: "der",
      type: "pkcs8",
    });
    const point = createPublicKey(this.#secret).export({ format: "der", type: "spki" });
    const head = Buffer.of(4, 0x40, 0, 0, n & 0xff, 22);
    // 0x40 and 32 octets: 263 bits.
    const integer = Buffer.concat([Buffer.of(1, 7, 0x40), point.subarray(-32)]);
    const body = Buffer.concat([head, CURVE, integer]);
    this.primary = { tag: TAG.publicKey, body };
    this.fingerprint = fingerprintOf(body);
  }

  userId(name: string): Packet {
    return { tag: TAG.userId, body: Buffer.from(name) };
  }

  /** The n-th subkey: of an algorithm that a pksd knows unless told otherwise, version 4. */
  subkey(n: number, algorithm = 1, version = 4): Packet {
    const material = createHash("sha512").update(`subkey ${n}`).digest();
    const body = Buffer.concat([Buffer.of(version, 0x40, 0, 0, 1, algorithm, 2, 0), material]);
    return { tag: TAG.publicSubkey, body };
  }

  /** A signature over `component`, made by `by` in the name of this key. */
  over(component: Packet, claims: Claims, by: Signer = this): Packet {
    const { at, lifetime, keyLifetime, keyFlags } = claims;
    const type = claims.type ?? (component.tag === TAG.publicSubkey ? 0x18 : 0x13);
    const life = lifetime === undefined ? [] : [number(3, lifetime)];
    const use = [
      ...(keyLifetime === undefined ? [] : [number(9, keyLifetime)]),
      ...(keyFlags === undefined ? [] : [Buffer.of(2, 27, keyFlags)]),
    ];
    const issuer = Buffer.concat([Buffer.of(22, 33, 4), Buffer.from(this.fingerprint, "hex")]);
    // SKS and onak know the issuer by its key id alone.
    const id = Buffer.concat([Buffer.of(9, 16), Buffer.from(this.fingerprint.slice(-16), "hex")]);
    const areas = Buffer.concat([number(2, at), ...life, ...use, issuer, id]);
    const hashed = Buffer.concat([Buffer.of(4, type, 22, 8, 0, areas.length), areas]);
    const digest = createHash("sha256")
      .update(Buffer.concat([framed(this.primary), target(component), hashed]))
      .update(Buffer.of(4, 0xff, 0, 0, 0, hashed.length))
      .digest();
    const made = sign(null, digest, by.#secret);
    const integers = [made.subarray(0, 32), made.subarray(32)].map(integerOf);
    const unhashed = Buffer.of(0, 0);
    const body = Buffer.concat([hashed, unhashed, digest.subarray(0, 2), ...integers]);
    return { tag: TAG.signature, body };
  }

  /** The primary key and these packets, encoded. */
  key(...packets: readonly Packet[]): Uint8Array {
    return encodePackets([this.primary, ...packets]);
  }
}

/** A subpacket of four octets. */
function number(kind: number, value: number): Buffer {
  const octets = Buffer.of(5, kind, 0, 0, 0, 0);
  octets.writeUInt32BE(value, 2);
  return octets;
}

function framed({ body }: Packet): Buffer {
  return Buffer.concat([Buffer.of(0x99, body.length >> 8, body.length & 0xff), body]);
}

function target(component: Packet): Uint8Array {
  if (component.tag === TAG.publicKey) return new Uint8Array(0);
  if (component.tag === TAG.publicSubkey) return framed(component);
  const head = Buffer.alloc(5, 0xb4);
  head.writeUInt32BE(component.body.length, 1);
  return Buffer.concat([head, component.body]);
}

function integerOf(octets: Buffer): Buffer {
  const start = Math.max(
    octets.findIndex((octet) => octet !== 0),
    0,
  );
  const value = octets.subarray(start);
  const bits = value.length * 8 - Math.clz32(value[0] ?? 0) + 24;
  return Buffer.concat([Buffer.of(bits >> 8, bits & 0xff), value]);
}
