/**
 * Real keys of which a part was sent before, for the tests of news: who has got what of a key.
 */
import fc from "fast-check";
import {
  assembleKey,
  type Component,
  keyComponents,
  type TransferableKey,
} from "../../src/openpgp/key.js";
import { packetNames } from "../../src/openpgp/news.js";
import { TAG } from "../../src/openpgp/packet.js";
import { updateHash } from "../../src/openpgp/update-hash.js";
import { onlyKey, realKeys } from "./material.js";

export const keys = realKeys.map(({ data }) => onlyKey(data));

export const hashOf = (key: TransferableKey) => updateHash(key).hash;

/** Knows the packets of these keys. */
export function knowing(...known: readonly TransferableKey[]) {
  const names = new Set(known.flatMap(packetNames).map((name) => name.toString("hex")));
  return (name: Buffer) => names.has(name.toString("hex"));
}

/** The key with only those packets for which `keep`, asked in canonical order, says so. */
export function part(key: TransferableKey, keep: () => boolean): TransferableKey {
  const parts = keyComponents(key).flatMap(({ packet: head, signatures }): Component[] => {
    const isHere = keep() || head.tag === TAG.publicKey;
    const kept = signatures.filter(() => keep() && isHere);
    return isHere ? [{ packet: head, signatures: kept }] : [];
  });
  return assembleKey(parts);
}

/** A real key and a part of it, which was sent before. */
export const sentBefore = fc
  .tuple(fc.constantFrom(...keys), fc.infiniteStream(fc.boolean()))
  .map(([key, coins]) => ({ key, before: part(key, () => coins.next().value === true) }));
