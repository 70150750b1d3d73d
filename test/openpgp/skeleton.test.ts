/**
 * What is remembered of a key to complete its updates: the newest that is genuine, in force and not
 * revoked, whatever the order; and real keys as a second opinion on the check of signatures.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fragments } from "../../src/openpgp/fragments.js";
import { keyComponents } from "../../src/openpgp/key.js";
import { encodePackets, type Packet, readPackets, TAG } from "../../src/openpgp/packet.js";
import { SelfCheck } from "../../src/openpgp/self-check.js";
import { isSelfSignature } from "../../src/openpgp/signature.js";
import { grown, Known, SKELETON_LIMITS, selfSigned } from "../../src/openpgp/skeleton.js";
import { claim, onlyKey, packet, realKeys, vectorData } from "./material.js";
import { Signer } from "./signer.js";

const DAY_S = 86_400;
/** Now, in Unix seconds. */
const NOW = 1_800_000_000;
const ann = new Signer(1);
const mallory = new Signer(2);
const [a, b, photo] = [ann.userId("Ann"), ann.userId("Ann at work"), packet(17, "photo")];
const subkey = ann.subkey(1);

/** What is known after these updates, each some packets behind the primary key, at `at` seconds. */
function skeleton(updates: readonly (readonly Packet[])[], at = NOW): Packet[] {
  let stored: Uint8Array | undefined;
  for (const packets of updates) {
    const came = selfSigned(onlyKey(ann.key(...packets)));
    if (came !== undefined) stored = grown(stored, came, at * 1000);
  }
  return readPackets(stored ?? new Uint8Array(0));
}

/** By which user id an update without any is completed at `at`, with its signatures. */
function completedBy(known: readonly Packet[], at = NOW): Packet[] {
  const revocation = ann.over(ann.primary, { at: NOW, type: 0x20 });
  const update = onlyKey(ann.key(revocation));
  const [fragment] = fragments(update, encodePackets(known), 128_000, at * 1000);
  const { userIds } = onlyKey(fragment?.packets ?? new Uint8Array(0));
  return userIds.flatMap((one) => [one.packet, ...one.signatures]).map(plain);
}

const plain = ({ tag, body }: Packet): Packet => ({ tag, body: Buffer.from(body) });
const plainly = (packets: readonly Packet[]): Packet[] => packets.map(plain);
const over = (to: Packet, days: number, more: { type?: number; lifetime?: number } = {}) =>
  ann.over(to, { at: NOW + days * DAY_S, ...more });
const forged = (to: Packet, days: number) => ann.over(to, { at: NOW + days * DAY_S }, mallory);

