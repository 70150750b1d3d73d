/**
 * Real updates for the benches: cut from debian-keyring as a server would mail them, a primary key
 * with one user id and one signature, and the keys whole. Read at run time; where the Debian
 * package is missing the keys of the fixtures stand in, and the report says so.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { updateOf } from "../../src/admit.js";
import { Refusal } from "../../src/errors.js";
import { encodeArmor, readArmor } from "../../src/openpgp/armor.js";
import { assembleKey, encodeKey, readKeys, type TransferableKey } from "../../src/openpgp/key.js";
import { TAG } from "../../src/openpgp/packet.js";
import type { Update } from "../../src/update.js";
import { projectRoot } from "../torture/material.js";

const KEYRING = "/usr/share/keyrings/debian-keyring.gpg";

export interface Material {
  /** Where it comes from, in words. */
  readonly source: string;
  /** Every key whole. */
  readonly keys: readonly TransferableKey[];
  /** At most `most` small updates, all different; fewer when there are no more. */
  updates(most: number): Update[];
}

export function realMaterial(): Material {
  const isThere = existsSync(KEYRING);
  const keys = (isThere ? readKeys(readFileSync(KEYRING)) : fixtureKeys()).filter(
    (key): key is TransferableKey => !(key instanceof Refusal),
  );
  const source = isThere
    ? `debian-keyring.gpg, ${keys.length} keys`
    : `the ${keys.length} keys of test/fixtures, since debian-keyring is not installed`;
  return { source, keys, updates: (most) => cut(keys, most) };
}

/** The armored text of an update, as its mail or its UPDATE carries it. */
export function armorOf({ body }: Update): string {
  return encodeArmor(body);
}

function cut(keys: readonly TransferableKey[], most: number): Update[] {
  const updates = new Map<string, Update>();
  for (const { primary, userIds } of keys) {
    for (const { packet, signatures } of userIds) {
      if (packet.tag !== TAG.userId) continue;
      for (const signature of signatures) {
        if (updates.size >= most) return [...updates.values()];
        const head = { packet: primary.packet, signatures: [] };
        const update = updateOf(assembleKey([head, { packet, signatures: [signature] }]));
        updates.set(update.hash, update);
      }
    }
  }
  return [...updates.values()];
}

function fixtureKeys(): (TransferableKey | Refusal)[] {
  const directory = join(projectRoot(), "test/fixtures/keys");
  return readdirSync(directory)
    .flatMap((name) => readArmor(readFileSync(join(directory, name))))
    .flatMap((block) => (block instanceof Refusal ? [] : readKeys(block.data)));
}

/** The octets of a key, for whoever wants to mail it whole. */
export function armorOfKey(key: TransferableKey): string {
  return encodeArmor(encodeKey(key));
}
