/** openpgp.js as a second opinion: it must see in our octets what it sees in the original ones. */
import { generateKey, type PublicKey, readKey, readKeys as readWithOpenpgpjs } from "openpgp";
import { describe, expect, it } from "vitest";
import { encodeArmor } from "../../src/openpgp/armor.js";
import { fragments } from "../../src/openpgp/fragments.js";
import { encodeKey } from "../../src/openpgp/key.js";
import { comparePackets, readPackets } from "../../src/openpgp/packet.js";
import { SelfCheck } from "../../src/openpgp/self-check.js";
import { isSelfSignature } from "../../src/openpgp/signature.js";
import { onlyBlock, onlyKey, realKeys } from "./material.js";

/** The packets that openpgp.js holds, sorted and spelled out. */
const seen = (key: { toPacketList(): { write(): Uint8Array } }): string[] =>
  readPackets(key.toPacketList().write())
    .toSorted(comparePackets)
    .map(({ tag, body }) => `${tag} ${Buffer.from(body).toString("hex")}`);

describe.each(realKeys.map((key) => [key.name, key] as const))("%s", (_, { armor, data }) => {
  it("has the fingerprint, and our octets hold the same packets", async () => {
    const theirs = await readKey({ armoredKey: armor.toString() });
    const key = onlyKey(data);
    expect(theirs.getFingerprint().toUpperCase()).toBe(key.fingerprint);
    const ours = await readKey({ armoredKey: encodeArmor(encodeKey(key)) });
    expect(seen(ours)).toEqual(seen(theirs));
    expect(seen(ours).length).toBeGreaterThan(1);
  });
});

describe.each([4, 6])("a new key of version %i", (version) => {
  const made = generateKey({
    type: "curve25519",
    userIDs: [{ name: "A Test" }, { name: "Another Test" }],
    subkeys: [{}, { sign: true }],
    format: "object",
    config: { v6Keys: version === 6 },
  });

  it("has the fingerprint, the structure and the claims", async () => {
    const theirs = (await made).publicKey;
    const key = onlyKey(theirs.write());
    expect(key.version).toBe(version);
    expect(key.fingerprint).toBe(theirs.getFingerprint().toUpperCase());
    expect(key.userIds).toHaveLength(2);
    expect(key.subkeys).toHaveLength(2);
    const signatures = [key.primary, ...key.userIds, ...key.subkeys].flatMap(
      (component) => component.signatures,
    );
    expect(signatures.length).toBeGreaterThanOrEqual(4);
    expect(signatures.every((each) => isSelfSignature(key, each))).toBe(true);
    const check = new SelfCheck(key.primary.packet);
    for (const { packet, signatures: under } of [key.primary, ...key.userIds, ...key.subkeys]) {
      expect(under.map((one) => check.holds(packet, one))).toEqual(under.map(() => true));
    }
  });

  it("verifies when a piece of it is read alone", async () => {
    const key = onlyKey((await made).publicKey.write());
    const pieces = fragments(key, undefined, 900, Date.now());
    expect(pieces.length).toBeGreaterThan(1);
    let subkeys = 0;
    for (const { packets } of pieces) {
      const [piece] = (await readWithOpenpgpjs({ binaryKeys: packets })) as [PublicKey];
      for (const subkey of piece.getSubkeys()) {
        await subkey.verify();
        subkeys += 1;
      }
    }
    expect(subkeys).toBeGreaterThanOrEqual(2);
  });

  it("is refused when it is the secret key", async () => {
    const { readKeys } = await import("../../src/openpgp/key.js");
    const secret = (await made).privateKey;
    expect(readKeys(secret.write())).toMatchObject([{ reason: "secret-key" }]);
    const relabelled = secret.armor().replaceAll("PRIVATE KEY BLOCK", "PUBLIC KEY BLOCK");
    expect(readKeys(onlyBlock(Buffer.from(relabelled)))).toMatchObject([{ reason: "secret-key" }]);
  });
});
