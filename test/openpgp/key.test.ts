/** Keyrings: what is a key, what is refused, where each packet goes, and what one fault costs. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Refusal } from "../../src/errors.js";
import { fragments } from "../../src/openpgp/fragments.js";
import {
  assembleKey,
  encodeKey,
  keyComponents,
  keyPackets,
  readKeys,
  type TransferableKey,
} from "../../src/openpgp/key.js";
import { encodePackets, type Packet, readPackets, walkPackets } from "../../src/openpgp/packet.js";
import { grown, selfSigned } from "../../src/openpgp/skeleton.js";
import { updateHash } from "../../src/openpgp/update-hash.js";
import { cpuTimer } from "../support/cpu.js";
import { mail, onlyBlock, onlyKey, packet, realKey, realKeys, vectorData } from "./material.js";

const sample = realKey("DFD993306D849617").data;
const other = realKey("F8D2585B8783D481").data;
const [primary, ...rest] = readPackets(sample) as [Packet, ...Packet[]];
const { fingerprint } = onlyKey(sample);

/** The tag and text of each packet. */
const told = (key: TransferableKey): string[] =>
  keyPackets(key).map(({ tag, body }) => (tag === 6 ? "6" : `${tag} ${Buffer.from(body)}`));
const keyOf = (...packets: Packet[]): TransferableKey =>
  onlyKey(encodePackets([primary, ...packets]));
const outcomes = (data: Uint8Array): string[] =>
  readKeys(data).map((found) => (found instanceof Refusal ? found.reason : found.fingerprint));

describe("canonical order", () => {
  it("sorts direct signatures, user ids and attributes in one, subkeys, what is in each", () => {
    const key = keyOf(
      packet(2, "z direct"),
      packet(2, "a direct"),
      packet(14, "sub b"),
      packet(2, "on b"),
      packet(13, "Bob"),
      packet(60, "?"),
      packet(2, "on Bob"),
      packet(17, "photo"),
      packet(2, "on photo"),
      packet(14, "sub a"),
      packet(13, "Ann"),
    );
    expect(told(key)).toEqual([
      ...["6", "2 a direct", "2 z direct", "13 Ann", "13 Bob", "2 on Bob", "60 ?"],
      ...["17 photo", "2 on photo", "14 sub a", "14 sub b", "2 on b"],
    ]);
    expect(key.userIds.map((each) => each.packet.tag)).toEqual([13, 13, 17]);
    expect(key.subkeys).toHaveLength(2);
    expect(key.primary.signatures).toHaveLength(2);
  });

  it("merges equal components and counts equal packets under one parent once", () => {
    const key = keyOf(
      ...[packet(13, "Ann"), packet(2, "1"), packet(14, "sub"), packet(2, "1"), packet(2, "1")],
      ...[packet(13, "Ann"), packet(2, "2"), packet(2, "1"), packet(14, "sub"), packet(2, "0")],
    );
    expect(told(key)).toEqual(["6", "13 Ann", "2 1", "2 2", "14 sub", "2 0", "2 1"]);
  });

  it("does not merge a user id with an attribute or a subkey of the same octets", () => {
    const key = keyOf(packet(17, "x"), packet(14, "x"), packet(13, "x"));
    expect(told(key)).toEqual(["6", "13 x", "17 x", "14 x"]);
  });

  it("drops trust, marker and padding wherever they stand", () => {
    const junk = [packet(12, "t"), packet(10, "PGP"), packet(21, "000")];
    const dirty = [...junk, primary, ...junk, ...rest.flatMap((each) => [each, ...junk])];
    expect(encodeKey(onlyKey(encodePackets(dirty)))).toEqual(encodeKey(onlyKey(sample)));
    expect(readKeys(encodePackets(junk))).toEqual([]);
  });

  it.each([15, 16, 22, 39, 40, 60, 63])("keeps tag %i under what it follows", (tag) => {
    const key = keyOf(packet(13, "Ann"), packet(tag, "?"), packet(14, "sub"));
    expect(told(key)).toEqual(["6", "13 Ann", `${tag} ?`, "14 sub"]);
  });

  it("is the same for any order of siblings, and a fixed point", () => {
    const real = onlyKey(realKey("E0B11894F66AEC98").data);
    const groups = [real.userIds, real.subkeys];
    fc.assert(
      fc.property(fc.infiniteStream(fc.nat(1e6)), (stream) => {
        const shuffled = <T>(items: readonly T[]): T[] =>
          items
            .map((item) => [stream.next().value as number, item] as const)
            .toSorted(([a], [b]) => a - b)
            .map(([, item]) => item);
        const components = [real.primary, ...shuffled(groups).flatMap(shuffled)];
        const packets = components.flatMap((each) => [each.packet, ...shuffled(each.signatures)]);
        const key = onlyKey(encodePackets(packets));
        expect(key).toEqual(onlyKey(encodeKey(key)));
        expect(Buffer.compare(encodeKey(key), encodeKey(real))).toBe(0);
      }),
      { numRuns: 30 },
    );
  });

  it("assembles a key from components in any order, with one primary key", () => {
    const real = onlyKey(sample);
    expect(assembleKey(keyComponents(real).toReversed())).toEqual(real);
    expect(assembleKey([real.primary, real.primary])).toEqual(assembleKey([real.primary]));
    expect(() => assembleKey([])).toThrow("one primary key");
    expect(() => assembleKey([real.primary, onlyKey(other).primary])).toThrow("one primary key");
  });
});

