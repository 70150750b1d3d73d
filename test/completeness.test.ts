/**
 * Real keys, cut into updates of any shape and order, go through the intake, the log and the gate
 * out, by mail and by HKP, into models of the old servers (`mail/oracles/stores.ts`). Each ends
 * with all of the key that it can take. What the models cannot be sent: a delta of a user id of
 * which no self-signature was seen before, to Hockeypuck; and an update before any user id was.
 */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { GroupCommit } from "../src/intake/group-commit.js";
import { KeyIntake } from "../src/intake/key-intake.js";
import { UpdateLog } from "../src/log/update-log.js";
import { encodeArmor } from "../src/openpgp/armor.js";
import { fragments } from "../src/openpgp/fragments.js";
import {
  assembleKey,
  type Component,
  encodeKey,
  keyComponents,
  keyPackets,
  readKeys,
  type TransferableKey,
} from "../src/openpgp/key.js";
import { type Packet, TAG } from "../src/openpgp/packet.js";
import { isSelfSignature, selfSignatureInfo } from "../src/openpgp/signature.js";
import { outmails } from "../src/outmail.js";
import { Recorder } from "./ingress/door.js";
import { bytes, delivered } from "./mail/fixtures.js";
import { algorithmOf } from "./mail/oracles/packets.js";
import {
  type Holdings,
  hockeypuckStore,
  nameOf,
  onakStore,
  pksdStore,
  sksStore,
} from "./mail/oracles/stores.js";
import { claim, realKeys } from "./openpgp/material.js";
import { Signer } from "./openpgp/signer.js";

const NOW = Date.UTC(2026, 10, 29);
/** A keyring beside the fixtures; `completeness.system.ts` names one. */
const KEYRING = process.env.COMPLETENESS_KEYRING;
const HKP_BYTES = 3_500_000;
const ENVELOPE = {
  to: "pgp-public-keys@pks.example.net",
  from: "keymaster@example.org",
  site: "pgp-public-keys@kx.example.org",
};

const keys: readonly TransferableKey[] = [
  ...realKeys.map(({ data }) => data),
  ...(KEYRING === undefined ? [] : [readFileSync(KEYRING)]),
]
  .flatMap((data) => readKeys(data))
  .flatMap((key) => (key instanceof Error || key.version !== 4 ? [] : [key]))
  .filter((key) => keyPackets(key).length < 150 && key.userIds.some(isBound(key)));

/** Whether a component has a self-signature, of those that confirm it. */
function isBound(key: TransferableKey): (component: Component) => boolean {
  return ({ packet, signatures }) =>
    signatures.some((one) => {
      const type = selfSignatureInfo(key, one)?.type ?? 0;
      if (packet.tag === TAG.userId) return type >= 0x10 && type <= 0x13;
      return packet.tag === TAG.publicSubkey && type === 0x18;
    });
}

/** The primary key with these components. */
function part(key: TransferableKey, ...components: readonly Component[]): TransferableKey {
  return assembleKey([{ packet: key.primary.packet, signatures: [] }, ...components]);
}

/** A signature of somebody else, as the models read it; nobody verifies it. */
const STRANGERS = claim(0x10, 1_600_000_000, "A1".repeat(8));

/**
 * The updates that a key came as, in order. The first shows a user id with its self-signatures, and
 * maybe the subkeys; the others are single signatures with or without a user id beside them, single
 * subkeys, parts at random, the whole key once more.
 */