describe("a skeleton", () => {
  it("has each user id with its newest self-signature, each subkey with its newest binding", () => {
    const theirs = claim(0x13, NOW, mallory.fingerprint);
    const [older, newer] = [over(a, -9), over(a, -5)];
    const [bound, rebound] = [over(subkey, -9), over(subkey, -8)];
    const known = skeleton([
      [a, older, theirs, subkey, bound],
      [a, newer],
      [photo, over(photo, -1), b, over(b, -7), subkey, rebound],
    ]);
    expect(plainly(known)).toEqual(plainly([a, newer, b, over(b, -7), subkey, rebound]));
  });

  it("keeps revocations, of a user id until it is certified again", () => {
    const revoked = over(a, -3, { type: 0x30 });
    const gone = over(subkey, -8, { type: 0x28 });
    expect(
      plainly(
        skeleton([
          [a, revoked],
          [subkey, gone],
          [a, over(a, -4)],
        ]),
      ),
    ).toEqual(plainly([a, over(a, -4), revoked, subkey, gone]));
    expect(plainly(skeleton([[a, revoked, over(a, -2)]]))).toEqual(plainly([a, over(a, -2)]));
    expect(plainly(skeleton([[subkey, gone, over(subkey, -2)]]))).toEqual(
      plainly([subkey, over(subkey, -2), gone]),
    );
  });

  it("takes no forged signature, however new, and keeps the genuine one whatever the order", () => {
    const genuine = over(a, -100);
    const orders = [
      [
        [a, forged(a, -1)],
        [a, genuine],
      ],
      [
        [a, genuine],
        [a, forged(a, -1)],
      ],
      [[a, forged(a, -1), genuine]],
    ];
    for (const updates of orders) expect(plainly(skeleton(updates))).toEqual(plainly([a, genuine]));
    expect(plainly(skeleton([[a, genuine, b, forged(b, 0), subkey, forged(subkey, 0)]]))).toEqual(
      plainly([a, genuine]),
    );
    // A flood of them costs no more than 128 checks, and the next update teaches all the same.
    const flood = Array.from({ length: 60 }, (_, n) => forged(a, -n / 1000));
    const many = Array.from({ length: 9 }, (_, n) => ann.userId(`No ${n}`));
    const padded = many.flatMap((name) => [name, ...flood]);
    expect(
      plainly(
        skeleton([
          [a, ...flood, ...padded],
          [a, genuine],
        ]),
      ),
    ).toEqual(plainly([a, genuine]));
  });

  it("does not depend on the order of updates", () => {
    const pieces = [
      [a, over(a, -9)],
      [a, over(a, -1)],
      [a, forged(a, 0)],
      [a, over(a, -4, { type: 0x30 })],
      [b, over(b, -2)],
      [b, over(b, -1, { type: 0x30 })],
      [subkey, over(subkey, -9)],
      [subkey, over(subkey, -3)],
      [ann.userId("nobody")],
    ];
    const expected = plainly(skeleton(pieces));
    fc.assert(
      fc.property(fc.shuffledSubarray(pieces, { minLength: pieces.length }), (order) => {
        expect(plainly(skeleton(order))).toEqual(expected);
      }),
      { numRuns: 200 },
    );
  });

  it("is the same whether an update that teaches nothing is compared or read", () => {
    const pieces = [
      [a, over(a, -9)],
      [a, over(a, -1, { lifetime: DAY_S / 2 })],
      [a, over(a, -4, { type: 0x30 })],
      [a],
      [b, over(b, -2)],
      [b],
      [photo, over(photo, -1)],
      [subkey, over(subkey, -9)],
      [subkey, over(subkey, -3, { type: 0x28 })],
      [ann.userId("nobody")],
      [ann.userId("Aaron")],
    ];
    // Of a forged signature nothing is kept, but it is not in the skeleton: the keys are read.
    const other = ann.subkey(9);
    const isRead = [other, forged(other, -1)];
    const some = fc.subarray(pieces).map((chosen) => chosen.flat());
    fc.assert(
      fc.property(fc.array(some, { maxLength: 5 }), some, (before, packets) => {
        const known = skeleton(before);
        const both = [packets, [...packets, ...isRead]].map((update) => {
          const came = selfSigned(onlyKey(ann.key(...update))) ?? new Uint8Array(0);
          return plainly(readPackets(grown(encodePackets(known), came, (NOW + DAY_S) * 1000)));
        });
        expect(both[0]).toEqual(both[1]);
      }),
      { numRuns: 150 },
    );
  });

  it("is bounded, and the most needed comes first", () => {
    const names = Array.from({ length: 300 }, (_, n) => ann.userId(`Ann ${n}`));
    const updates = names.map((name, n) => [name, over(name, -1000 + n)]);
    const known = skeleton([...updates, [subkey, over(subkey, -2000)]]);
    const heads = known.filter(({ tag }) => tag !== TAG.signature);
    expect(heads).toHaveLength(SKELETON_LIMITS.components);
    expect(plainly(heads)).toContainEqual(plain(subkey));
    const shown = heads.map(({ body }) => Buffer.from(body).toString());
    expect(shown).toContain("Ann 299");
    expect(shown).not.toContain("Ann 0");
    const long = ann.userId("x".repeat(SKELETON_LIMITS.bytes));
    expect(
      plainly(
        skeleton([
          [long, over(long, -1)],
          [a, over(a, -9)],
        ]),
      ),
    ).toEqual(plainly([a, over(a, -9)]));
  });

  it("keeps what it has verified, however many forged rivals come with it", () => {
    const genuine = over(subkey, -50);
    const rivals = (one: Packet) => Array.from({ length: 64 }, (_, n) => forged(one, -1 - n / 100));
    const crowd = [a, ...rivals(a), b, ...rivals(b), subkey, ...rivals(subkey)];
    const known = skeleton([[subkey, genuine], crowd]);
    expect(plainly(known)).toContainEqual(plain(genuine));
  });

  it("believes what it cannot verify: a key of an algorithm that nobody here knows", () => {
    const body = Buffer.of(4, 0x40, 0, 0, 0, 99, 1, 2, 3, 4);
    const key = onlyKey(encodePackets([{ tag: TAG.publicKey, body }]));
    const own = claim(0x13, NOW, key.fingerprint);
    const came = encodePackets([{ tag: TAG.publicKey, body }, a, own]);
    const known = grown(undefined, selfSigned(onlyKey(came)) ?? came, NOW * 1000);
    expect(plainly(readPackets(known))).toEqual(plainly([a, own]));
  });

  it("is left as it is by what is no key", () => {
    expect(grown(undefined, Buffer.from("nonsense"), 0)).toEqual(new Uint8Array(0));
    expect(selfSigned(onlyKey(ann.key()))).toBeUndefined();
  });
});

