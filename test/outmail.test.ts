/**
 * From an update in the log to mails that the old servers take: read back by the rules of all five
 * (test/mail/oracles). The two onak pairs, what must travel alone, the size cap, and that the mails
 * together give the key again.
 */
import { describe, expect, test } from "vitest";
import { admit, updateOf } from "../src/admit.js";
import { Refusal } from "../src/errors.js";
import { UpdateLog } from "../src/log/update-log.js";
import { readHead } from "../src/mail/head.js";
import { recognise } from "../src/mail/incremental.js";
import { readArmor } from "../src/openpgp/armor.js";
import { assembleKey, keyComponents, readKeys } from "../src/openpgp/key.js";
import { updateHash } from "../src/openpgp/update-hash.js";
import { type Outmail, OutmailMemory, outmails } from "../src/outmail.js";
import type { Seq, Update } from "../src/update.js";
import { bytes, delivered, fixture, keyArmor, keyNames, mail, text } from "./mail/fixtures.js";
import * as cks from "./mail/oracles/cks.js";
import * as hockeypuck from "./mail/oracles/hockeypuck.js";
import * as onak from "./mail/oracles/onak.js";
import { packet, TAG, walk } from "./mail/oracles/packets.js";
import * as pksd from "./mail/oracles/pksd.js";
import { armored, firstBlock } from "./mail/oracles/raw-mail.js";
import * as sks from "./mail/oracles/sks.js";
import { vectorData } from "./openpgp/material.js";

const SERVERS = { pksd, onak, sks, cks, hockeypuck };
type Server = keyof typeof SERVERS;
const ALL: readonly Server[] = ["pksd", "onak", "sks", "cks", "hockeypuck"];
const ENVELOPE = {
  to: "pgp-public-keys@pks.example.net",
  from: "keymaster@example.org",
  site: "pgp-public-keys@kx.example.org",
  maxBytes: 128_000,
};
const NOW = Date.UTC(2026, 10, 29);

function mailsOf(update: Update, skeleton?: Uint8Array, maxBytes = ENVELOPE.maxBytes): Outmail[] {
  const { hash, body } = update;
  const trail = ["pgp@first.example", "pgp@second.example"];
  return outmails({ seq: 7 as Seq, hash, body }, skeleton, trail, { ...ENVELOPE, maxBytes }, NOW);
}

/** Who takes the key in a mail, as a mail server delivers it. */
function takers({ raw }: Outmail): Server[] {
  return ALL.filter((server) => SERVERS[server].read(delivered(raw)).accepted.length === 1);
}

function packetsIn({ raw }: Outmail) {
  return walk(firstBlock(text(delivered(raw)))?.packets ?? new Uint8Array()) ?? [];
}

/** The update of a mail that holds one key. */
function updateIn(raw: Uint8Array): Update {
  const { fields, bodyStart } = readHead(raw);
  const read = recognise(fields, [raw.subarray(bodyStart)]);
  if (read.command === "reply") throw new Error("a reply");
  return only(admit(read.armor).updates);
}

function updateOfPackets(packets: Uint8Array): Update {
  return only(admit([bytes(armored([packets]))]).updates);
}

function only<T>([item, ...more]: readonly T[]): T {
  if (item === undefined || more.length > 0) throw new Error("expected one");
  return item;
}

/** What a server that merges them all would hold, without what completion added. */
function mergedUpdate(mails: readonly Outmail[]): Update {
  const keys = mails
    .flatMap(({ raw }) => readArmor(raw))
    .flatMap((block) => (block instanceof Refusal ? [] : readKeys(block.data)))
    .flatMap((key) => (key instanceof Refusal ? [] : [key]));
  return updateOf(assembleKey(keys.flatMap(keyComponents)));
}

