/**
 * The promise of the lanes, over random histories (issue: "never believe that a neighbour has what
 * it never got"): keys come in pieces of any shape and order, again and from several neighbours,
 * while sites refuse, fail, break off, send back, are blocked, renamed, skipped and restarted. In
 * the end each holds what it would hold had it received the whole keys, minus what it never takes.
 *
 * First without help: a site that has not refused what it could have taken lacks nothing when it is
 * well again. Then with help: the key comes again, or the operator sends all again.
 *
 * LONG_RUN=1 makes it 400 runs, DELIVERY_RUNS any number; DELIVERY_SEED takes other ones.
 * DELIVERY_SHRINK=0 does not look for a smaller history that fails as well, which takes minutes.
 */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  assembleKey,
  type Component,
  keyComponents,
  keyPackets,
  readKeys,
  type TransferableKey,
} from "../../src/openpgp/key.js";
import { type Packet, TAG } from "../../src/openpgp/packet.js";
import { isSelfSignature, selfSignatureInfo } from "../../src/openpgp/signature.js";
import { algorithmOf } from "../mail/oracles/packets.js";
import { type Holdings, nameOf } from "../mail/oracles/stores.js";
import { claim, packet, realKeys } from "../openpgp/material.js";
import { cases } from "../support/cases.js";
import { HkpSites, keyOf, MOODS, ModelSite, Network } from "./network.js";

const RUNS = Number(process.env.DELIVERY_RUNS ?? cases(40, 400));
const SEED = Number(process.env.DELIVERY_SEED ?? 14);
const HOUR = 3_600_000;
const STRANGER = "A1".repeat(8);

/** RSA and DSA keys of which everything can be read, and one of EdDSA. */
const KEYS: readonly TransferableKey[] = realKeys
  .flatMap(({ data }) => readKeys(data))
  .flatMap((key) => (key instanceof Error || key.version !== 4 ? [] : [key]))
  .filter((key) => keyPackets(key).length < 40 && key.userIds.some((one) => isBound(key, one)))
  .map(adorned);

/** The key with a photo, an odd subkey and a second subkey, all bound, and signatures of others. */
function adorned(key: TransferableKey): TransferableKey {
  const own = (type: number, n: number) => claim(type, 1_700_000_000 + n, key.fingerprint);
  const [name] = key.userIds;
  const more: Component[] = [
    { packet: packet(TAG.userAttribute, "photo"), signatures: [own(0x13, 1)] },
    {
      packet: packet(TAG.publicSubkey, Buffer.of(5, 0, 0, 0, 9, 18, 1)),
      signatures: [own(0x18, 2)],
    },
    ...(name === undefined ? [] : [{ packet: name.packet, signatures: [1, 2].map(theirs) }]),
  ];
  return assembleKey([...keyComponents(key), ...more]);
}

function theirs(n: number): Packet {
  return claim(0x10, 1_600_000_000 + n, STRANGER);
}

function isBound(key: TransferableKey, { packet, signatures }: Component): boolean {
  return signatures.some((one) => {
    const type = selfSignatureInfo(key, one)?.type ?? 0;
    if (packet.tag === TAG.userId) return type >= 0x10 && type <= 0x13;
    return packet.tag === TAG.publicSubkey && type === 0x18;
  });
}

/** The primary key with these components. */
function part(key: TransferableKey, ...components: readonly Component[]): TransferableKey {
  return assembleKey([{ packet: key.primary.packet, signatures: [] }, ...components]);
}

/** The pieces in which a key comes: each signature of others alone, before or after what binds. */
function piecesOf(key: TransferableKey): TransferableKey[] {
  return keyComponents(key).flatMap((component) => {
    const { packet, signatures } = component;
    if (packet.tag === TAG.publicKey)
      return signatures.map((one) => part(key, { packet, signatures: [one] }));
    const own = signatures.filter((one) => isSelfSignature(key, one));
    const others = signatures.filter((one) => !isSelfSignature(key, one));
    return [
      ...(own.length > 0 ? [part(key, { packet, signatures: own })] : []),
      ...others.map((one) => part(key, { packet, signatures: [one] })),
    ];
  });
}

/** Whose words an update comes with. */
const SENDERS = ["nobody", "third", "third that claims", "stranger that claims", "sks"] as const;