describe("what completes later mails", () => {
  it("is never signed in the future, and may be once the date has passed", () => {
    const [genuine, early] = [over(a, -50), over(a, 2)];
    const updates = [
      [a, genuine],
      [a, early],
    ];
    expect(completedBy(skeleton(updates))).toEqual(plainly([a, genuine]));
    expect(completedBy(skeleton(updates, NOW + DAY_S), NOW + DAY_S)).toEqual(plainly([a, early]));
    // Nor does a user id that has no other signature become one that is signed.
    expect(completedBy(skeleton([[a, early]]))).toEqual(plainly([a]));
    expect(
      completedBy(
        skeleton([
          [a, early],
          [b, over(b, -9)],
        ]),
      ),
    ).toEqual(plainly([b, over(b, -9)]));
  });

  it("is never over, when it came or when it leaves", () => {
    const over10 = over(a, -10, { lifetime: 9 * DAY_S });
    const over20 = over(a, -10, { lifetime: 20 * DAY_S });
    expect(
      completedBy(
        skeleton([
          [a, over10],
          [b, over(b, -30)],
        ]),
      ),
    ).toEqual(plainly([b, over(b, -30)]));
    const known = skeleton([
      [a, over20],
      [b, over(b, -30)],
    ]);
    expect(completedBy(known)).toEqual(plainly([a, over20]));
    expect(completedBy(known, NOW + 10 * DAY_S)).toEqual(plainly([b, over(b, -30)]));
    // What is over gives way to an older one that is not.
    expect(
      plainly(
        skeleton([
          [a, over10],
          [a, over(a, -40)],
        ]),
      ),
    ).toEqual(plainly([a, over(a, -40)]));
  });

  it("is no revoked user id as long as there is another", () => {
    const revoked = over(a, -1, { type: 0x30 });
    const known = skeleton([
      [a, over(a, -2), revoked],
      [b, over(b, -30)],
    ]);
    expect(completedBy(known)).toEqual(plainly([b, over(b, -30)]));
    // Else its revocation goes along, for a key without a user id is refused.
    expect(completedBy(skeleton([[a, over(a, -2), revoked]]))).toEqual(
      plainly([a, over(a, -2), revoked]),
    );
    // A forged revocation revokes nothing.
    const fake = ann.over(a, { at: NOW - 5, type: 0x30 }, mallory);
    expect(
      completedBy(
        skeleton([
          [a, over(a, -2), fake],
          [b, over(b, -30)],
        ]),
      ),
    ).toEqual(plainly([a, over(a, -2)]));
  });

  it("is the newest user id; a forged one beside it makes no difference", () => {
    const fake = ann.userId("Ann of Mallory's");
    const known = skeleton([
      [a, over(a, -9)],
      [b, over(b, -3)],
      [fake, forged(fake, 0)],
    ]);
    expect(completedBy(known)).toEqual(plainly([b, over(b, -3)]));
  });

  it("names an update that shows a user id which is not the key's, too", () => {
    const fake = ann.userId("Ann of Mallory's");
    const update = onlyKey(ann.key(fake, forged(fake, 0)));
    const known = encodePackets(skeleton([[a, over(a, -9)]]));
    const [fragment] = fragments(update, known, 128_000, NOW * 1000);
    const made = onlyKey(fragment?.packets ?? new Uint8Array(0));
    expect(made.userIds.map((one) => plain(one.packet))).toContainEqual(plain(a));
  });

  it("of subkeys comes in the order of their use to a pksd", () => {
    const [curve, old, newer, gone, odd] = [
      ann.subkey(2, 18),
      ann.subkey(3, 16),
      ann.subkey(4, 1),
      ann.subkey(5, 1),
      ann.subkey(6, 1, 5),
    ];
    const known = skeleton([
      [curve, over(curve, -1)],
      [old, over(old, -9)],
      [newer, over(newer, -8)],
      [gone, over(gone, -1), over(gone, -1, { type: 0x28 })],
      [odd, over(odd, -1)],
    ]);
    const subkeys = new Known(onlyKey(ann.key()), encodePackets(known), NOW * 1000).subkeys();
    expect(subkeys.map((one) => plain(one.packet))).toEqual(plainly([newer, old, curve, gone]));
  });
});