describe("the onak pairs", () => {
  test.each(["revocation", "subkey"])("%s", (name) => {
    const log = UpdateLog.open(":memory:");
    const first = updateIn(mail(`onak-${name}-1-key`));
    const second = updateIn(mail(`onak-${name}-2-no-user-id`));
    const origin = { neighbour: "onak", transport: "mail" } as const;
    for (const update of [first, second]) {
      log.append([{ update, origin, trail: [], receivedAt: NOW }]);
    }
    expect(second.fingerprint).toBe(first.fingerprint);

    // The hash is that of the very packets that onak sent, and the log holds no more than those.
    const sent = walk(firstBlock(text(mail(`onak-${name}-2-no-user-id`)))?.packets ?? bytes(""));
    const [key] = readKeys(log.body(2 as Seq) ?? bytes(""));
    if (key === undefined || key instanceof Refusal) throw new Error("no key");
    expect(log.entry(2 as Seq)?.hash).toBe(second.hash);
    expect(updateHash(key).hash).toBe(second.hash);
    expect(key.userIds).toEqual([]);
    const bodiesOf = (packets: typeof sent) =>
      packets?.map(({ tag, body }) => `${tag} ${Buffer.from(body).toString("hex")}`).sort();
    expect(bodiesOf(walk(log.body(2 as Seq) ?? bytes("")))).toEqual(bodiesOf(sent));

    // Without what the log remembers, pksd and onak refuse it; with it, everybody takes it.
    const bare = only(mailsOf(second));
    expect(bare.incomplete).toBe(true);
    expect(takers(bare)).toEqual(["sks", "cks", "hockeypuck"]);
    const healed = only(mailsOf(second, log.skeletons.get(second.fingerprint)));
    expect(healed.incomplete).toBe(false);
    expect(takers(healed)).toEqual(ALL);
    const packets = packetsIn(healed);
    const userId = packets.findIndex(({ tag }) => tag === TAG.userId);
    const signature = packets[userId + 1];
    expect(signature?.tag).toBe(TAG.signature);
    // Version 4, a certification: 0x10 to 0x13.
    expect([...(signature?.body.subarray(0, 2) ?? [])]).toEqual([4, expect.any(Number)]);
    expect((signature?.body[1] ?? 0) & 0xfc).toBe(0x10);
    for (const each of sent ?? []) {
      expect(packets.map(({ body }) => text(body))).toContain(text(each.body));
    }
    expect(packets).toHaveLength((sent?.length ?? 0) + 2);
    log.close();
  });
});

test("an odd subkey under a version 4 key travels alone, and the revocation reaches SKS", () => {
  const raw = fixture("cases/v4-key-with-v5-subkey-and-revocation.eml");
  const mails = mailsOf(updateIn(raw));
  expect(mails.map((made) => packetsIn(made).map(({ tag }) => tag))).toEqual([
    [6, 2, 13, 2],
    [6, 13, 2, 14, 2],
  ]);
  expect(mails.map(takers)).toEqual([ALL, ALL.filter((server) => server !== "sks")]);
  expect(mergedUpdate(mails).hash).toBe(updateIn(raw).hash);
});

describe("the corpus", () => {
  test.each(keyNames)("%s: one mail, taken by all that know its algorithm", (name) => {
    const update = only(admit([bytes(keyArmor(name))]).updates);
    const made = only(mailsOf(update));
    expect(takers(made)).toEqual(
      expect.arrayContaining(["onak", "sks", "cks", "hockeypuck"] satisfies Server[]),
    );
    expect(mergedUpdate([made]).hash).toBe(update.hash);
    expect(made).toMatchObject({
      messageId: `<${update.hash}.7.1@kx.example.org>`,
      incomplete: false,
      oversized: false,
    });
    for (const server of ["pksd", "onak", "cks"] as const) {
      const reading = SERVERS[server].read(delivered(made.raw));
      expect(reading.seenTrail("pgp@first.example")).toBe(true);
      expect(reading.seenTrail(ENVELOPE.site)).toBe(true);
    }
    expect(mailsOf(update)).toEqual([made]);
  });
});