describe("keyrings", () => {
  it("cuts a keyring at each primary key", () => {
    const ring = Buffer.concat(realKeys.map(({ data }) => data));
    const keys = readKeys(ring);
    expect(keys).toEqual(realKeys.map(({ data }) => onlyKey(data)));
    expect(keys).toHaveLength(22);
  });

  it("reads the three keys that pksd put into one block, and onak's keys without user id", () => {
    expect(outcomes(onlyBlock(mail("pksd-multi-key.eml")))).toEqual([
      "C20CA1D9499DECBBD8BDACF9E415B2B4B5F5BBED",
      "084750FC01A6D388A643D869010908312D230C5F",
      "A99951DAF9BB569BDB50AD90A70DAF536070D3A1",
    ]);
    const revocation = onlyKey(onlyBlock(mail("onak-revocation-2-no-user-id.eml")));
    expect(revocation.userIds).toEqual([]);
    expect(revocation.primary.signatures).toHaveLength(1);
  });

  it("finds nothing in nothing", () => expect(readKeys(new Uint8Array())).toEqual([]));
});

describe("refusals", () => {
  const second = onlyKey(other).fingerprint;
  const third = realKey("4D270D06F42584E6").data;
  const thirdName = onlyKey(third).fingerprint;
  const borders = new Set(Array.from(walkPackets(sample), ({ offset }) => offset));
  const match = (words: string) => expect.stringContaining(words);
  const inserted = (tag: number): Uint8Array =>
    Buffer.concat([encodePackets([primary, ...rest, packet(tag, "secret stuff")]), other]);

  it.each([5, 7])("secret packet %i: the key is refused, the next one read", (tag) => {
    expect(outcomes(inserted(tag))).toEqual(["secret-key", second]);
    expect(outcomes(encodePackets([packet(tag, "secret"), ...rest]))).toEqual(["secret-key"]);
    const [refusal] = readKeys(inserted(tag));
    expect(refusal).toMatchObject({ message: expect.stringContaining(fingerprint) });
    expect(refusal).toMatchObject({ message: expect.stringContaining(`offset ${sample.length})`) });
    expect(String(refusal)).not.toContain("secret stuff");
  });

  it.each([0, 1, 3, 4, 8, 9, 11, 18, 19, 20])("tag %i is not key material", (tag) => {
    expect(outcomes(inserted(tag))).toEqual(["not-key-material", second]);
    expect(outcomes(encodePackets([packet(tag, "x"), primary]))).toEqual([
      "not-key-material",
      fingerprint,
    ]);
  });

  it("a secret key is named even when something else was wrong before it", () => {
    const data = encodePackets([primary, packet(11, ""), packet(7, ""), packet(11, "")]);
    expect(outcomes(data)).toEqual(["secret-key"]);
    const [refusal] = readKeys(encodePackets([primary, packet(7, ""), packet(5, "")]));
    const first = encodePackets([primary]).length;
    expect(refusal).toMatchObject({ message: expect.stringContaining(`offset ${first})`) });
  });

  it("data before the first primary key is one refusal", () => {
    expect(outcomes(Buffer.concat([encodePackets(rest), sample]))).toEqual([
      "not-key-material",
      fingerprint,
    ]);
    expect(outcomes(encodePackets(rest))).toEqual(["not-key-material"]);
  });

  it("a primary key of unknown version, or damaged, costs itself only", () => {
    const bad = encodePackets([packet(6, [9, 0, 0, 0, 0, 1] as never), ...rest]);
    expect(outcomes(Buffer.concat([sample, bad, other]))).toEqual([
      fingerprint,
      "bad-packet",
      second,
    ]);
    expect(outcomes(encodePackets([packet(6, "")]))).toEqual(["bad-packet"]);
  });

  it("a key that is cut short costs itself, wherever it stands", () => {
    const cut = Buffer.concat([other, sample.subarray(0, -1)]);
    expect(outcomes(cut)).toEqual([second, "bad-packet"]);
    expect(readKeys(cut).at(-1)).toMatchObject({ fingerprint, message: match(fingerprint) });
    for (let end = 1; end < sample.length; end++) {
      if (borders.has(end)) continue;
      const found = outcomes(Buffer.concat([other, sample.subarray(0, end), third]));
      expect([end, ...found]).toEqual([end, second, "bad-packet", thirdName]);
    }
    expect(outcomes(Buffer.concat([encodePackets([packet(5, "")]), Buffer.of(1)]))).toEqual([
      "secret-key",
      "bad-packet",
    ]);
    expect(outcomes(Buffer.from("hello"))).toEqual(["bad-packet"]);
  });

  it.each([
    ["a NUL", Buffer.of(0)],
    ["100 NULs", Buffer.alloc(100)],
    ["text", Buffer.from("hello there\r\n")],
    ["octets above 127", Buffer.alloc(10, 0xff)],
    ["a user id of 4 GiB", Buffer.of(0xfd, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x61)],
  ])("%s between two keys costs neither, and is told", (_, garbage) => {
    const found = readKeys(Buffer.concat([other, garbage, sample, garbage, third]));
    expect(found.map((one) => (one instanceof Refusal ? one.reason : one.fingerprint))).toEqual([
      ...[second, "bad-packet", fingerprint, "bad-packet", thirdName],
    ]);
    expect(found[1]).toMatchObject({ message: match(`after key ${second}`) });
    expect(outcomes(Buffer.concat([garbage, other]))).toEqual(["bad-packet", second]);
  });

  it.each([
    ["of partial length", Buffer.of(0xcd, 0xe4, ...Buffer.alloc(16), 3, 1, 2, 3)],
    ["of indeterminate length", Buffer.of(0xb7, 1, 2, 3)],
    ["that claims 2 GiB", Buffer.of(0xcd, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x61)],
  ])("a user id %s costs its key", (_, bad) => {
    expect(outcomes(Buffer.concat([other, sample, bad, third]))).toEqual([
      ...[second, "bad-packet", thirdName],
    ]);
  });

  it("a secret key behind a fault is told to its owner", () => {
    const body = Buffer.concat([primary.body, Buffer.of(0, 0, 8, 0xff)]);
    const ring = Buffer.concat([other, Buffer.of(0), encodePackets([{ tag: 5, body }]), third]);
    expect(outcomes(ring)).toEqual([second, "bad-packet", "secret-key", thirdName]);
  });

  it("names a key without a fingerprint by its number and offset", () => {
    const bad = encodePackets([packet(6, [9, 0, 0, 0, 0, 1] as never)]);
    const [, refusal] = readKeys(Buffer.concat([other, bad, third]));
    expect(refusal).toMatchObject({ message: match(`number 2, offset ${other.length}`) });
  });

  it("reads no octet more than some times, whatever the faults", () => {
    // Each packet holds the beginning of a key, and none of them an end.
    const start = encodePackets([primary, packet(13, "Ann")]);
    const ring = Buffer.concat([...Array(20_000).fill(start), Buffer.of(0xcd)]);
    const cpu = cpuTimer();
    expect(readKeys(ring).length).toBeGreaterThan(1000);
    expect(cpu()).toBeLessThan(2000);
  });

  it("stops at 1000 refusals", () => {
    const found = readKeys(encodePackets(Array(5000).fill(packet(6, ""))));
    expect(found).toHaveLength(1001);
    expect(found.at(-1)).toMatchObject({ reason: "too-large" });
  });
});

