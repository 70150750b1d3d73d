/**
 * Dumps in pieces of any size, binary and armored: the keys are those of the whole file, memory is
 * bounded, and a fault costs the keys around it.
 */
import { describe, expect, it } from "vitest";
import { encodeArmor } from "../../src/openpgp/armor.js";
import { readKeys } from "../../src/openpgp/key.js";
import { KEY_STREAM_LIMITS, KeyStream } from "../../src/openpgp/key-stream.js";
import { made } from "../torture/material.js";

const KEYS = Array.from({ length: 40 }, (_, n) => Buffer.from(made("dump", n).update.body));
const DUMP = Buffer.concat(KEYS);
const SMALL = { ...KEY_STREAM_LIMITS, blockBytes: 1000, maxBytes: 4000 };

/** Fingerprints of the keys in all blocks, the largest block, and how many are unreadable. */
function read(dump: Uint8Array, piece: number, limits = SMALL) {
  const stream = new KeyStream(limits);
  const blocks: Uint8Array[] = [];
  for (let at = 0; at < dump.length; at += piece) {
    blocks.push(...stream.push(dump.subarray(at, at + piece)));
  }
  blocks.push(...stream.end());
  const keys = blocks.flatMap((block) => readKeys(block));
  return {
    names: keys.flatMap((key) => (key instanceof Error ? [] : [key.fingerprint])),
    faults: keys.filter((key) => key instanceof Error).length,
    largest: Math.max(...blocks.map(({ length }) => length)),
  };
}

const NAMES = readKeys(DUMP).map((key) => (key instanceof Error ? "" : key.fingerprint));

describe.each([1, 7, 100, 999, 1001, 100_000])("in pieces of %i octets", (piece) => {
  it("a binary dump gives all keys, in blocks of whole keys", () => {
    const { names, faults, largest } = read(DUMP, piece);
    expect(names).toEqual(NAMES);
    expect(faults).toBe(0);
    if (piece < 1000) expect(largest).toBeLessThan(2 * SMALL.blockBytes);
  });

  it("one armored block gives all keys, with either line end", () => {
    const armor = encodeArmor(DUMP, { Version: "SKS 1.1.6" });
    for (const text of [armor, armor.replaceAll("\n", "\r\n")]) {
      expect(read(Buffer.from(text), piece)).toMatchObject({ names: NAMES, faults: 0 });
    }
  });

  it("a block for each key, with text between, gives all keys", () => {
    const text = KEYS.map((key, n) => `key ${n}\n${encodeArmor(key)}\n`).join("");
    expect(read(Buffer.from(text), piece)).toMatchObject({ names: NAMES, faults: 0 });
  });
});

it("a dump whose last key is cut off gives the others, and says so", () => {
  const { names, faults } = read(DUMP.subarray(0, DUMP.length - 3), 64);
  expect(names).toEqual(NAMES.slice(0, -1));
  expect(faults).toBe(1);
});

it("octets that are no packet cost a block at most", () => {
  const broken = Buffer.concat([...KEYS.slice(0, 20), Buffer.alloc(50), ...KEYS.slice(20)]);
  const { names, faults, largest } = read(broken, 64);
  expect(faults).toBeGreaterThan(0);
  // The keys of whole blocks, less the one that the end of such a block cuts.
  expect(names.length).toBeGreaterThanOrEqual(NAMES.length - 2);
  expect(largest).toBeLessThanOrEqual(2 * SMALL.maxBytes);
});

it("a key above the limit does not gather memory without end", () => {
  const [head] = KEYS;
  const huge = Buffer.concat([
    head ?? Buffer.alloc(0),
    // A user id that says it has 100 MB.
    Buffer.from([0xcd, 0xff, 0x05, 0xf5, 0xe1, 0x00]),
    Buffer.alloc(20_000, 0x41),
  ]);
  const { largest } = read(huge, 500);
  expect(largest).toBeLessThanOrEqual(2 * SMALL.maxBytes);
});

it("an empty dump has no key", () => {
  expect(new KeyStream().push(new Uint8Array())).toEqual([]);
  expect(new KeyStream().end()).toEqual([]);
});
