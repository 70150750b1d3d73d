/**
 * Whole merged keys on their way in: what goes on of them, what is said of it, and that islands of
 * servers which mail whole keys come to rest on both sides of KX.
 */
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { admit, admittingAnnounced, updateOf } from "../../src/admit.js";
import { type Clock, systemClock } from "../../src/clock.js";
import { GroupCommit } from "../../src/intake/group-commit.js";
import { KeyIntake, type Submission } from "../../src/intake/key-intake.js";
import type { Entry } from "../../src/log/update-log.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { encodeArmor } from "../../src/openpgp/armor.js";
import { assembleKey, encodeKey, keyPackets, type TransferableKey } from "../../src/openpgp/key.js";
import { packetNames } from "../../src/openpgp/news.js";
import { updateHash } from "../../src/openpgp/update-hash.js";
import { finish } from "../../src/steps.js";
import type { Seq } from "../../src/update.js";
import { Recorder } from "../ingress/door.js";
import { claim, merged, onlyKey, realKeys } from "../openpgp/material.js";

const DAY_MS = 24 * 60 * 60_000;

interface Stand {
  readonly log: UpdateLog;
  readonly diagnostics: Recorder;
  take(...keys: readonly TransferableKey[]): Promise<string[]>;
  newest(): TransferableKey;
}

function stand(forward: "news" | "whole" = "news", clock: Clock = systemClock): Stand {
  const log = UpdateLog.open(":memory:");
  onTestFinished(() => log.close());
  const diagnostics = new Recorder();
  const intake = new KeyIntake(
    { log, appends: new GroupCommit(log), clock, diagnostics },
    { forward },
  );
  return {
    log,
    diagnostics,
    take: async (...keys) => (await intake.take(submission(keys))).map(({ outcome }) => outcome),
    newest: () => onlyKey(log.body(log.newest() as Seq) ?? Uint8Array.of()),
  };
}

function submission(keys: readonly TransferableKey[]): Submission {
  const armor = keys.map((key) => Buffer.from(encodeArmor(encodeKey(key)), "latin1"));
  return { armor, sender: undefined, trail: [], messageId: undefined, bytes: 1000 };
}

const [first, second] = realKeys.map(({ data }) => onlyKey(data)) as [
  TransferableKey,
  TransferableKey,
];

/** The key with `n` certifications by strangers under its first user id. */
function grown(key: TransferableKey, n: number): TransferableKey {
  const [userId] = key.userIds;
  if (userId === undefined) throw new Error("a key without user id");
  const signatures = Array.from({ length: n }, (_, index) =>
    claim(0x10, index, "0123456789ABCDEF"),
  );
  const parts = [
    { packet: key.primary.packet, signatures: [] },
    { packet: userId.packet, signatures },
  ];
  return merged([encodeKey(key), encodeKey(assembleKey(parts))]);
}

describe("a whole key that comes again", () => {
  it("goes on as its news, and is a duplicate when it has none", async () => {
    const { take, newest, log, diagnostics } = stand();
    const [whole, more] = [grown(first, 200), grown(first, 201)];
    expect(await take(whole)).toEqual(["appended"]);
    expect(updateOf(newest()).hash).toBe(updateOf(whole).hash);
    expect(await take(more)).toEqual(["appended"]);
    expect(encodeKey(newest()).length * 5).toBeLessThan(encodeKey(more).length);
    expect(updateHash(merged([encodeKey(whole), encodeKey(newest())]))).toEqual(updateHash(more));
    const spared = encodeKey(more).length - encodeKey(newest()).length;
    expect(diagnostics.all("trimmed").map(({ bytes }) => bytes)).toEqual([spared]);
    expect(await take(more)).toEqual(["duplicate"]);
    expect(await take(grown(first, 150))).toEqual(["duplicate"]);
    expect(diagnostics.events.at(-1)).toMatchObject({
      event: "duplicate",
      fields: { reason: "no-news", fingerprint: first.fingerprint },
    });
    expect(log.newest()).toBe(2);
  });

  it("is known by its hash on the day of its entry, and by its packets later", async () => {
    let now = 1_800_000_000_000;
    const { take, log, diagnostics } = stand("news", { ...systemClock, now: () => now });
    const look = vi.spyOn(log.packets, "daysOf");
    const seen = vi.spyOn(log.packets, "lastSeen");
    await take(first);
    look.mockClear();
    seen.mockClear();
    expect(await take(first)).toEqual(["duplicate"]);
    expect(diagnostics.events.at(-1)?.fields).toMatchObject({ seq: 1, reason: undefined });
    expect(look).not.toHaveBeenCalled();
    expect(seen).not.toHaveBeenCalled();
    now += DAY_MS;
    expect(await take(first)).toEqual(["duplicate"]);
    expect(seen).toHaveBeenCalled();
    const [name = Buffer.alloc(0)] = packetNames(first);
    expect(log.packets.lastSeen(name)).toBe(Math.floor(now / DAY_MS));
  });

  it("is stored with its names if its entry was removed meanwhile", async () => {
    const { log } = stand();
    const [held] = admit([Buffer.from(encodeArmor(encodeKey(first)), "latin1")], {
      isHeld: () => true,
    }).updates;
    if (held === undefined) throw new Error("no update");
    const origin = { neighbour: "old", transport: "mail" } as const;
    log.append([{ update: held, origin, trail: [], receivedAt: Date.now() }]);
    expect(log.newest()).toBe(1);
    expect(packetNames(first).every((name) => log.packets.lastSeen(name) !== undefined)).toBe(true);
    expect(log.skeletons.get(first.fingerprint)).toBeDefined();
  });

  it("is one duplicate of several keys, and the others go on", async () => {
    const { take, log } = stand();
    expect(await take(first)).toEqual(["appended"]);
    expect(await take(grown(first, 1), first, second)).toEqual([
      "appended",
      "duplicate",
      "appended",
    ]);
    expect(await take(first, second)).toEqual(["duplicate", "duplicate"]);
    expect(log.newest()).toBe(3);
  });

  it("goes on whole where the operator wants that", async () => {
    const { take, newest } = stand("whole");
    await take(grown(first, 200));
    expect(await take(grown(first, 201))).toEqual(["appended"]);
    expect(keyPackets(newest()).length).toBe(keyPackets(grown(first, 201)).length);
    expect(await take(grown(first, 150))).toEqual(["duplicate"]);
  });

  it("is known for as long as hashes are, counted from when it was last seen", async () => {
    let now = 1_800_000_000_000;
    const clock = { ...systemClock, now: () => now };
    const { take, log } = stand("news", clock);
    const limits = { retainMs: 4 * DAY_MS, rememberMs: 30 * DAY_MS };
    const later = (days: number) => {
      now += days * DAY_MS;
      while (log.retention.expire(now, limits, 100).more);
    };
    await take(grown(first, 3));
    await take(second);
    later(20);
    expect(await take(first)).toEqual(["duplicate"]);
    later(20);
    expect(await take(grown(first, 3))).toEqual(["appended"]);
    expect(await take(first)).toEqual(["duplicate"]);
    later(32);
    expect(await take(first)).toEqual(["appended"]);
  });
});