const single = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("give" as const),
      key: fc.nat(1),
      /** Which pieces, by their numbers, together. */
      pieces: fc.array(fc.nat(40), { minLength: 1, maxLength: 4 }),
      from: fc.constantFrom(...SENDERS),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("mood" as const),
      site: fc.nat(4),
      mood: fc.constantFrom(...MOODS, "well", "well"),
      key: fc.nat(1),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("pass" as const),
      ms: fc.constantFrom(10_000, 70_000, 20 * 60_000, HOUR, 26 * HOUR),
    }),
  },
  fc.record({
    /** All pieces of a key, one by one: enough to be refused in a row, and to wait together. */
    do: fc.constant("burst" as const),
    key: fc.nat(1),
    from: fc.constantFrom(...SENDERS),
  }),
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("block" as const), isOn: fc.boolean(), key: fc.nat(1) }),
  },
  fc.record({
    do: fc.constantFrom(
      "skip" as const,
      "retry" as const,
      "pause" as const,
      "resume" as const,
      "rename" as const,
    ),
    site: fc.nat(4),
  }),
  fc.record({ do: fc.constant("restart" as const) }),
);

type Step = typeof single extends fc.Arbitrary<infer T> ? T : never;

/** A site in trouble: pieces come, something happens while they wait, the site is well again. */
const trouble: fc.Arbitrary<Step[]> = fc
  .record({
    site: fc.nat(4),
    // Only mail comes back, and only what waits can be skipped: both have to be often enough.
    mood: fc.constantFrom(...MOODS, "down", "bounces", "bounces", "returns"),
    key: fc.nat(1),
    pieces: fc.array(fc.nat(40), { minLength: 1, maxLength: 3 }),
    meanwhile: fc.constantFrom("rename", "block", "restart", "skip", "skip", "again", "nothing"),
    ms: fc.constantFrom(70_000, HOUR),
  })
  .map(({ site, mood, key, pieces, meanwhile, ms }): Step[] => {
    const come = pieces.map((n): Step => ({ do: "give", key, pieces: [n], from: "nobody" }));
    const pass: Step = { do: "pass", ms };
    const more: Record<string, Step[]> = {
      rename: [{ do: "rename", site }],
      block: [{ do: "block", isOn: true, key }],
      restart: [{ do: "restart" }],
      skip: [{ do: "skip", site }],
      again: come,
    };
    const well: Step = { do: "mood", site, mood: "well", key };
    return [{ do: "mood", site, mood, key }, ...come, pass, ...(more[meanwhile] ?? []), well, pass];
  });

/** Several pieces come in one update, before what binds them; later all come one by one. */
const early: fc.Arbitrary<Step[]> = fc
  .record({
    key: fc.nat(1),
    updates: fc.array(fc.array(fc.nat(40), { minLength: 3, maxLength: 6 }), {
      minLength: 1,
      maxLength: 3,
    }),
  })
  .map(({ key, updates }): Step[] => [
    ...updates.map((pieces): Step => ({ do: "give", key, pieces, from: "nobody" })),
    { do: "pass", ms: 26 * HOUR },
    { do: "burst", key, from: "nobody" },
  ]);

const step: fc.Arbitrary<Step[]> = fc.oneof(
  { weight: 4, arbitrary: single.map((one) => [one]) },
  { weight: 2, arbitrary: trouble },
  { weight: 1, arbitrary: early },
);

const history = fc.record({
  keys: fc.tuple(fc.nat(KEYS.length - 1), fc.nat(KEYS.length - 1)),
  isKnown: fc.boolean(),
  /** The site that refuses the second key for good; 5 for none. */
  banning: fc.nat(5),
  steps: fc.array(step, { minLength: 1, maxLength: 30 }),
  help: fc.constantFrom("comes again" as const, "sent again" as const),
});

let hkp: HkpSites;
beforeAll(async () => {
  hkp = await HkpSites.start();
});
afterAll(() => hkp.stop());