const history = fc
  .record({
    key: fc.constantFrom(...keys),
    startsWhole: fc.boolean(),
    coins: fc.infiniteStream(fc.boolean()),
    order: fc.infiniteStream(fc.nat(1_000_000)),
    repeats: fc.integer({ min: 0, max: 3 }),
  })
  .map(({ key, startsWhole, coins, order, repeats }) => {
    const coin = () => coins.next().value === true;
    const own = ({ packet, signatures }: Component) => ({
      packet,
      signatures: signatures.filter((one) => isSelfSignature(key, one)),
    });
    const [named] = key.userIds.filter(isBound(key));
    const first = part(key, ...(named ? [own(named)] : []), ...(startsWhole ? key.subkeys : []));
    const deltas = keyComponents(key).flatMap((component) => {
      const { packet, signatures } = component;
      if (packet.tag === TAG.publicSubkey) return [part(key, component)];
      // A user id comes with its self-signatures, as its owner sends it, then what others sign.
      const theirs = signatures.filter((one) => !isSelfSignature(key, one));
      return [
        part(key, own(component)),
        ...theirs.map((one) => part(key, { packet, signatures: [one] })),
      ];
    });
    const random = Array.from({ length: repeats }, () =>
      part(
        key,
        ...keyComponents(key).flatMap((component) => {
          const kept = component.signatures.filter(coin);
          return coin() ? [{ packet: component.packet, signatures: kept }] : [];
        }),
      ),
    );
    const rest = [...deltas, ...random, ...(repeats === 1 ? [key] : [])]
      .map((update) => ({ update, at: order.next().value ?? 0 }))
      .toSorted((a, b) => a.at - b.at)
      .map(({ update }) => update);
    // pksd stores a subkey that came alone with the next news of the key: here the last update.
    const last = named ? [{ packet: named.packet, signatures: [STRANGERS] }] : [];
    return {
      key: assembleKey([...keyComponents(key), ...last]),
      updates: [first, ...rest, ...rest.slice(0, repeats), part(key, ...last)],
    };
  });

/** Everything of a key, as the models name it, save what does not satisfy `wanted`. */
function everything(
  key: TransferableKey,
  wanted: (component: Component, packet: Packet) => boolean,
): Holdings {
  const all: Holdings = new Map();
  for (const component of keyComponents(key)) {
    const names = [component.packet, ...component.signatures]
      .filter((packet) => wanted(component, packet))
      .map(nameOf);
    if (names.length > 0) all.set(nameOf(component.packet), new Set(names));
  }
  return all;
}

const sorted = (held: Holdings) =>
  [...held].map(([head, names]) => [head, [...names].sort()]).toSorted();

/** What each model holds of the key after these updates, and of Hockeypuck what it could have. */
async function deliver(
  updates: readonly TransferableKey[],
  maxBytes: number,
  isForged?: (signature: Packet) => boolean,
  kinds: "unknown" | "known" = "unknown",
) {
  const log = UpdateLog.open(":memory:");
  let now = NOW;
  const clock = { now: () => now, monotonic: () => now, random: () => 0 };
  const intake = new KeyIntake({
    log,
    appends: new GroupCommit(log),
    clock,
    diagnostics: new Recorder(),
  });
  const stores = { pksd: pksdStore(), sks: sksStore(), onak: onakStore() };
  const hockeypuck = hockeypuckStore(isForged);
  const sksOverHkp = sksStore();
  const bound = new Set<string>();
  const possible: Holdings = new Map();
  let octets = 0;
  for (const update of updates) {
    now += 60_000;
    const armor = [bytes(encodeArmor(encodeKey(update)))];
    const submission = { armor, sender: undefined, trail: [], messageId: undefined, bytes: 0 };
    for (const { seq, outcome } of await intake.take(submission)) {
      const body = seq === undefined ? undefined : log.body(seq);
      const entry = seq === undefined ? undefined : log.entry(seq);
      if (outcome === "duplicate" || body === undefined || entry === undefined) continue;
      const [key] = readKeys(body);
      if (key === undefined || key instanceof Error) throw new Error("no key in the log");
      const skeleton = log.skeletons.get(entry.fingerprint);
      const stored = { seq: entry.seq, hash: entry.hash, body };
      const as = <T>(kind: T) => (kinds === "known" ? kind : undefined);
      for (const kind of ["pksd", "sks", "onak"] as const) {
        const envelope = { ...ENVELOPE, maxBytes, kind: as(kind) };
        for (const mail of outmails(stored, skeleton, [], envelope, now)) {
          expect(mail.raw.length).toBeLessThanOrEqual(maxBytes);
          octets += mail.raw.length;
          stores[kind].take(delivered(mail.raw));
        }
      }
      for (const { packets } of fragments(key, skeleton, HKP_BYTES, now, as("hockeypuck"))) {
        hockeypuck.take(packets);
      }
      for (const { packets } of fragments(key, skeleton, HKP_BYTES, now, as("sks"))) {
        sksOverHkp.take(bytes(encodeArmor(packets)));
      }
      for (const component of keyComponents(key)) {
        const head = nameOf(component.packet);
        if (isBound(key)(component) || component.packet.tag === TAG.publicKey) bound.add(head);
        if (!bound.has(head)) continue;
        const names = possible.get(head) ?? new Set();
        for (const one of [component.packet, ...component.signatures]) names.add(nameOf(one));
        possible.set(head, names);
      }
    }
  }
  log.close();
  return { ...stores, hockeypuck, sksOverHkp, possible, octets };
}