describe("what must travel alone", () => {
  const base = vectorData("user-attribute/as-published");
  /** For each mail: who takes it. */
  const taken = (mails: readonly Outmail[]) => mails.map(takers);

  test("a user attribute: all servers get the rest, all but pksd the attribute", () => {
    const update = updateOfPackets(base);
    const mails = mailsOf(update);
    expect(taken(mails)).toEqual([ALL, ["onak", "sks", "cks", "hockeypuck"]]);
    expect(mergedUpdate(mails).hash).toBe(update.hash);
    expect(packetsIn(mails[0] as Outmail).map(({ tag }) => tag)).not.toContain(TAG.attribute);
  });

  test("a packet of an unknown tag: only those who take it are asked to", () => {
    const update = updateOfPackets(vectorData("unknown-critical-free-packet/as-published"));
    const mails = mailsOf(update);
    expect(taken(mails)).toEqual([ALL, ["onak", "cks", "hockeypuck"]]);
    expect(mergedUpdate(mails).hash).toBe(update.hash);
  });

  test("both in one key, in an RSA key: three mails", () => {
    const rsa = firstBlock(keyArmor("role-CBF8D6FD518E17E1.asc"))?.packets ?? bytes("");
    const update = updateOfPackets(
      new Uint8Array([...rsa, ...packet(17, bytes("photo"), "new"), ...packet(60, rsa, "new")]),
    );
    const mails = mailsOf(update);
    expect(taken(mails)).toEqual([
      ALL,
      ["onak", "sks", "cks", "hockeypuck"],
      ["onak", "cks", "hockeypuck"],
    ]);
    expect(mergedUpdate(mails).hash).toBe(update.hash);
    expect(new Set(mails.map(({ messageId }) => messageId)).size).toBe(3);
  });

  test("a v6 key is alone, for the two that know it; each key of a mail goes alone anyway", () => {
    const update = updateOfPackets(vectorData("v6/as-published"));
    expect(taken(mailsOf(update))).toEqual([["cks", "hockeypuck"]]);
    const joined = admit([
      bytes(keyArmor(keyNames[0] ?? "")),
      bytes(armored([vectorData("v6/as-published")])),
    ]);
    expect(joined.updates.map((each) => mailsOf(each).length)).toEqual([1, 1]);
  });
});

describe("the size cap", () => {
  /** A key with so many certifications of 500 bytes. */
  function signed(count: number): Update {
    const rsa = firstBlock(keyArmor("role-CBF8D6FD518E17E1.asc"))?.packets ?? bytes("");
    const signatures = Array.from({ length: count }, (_, n) => {
      const body = Buffer.alloc(500, n & 0xff);
      body.set([4, 0x10, 1, 8, 0, 0, 0, 0]);
      body.writeUInt32BE(n, 8);
      return packet(2, body, "old");
    });
    return updateOfPackets(new Uint8Array(Buffer.concat([rsa, ...signatures])));
  }

  test("128,000 bytes on the wire, whatever the size of the key", () => {
    for (const count of [10, 180, 185, 190, 195, 200, 1000]) {
      const update = signed(count);
      const mails = mailsOf(update);
      for (const made of mails) {
        expect(made.raw.length).toBeLessThanOrEqual(128_000);
        expect(made.oversized).toBe(false);
        expect(takers(made)).toEqual(ALL);
      }
      expect(mergedUpdate(mails).hash).toBe(update.hash);
    }
  });

  test("the cap is used, save the quarter for what completes the pieces", () => {
    const mails = mailsOf(signed(1000));
    const bytesInAll = mails.reduce((sum, { raw }) => sum + raw.length, 0);
    expect(mails.length).toBeLessThanOrEqual(Math.ceil((bytesInAll / 128_000) * (4 / 3)));
  });

  test("one packet above the cap leaves as it is, and is marked", () => {
    const rsa = firstBlock(keyArmor("role-CBF8D6FD518E17E1.asc"))?.packets ?? bytes("");
    const huge = packet(2, new Uint8Array(150_000).fill(4), "old");
    const update = updateOfPackets(new Uint8Array([...rsa, ...huge]));
    const mails = mailsOf(update);
    expect(mails.some(({ oversized }) => oversized)).toBe(true);
    expect(mergedUpdate(mails).hash).toBe(update.hash);
  });

  test("a key as large as the largest of Debian's keyring", () => {
    const update = signed(1200);
    expect(update.body.length).toBeGreaterThan(300_000);
    const mails = mailsOf(update);
    expect(mails.length).toBeGreaterThan(2);
    for (const made of mails) expect(made.raw.length).toBeLessThanOrEqual(128_000);
    expect(mergedUpdate(mails).hash).toBe(update.hash);
    const plain = mails.filter((made) => takers(made).includes("pksd"));
    expect(plain.length).toBeGreaterThan(0);
  });
});

