/**
 * Tests whether a packet is certainly a primary key: the integers of its algorithm fill it exactly.
 * This finds the next key in a keyring with broken framing, where a header octet alone proves
 * nothing. Only algorithms that can sign are known here (RFC 9580 section 9.1). A key with another
 * algorithm is read from an intact keyring, but not found after a fault.
 */
import { type Packet, TAG } from "./packet.js";

/** The number of integers in the public part of a key, by algorithm: RSA, Elgamal, DSA. */
const INTEGERS: ReadonlyMap<number, number> = new Map([
  ...[1, 2, 3].map((algorithm) => [algorithm, 2] as const),
  ...[16, 20].map((algorithm) => [algorithm, 3] as const),
  [17, 4],
]);
/** ECDSA and EdDSA: a curve OID and a point. */
const WITH_CURVE: readonly number[] = [19, 22];
/** Ed25519 and Ed448: the octets of the point. */
const POINTS: ReadonlyMap<number, number> = new Map([
  [27, 32],
  [28, 57],
]);

/** Whether `packet` is a complete public or secret primary key. */
export function isPrimaryKey({ tag, body }: Packet): boolean {
  if (tag !== TAG.publicKey && tag !== TAG.secretKey) return false;
  const end = materialEnd(body);
  if (end === undefined) return false;
  // In a secret key the secret part follows.
  return tag === TAG.publicKey ? end === body.length : end < body.length;
}

/** Where the public key material ends; undefined for an unknown or damaged format. */
function materialEnd(body: Uint8Array): number | undefined {
  switch (body[0]) {
    case 2:
    case 3:
      return endOf(body, body[7], 8);
    case 4:
      return endOf(body, body[5], 6);
    case 5:
    case 6: {
      if (body.length < 10) return undefined;
      const size = new DataView(body.buffer, body.byteOffset, body.length).getUint32(6);
      const end = endOf(body, body[5], 10);
      return end === 10 + size ? end : undefined;
    }
    default:
      return undefined;
  }
}

function endOf(body: Uint8Array, algorithm = 0, start: number): number | undefined {
  const point = POINTS.get(algorithm);
  if (point !== undefined) return start + point <= body.length ? start + point : undefined;
  const hasCurve = WITH_CURVE.includes(algorithm);
  let at: number | undefined = hasCurve ? start + 1 + (body[start] ?? 0) : start;
  const integers = hasCurve ? 1 : INTEGERS.get(algorithm);
  if (integers === undefined) return undefined;
  for (let n = 0; n < integers; n++) at = at === undefined ? at : integerEnd(body, at);
  return at;
}

function integerEnd(body: Uint8Array, at: number): number | undefined {
  const [high, low] = [body[at], body[at + 1]];
  if (high === undefined || low === undefined) return undefined;
  const bits = (high << 8) | low;
  const end = at + 2 + Math.ceil(bits / 8);
  return bits > 0 && end <= body.length ? end : undefined;
}
