/** Names and claims: fingerprints and key ids of every version, what signatures say. */
import { describe, expect, it } from "vitest";
import { Refusal } from "../../src/errors.js";
import { fingerprintOf, keyId } from "../../src/openpgp/fingerprint.js";
import { keyPackets, type TransferableKey } from "../../src/openpgp/key.js";
import type { Packet } from "../../src/openpgp/packet.js";
import { isSelfSignature, signatureInfo } from "../../src/openpgp/signature.js";
import { onlyKey, packet, realKey, vectorData } from "./material.js";

/** The version 5 sample of draft-ietf-openpgp-rfc4880bis, primary key packet. */
const V5 = Buffer.from(
  "mDcFXJH05BYAAAAtCSsGAQQB2kcPAQEHQFhZlVcVVtwf+21xNQPX+ecMJJBL0MPdfj75iux+my8Q",
  "base64",
).subarray(2);

describe("fingerprints", () => {
  const bodyOf = (name: string): Uint8Array => onlyKey(vectorData(name)).primary.packet.body;
  const names: [string, Uint8Array, string, string][] = [
    [
      "v3",
      bodyOf("v3-rsa/as-published"),
      "8BD7645A2C12DD16C88077EEC016B900",
      Buffer.from(bodyOf("v3-rsa/as-published").subarray(-11, -3)).toString("hex").toUpperCase(),
    ],
    [
      "v4",
      onlyKey(realKey("F8D2585B8783D481").data).primary.packet.body,
      "4D64FEC119C2029067D6E791F8D2585B8783D481",
      "F8D2585B8783D481",
    ],
    [
      "v5",
      V5,
      "19347BC9872464025F99DF3EC2E0000ED9884892E1F7B3EA4C94009159569B54",
      "19347BC987246402",
    ],
    [
      "v6",
      bodyOf("v6/as-published"),
      "409F797824A975AE59097F91F4F6704E25BA7663A17317085923C9D6D89F3493",
      "409F797824A975AE",
    ],
  ];
  it.each(names)("%s", (_, body, fingerprint, id) => {
    expect(fingerprintOf(body)).toBe(fingerprint);
    expect(keyId(body, fingerprintOf(body))).toBe(id);
  });

  it("version 2 is read as version 3, and its key id is the low 64 bits of the modulus", () => {
    const body = Buffer.from([2, 0, 0, 0, 0, 0, 0, 1, 0, 72, 255, 1, 2, 3, 4, 5, 6, 7, 8, 0, 2, 3]);
    expect(keyId(body, fingerprintOf(body))).toBe("0102030405060708");
    const short = Buffer.from([3, 0, 0, 0, 0, 0, 0, 1, 0, 8, 255, 0, 2, 3]);
    expect(keyId(short, fingerprintOf(short))).toBe("00000000000000FF");
  });

  const v3 = bodyOf("v3-rsa/as-published");
  it.each([
    ["nothing", Buffer.alloc(0)],
    ["version 0", Buffer.alloc(20)],
    ["version 1", Buffer.of(1, 0, 0, 0, 0, 1)],
    ["version 7", Buffer.of(7, 0, 0, 0, 0, 1)],
    ["v3 cut off", v3.subarray(0, -1)],
    ["v3 cut off before the integers", v3.subarray(0, 8)],
    ["v3 with more behind", Buffer.concat([v3, Buffer.of(0)])],
    ["v4 cut off", Buffer.of(4, 0, 0, 0, 0)],
    ["v4 too long to be counted", Buffer.alloc(0x10000, 4)],
    ["v5 cut off", V5.subarray(0, -1)],
    ["v6 without count", Buffer.of(6, 0, 0, 0, 0, 1)],
    ["v6 cut off", bodyOf("v6/as-published").subarray(0, -1)],
  ])("refuses %s", (_, body) => {
    expect(() => fingerprintOf(body)).toThrow(Refusal);
    expect(() => fingerprintOf(body)).toThrow(expect.objectContaining({ reason: "bad-packet" }));
  });
});

