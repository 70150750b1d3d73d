/** Fragments: each can be taken by its servers, and merged they are the key again. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { armoredSize, encodeArmor } from "../../src/openpgp/armor.js";
import * as production from "../../src/openpgp/fragments.js";
import { encodeKey, keyPackets, type TransferableKey } from "../../src/openpgp/key.js";
import { encodePackets, type Packet, packetKey, readPackets } from "../../src/openpgp/packet.js";
import { grown, selfSigned, shownName } from "../../src/openpgp/skeleton.js";
import {
  claim,
  mail,
  merged,
  onlyBlock,
  onlyKey,
  packet,
  realKey,
  realKeys,
  vectorData,
} from "./material.js";
import { Signer } from "./signer.js";

const CAP = 126_000;
const NOW = 1_800_000_000_000;
const fragments = (key: TransferableKey, skeleton: Uint8Array | undefined, cap: number) =>
  production.fragments(key, skeleton, cap, NOW);
const base = realKey("F8D2585B8783D481").data;
const primary = readPackets(base)[0] as Packet;
const { fingerprint } = onlyKey(base);
const keyOf = (...packets: Packet[]): TransferableKey =>
  onlyKey(encodePackets([primary, ...packets]));

const self = claim(0x13, 100, fingerprint);
const ann = packet(13, "Ann");
const photo = packet(17, "photo");
const novelty = packet(60, "novelty");
const onPhoto = claim(0x13, 50, fingerprint, Buffer.alloc(9));
const binding = claim(0x18, 70, fingerprint);
const subkey = packet(14, "\x04subkey");
const revocation = claim(0x20, 60, fingerprint);
const remembered = encodePackets([ann, self]);

/** Kind and packets of each fragment, a packet by what it is called above. */
const names = new Map<Packet, string>(
  Object.entries({ primary, self, ann, photo, novelty, onPhoto, binding, subkey, revocation }).map(
    ([name, each]) => [each, name],
  ),
);
const nameOf = (each: Packet): string | undefined =>
  [...names].find(
    ([known]) => known.tag === each.tag && Buffer.compare(known.body, each.body) === 0,
  )?.[1];
const told = (all: readonly production.Fragment[]): string[] =>
  all.map(({ kind, packets }) => `${kind}: ${readPackets(packets).map(nameOf).join(" ")}`);

