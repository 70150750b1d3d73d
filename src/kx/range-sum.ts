/**
 * Sums over a set of keys, by which two sides find out whether they hold the same keys in a range
 * (`reconcile.ts`). The element of a key is a SHA-256 of its fingerprint and of the digest of its
 * packets. A sum is their number, and their addition modulo 2^256. The hash of a range is a SHA-256
 * of both. Elements can be added and removed in any order, at the cost of one addition.
 *
 * With XOR in place of the addition, other elements with the same sum are found by solving linear
 * equations. With the addition this is a hard problem (generalized birthday problem), and the count
 * limits how many elements can be used.
 */
import { hash } from "node:crypto";
import type { Fingerprint } from "../update.js";

/** A key of the set: which key, and what its packets are. */
export interface KeyState {
  readonly fingerprint: Fingerprint;
  /** 32 lower-case hex digits: `digestOfNames` in `openpgp/news.ts`. */
  readonly digest: string;
}

/** What is compared of a range. */
export interface RangeState {
  readonly count: number;
  /** 32 lower-case hex digits. */
  readonly hash: string;
}

/** 32-bit words of a sum, the lowest first. */
export const SUM_WORDS = 8;
const WORD = 2 ** 32;
const HASH_DIGITS = 32;

/** The element of a key, as the words of a sum. */
export function elementOf(fingerprint: Uint8Array, digest: Uint8Array): Uint32Array {
  const octets = Buffer.concat([fingerprint, digest]);
  const element = hash("sha256", octets, "buffer");
  const words = new Uint32Array(SUM_WORDS);
  for (let i = 0; i < SUM_WORDS; i++) words[i] = element.readUInt32BE(4 * (SUM_WORDS - 1 - i));
  return words;
}

/** Adds `added` to the sum that begins at `at`. */
export function add(sums: Uint32Array, at: number, added: Uint32Array, from = 0): void {
  let carry = 0;
  for (let i = 0; i < SUM_WORDS; i++) {
    const word = (sums[at + i] ?? 0) + (added[from + i] ?? 0) + carry;
    sums[at + i] = word;
    carry = word >= WORD ? 1 : 0;
  }
}

/** Takes `removed` from the sum that begins at `at`. */
export function subtract(sums: Uint32Array, at: number, removed: Uint32Array): void {
  let borrow = 0;
  for (let i = 0; i < SUM_WORDS; i++) {
    const word = (sums[at + i] ?? 0) - (removed[i] ?? 0) - borrow;
    sums[at + i] = word;
    borrow = word < 0 ? 1 : 0;
  }
}

/** The state of a range of `count` keys whose elements add up to `sum`. */
export function stateOf(count: number, sum: Uint32Array): RangeState {
  const octets = Buffer.alloc(4 * SUM_WORDS + 8);
  for (let i = 0; i < SUM_WORDS; i++) {
    octets.writeUInt32BE(sum[i] ?? 0, 4 * (SUM_WORDS - 1 - i));
  }
  octets.writeBigUInt64BE(BigInt(count), 4 * SUM_WORDS);
  return { count, hash: hash("sha256", octets).slice(0, HASH_DIGITS) };
}
