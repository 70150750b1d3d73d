/**
 * The keys of the demo: real keys as they were published, one per file, and statistics of their
 * times.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TransferableKey } from "../openpgp/key.js";
import { updateHash } from "../openpgp/update-hash.js";
import { keysIn } from "./site.js";

export const KEYS = fileURLToPath(new URL("../../share/keys", import.meta.url));

/** A real key as it was published. */
export interface SampleKey {
  readonly armored: Uint8Array;
  readonly fingerprint: string;
  readonly hash: string;
  readonly key: TransferableKey;
}

/** Milliseconds. */
export interface Spread {
  readonly least: number;
  readonly median: number;
  readonly most: number;
}

/** All keys; throws if a file contains no key. */
export function readSampleKeys(): SampleKey[] {
  return readdirSync(KEYS).map((name) => {
    const armored = readFileSync(join(KEYS, name));
    const [key] = keysIn([armored]);
    if (key === undefined) throw new Error(`${join(KEYS, name)}: contains no key`);
    return { armored, key, fingerprint: key.fingerprint, hash: updateHash(key).hash };
  });
}

export function spread(times: readonly number[]): Spread {
  const sorted = [...times].sort((x, y) => x - y);
  const at = (share: number) => Math.round(sorted[Math.floor((sorted.length - 1) * share)] ?? 0);
  return { least: at(0), median: at(0.5), most: at(1) };
}