describe("what travels with what", () => {
  it("the common case is one plain fragment in canonical order", () => {
    for (const { data } of realKeys) {
      const key = onlyKey(data);
      expect(fragments(key, undefined, CAP)).toEqual([
        { kind: "plain", packets: encodeKey(key), isNamed: true },
      ]);
      const skeleton = grown(undefined, selfSigned(key) ?? new Uint8Array(), NOW);
      expect(fragments(key, skeleton, CAP)).toEqual(fragments(key, undefined, CAP));
    }
  });

  it("attributes and unknown tags leave alone, each with the user id", () => {
    const key = keyOf(revocation, ann, self, novelty, photo, onPhoto, subkey, binding);
    expect(told(fragments(key, undefined, CAP))).toEqual([
      "plain: primary revocation ann self subkey binding",
      "attributes: primary ann self photo onPhoto",
      "unknown: primary ann self novelty",
    ]);
  });

  it("an unknown tag takes its parent along, a subkey with its binding", () => {
    const older = claim(0x18, 60, fingerprint);
    const key = keyOf(ann, self, photo, onPhoto, novelty, subkey, older, binding, novelty);
    expect(told(fragments(key, undefined, CAP)).at(-1)).toBe(
      "unknown: primary ann self photo novelty subkey binding novelty",
    );
    expect(told(fragments(keyOf(novelty, ann, self), undefined, CAP))).toEqual([
      "plain: primary ann self",
      "unknown: primary novelty ann self",
    ]);
  });

  it("an update without user id is completed, in every fragment", () => {
    const key = keyOf(revocation, photo, onPhoto, subkey, binding, novelty);
    expect(told(fragments(key, remembered, CAP))).toEqual([
      "plain: primary revocation ann self subkey binding",
      "attributes: primary ann self photo onPhoto",
      "unknown: primary ann self subkey binding novelty",
    ]);
    expect(told(fragments(key, undefined, CAP))).toEqual([
      "plain: primary revocation subkey binding",
      "attributes: primary photo onPhoto",
      "unknown: primary subkey binding novelty",
    ]);
  });

  it("a plain fragment that would only introduce the others is left out", () => {
    expect(told(fragments(keyOf(photo, onPhoto), remembered, CAP))).toEqual([
      "attributes: primary ann self photo onPhoto",
    ]);
    expect(told(fragments(keyOf(novelty), undefined, CAP))).toEqual(["unknown: primary novelty"]);
    expect(told(fragments(keyOf(), undefined, CAP))).toEqual(["plain: primary"]);
    expect(told(fragments(keyOf(), remembered, CAP))).toEqual(["plain: primary ann self"]);
  });

  it("a user id of the update's own is news to pksd: it does not travel with a photo only", () => {
    expect(told(fragments(keyOf(ann, self, photo, onPhoto), remembered, CAP))).toEqual([
      "plain: primary ann self",
      "attributes: primary ann self photo onPhoto",
    ]);
  });

  it("a user id that nobody knows to be the key's needs completion as none does", () => {
    const other = claim(0x10, 1, "0".repeat(40));
    const update = keyOf(packet(13, "Bob"), other);
    const made = (skeleton?: Uint8Array) =>
      fragments(update, skeleton, CAP).map(({ packets }) => Buffer.from(packets));
    const expected = (...packets: Packet[]) => [Buffer.from(encodeKey(keyOf(...packets)))];
    const bob = packet(13, "Bob");
    const own = claim(0x13, 90, fingerprint);
    expect(made()).toEqual(expected(bob, other));
    expect(made(remembered)).toEqual(expected(ann, self, bob, other));
    expect(made(encodePackets([ann, self, bob, own]))).toEqual(expected(bob, other, own));
  });

  it("the subkey to encrypt to is the first, with its newest binding: pksd keeps no other", () => {
    const eve = new Signer(9);
    const at = NOW / 1000 - 1e6;
    const [signing, expired, revoked] = [eve.subkey(1), eve.subkey(2), eve.subkey(3)];
    const [curve, aged, usable] = [eve.subkey(4, 18), eve.subkey(5), eve.subkey(6)];
    const encrypts = { keyFlags: 0x0c };
    const newest = eve.over(usable, { at: at + 9, ...encrypts, keyLifetime: 1e9 });
    const bindings = [eve.over(usable, { at: at + 2, ...encrypts, keyLifetime: 99 }), newest];
    const key = onlyKey(
      eve.key(
        ...[eve.userId("Eve"), eve.over(eve.userId("Eve"), { at })],
        ...[signing, eve.over(signing, { at: at + 90, keyFlags: 0x02 })],
        ...[expired, eve.over(expired, { at: at + 90, ...encrypts, keyLifetime: 99 })],
        ...[revoked, eve.over(revoked, { at: at + 90, ...encrypts })],
        eve.over(revoked, { at: at + 91, type: 0x28 }),
        ...[curve, eve.over(curve, { at: at + 90, ...encrypts })],
        ...[aged, eve.over(aged, { at })],
        ...[usable, ...bindings],
      ),
    );
    const skeleton = grown(undefined, selfSigned(key) ?? new Uint8Array(), NOW);
    for (const known of [undefined, skeleton]) {
      const [fragment, ...more] = fragments(key, known, CAP);
      expect(more).toEqual([]);
      const sent = readPackets(fragment?.packets ?? new Uint8Array());
      const subkeys = sent.filter(({ tag }) => tag === 14);
      // Among equals the newest binding decides.
      expect(subkeys.map(packetKey)).toEqual(
        [usable, aged, expired, signing, curve, revoked].map(packetKey),
      );
      const first = sent.findIndex(({ tag }) => tag === 14);
      expect(sent.slice(first + 1, first + 3).map(packetKey)).toEqual(
        bindings.toReversed().map(packetKey),
      );
    }
  });

  it("a forged subkey never comes before a genuine one, however new its binding", () => {
    const [eve, mallory] = [new Signer(9), new Signer(8)];
    const at = NOW / 1000 - 1e6;
    const [name, genuine, forged] = [eve.userId("Eve"), eve.subkey(1), eve.subkey(2)];
    const named = [name, eve.over(name, { at })];
    const key = onlyKey(eve.key(...named, genuine, eve.over(genuine, { at, keyFlags: 0x0c })));
    const fake = eve.over(forged, { at: at + 9, keyFlags: 0x0c }, mallory);
    const update = onlyKey(eve.key(...named, forged, fake));
    const before = grown(undefined, selfSigned(key) ?? new Uint8Array(), NOW);
    const skeleton = grown(before, selfSigned(update) ?? new Uint8Array(), NOW);
    const [fragment] = fragments(update, skeleton, CAP);
    const sent = readPackets(fragment?.packets ?? new Uint8Array());
    expect(sent.filter(({ tag }) => tag === 14).map(packetKey)).toEqual(
      [genuine, forged].map(packetKey),
    );
  });

  it("a version 6 key is one modern fragment", () => {
    const key = onlyKey(vectorData("v6/as-published"));
    expect(fragments(key, remembered, CAP)).toEqual([
      { kind: "modern", packets: encodeKey(key), isNamed: true },
    ]);
    const odd = onlyKey(encodePackets([...keyPackets(key), photo, novelty]));
    expect(fragments(odd, undefined, CAP).map(({ kind }) => kind)).toEqual(["modern"]);
  });

  it("heals what onak sends: the revocation and the subkey without user id", () => {
    for (const pair of ["revocation", "subkey"]) {
      const first = onlyKey(onlyBlock(mail(`onak-${pair}-1-key.eml`)));
      const update = onlyKey(onlyBlock(mail(`onak-${pair}-2-no-user-id.eml`)));
      const skeleton = grown(undefined, selfSigned(first) ?? new Uint8Array(), NOW);
      const [mailed, ...more] = fragments(update, skeleton, CAP);
      expect(more).toEqual([]);
      expect(mailed).toMatchObject({ kind: "plain", isNamed: true });
      const key = onlyKey(mailed?.packets ?? new Uint8Array());
      expect(key.userIds).toHaveLength(1);
      // The user id with its self-signature, and the subkey that the key had with its binding.
      const added = [...keyPackets(update), ...readPackets(skeleton)];
      expect(encodeKey(key)).toEqual(encodeKey(onlyKey(encodePackets(added))));
    }
  });
});