/** A server that mails the whole merged key to all others of its island whenever it learns. */
class MergingSite {
  readonly #keys = new Map<string, TransferableKey>();
  readonly outbox: TransferableKey[] = [];

  learn(key: TransferableKey): void {
    const known = this.#keys.get(key.fingerprint);
    const now = known === undefined ? key : merged([encodeKey(known), encodeKey(key)]);
    if (known !== undefined && updateOf(known).hash === updateOf(now).hash) return;
    this.#keys.set(key.fingerprint, now);
    this.outbox.push(now);
  }

  hash(fingerprint: string): string | undefined {
    const key = this.#keys.get(fingerprint);
    return key && updateOf(key).hash;
  }
}

/** A gateway with an island of such sites; `read` is how far its lanes and its peer have read. */
class Island {
  readonly gateway: Stand;
  readonly sites = [new MergingSite(), new MergingSite(), new MergingSite()];
  mails = 0;
  #read = 0;

  constructor(forward: "news" | "whole") {
    this.gateway = stand(forward);
  }

  /** Delivers what waits; hands what is new in the log to the sites and to `peer`. */
  async turn(peer: Island): Promise<void> {
    for (const site of this.sites) {
      for (const key of site.outbox.splice(0)) {
        for (const other of this.sites) if (other !== site) other.learn(key);
        this.mails += this.sites.length;
        await this.gateway.take(key);
      }
    }
    const { log } = this.gateway;
    for (const entry of log.range((this.#read + 1) as Seq, log.newest() as Seq, 1000)) {
      this.#read = entry.seq;
      for (const site of this.sites) site.learn(onlyKey(log.body(entry.seq) ?? Uint8Array.of()));
      this.mails += this.sites.length;
      peer.fetch(entry, log);
    }
  }

  fetch({ hash, fingerprint, seq }: Entry, from: UpdateLog): void {
    if (this.gateway.log.has(hash)) return;
    const armor = Buffer.from(encodeArmor(from.body(seq) ?? Uint8Array.of()), "latin1");
    const body = { bytes: armor, isArmored: true };
    const { update } = finish(admittingAnnounced(body, { hash, fingerprint }));
    const origin = { neighbour: "peer", transport: "kx" } as const;
    this.gateway.log.append([{ update, origin, trail: [], receivedAt: Date.now() }]);
  }

  get isSilent(): boolean {
    const { log } = this.gateway;
    return this.#read === log.newest() && this.sites.every(({ outbox }) => outbox.length === 0);
  }
}

describe("islands of servers that mail whole keys, on both sides of KX", () => {
  async function run(forward: "news" | "whole") {
    const [west, east] = [new Island(forward), new Island(forward)];
    for (let n = 0; n < 12; n++) {
      // Another signature at another server, before the last one has gone everywhere.
      (n % 2 === 0 ? west : east).sites[n % 3]?.learn(grown(first, n));
      if (n % 4 === 3) continue;
      await west.turn(east);
      await east.turn(west);
    }
    let turns = 0;
    for (; !(west.isSilent && east.isSilent); turns++) {
      expect(turns).toBeLessThan(50);
      await west.turn(east);
      await east.turn(west);
    }
    const want = updateOf(grown(first, 11)).hash;
    for (const site of [...west.sites, ...east.sites]) {
      expect(site.hash(first.fingerprint)).toBe(want);
    }
    const { entries, bodyBytes } = west.gateway.log.counts();
    return { mails: west.mails + east.mails, entries, bodyBytes };
  }

  it("all have the whole key and fall silent, with fewer mails and bytes than whole", async () => {
    const [news, whole] = [await run("news"), await run("whole")];
    expect(news.entries).toBeLessThanOrEqual(12);
    expect(news.entries).toBeLessThanOrEqual(whole.entries);
    expect(news.mails).toBeLessThanOrEqual(whole.mails);
    expect(news.bodyBytes * 2).toBeLessThan(whole.bodyBytes);
  });
});