describe("whatever the shape and the order of updates", () => {
  test.each([
    [128_000, "unknown"],
    [64_000, "unknown"],
    [128_000, "known"],
  ] as const)(
    "each server has all that it can take, %i bytes a mail, its kind %s",
    async (cap, kinds) => {
      const seen = { runs: 0, subkeyAtPksd: 0 };
      await fc.assert(
        fc.asyncProperty(history, async ({ key, updates }) => {
          const held = await deliver(updates, cap, undefined, kinds);
          const { pksd, sks, onak, hockeypuck, sksOverHkp, possible } = held;
          if (kinds === "known") {
            expect(held.octets).toBeLessThanOrEqual((await deliver(updates, cap)).octets);
          }
          const all = sorted(everything(key, () => true));
          expect(sorted(sks.held)).toEqual(all);
          expect(sorted(sksOverHkp.held)).toEqual(all);
          expect(sorted(onak.held)).toEqual(all);
          expect(sorted(hockeypuck.held)).toEqual(
            sorted(
              new Map([...possible].filter(([head]) => !head.startsWith(`${TAG.userAttribute} `))),
            ),
          );
          seen.runs += 1;
          // pksd knows RSA and DSA, no attributes, and one subkey.
          const algorithm = algorithmOf([
            { ...key.primary.packet, newFormat: false, bytes: bytes("") },
          ]);
          if (algorithm === 22 || algorithm === 19) {
            expect(pksd.held.size).toBe(0);
            return;
          }
          const isSubkey = (head: string) => head.startsWith(`${TAG.publicSubkey} `);
          const noSubkeys = (holdings: Holdings) =>
            sorted(new Map([...holdings].filter(([head]) => !isSubkey(head))));
          expect(noSubkeys(pksd.held)).toEqual(
            noSubkeys(everything(key, ({ packet }) => packet.tag !== TAG.userAttribute)),
          );
          const hasSubkey = [...pksd.held.keys()].some(isSubkey);
          const isHeldThere = key.subkeys.some(
            (one) => isBound(key)(one) && [1, 2, 3, 16, 17].includes(one.packet.body[5] ?? 0),
          );
          expect(hasSubkey).toBe(isHeldThere);
          if (hasSubkey) seen.subkeyAtPksd += 1;
        }),
        { numRuns: 25, seed: cap, endOnFailure: true },
      );
      expect(seen.runs).toBe(25);
      expect(seen.subkeyAtPksd).toBeGreaterThan(5);
    },
    120_000,
  );
});

describe("forged self-signatures", () => {
  test("take nothing from a server that verifies, and get nobody's update lost there", async () => {
    const ann = new Signer(1);
    const mallory = new Signer(2);
    const [name, fake] = [ann.userId("Ann"), ann.userId("Mallory")];
    const at = NOW / 1000;
    const forged = [-1, -500, 86_400 * 9].flatMap((later) => [
      [name, ann.over(name, { at: at + later }, mallory)],
      [fake, ann.over(fake, { at: at + later }, mallory)],
    ]);
    const bad = new Set(forged.map(([, signature]) => nameOf(signature as Packet)));
    const signatures = [3, 4, 5].map((n) => new Signer(n).over(name, { at: at - n, type: 0x10 }));
    const subkey = ann.subkey(1);
    const honest = [
      [name, ann.over(name, { at: at - 1e6 }), subkey, ann.over(subkey, { at: at - 1e6 })],
      ...signatures.map((one) => [name, one]),
      [ann.over(ann.primary, { at: at - 1, type: 0x20 })],
    ];
    const [start = [], ...more] = honest;
    const read = (packets: readonly Packet[]) => {
      const [key] = readKeys(ann.key(...packets));
      if (key === undefined || key instanceof Error) throw new Error("no key");
      return key;
    };
    const updates = [start, ...forged, ...more].map(read);
    const { hockeypuck } = await deliver(updates, 128_000, (one) => bad.has(nameOf(one)));
    const held = [...hockeypuck.held.values()].flatMap((names) => [...names]);
    for (const packet of honest.flat()) expect(held).toContain(nameOf(packet));
    expect(held).not.toContain(nameOf(fake));
  });
});