describe("keys above the cap", () => {
  const pieces = (key: TransferableKey, cap: number): Uint8Array[] =>
    fragments(key, undefined, cap).map(({ packets }) => packets);
  const sizes = (all: readonly Uint8Array[]): number[] =>
    all.map(({ length }) => armoredSize(length));
  const encoded = (key: TransferableKey): string => Buffer.from(encodeKey(key)).toString("hex");

  it.each(realKeys.map((key) => [key.name, key] as const))(
    "%s in pieces of 4000",
    (_, { data }) => {
      const key = onlyKey(data);
      const all = pieces(key, 4000);
      expect(all.length).toBeGreaterThanOrEqual(encodeArmor(data).length / 4000);
      expect(Math.max(...sizes(all))).toBeLessThanOrEqual(4000);
      expect(encoded(merged(all))).toBe(encoded(key));
      const name = shownName(key)?.packet.body ?? new Uint8Array();
      for (const piece of all.map(onlyKey)) {
        const shown = piece.userIds.find(
          ({ packet: each }) => Buffer.compare(each.body, name) === 0,
        );
        expect(shown?.signatures.length).toBeGreaterThan(0);
      }
    },
  );

  it("repeats the newest binding of a subkey whose signatures are shared out", () => {
    const more = Array.from({ length: 30 }, (_, i) =>
      claim(0x18, i, fingerprint, Buffer.alloc(100, i)),
    );
    const all = pieces(keyOf(ann, self, subkey, binding, ...more), 1500).map(onlyKey);
    expect(all.length).toBeGreaterThan(2);
    for (const piece of all) {
      expect(piece.subkeys[0]?.signatures.some((each) => nameOf(each) === "binding")).toBe(true);
      expect(piece.userIds[0]?.signatures.map(nameOf)).toEqual(["self"]);
    }
  });

  it("are cut alike whatever is learnt meanwhile: a lane that stopped between two goes on", () => {
    for (const { data } of realKeys) {
      const key = onlyKey(data);
      const [before, after] = [undefined, encodePackets([ann, self, subkey, binding])].map(
        (skeleton) => fragments(key, skeleton, 6000).map(({ packets }) => packets),
      ) as [Uint8Array[], Uint8Array[]];
      expect(after).toHaveLength(before.length);
      for (let sent = 0; sent <= before.length; sent += 1) {
        const held = merged([...before.slice(0, sent), ...after.slice(sent)]);
        const packets = new Set(keyPackets(held).map(packetKey));
        expect(keyPackets(key).filter((each) => !packets.has(packetKey(each)))).toEqual([]);
      }
    }
  });

  it("sends a packet above the cap in a fragment of its own", () => {
    const huge = claim(0x13, 1, "0".repeat(40), Buffer.alloc(9000));
    const small = claim(0x13, 1, "0".repeat(40));
    const bob = packet(13, "Bob");
    const all = pieces(keyOf(ann, self, bob, small, huge, subkey, binding), 2000);
    expect(sizes(all).filter((size) => size > 2000)).toHaveLength(1);
    const over = all.find(({ length }) => armoredSize(length) > 2000) ?? new Uint8Array();
    expect(encoded(onlyKey(over))).toBe(encoded(keyOf(ann, self, bob, huge)));
    expect(all).toHaveLength(3);
    expect(pieces(keyOf(ann, self, bob, huge), 2000)).toHaveLength(1);
  });

  it("does not multiply what is too large to be repeated", () => {
    const many = Array.from({ length: 2000 }, (_, i) =>
      claim(0x10, i, "0".repeat(40), Buffer.from(`${i}`)),
    );
    const total = (key: TransferableKey): number =>
      pieces(key, 10_000).reduce((sum, { length }) => sum + length, 0) / encodeKey(key).length;
    const hugeSelf = claim(0x13, 9999, fingerprint, Buffer.alloc(60_000));
    const cases = [
      keyOf(ann, self, packet(13, Buffer.alloc(7000)), ...many),
      keyOf(ann, self, packet(13, Buffer.alloc(60_000)), ...many),
      keyOf(ann, hugeSelf, ...many),
      keyOf(ann, self, subkey, claim(0x18, 9999, fingerprint, Buffer.alloc(5500)), ...many),
      onlyKey(encodePackets([packet(6, Buffer.alloc(50_000, 4)), ann, ...many])),
      onlyKey(encodePackets([packet(6, Buffer.alloc(5000, 4)), ann, ...many])),
    ];
    for (const key of cases) {
      expect(total(key)).toBeLessThan(8);
      expect(encoded(merged(pieces(key, 10_000)))).toBe(encoded(key));
    }
  });

  it("merges to the key and its identity, for any key", () => {
    const octets = fc.uint8Array({ minLength: 1, maxLength: 150, size: "max" });
    const signature = fc.oneof(
      octets.map((body) => packet(2, body)),
      fc
        .tuple(fc.constantFrom(0x10, 0x13, 0x18, 0x20, 0x30), fc.nat(9), octets)
        .map(([type, time, filler]) => claim(type, time, fingerprint, filler)),
    );
    const under = fc.array(
      fc.oneof(
        { weight: 6, arbitrary: signature },
        { weight: 1, arbitrary: octets.map((body) => packet(60, body)) },
      ),
      { maxLength: 12, size: "max" },
    );
    const component = fc
      .tuple(fc.constantFrom(13, 13, 14, 17), octets, under)
      .map(([tag, body, signatures]) => [packet(tag, body), ...signatures]);
    const seen = { split: 0, completed: 0, attributes: 0, unknown: 0 };
    fc.assert(
      fc.property(
        under,
        fc.array(component, { maxLength: 8, size: "max" }),
        fc.boolean(),
        fc.integer({ min: 1500, max: 3500 }),
        (direct, components, known, cap) => {
          const key = keyOf(...direct, ...components.flat());
          const all = fragments(key, known ? remembered : undefined, cap);
          const hasUserId = key.userIds.some(({ packet: each }) => each.tag === 13);
          expect(all.length).toBeGreaterThan(0);
          for (const { kind, packets, isNamed } of all) {
            expect(armoredSize(packets.length)).toBeLessThanOrEqual(cap);
            expect(isNamed).toBe(known || hasUserId);
            const piece = onlyKey(packets);
            expect(readPackets(packets).map(packetKey).toSorted()).toEqual(
              keyPackets(piece).map(packetKey).toSorted(),
            );
            const tags = new Set(keyPackets(piece).map(({ tag }) => tag));
            expect(tags.has(13)).toBe(known || hasUserId);
            if (kind === "plain") expect(tags.has(17) || tags.has(60)).toBe(false);
            if (kind === "attributes") expect(tags.has(60)).toBe(false);
          }
          const whole = [...keyPackets(key), ...(known ? [ann, self] : [])];
          expect(encoded(merged(all.map(({ packets }) => packets)))).toBe(
            encoded(onlyKey(encodePackets(whole))),
          );
          const kinds = all.map(({ kind }) => kind);
          if (new Set(kinds).size < kinds.length) seen.split += 1;
          if (known && !hasUserId) seen.completed += 1;
          if (kinds.includes("attributes")) seen.attributes += 1;
          if (kinds.includes("unknown")) seen.unknown += 1;
        },
      ),
      { numRuns: 300 },
    );
    expect(Math.min(...Object.values(seen))).toBeGreaterThan(5);
  });
});

