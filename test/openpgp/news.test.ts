/**
 * News of a key: what is cut off must be known, and what is left must merge. gpg's own import is
 * asked as well as ours, on real keys of which parts were sent before.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  assembleKey,
  type Component,
  encodeKey,
  keyComponents,
  keyPackets,
  type TransferableKey,
} from "../../src/openpgp/key.js";
import * as production from "../../src/openpgp/news.js";
import { TAG } from "../../src/openpgp/packet.js";
import { isSelfSignature } from "../../src/openpgp/signature.js";
import { updateHash } from "../../src/openpgp/update-hash.js";
import { claim, merged, onlyKey, packet, realKeys } from "./material.js";

const { packetNames } = production;
const newsOf = (key: TransferableKey, isKnown: (name: Buffer) => boolean) =>
  production.newsOf(key, isKnown, 1_800_000_000_000);

const keys = realKeys.map(({ data }) => onlyKey(data));

/** Knows the packets of these keys. */
function knowing(...known: readonly TransferableKey[]) {
  const names = new Set(known.flatMap(packetNames).map((name) => name.toString("hex")));
  return (name: Buffer) => names.has(name.toString("hex"));
}

/** The key with only those packets for which `keep`, asked in canonical order, says so. */
function part(key: TransferableKey, keep: () => boolean): TransferableKey {
  const parts = keyComponents(key).flatMap(({ packet: head, signatures }): Component[] => {
    const isHere = keep() || head.tag === TAG.publicKey;
    const kept = signatures.filter(() => keep() && isHere);
    return isHere ? [{ packet: head, signatures: kept }] : [];
  });
  return assembleKey(parts);
}

const merge = (...several: readonly TransferableKey[]) => merged(several.map(encodeKey));
const hashOf = (key: TransferableKey) => updateHash(key).hash;

/** A real key and a part of it, which was sent before. */
const sentBefore = fc
  .tuple(fc.constantFrom(...keys), fc.infiniteStream(fc.boolean()))
  .map(([key, coins]) => ({ key, before: part(key, () => coins.next().value === true) }));

describe("news of a key", () => {
  const [key] = keys as [TransferableKey];
  const withOne = (under: Component, tag: number, body: Uint8Array) =>
    merge(
      key,
      assembleKey([
        { packet: key.primary.packet, signatures: [] },
        { packet: under.packet, signatures: [{ tag, body }] },
      ]),
    );

  it("is all of a key that was never seen, and nothing of one that was", () => {
    expect(newsOf(key, () => false)).toBe(key);
    expect(newsOf(key, knowing(key))).toBeUndefined();
  });

  it("is a signature with its user id and that one's self-signatures", () => {
    const [userId] = key.userIds as [Component];
    const theirs = claim(0x10, 1, "0123456789ABCDEF");
    const news = newsOf(withOne(userId, 2, theirs.body), knowing(key));
    expect(news?.subkeys).toEqual([]);
    expect(news?.primary.signatures).toEqual([]);
    expect(news?.userIds.map((one) => one.packet.body.length)).toEqual([userId.packet.body.length]);
    const signatures = news?.userIds[0]?.signatures ?? [];
    expect(signatures).toContainEqual(theirs);
    const others = signatures.filter((one) => !isSelfSignature(key, one));
    expect(others).toEqual([theirs]);
    expect(signatures.length).toBeGreaterThan(1);
  });

  it("is a revocation with a user id, which old servers want to see", () => {
    const revocation = claim(0x20, 9, key.fingerprint);
    const revoked = merge(
      key,
      assembleKey([{ packet: key.primary.packet, signatures: [revocation] }]),
    );
    const news = newsOf(revoked, knowing(key));
    expect(news?.primary.signatures).toContainEqual(revocation);
    expect(news?.userIds.length).toBe(1);
    expect(news?.userIds[0]?.signatures.length).toBe(1);
    const few = newsOf(revoked, knowing(revoked, key));
    expect(few).toBeUndefined();
  });

  it("is a packet of an unknown tag where it stands, and the same one elsewhere", () => {
    const [first, second] = [key.primary, key.userIds[0] ?? key.primary];
    const odd = packet(60, "odd");
    const once = withOne(first, odd.tag, odd.body);
    expect(newsOf(once, knowing(key))?.primary.signatures).toContainEqual(odd);
    const twice = merge(once, withOne(second, odd.tag, odd.body));
    const news = newsOf(twice, knowing(once));
    expect(news?.userIds[0]?.signatures).toContainEqual(odd);
    expect(news?.primary.signatures).toEqual([]);
  });

  it("another key's equal packet is no packet of this one", () => {
    const other = keys.find(({ fingerprint }) => fingerprint !== key.fingerprint);
    const names = new Set(packetNames(key).map(String));
    expect(other && packetNames(other).some((name) => names.has(String(name)))).toBe(false);
    expect(newsOf(key, knowing(other ?? key))).toBe(key);
  });

  it("merged into what was sent before gives what the whole key gives", () => {
    fc.assert(
      fc.property(sentBefore, ({ key: whole, before }) => {
        const isKnown = knowing(before);
        const news = newsOf(whole, isKnown);
        if (news === undefined) expect(hashOf(before)).toBe(hashOf(whole));
        else {
          expect(hashOf(merge(before, news))).toBe(hashOf(whole));
          expect(newsOf(news, isKnown)).toEqual(news);
          expect(newsOf(merge(before, news), knowing(before, news))).toBeUndefined();
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("gpg", () => {
  let home = "";
  const gpg = (args: readonly string[], input?: Uint8Array): Buffer =>
    execFileSync(
      "gpg",
      ["--homedir", home, "--batch", "--quiet", "--no-auto-check-trustdb"].concat(args),
      {
        ...(input === undefined ? {} : { input }),
        stdio: ["pipe", "pipe", "ignore"],
      },
    );
  /** What gpg has of a key after importing these, one after the other. */
  function imported(pieces: readonly TransferableKey[]): string {
    const [first] = pieces as [TransferableKey];
    for (const piece of pieces) {
      try {
        gpg(["--import-options", "import-local-sigs", "--import"], encodeKey(piece));
      } catch {
        // gpg says no to a part without a user id that it can verify; the next one counts.
      }
    }
    const kept = gpg(["--export-options", "export-local-sigs", "--export", first.fingerprint]);
    gpg(["--yes", "--delete-keys", first.fingerprint]);
    return hashOf(onlyKey(kept));
  }

  beforeAll(() => {
    home = mkdtempSync(join(tmpdir(), "kxgw-news-"));
  });
  afterAll(() => {
    rmSync(home, { recursive: true, force: true });
  });

  it("has the same key after the news as after the whole key", () => {
    let [news, shorter] = [0, 0];
    for (const { key, before } of fc.sample(sentBefore, { numRuns: 40, seed: 7 })) {
      const cut = newsOf(key, knowing(before));
      if (cut === undefined) continue;
      news += 1;
      if (keyPackets(cut).length < keyPackets(key).length) shorter += 1;
      expect(imported([before, cut])).toBe(imported([before, key]));
    }
    expect(shorter).toBeGreaterThan(5);
    expect(news).toBeGreaterThan(10);
  }, 30_000);
});
