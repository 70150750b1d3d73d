/**
 * News of a key: what is cut off must be known, and what is left must merge, on real keys of which
 * parts were sent before. gpg's own import is asked in news.system.ts.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  assembleKey,
  type Component,
  encodeKey,
  type TransferableKey,
} from "../../src/openpgp/key.js";
import * as production from "../../src/openpgp/news.js";
import { isSelfSignature } from "../../src/openpgp/signature.js";
import { finish } from "../../src/steps.js";
import { claim, merged, packet } from "./material.js";
import { hashOf, keys, knowing, sentBefore } from "./sent-before.js";

const { packetNames } = production;
const newsOf = (key: TransferableKey, isKnown: (name: Buffer) => boolean) =>
  finish(production.findingNews(key, isKnown, 1_800_000_000_000));

const merge = (...several: readonly TransferableKey[]) => merged(several.map(encodeKey));

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
