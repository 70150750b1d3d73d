/** Keys made from a number that every old server can read: RSA, version 4, one user id. */
import { createHash } from "node:crypto";
import { updateOf } from "../../src/admit.js";
import { readKeys } from "../../src/openpgp/key.js";
import { encodePackets, type Packet, TAG } from "../../src/openpgp/packet.js";
import type { Update } from "../../src/update.js";

const RSA = 1;

/** The n-th update; `more` packets behind its one signature, `filler` octets in that. */
export function rsaUpdate(n: number, more: readonly Packet[] = [], filler = 200): Update {
  const [key] = readKeys(encodePackets([...rsaPackets(n, filler), ...more]));
  if (key === undefined || key instanceof Error) throw new Error("the packets make no key");
  return updateOf(key);
}

function rsaPackets(n: number, filler: number): Packet[] {
  const seed = createHash("sha512").update(`rsa ${n}`).digest();
  // A modulus of 2048 bits and the exponent 65537.
  const modulus = Buffer.concat([seed, seed, seed, seed]);
  modulus[0] = 0x80;
  const numbers = [Uint8Array.of(8, 0), modulus, Uint8Array.of(0, 17, 1, 0, 1)];
  const signature = Buffer.alloc(10 + filler, seed);
  signature.set([4, 0x13, RSA, 8, 0, 0, 0, 0, 0, 0]);
  const head = Uint8Array.of(4, 0x60, 0, 0, 0, RSA);
  return [
    { tag: TAG.publicKey, body: Buffer.concat([head, ...numbers]) },
    { tag: TAG.userId, body: Buffer.from(`Key ${n} <${n}@made.example>`) },
    { tag: TAG.signature, body: signature },
  ];
}