describe("signature packets", () => {
  const real = onlyKey(realKey("010908312D230C5F").data);
  const v6 = onlyKey(vectorData("v6/as-published"));
  const signatures = (key: TransferableKey): Packet[] =>
    keyPackets(key).filter(({ tag }) => tag === 2);
  const area = (...subpackets: number[][]): number[] => [
    0,
    subpackets.flat().length,
    ...subpackets.flat(),
  ];

  it("v4 with a key id among those of others", () => {
    const own = signatures(real).filter((each) => isSelfSignature(real, each));
    expect(own.map(({ body }) => signatureInfo(body))).toEqual([
      {
        ...{ type: 0x13, createdAt: 0x43ba5c13, issuer: "010908312D230C5F" },
        ...{ keyFlags: 3, keyLifetime: 34_560_000 },
      },
    ]);
    expect(signatures(real).length).toBeGreaterThan(10);
  });

  it("v4 with a fingerprint, v6, and v3", () => {
    const key = onlyKey(realKey("F8D2585B8783D481").data);
    expect(signatures(key).map(({ body }) => signatureInfo(body))).toEqual([
      {
        ...{ type: 0x13, createdAt: expect.any(Number), issuer: key.fingerprint },
        ...{ keyFlags: 3, keyLifetime: 252_288_000 },
      },
    ]);
    expect(signatures(v6).map(({ body }) => signatureInfo(body)?.type)).toEqual([0x1f, 0x13, 0x18]);
    expect(signatures(v6).every((each) => isSelfSignature(v6, each))).toBe(true);
    expect(signatures(v6).some((each) => isSelfSignature(real, each))).toBe(false);
    const v3 = Buffer.from([3, 5, 0x10, 0, 0, 1, 0, 1, 9, 8, 49, 45, 35, 12, 95, 1, 2, 0, 0]);
    expect(signatureInfo(v3)).toEqual({ type: 0x10, createdAt: 256, issuer: "010908312D230C5F" });
    expect(isSelfSignature(real, packet(2, v3))).toBe(true);
    expect(isSelfSignature(real, packet(60, v3))).toBe(false);
  });

  it("prefers what is hashed, the fingerprint, the first", () => {
    const id = (octet: number): number[] => [9, 16, ...Array(8).fill(octet)];
    const print = [22, 33, 4, ...Array(20).fill(0xbb)];
    const time = (octet: number): number[] => [5, 2 | 0x80, 0, 0, 0, octet];
    const of = (hashed: number[], unhashed: number[]): unknown =>
      signatureInfo(Buffer.from([4, 0x10, 1, 8, ...hashed, ...unhashed, 0, 0]));
    expect(of(area(time(1), time(2), id(0xaa)), area(time(3), print))).toMatchObject({
      createdAt: 1,
      issuer: "AA".repeat(8),
    });
    expect(of(area(), area(time(3), id(0xaa), print))).toMatchObject({
      createdAt: 0,
      issuer: "BB".repeat(20),
    });
    expect(of(area(id(0xaa), print, id(0xcc)), area())).toMatchObject({
      issuer: "BB".repeat(20),
    });
    expect(of(area(), area())).toEqual({ type: 0x10, createdAt: 0, issuer: undefined });
  });

  it("reads subpacket lengths of one, two and five octets", () => {
    const skipped = [
      [2, 100, 0],
      [192, 8, 100, ...Array(199).fill(0)],
      [255, 0, 0, 0, 3, 100, 0, 0],
    ];
    for (const junk of skipped) {
      const hashed = [...junk, 5, 2, 0, 0, 0, 7];
      const count = [hashed.length >> 8, hashed.length & 255];
      const body = Buffer.from([4, 0x18, 1, 8, ...count, ...hashed, 0, 0, 0, 0]);
      expect(signatureInfo(body)).toEqual({ type: 0x18, createdAt: 7, issuer: undefined });
    }
  });

  it.each([
    ["nothing", []],
    ["an unknown version", [9, 0x10, 1, 8, 0, 0, 0, 0, 0, 0]],
    ["v3 with another count", [3, 6, 0x10, 0, 0, 1, 0, 1, 9, 8, 49, 45, 35, 12, 95, 1, 2, 0, 0]],
    ["v3 cut off", [3, 5, 0x10, 0, 0, 1, 0]],
    ["an area that ends outside", [4, 0x10, 1, 8, 0, 9, 0, 0]],
    ["no second area", [4, 0x10, 1, 8, 0, 0, 0]],
    ["a subpacket that ends outside", [4, 0x10, 1, 8, ...area([9, 16, 1, 2]), 0, 0, 0, 0]],
    ["a subpacket of no octets", [4, 0x10, 1, 8, ...area([0, 1, 100]), 0, 0]],
    ["a short time", [4, 0x10, 1, 8, ...area([4, 2, 0, 0, 0]), 0, 0]],
    ["a short key id", [4, 0x10, 1, 8, ...area([4, 16, 0, 0, 0]), 0, 0]],
    ["a short fingerprint", [4, 0x10, 1, 8, ...area([5, 33, 4, 0, 0, 0]), 0, 0]],
    ["half a subpacket length", [4, 0x10, 1, 8, ...area([255, 0, 0]), 0, 0]],
  ])("knows nothing of %s", (_, octets) => {
    expect(signatureInfo(Buffer.from(octets))).toBeUndefined();
  });

  it("takes any cut and any flipped octet without an exception", () => {
    for (const { body } of [...signatures(v6), ...signatures(real)]) {
      for (let at = 0; at < body.length; at++) {
        const changed = Buffer.from(body);
        changed[at] = 255;
        for (const octets of [body.subarray(0, at), changed]) {
          expect(() => signatureInfo(octets)).not.toThrow();
        }
      }
    }
  });
});