describe("hostile input", () => {
  /** Everything that is ever done to a key; throws whatever any of it throws. */
  const exercise = (data: Uint8Array): (TransferableKey | Refusal)[] => {
    const found = readKeys(data);
    for (const key of found) {
      if (key instanceof Refusal) continue;
      updateHash(key);
      const skeleton = grown(undefined, selfSigned(key) ?? new Uint8Array(), 1e12);
      const pieces = fragments(key, skeleton, 900, 1e12);
      expect(pieces.length).toBeGreaterThan(0);
    }
    return found;
  };

  it.each(["DFD993306D849617", "v3", "v6"])("%s cut at every octet", (name) => {
    const data = name.startsWith("v")
      ? vectorData(name === "v3" ? "v3-rsa/as-published" : "v6/as-published")
      : sample;
    const borders = new Set(Array.from(walkPackets(data), ({ offset }) => offset));
    for (let end = 1; end < data.length; end++) {
      const found = exercise(data.subarray(0, end));
      expect(found).toHaveLength(1);
      expect(found[0] instanceof Refusal).toBe(!borders.has(end));
      if (found[0] instanceof Refusal) expect(found[0].reason).toBe("bad-packet");
    }
  });

  it("every bit of 1 KiB flipped: keys or refusals, and never the hash of the original", () => {
    const key = vectorData("user-attribute/as-published").subarray(0, 1024);
    const whole = Array.from(walkPackets(vectorData("user-attribute/as-published")));
    const end = whole.findLast(({ offset }) => offset <= 1024)?.offset ?? 0;
    const data = key.subarray(0, end);
    const original = updateHash(onlyKey(data));
    let keys = 0;
    for (let bit = 0; bit < data.length * 8; bit++) {
      const flipped = Buffer.from(data);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const found = exercise(flipped);
      expect(found.length).toBeGreaterThan(0);
      for (const each of found) {
        if (each instanceof Refusal) continue;
        keys += 1;
        if (updateHash(each).digest === original.digest) throw new Error(`bit ${bit} unseen`);
      }
    }
    expect(end).toBeGreaterThan(600);
    expect(keys).toBeGreaterThan(end * 7);
  });

  it("any octets, and any packets: keys or refusals, never an exception", () => {
    const anyPacket = fc.record({
      tag: fc.oneof(fc.constantFrom(2, 6, 13, 14, 17), fc.nat(63)),
      body: fc.oneof(
        fc.uint8Array({ maxLength: 60 }),
        fc.uint8Array({ maxLength: 60 }).map((body) => Uint8Array.of((body[0] ?? 0) % 8, ...body)),
      ),
    });
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (data) => void exercise(data)));
    fc.assert(
      fc.property(fc.array(anyPacket, { maxLength: 20 }), (packets) => {
        exercise(encodePackets([primary, ...packets]));
      }),
      { numRuns: 500 },
    );
  });
});