describe("without a limit of size", () => {
  const KINDS = [undefined, "pksd", "sks", "onak", "hockeypuck", "gateway"] as const;
  const whole = [
    ...realKeys.map(({ data }) => onlyKey(data)),
    keyOf(revocation, ann, self, novelty, photo, onPhoto, subkey, binding),
    keyOf(revocation),
  ];

  const told = (all: readonly production.Fragment[]) =>
    all.map(({ packets, ...rest }) => ({ ...rest, packets: Buffer.from(packets).toString("hex") }));

  it.each(KINDS)("is the same as with each limit from the least on, for %s", (kind) => {
    for (const key of whole) {
      for (const skeleton of [undefined, remembered, grown(undefined, encodeKey(key), NOW)]) {
        const { fragments, leastBytes } = production.uncut(key, skeleton, NOW, kind);
        for (const more of [0, 1, 100_000]) {
          const limited = production.fragments(key, skeleton, leastBytes + more, NOW, kind);
          expect(told(limited)).toEqual(told(fragments));
        }
      }
    }
  });

  it("is cut just below the least", () => {
    const theirs = Array.from({ length: 30 }, (_, n) => claim(0x10, n + 1, "A1".repeat(8)));
    const key = keyOf(ann, self, ...theirs);
    const { fragments, leastBytes } = production.uncut(key, undefined, NOW);
    expect(fragments).toHaveLength(1);
    const cut = production.fragments(key, undefined, leastBytes - 2, NOW);
    expect(cut.length).toBeGreaterThan(1);
  });
});