/** What a site must hold of a key, and no more: by what it runs. */
function wanted(site: ModelSite, key: TransferableKey | undefined): unknown {
  const { ware, banned = [] } = site.options;
  if (key === undefined || banned.includes(key.fingerprint)) return [];
  const all = keyComponents(key);
  const isNamed = key.userIds.some(({ packet }) => packet.tag === TAG.userId);
  const algorithm = algorithmOf([{ ...key.primary.packet, newFormat: false, bytes: Buffer.of() }]);
  const isOdd = ({ packet }: Component) => packet.tag === TAG.publicSubkey && packet.body[0] !== 4;
  const isPlain = (one: Component) => {
    return !isOdd(one) && (one.packet.tag !== TAG.publicKey || one.signatures.length > 0);
  };
  const kept = (isKept: (one: Component) => boolean) => sorted(holdingsOf(all.filter(isKept)));
  switch (ware) {
    case "sks": {
      // A key of which nothing else came than an odd subkey is lost with it.
      const isThere = !all.some(isOdd) || all.some(isPlain);
      return isThere ? kept((one) => !isOdd(one)) : [];
    }
    case "onak":
      return isNamed ? kept(() => true) : [];
    case "hockeypuck": {
      const bound = all.filter((one) => isBound(key, one));
      if (!bound.some(({ packet }) => packet.tag === TAG.userId)) return [];
      return kept((one) => one.packet.tag === TAG.publicKey || bound.includes(one));
    }
    default: {
      if (!isNamed || ![1, 2, 3, 17].includes(algorithm)) return [];
      const isReadable = (one: Component) =>
        isBound(key, one) && !isOdd(one) && [1, 2, 3, 16, 17].includes(one.packet.body[5] ?? 0);
      const rest = kept(
        ({ packet: { tag } }) => tag !== TAG.userAttribute && tag !== TAG.publicSubkey,
      );
      return [...rest, `a subkey: ${key.subkeys.some(isReadable)}`];
    }
  }
}

function held(site: ModelSite, key: TransferableKey | undefined): unknown {
  const holdings = site.held(key?.fingerprint ?? "");
  if (site.options.ware !== "pksd" || holdings.size === 0) return sorted(holdings);
  const isSubkey = (head: string) => head.startsWith(`${TAG.publicSubkey} `);
  const rest = new Map([...holdings].filter(([head]) => !isSubkey(head)));
  return [...sorted(rest), `a subkey: ${[...holdings.keys()].some(isSubkey)}`];
}

function holdingsOf(components: readonly Component[]): Holdings {
  return new Map(
    components.map(({ packet, signatures }) => {
      return [nameOf(packet), new Set([packet, ...signatures].map(nameOf))];
    }),
  );
}

function sorted(holdings: Holdings): string[] {
  // Short names: a difference is to be read by people.
  const short = (name: string) => `${name.slice(0, 24)}..${name.slice(-8)}`;
  return [...holdings]
    .map(([head, names]) => `${short(head)}: ${[...names].map(short).sort().join(" ")}`)
    .sort();
}

function sitesFor(isKnown: boolean, banning: number, banned: string): ModelSite[] {
  const made = [
    ["pksd", "mail"],
    ["sks", "mail"],
    ["onak", "mail"],
    ["hockeypuck", "hkp"],
    ["sks", "hkp"],
  ] as const;
  return made.map(([ware, over], n) => {
    const refused = banning === n ? { banned: [banned] } : {};
    return new ModelSite(`${ware}-${over}`, { ware, over, isKnown, ...refused });
  });
}

