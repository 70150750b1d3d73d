/** The 213 vectors: whoever computes another hash for one of them does not speak KX. */
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { encodeKey, keyPackets } from "../../src/openpgp/key.js";
import { encodePackets } from "../../src/openpgp/packet.js";
import { updateHash } from "../../src/openpgp/update-hash.js";
import { newFramed, onlyKey, packet, vectorData, vectors } from "./material.js";

it("has all 213 vectors", () => expect(vectors).toHaveLength(213));

describe.each(vectors.map((vector) => [vector.name, vector] as const))("%s", (_, vector) => {
  const key = onlyKey(Buffer.from(vector.packets_base64, "base64"));
  it("has the fingerprint and the hash", () => {
    expect(key.fingerprint).toBe(vector.fingerprint);
    expect(updateHash(key).hash).toBe(vector.hash);
  });
  it("has them again after a round through our own octets, which stay as they are", () => {
    const body = encodeKey(key);
    const again = onlyKey(body);
    expect(updateHash(again)).toEqual(updateHash(key));
    expect(Buffer.compare(encodeKey(again), body)).toBe(0);
  });
});

it("gives all variants of a key one hash, digest and body, and a smaller key another", () => {
  const digests = new Map<string, string>();
  const seen = new Set<string>();
  for (const { name, packets_base64 } of vectors) {
    const [family = "", variant] = name.split("/");
    const key = onlyKey(Buffer.from(packets_base64, "base64"));
    const told = JSON.stringify([updateHash(key), Buffer.from(encodeKey(key)).toString("hex")]);
    if (variant === "one-signature-less") expect(told).not.toBe(digests.get(family));
    else expect(told).toBe(digests.get(family) ?? told);
    if (variant !== "one-signature-less") digests.set(family, told);
    seen.add(variant ?? "");
  }
  expect(digests.size).toBe(31);
  expect(seen.size).toBe(7);
});

it("hashes the five-octet variant as it stands", () => {
  const input = vectorData("v6/five-octet");
  const { hash, digest } = updateHash(onlyKey(input));
  expect(hash).toBe(createHash("md5").update(input).digest("hex"));
  expect(digest).toBe(createHash("sha256").update(input).digest("hex"));
});

it.each([10, 65_529, 65_530, 65_531, 70_000, 200_000])(
  "hashes the same input when a packet has %i octets",
  (length) => {
    const key = onlyKey(
      encodePackets([
        ...keyPackets(onlyKey(vectorData("v6/as-published"))),
        packet(2, Buffer.alloc(length, 1)),
        packet(2, Buffer.alloc(50, 2)),
      ]),
    );
    const input = keyPackets(key).map(({ tag, body }) => {
      const count = Buffer.alloc(4);
      count.writeUInt32BE(body.length);
      return newFramed(tag, [255, ...count], body);
    });
    expect(updateHash(key).hash).toBe(createHash("md5").update(Buffer.concat(input)).digest("hex"));
  },
);

it("tells keys apart whose octets moved over a packet's border", () => {
  const primary = keyPackets(onlyKey(vectorData("primary-only/as-published")));
  const hashOf = (first: string, second: string): string =>
    updateHash(onlyKey(encodePackets([...primary, packet(2, first), packet(2, second)]))).hash;
  expect(hashOf("a\u0002", "bc")).not.toBe(hashOf("a", "\u0002bc"));
});
