/**
 * Several updates in one mail: read by the rules of all old servers, every key taken; and whatever
 * one of them would choke on, or another trail, or one too many, stays out.
 */
import { describe, expect, test } from "vitest";
import { updateOf } from "../src/admit.js";
import { readKeys } from "../src/openpgp/key.js";
import { encodePackets, readPackets, TAG } from "../src/openpgp/packet.js";
import { MailPack } from "../src/outmail.js";
import type { Seq, Update } from "../src/update.js";
import { rsaUpdate } from "./delivery/keys.js";
import { delivered } from "./mail/fixtures.js";
import * as cks from "./mail/oracles/cks.js";
import * as hockeypuck from "./mail/oracles/hockeypuck.js";
import * as onak from "./mail/oracles/onak.js";
import * as pksd from "./mail/oracles/pksd.js";
import * as sks from "./mail/oracles/sks.js";
import { vectorData } from "./openpgp/material.js";

const ENVELOPE = {
  to: "pgp-public-keys@pks.example.net",
  from: "keymaster@example.org",
  site: "pgp-public-keys@kx.example.org",
  maxBytes: 128_000,
};
const TRAIL = ["pgp@first.example", "pgp@second.example"];
const SERVERS = Object.entries({ pksd, onak, sks, cks, hockeypuck });

function pack(maxBytes = ENVELOPE.maxBytes) {
  const mailPack = new MailPack({ ...ENVELOPE, maxBytes }, 0);
  let seq = 0;
  return {
    mail: () => mailPack.mail(),
    add(update: Update, trail = TRAIL, skeleton: Uint8Array | undefined = undefined): boolean {
      seq += 1;
      const { hash, body } = update;
      return mailPack.add({ seq: seq as Seq, hash, body }, skeleton, trail);
    },
  };
}

describe("a mail of several", () => {
  const updates = Array.from({ length: 100 }, (_, n) => rsaUpdate(n));

  test.each(SERVERS)("is read by %s, every key of it, and its trail", (_, server) => {
    const mail = pack();
    expect(updates.map((update) => mail.add(update))).not.toContain(false);
    const reading = server.read(delivered(mail.mail().raw));
    expect(reading.accepted).toEqual(updates.map(({ fingerprint }) => fingerprint));
    expect(reading.refused).toEqual([]);
  });

  test("holds at most a hundred", () => {
    const mail = pack();
    for (const update of updates) mail.add(update);
    expect(mail.add(rsaUpdate(100))).toBe(false);
  });

  test.each([16_384, 20_000, 33_333, 64_000])("is at most %i bytes, and nearly that", (max) => {
    const mail = pack(max);
    let count = 0;
    while (mail.add(rsaUpdate(count))) count += 1;
    const { raw, oversized } = mail.mail();
    expect(raw.length).toBeLessThanOrEqual(max);
    expect(raw.length).toBeGreaterThan(max - 1200);
    expect(oversized).toBe(false);
    expect(pksd.read(delivered(raw)).accepted).toHaveLength(count);
  });

  test("may hold several updates of one key", () => {
    const mail = pack();
    const more = { tag: TAG.signature, body: new Uint8Array(60).fill(4) };
    expect([mail.add(rsaUpdate(1)), mail.add(rsaUpdate(1, [more]))]).toEqual([true, true]);
    expect(onak.read(delivered(mail.mail().raw)).accepted).toHaveLength(2);
  });

  test("has a name of its own, the same when it is made again", () => {
    const names = [1, 2].map((count) => {
      const mail = pack();
      for (let n = 0; n < count; n += 1) mail.add(rsaUpdate(n));
      return mail.mail().messageId;
    });
    expect(new Set(names).size).toBe(2);
    const again = pack();
    again.add(rsaUpdate(0));
    expect(again.mail().messageId).toBe(names[0]);
  });
});

describe("what stays out", () => {
  const attribute = { tag: TAG.userAttribute, body: new Uint8Array(40).fill(1) };
  const unknown = { tag: 60, body: new Uint8Array(40).fill(1) };

  test.each<[string, Update]>([
    ["a user attribute", rsaUpdate(2, [attribute])],
    ["a packet of an unknown tag", rsaUpdate(2, [unknown])],
    ["a key that is several mails on its own", rsaUpdate(2, [signature(0), signature(1)])],
    ["a key of version 6", updateOfPackets(vectorData("v6/as-published"))],
    ["a key of version 3", updateOfPackets(vectorData("v3-rsa/as-published"))],
    ["a key without a user id", nameless(2)],
  ])("%s, first or later", (_, update) => {
    expect(pack().add(update)).toBe(false);
    const mail = pack();
    mail.add(rsaUpdate(1));
    expect(mail.add(update)).toBe(false);
    expect(mail.add(rsaUpdate(3))).toBe(true);
    for (const [, server] of SERVERS) {
      expect(server.read(delivered(mail.mail().raw)).accepted).toHaveLength(2);
    }
  });

  test("an update that other sites have", () => {
    const mail = pack();
    mail.add(rsaUpdate(1));
    expect(mail.add(rsaUpdate(2), [...TRAIL, "pgp@third.example"])).toBe(false);
    expect(mail.add(rsaUpdate(2), TRAIL.slice(1))).toBe(false);
    expect(
      mail.add(
        rsaUpdate(2),
        [...TRAIL].reverse().map((each) => each.toUpperCase()),
      ),
    ).toBe(true);
  });

  test("not what can be completed", () => {
    const mail = pack();
    const [, userId] = readPackets(rsaUpdate(2).body);
    const skeleton = encodePackets(userId === undefined ? [] : [userId]);
    expect(mail.add(nameless(2), TRAIL, skeleton)).toBe(true);
    expect(pksd.read(delivered(mail.mail().raw)).accepted).toHaveLength(1);
  });
});

function signature(n: number) {
  return { tag: TAG.signature, body: new Uint8Array(60_000).fill(4 + n) };
}

/** The n-th key and a signature on it, no user id. */
function nameless(n: number): Update {
  const [primary, , certification] = readPackets(rsaUpdate(n).body);
  if (primary === undefined || certification === undefined) throw new Error("no such packets");
  return updateOfPackets(encodePackets([primary, certification]));
}

function updateOfPackets(packets: Uint8Array): Update {
  const [key] = readKeys(packets);
  if (key === undefined || key instanceof Error) throw new Error("the packets make no key");
  return updateOf(key);
}