test("a long trail leaves less room, and still nothing is above the cap", () => {
  const update = only(admit([bytes(keyArmor(keyNames[0] ?? ""))]).updates);
  const trail = Array.from({ length: 300 }, (_, n) => `pgp-public-keys@site${n}.example.org`);
  const made = outmails(
    { seq: 1 as Seq, hash: update.hash, body: update.body },
    undefined,
    trail,
    { ...ENVELOPE, maxBytes: 30_000 },
    0,
  );
  for (const { raw } of made) expect(raw.length).toBeLessThanOrEqual(30_000);
  expect(mergedUpdate(made).hash).toBe(update.hash);
});

describe("what is remembered for the next site", () => {
  const [update, other] = keyNames.slice(0, 2).map((name) => {
    return only(admit([bytes(keyArmor(name))]).updates);
  }) as [Update, Update];
  const sent = (memory: OutmailMemory | undefined, body: Uint8Array, more: object = {}) => {
    const {
      kind,
      skeleton,
      at = NOW,
      maxBytes = 128_000,
      seq = 7,
    } = more as {
      kind?: "pksd" | "sks";
      skeleton?: Uint8Array;
      at?: number;
      maxBytes?: number;
      seq?: number;
    };
    const stored = { seq: seq as Seq, hash: update.hash, body };
    return outmails(stored, skeleton, [], { ...ENVELOPE, maxBytes, kind }, at, memory).map(
      ({ raw }) => text(raw),
    );
  };

  test("makes no difference, whatever changes between two mails", () => {
    const memory = new OutmailMemory();
    const skeleton = other.selfSigned ?? new Uint8Array();
    const changes = [
      {},
      { kind: "pksd" },
      { kind: "sks" },
      { skeleton },
      { maxBytes: 3000 },
      { at: NOW + 3_600_000 },
      { seq: 8 },
      {},
    ];
    for (const body of [update.body, other.body, update.body]) {
      for (const change of changes) {
        expect(sent(memory, body, change)).toEqual(sent(undefined, body, change));
      }
    }
  });

  test("another body under the same number is another mail", () => {
    const memory = new OutmailMemory();
    const [first] = sent(memory, update.body);
    expect(sent(memory, other.body)).not.toContain(first);
  });

  test("is bounded: the oldest are made again", () => {
    const memory = new OutmailMemory();
    const stored = (seq: number) => ({ seq: seq as Seq, hash: update.hash, body: update.body });
    const first = memory.of(stored(1), undefined, NOW, undefined);
    expect(memory.of(stored(1), undefined, NOW, undefined)).toBe(first);
    for (let seq = 2; seq <= 200; seq += 1) memory.of(stored(seq), undefined, NOW, undefined);
    expect(memory.of(stored(1), undefined, NOW, undefined)).not.toBe(first);
  });
});
