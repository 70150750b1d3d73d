/** Every limit at its edge, and blocks: what passes, what does not, and for how long. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { admit } from "../src/admit.js";
import type { Block } from "../src/block.js";
import type { PolicySettings } from "../src/config/config.js";
import { Refusal } from "../src/errors.js";
import { readArmor } from "../src/openpgp/armor.js";
import type { TransferableKey } from "../src/openpgp/key.js";
import { assembleKey, encodeKey, keyComponents, keyPackets, readKeys } from "../src/openpgp/key.js";
import { TAG } from "../src/openpgp/packet.js";
import { Policy, type Records } from "../src/policy.js";
import type { Fingerprint, Seq } from "../src/update.js";
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
/** A policy over a log of which only these things are known. */
function policy(
  change: Partial<PolicySettings>,
  now = 0,
  removals: Partial<Records["removals"]> = {},
  body?: Uint8Array,
): Policy {
  const nothing = { block: () => undefined, isForgotten: () => false, knows: () => false };
  const records = { body: () => body, removals: { ...nothing, ...removals } };
  return new Policy({ ...DEFAULT_POLICY, ...change }, records, { now: () => now });
}

const reasonOf = (one: TransferableKey, change: Partial<PolicySettings>, now = 0) =>
  policy(change, now).judge(one)?.reason;

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

  it("of a command holds like one of the list, and before it", () => {
    const may = { ...block, allowRevocation: true };
    const list = { blocks: new Map([[REVOCATION.fingerprint as string, block]]) };
    expect(policy({}, 0, { block: () => block }).judge(key)?.reason).toBe("blocked");
    expect(policy(list, 0).judge(REVOCATION)?.reason).toBe("blocked");
    expect(policy(list, 0, { block: () => may }).judge(REVOCATION)).toBeUndefined();
    const over = { ...block, until: 5 };
    expect(policy({}, 5, { block: () => over }).judge(key)).toBeUndefined();
  });

  it("lets a bare revocation pass when it may, and nothing that comes with more", () => {
    const whole = admitted("onak-revocation-1-key.eml");
    expect(REVOCATION.fingerprint).toBe(whole.fingerprint);
    expect(reasonOf(REVOCATION, blocked({}, REVOCATION))).toBe("blocked");
    const may = blocked({ allowRevocation: true }, REVOCATION);
    expect(reasonOf(REVOCATION, may)).toBeUndefined();
    expect(reasonOf(whole, may)).toBe("blocked");
    const both = assembleKey([...keyComponents(whole), ...keyComponents(REVOCATION)]);
    expect(reasonOf(both, may)).toBe("blocked");
  });

  it.each([
    [undefined, true],
    [0, true],
    [2, true],
    [1, false],
    [3, false],
    [32, false],
    [100, false],
  ])("takes a revocation of reason %j for hard: %j", (code, isHard) => {
    const may = blocked({ allowRevocation: true });
    expect(reasonOf(revoked([code]), may)).toBe(isHard ? undefined : "blocked");
    // A reason that anybody can write into the packet does not count.
    expect(reasonOf(revoked([undefined], code), may)).toBeUndefined();
    expect(reasonOf(revoked([2, code]), may)).toBe(isHard ? undefined : "blocked");
  });

  it("says by the fingerprint alone what is not worth fetching", () => {
    const declined = (change: Partial<Block>) =>
      policy({}, 0, { block: () => ({ ...block, ...change }) }).declines("AB")?.reason;
    expect(declined({})).toBe("blocked");
    expect(declined({ allowRevocation: true })).toBeUndefined();
    expect(declined({ until: 0 })).toBeUndefined();
    expect(policy({}).declines("AB")).toBeUndefined();
  });

  it("holds back what is in the log, but for a hard revocation that may pass", () => {
    const entry = (one: TransferableKey) => ({ seq: 7 as Seq, fingerprint: one.fingerprint });
    const held = (one: TransferableKey, change: Partial<Block>) =>
      policy({}, 0, { block: () => ({ ...block, ...change }) }, encodeKey(one)).withholds(
        entry(one),
      );
    expect(held(key, {})).toBe("blocked");
    expect(held(key, { allowRevocation: true })).toBe("blocked");
    expect(held(REVOCATION, { allowRevocation: true })).toBeUndefined();
    expect(held(REVOCATION, {})).toBe("blocked");
    expect(policy({}).withholds(entry(key))).toBeUndefined();
    expect(policy({}, 0, { isForgotten: (seq) => seq === 7 }).withholds(entry(key))).toBe(
      "forgotten",
    );
  });
});

describe("a partial gateway", () => {
  it("carries the keys of its file and no other, whatever it knows", () => {
    const carried = new Set<string>([key.fingerprint]);
    expect(reasonOf(key, { carried, newKeys: false })).toBeUndefined();
    expect(reasonOf(REVOCATION, { carried })).toBe("policy-carry");
    const knowing = policy({ carried, newKeys: false }, 0, { knows: () => true });
    expect(knowing.declines(REVOCATION.fingerprint)?.reason).toBe("policy-carry");
    expect(knowing.declines(key.fingerprint)).toBeUndefined();
  });

  it("takes no new keys, and all updates of known ones", () => {
    const knows = (name: string) => name === key.fingerprint;
    const closed = policy({ newKeys: false }, 0, { knows });
    expect(closed.judge(key)).toBeUndefined();
    expect(closed.judge(REVOCATION)?.reason).toBe("policy-new-key");
    expect(closed.declines("AB" as Fingerprint)?.reason).toBe("policy-new-key");
  });
});

const REVOCATION = admitted("onak-revocation-2-no-user-id.eml");

/** The primary key with revocations of these reasons, and another one where anybody can write. */
function revoked(codes: readonly (number | undefined)[], unhashed?: number): TransferableKey {
  const reason = (code?: number) => (code === undefined ? [] : [3, 29, code, 0x78]);
  const area = (octets: readonly number[]) => [0, octets.length, ...octets];
  const name = [22, 33, 4, ...Buffer.from(key.fingerprint, "hex")];
  const signatures = codes.map((code, n) => ({
    tag: TAG.signature,
    body: Uint8Array.of(
      ...[4, 0x20, 1, 8],
      ...area([...name, ...reason(code)]),
      ...area(reason(unhashed)),
      ...[0, 0, 0, 8, n],
    ),
  }));
  return assembleKey([{ packet: key.primary.packet, signatures }]);
}

function admitted(name: string): TransferableKey {
  const mail = readFileSync(new URL(name, MAILS));
  const [update] = admit([mail]).updates;
  const [found] = update === undefined ? [] : readKeys(update.body);
  if (found === undefined || found instanceof Refusal) throw new Error(`no key in ${name}`);
  return found;
}