describe("the check of self-signatures", () => {
  it.each(realKeys.map((key) => [key.name, key] as const))("knows those of %s", (_, { data }) => {
    const key = onlyKey(data);
    const check = new SelfCheck(key.primary.packet);
    let checked = 0;
    for (const { packet: under, signatures } of keyComponents(key)) {
      for (const one of signatures.filter((each) => isSelfSignature(key, each))) {
        expect(check.holds(under, one)).toBe(true);
        const other = { tag: TAG.userId, body: Buffer.concat([under.body, under.body]) };
        expect(check.holds(other, one)).toBe(false);
        const changed = Buffer.from(one.body);
        changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
        expect(check.holds(under, { ...one, body: changed })).toBe(false);
        checked += 1;
      }
    }
    expect(checked).toBeGreaterThan(0);
  });

  it("knows those of the sample key of RFC 9580, version 6", () => {
    const key = onlyKey(vectorData("v6/as-published"));
    const check = new SelfCheck(key.primary.packet);
    const held = keyComponents(key).flatMap(({ packet: under, signatures }) =>
      signatures.map((one) => check.holds(under, one)),
    );
    expect(held).toEqual([true, true, true]);
  });

  it("cut at any octet, holds nothing and throws nothing", () => {
    const signature = over(a, 0);
    const check = new SelfCheck(ann.primary);
    expect(check.holds(a, signature)).toBe(true);
    for (let end = 0; end < signature.body.length; end += 1) {
      expect(check.holds(a, { ...signature, body: signature.body.subarray(0, end) })).toBe(false);
    }
    for (let end = 1; end < ann.primary.body.length; end += 1) {
      const cut = new SelfCheck({ ...ann.primary, body: ann.primary.body.subarray(0, end) });
      expect(cut.holds(a, signature)).toBeUndefined();
    }
  });
});
