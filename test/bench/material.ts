/**
 * Real updates for the benches: debian-keyring cut as a server would mail it, a primary key with
 * one user id and one signature, and the keys whole. The updates are shuffled, always in the same
 * way: in the order of the keyring the updates of a key come together, and their rows share pages
 * as they never do in operation. Where the Debian package is missing the keys of the fixtures stand
 * in, and the report says so.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { updateOf } from "../../src/admit.js";
import { Refusal } from "../../src/errors.js";
import { encodeArmor, readArmor } from "../../src/openpgp/armor.js";
import {
  assembleKey,
  type Component,
  encodeKey,
  readKeys,
  type TransferableKey,
} from "../../src/openpgp/key.js";
import { TAG } from "../../src/openpgp/packet.js";
import type { Update } from "../../src/update.js";
import { incremental, projectRoot } from "../torture/material.js";

const KEYRING = "/usr/share/keyrings/debian-keyring.gpg";
const OLD_LINE = "X-KeyServer-Sent: pgp-public-keys@old.example.net";

export interface Material {
  /** Where it comes from, in words. */
  readonly source: string;
  /** Every key whole. */
  readonly keys: readonly TransferableKey[];
  /** At most `most` small updates, all different, shuffled; fewer when there are no more. */
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
  const cuts = shuffled(keys.flatMap(cutsOf), 1);
  const made = new Map<string, Update>();
  let next = 0;
  const updates = (most: number) => {
    for (; made.size < most && next < cuts.length; next++) {
      const update = updateOf(assembleKey(cuts[next] ?? []));
      made.set(update.hash, update);
    }
    return [...made.values()].slice(0, most);
  };
  return { source, keys, updates };
}

/** The armored text of an update, as its mail or its UPDATE carries it. */
export function armorOf({ body }: Update): string {
  return encodeArmor(body);
}

/** The octets of a key, for whoever wants to mail it whole. */
export function armorOfKey(key: TransferableKey): string {
  return encodeArmor(encodeKey(key));
}

/** An update as its incremental mail; `sites` are in its trail beside the sender. */
export function mailOf(update: Update, messageId: string, sites: readonly string[] = []): string {
  const more = sites.map((site) => `\r\nX-KeyServer-Sent: ${site}`).join("");
  return incremental([armorOf(update)], messageId).replace(OLD_LINE, `${OLD_LINE}${more}`);
}

/** The same values in another order, which is always the same for a seed. */
export function shuffled<T>(values: readonly T[], seed: number): T[] {
  const result = [...values];
  let state = seed >>> 0;
  for (let left = result.length; left > 1; left--) {
    // Mulberry32: good enough for an order, and the same on each machine.
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    const at = ((bits ^ (bits >>> 14)) >>> 0) % left;
    [result[left - 1], result[at]] = [result[at] as T, result[left - 1] as T];
  }
  return result;
}

/** The components of each small update that the key gives. */
function cutsOf({ primary, userIds }: TransferableKey): Component[][] {
  const head = { packet: primary.packet, signatures: [] };
  return userIds
    .filter(({ packet }) => packet.tag === TAG.userId)
    .flatMap(({ packet, signatures }) =>
      signatures.map((signature) => [head, { packet, signatures: [signature] }]),
    );
}

function fixtureKeys(): (TransferableKey | Refusal)[] {
  const directory = join(projectRoot(), "test/fixtures/keys");
  return readdirSync(directory)
    .flatMap((name) => readArmor(readFileSync(join(directory, name))))
    .flatMap((block) => (block instanceof Refusal ? [] : readKeys(block.data)));
}
