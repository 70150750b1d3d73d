/** Every limit at its edge, and blocks: what passes, what does not, and for how long. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { admit } from "../src/admit.js";
import { Refusal } from "../src/errors.js";
import { readArmor } from "../src/openpgp/armor.js";
import type { TransferableKey } from "../src/openpgp/key.js";
import { assembleKey, encodeKey, keyComponents, keyPackets, readKeys } from "../src/openpgp/key.js";
import { judge } from "../src/policy.js";
import { DEFAULT_POLICY } from "./config/example.js";

const KEYS = new URL("./fixtures/keys/", import.meta.url);
const MAILS = new URL("./fixtures/mails/", import.meta.url);

function keyIn(file: URL): TransferableKey {
  const [block] = readArmor(readFileSync(file));
  if (block === undefined || block instanceof Refusal) throw new Error("no armor");
  const [key] = readKeys(block.data);
  if (key === undefined || key instanceof Refusal) throw new Error("no key");
  return key;
}

const key = keyIn(new URL("role-F8D2585B8783D481.asc", KEYS));
const reasonOf = (one: TransferableKey, change: Partial<typeof DEFAULT_POLICY>, now = 0) =>
  judge(one, { ...DEFAULT_POLICY, ...change }, now)?.reason;

/** The key with one more packet under its first user id. */
function withPacket(tag: number, bytes: number): TransferableKey {
  const body = new Uint8Array(bytes).fill(65);
  return assembleKey([...keyComponents(key), { packet: { tag, body }, signatures: [] }]);
}

describe("limits on an update", () => {
  it("lets every real key of the fixtures pass", () => {
    for (const name of readdirSync(KEYS)) {
      expect(reasonOf(keyIn(new URL(name, KEYS)), {})).toBeUndefined();
    }
  });

  it("counts bytes and packets of the update, to the edge", () => {
    const bytes = encodeKey(key).length;
    expect(reasonOf(key, { maxUpdateBytes: bytes })).toBeUndefined();
    expect(reasonOf(key, { maxUpdateBytes: bytes - 1 })).toBe("policy-size");
    const packets = keyPackets(key).length;
    expect(reasonOf(key, { maxPackets: packets })).toBeUndefined();
    expect(reasonOf(key, { maxPackets: packets - 1 })).toBe("policy-packets");
  });

  it.each([
    [13, "maxUserIdBytes"],
    [17, "maxAttributeBytes"],
    [14, "maxPacketBytes"],
  ] as const)("limits packets of tag %i by %s", (tag, limit) => {
    expect(reasonOf(withPacket(tag, 5000), { [limit]: 5000 })).toBeUndefined();
    expect(reasonOf(withPacket(tag, 5001), { [limit]: 5000 })).toBe("policy-size");
  });

  it("limits signatures on their own", () => {
    const largest = Math.max(
      ...keyPackets(key).flatMap(({ tag, body }) => (tag === 2 ? [body.length] : [])),
    );
    expect(reasonOf(key, { maxSignatureBytes: largest })).toBeUndefined();
    expect(reasonOf(key, { maxSignatureBytes: largest - 1 })).toBe("policy-size");
  });

  it("refuses user attributes when told so, and nothing else for it", () => {
    expect(reasonOf(withPacket(17, 100), { attributes: "refuse" })).toBe("policy-attribute");
    expect(reasonOf(key, { attributes: "refuse" })).toBeUndefined();
  });

  it("lets a small update of a key pass whose whole is over the limit", () => {
    const whole = withPacket(17, 200_000);
    const limit = { maxUpdateBytes: 10_000, maxAttributeBytes: 1_000_000 };
    expect(reasonOf(whole, limit)).toBe("policy-size");
    expect(reasonOf(key, limit)).toBeUndefined();
  });
});

describe("blocks", () => {
  const block = { reason: "asked", until: undefined, allowRevocation: false };
  const blocked = (change: Partial<{ until: number; allowRevocation: boolean }>, of = key) => ({
    blocks: new Map([[of.fingerprint as string, { ...block, ...change }]]),
  });

  it("holds for its key, until its date", () => {
    expect(reasonOf(key, blocked({}))).toBe("blocked");
    expect(reasonOf(key, blocked({ until: 1000 }), 999)).toBe("blocked");
    expect(reasonOf(key, blocked({ until: 1000 }), 1000)).toBeUndefined();
    const other = keyIn(new URL("role-4D270D06F42584E6.asc", KEYS));
    expect(reasonOf(other, blocked({}))).toBeUndefined();
  });

  it("lets a bare revocation pass when it may, and nothing that comes with more", () => {
    const revocation = admitted("onak-revocation-2-no-user-id.eml");
    const whole = admitted("onak-revocation-1-key.eml");
    expect(revocation.fingerprint).toBe(whole.fingerprint);
    expect(reasonOf(revocation, blocked({}, revocation))).toBe("blocked");
    const may = blocked({ allowRevocation: true }, revocation);
    expect(reasonOf(revocation, may)).toBeUndefined();
    expect(reasonOf(whole, may)).toBe("blocked");
    const both = assembleKey([...keyComponents(whole), ...keyComponents(revocation)]);
    expect(reasonOf(both, may)).toBe("blocked");
  });
});

function admitted(name: string): TransferableKey {
  const mail = readFileSync(new URL(name, MAILS));
  const [update] = admit([mail]).updates;
  const [found] = update === undefined ? [] : readKeys(update.body);
  if (found === undefined || found instanceof Refusal) throw new Error(`no key in ${name}`);
  return found;
}