describe("each site has in the end what it can take", () => {
  test("whatever came, in whatever order, and whatever happened", async () => {
    const seen = { runs: 0, unhurt: 0, exceptions: 0 };
    await fc.assert(
      fc.asyncProperty(history, async ({ keys: [a, b], isKnown, banning, steps, help }) => {
        const keys = [KEYS[a], KEYS[b === a ? (b + 1) % KEYS.length : b]] as TransferableKey[];
        const banned = keys[1]?.fingerprint ?? "";
        const network = new Network(hkp, sitesFor(isKnown, banning, banned));
        const came: (TransferableKey | undefined)[] = [undefined, undefined];
        const { sites, log } = network;
        const give = async (n: number, update: TransferableKey, from: (typeof SENDERS)[number]) => {
          const key = came[n];
          const sks = sites[1] as ModelSite;
          const whole = assembleKey([...keyComponents(update), ...(key ? keyComponents(key) : [])]);
          if (log.removals.block(update.fingerprint as never) !== undefined) return;
          came[n] = whole;
          if (from === "nobody") return await network.give(update);
          if (from === "stranger that claims") {
            const trail = sites.map(({ address }) => address);
            return await network.give(update, { trail, isKnown: false });
          }
          if (from === "sks") {
            // SKS sends the whole merged key, and cannot send what it refuses.
            const theirs = keyOf(sks.held(update.fingerprint));
            const clean = keyComponents(update).filter(
              ({ packet }) => packet.tag !== TAG.publicSubkey || packet.body[0] === 4,
            );
            if (sks.options.banned?.includes(update.fingerprint)) return await network.give(update);
            const merged = assembleKey([...clean, ...(theirs ? keyComponents(theirs) : [])]);
            came[n] = assembleKey([...keyComponents(merged), ...(key ? keyComponents(key) : [])]);
            sks.learn(merged);
            return await network.give(merged, { sender: { name: sks.name, mail: sks.address } });
          }
          const sender = { name: "third", mail: "pgp@third.example" };
          const doubted = sites.filter((site) => {
            const row = log.lanes.get(site.name);
            return (row?.attempt ?? 0) > 0;
          });
          const trail = from === "third" ? [] : doubted.map(({ address }) => address);
          await network.give(update, { sender, trail });
        };
        try {
          for (const one of steps.flat()) {
            if (one.do === "give") {
              const key = keys[one.key] as TransferableKey;
              const pieces = piecesOf(key);
              const chosen = one.pieces.map((n) => pieces[n % pieces.length] as TransferableKey);
              await give(one.key, part(key, ...chosen.flatMap(keyComponents)), one.from);
            } else if (one.do === "burst") {
              for (const piece of piecesOf(keys[one.key] as TransferableKey)) {
                await give(one.key, piece, one.from);
              }
            } else if (one.do === "mood") {
              const site = sites[one.site] as ModelSite;
              site.mood = one.mood;
              site.failing = [keys[one.key]?.fingerprint ?? ""];
            } else if (one.do === "pass") await network.pass(one.ms);
            else if (one.do === "block") {
              const { fingerprint } = keys[one.key] as TransferableKey;
              if (one.isOn) network.block(fingerprint);
              else network.unblock(fingerprint);
            } else if (one.do === "restart") network.restart();
            else {
              const site = sites[one.site] as ModelSite;
              const lane = network.lane(site);
              if (one.do === "pause") lane.pause();
              else if (one.do === "resume") lane.resume();
              else if (one.do === "retry") lane.reopen();
              else if (one.do === "rename") {
                site.name = `${site.name}-x`;
                network.restart();
              } else {
                const { first } = log.pending.of(site);
                if (first !== undefined && lane.skip(first)) site.wasHurt = true;
              }
              network.wake(site);
            }
            await network.settle();
          }
          // All is well again, and time passes.
          for (const key of keys) network.unblock(key.fingerprint);
          for (const site of sites) {
            site.mood = "well";
            network.lane(site).resume();
            network.wake(site);
          }
          await network.pass(50 * HOUR);
          for (const [n, key] of came.entries()) {
            if (key === undefined) continue;
            // pksd stores a subkey that came alone with the next news of the key.
            const [name] = key.userIds.filter(({ packet }) => packet.tag === TAG.userId);
            if (name)
              await give(n, part(key, { packet: name.packet, signatures: [theirs(9)] }), "nobody");
          }
          await network.pass(50 * HOUR);
          seen.runs += 1;
          const compare = (only: (site: ModelSite) => boolean) => {
            for (const site of sites.filter(only)) {
              for (const key of came) {
                expect([site.name, held(site, key)]).toEqual([site.name, wanted(site, key)]);
              }
            }
          };
          compare((site) => !site.wasHurt);
          seen.unhurt += sites.filter((site) => !site.wasHurt).length;
          seen.exceptions += network.diagnostics.all("undelivered").length;
          if (help === "sent again") for (const site of sites) network.lane(site).reopen("all");
          else for (const [n, key] of came.entries()) if (key) await give(n, key, "nobody");
          for (const site of sites) network.wake(site);
          await network.pass(50 * HOUR);
          compare(() => true);
        } finally {
          network.close();
        }
      }),
      { numRuns: RUNS, seed: SEED, endOnFailure: process.env.DELIVERY_SHRINK === "0" },
    );
    expect(seen.runs).toBe(RUNS);
    expect(seen.exceptions).toBeGreaterThan(RUNS / 4);
    expect(seen.unhurt).toBeGreaterThan(RUNS);
  }, 600_000);
});
