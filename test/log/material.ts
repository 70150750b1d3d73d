/**
 * Updates and arrivals made from a number, for the tests of the log. The log does not read bodies,
 * so these are no keys: any bytes with a hash, a digest and a fingerprint that fit the shapes.
 * Only what it learns of a key has to be one.
 */

import { createHash } from "node:crypto";
import { Trouble } from "../../src/errors.js";
import type { Arrival } from "../../src/log/update-log.js";
import { encodePackets, TAG } from "../../src/openpgp/packet.js";
import type { Fingerprint, Seq, Update, UpdateHash } from "../../src/update.js";

export const HOUR_MS = 3_600_000;

/** The n-th update: everything in it follows from `n` and the length of its body. */
export function update(n: number, bytes = 200, selfSigned?: Uint8Array): Update {
  const body = new Uint8Array(bytes).map((_, index) => (n * 31 + index * 7) & 0xff);
  return {
    hash: createHash("md5").update(`update ${n}`).digest("hex") as UpdateHash,
    digest: createHash("sha256").update(`update ${n}`).digest("hex"),
    fingerprint: fingerprint(n),
    body,
    selfSigned,
    packets: [],
  };
}

/** What a key says of itself that has this user id, of an algorithm that nobody can verify. */
export function selfSigned(userId: string): Uint8Array {
  return encodePackets([
    { tag: TAG.publicKey, body: Uint8Array.of(4, 0, 0, 0, 1, 99, 1, 1, 1, 1) },
    { tag: TAG.userId, body: Buffer.from(userId) },
  ]);
}

/** The skeleton that the log makes of it. */
export function skeletonOf(userId: string): Uint8Array {
  return encodePackets([{ tag: TAG.userId, body: Buffer.from(userId) }]);
}

export function fingerprint(n: number): Fingerprint {
  return createHash("sha1").update(`key ${n}`).digest("hex").toUpperCase() as Fingerprint;
}

export function arrival(n: number, changes: Partial<Arrival> = {}): Arrival {
  return {
    update: update(n),
    origin: { neighbour: "oldpks", transport: "mail" },
    trail: [`pgp@site${n}.example`],
    receivedAt: 1_000_000 + n,
    ...changes,
  };
}

export function seq(n: number): Seq {
  return n as Seq;
}

/** The `Trouble` that `work` throws; anything else is thrown on. */
export function troubleOf(work: () => unknown): Trouble {
  try {
    work();
  } catch (error) {
    if (error instanceof Trouble) return error;
    throw error;
  }
  throw new Error("expected a Trouble");
}
