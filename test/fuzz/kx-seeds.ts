/**
 * Conversations of KX that the fuzzer starts from: each message of 1.0 and of 1.1 once, and runs of
 * reconciliation as they are on the wire.
 */
import type { KeyState } from "../../src/kx/range-sum.js";
import { answerRanges, Reconciler } from "../../src/kx/reconcile.js";
import { serialize, serializeListing, serializePart } from "../../src/kx/serializer.js";
import type { LogName, UpdateDigest, UpdateHash } from "../../src/update.js";
import { ArraySet, madeUpKey } from "../kx/key-sets.js";

export const EVERY_FEATURE = { receipt: true, sha256: true, octets: true, reconcile: true };

const HASH = "d41d8cd98f00b204e9800998ecf8427e" as UpdateHash;
const ANNOUNCEMENT = { number: 7, fingerprint: "A".repeat(40), hash: HASH };

/** What the side has that the fuzzed octets speak to. */
export const OWN_KEYS = new ArraySet(keys(0, 90));

/** Every message of KX/1.0 once, with real armor. */
export function conversation(armor: Uint8Array): Uint8Array {
  const [announcement, inReplyTo] = [ANNOUNCEMENT, "aaaa"];
  const announcements = [announcement];
  return Buffer.concat([
    serialize({ command: "HELO", tag: "aaaa", version: "1.0" }),
    serialize({ command: "IHAVE", tag: "aaab", inReplyTo, announcements }),
    serialize({ command: "IHAVE", tag: "aaah", inReplyTo: undefined, announcements }),
    serialize({ command: "LIST", tag: "aaac", ranges: [{ low: 1, high: 9 }] }),
    serialize({ command: "GETUPDATE", tag: "aaad", numbers: [7] }),
    serialize({ command: "UPDATE", tag: "aaae", inReplyTo, announcement, armor }),
    serialize({ command: "ERROR", tag: "aaaf", inReplyTo, code: 500, text: "no" }),
    serialize({ command: "CLOSE", tag: "aaag", inReplyTo: undefined }),
  ]);
}

/** What KX/1.1 says otherwise with all its features, a compressed listing among it. */
export function inOctets(packets: Uint8Array): Uint8Array {
  const digest = `${HASH}${HASH}` as UpdateDigest;
  const announcements = [{ ...ANNOUNCEMENT, digest }];
  const small = packets.subarray(0, 100);
  const deliveries = [
    { number: 7, packets: small },
    { number: 8, packets: undefined },
  ];
  const notice = { command: "IHAVE", tag: "aaab", inReplyTo: undefined, announcements } as const;
  const log = HASH as string as LogName;
  return Buffer.concat([
    serialize({ command: "HELO", tag: "KX11", version: "1.0" }),
    serialize({ command: "OPEN", tag: "aaag", log, features: Object.keys(EVERY_FEATURE) }),
    serialize(notice, EVERY_FEATURE),
    serialize({ ...notice, tag: "aaac" }, { ...EVERY_FEATURE, octets: false }),
    serializeListing("aaad", "aaaa", [serializePart(announcements, EVERY_FEATURE)], EVERY_FEATURE),
    serialize({ command: "DELIVERY", tag: "aaae", inReplyTo: "aaaa", deliveries }),
    serialize({ command: "DONE", tag: "aaaf", number: 7, without: [{ low: 3, high: 5 }] }),
    serialize({ command: "DONE", tag: "aaah", number: 9, without: [{ low: 9, high: 9 }] }),
  ]);
}

/**
 * What both sides say in runs with `OWN_KEYS`: with the same set, an empty one, one that has other
 * packets of some keys, and one that is larger.
 */
export function reconciliation(): Uint8Array[] {
  const others = [[], keys(0, 90), [...keys(9, 80), ...keys(80, 99, 1)], keys(30, 400)];
  return others.map((other) => {
    const there = new ArraySet(other);
    const run = new Reconciler(OWN_KEYS, true);
    const said: Uint8Array[] = [serialize({ command: "HELO", tag: "KX11", version: "1.0" })];
    for (let asked = run.next(); asked !== undefined; asked = run.next()) {
      const answer = answerRanges(there, asked);
      const { told } = run.answered(answer);
      said.push(serialize({ command: "RANGE", tag: "aaaa", ranges: asked }));
      said.push(serialize({ command: "ITEMS", tag: "aaab", inReplyTo: "aaaa", ...answer }));
      const notice = { tag: "aaac", inReplyTo: undefined, ranges: [], keys: told };
      if (told.length > 0) said.push(serialize({ command: "ITEMS", ...notice }));
    }
    return Buffer.concat(said);
  });
}

function keys(from: number, to: number, version = 0): KeyState[] {
  return Array.from({ length: to - from }, (_, n) => madeUpKey(from + n, version));
}
