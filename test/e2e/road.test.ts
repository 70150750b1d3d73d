/**
 * The main job on real input: mail in at A, KX to B, mail out at the far site, four processes'
 * worth of real sockets and files. What onak breaks comes out whole, what is known moves nothing.
 */
import { readKey } from "openpgp";
import { describe, expect, it } from "vitest";
import type { LegacySite } from "../../src/demo/site.js";
import { SmtpClient } from "../support/smtp-client.js";
import { quietFor, until } from "../support/until.js";
import { corpusMail, MAILS, made, mailOf, OLD, REAL_KEYS, SITE } from "./material.js";
import { logOf } from "./stage.js";
import { FAR, hashesIn, kxBytes, mergedHashes, SITE_B, world } from "./world.js";

const ENVELOPE = { from: OLD, to: SITE };

/** Waits until the site holds exactly these keys, every packet of them. */
async function arrival(site: LegacySite, texts: readonly string[]): Promise<void> {
  const wanted = mergedHashes(texts);
  const missing = () => {
    const held = site.hashes();
    return [...wanted].filter(([name, hash]) => held.get(name) !== hash);
  };
  await until(
    () => missing().length === 0,
    () => `at ${site.address}: ${missing().join("; ")}`,
  );
  expect(site.hashes()).toEqual(wanted);
}

describe("mail to KX to mail", () => {
  it("carries real keys both ways, each site getting what the other one has", async () => {
    const { old, far, a, b } = await world();
    old.syncSites = [{ address: SITE, port: a.port("smtp") }];
    far.syncSites = [{ address: SITE_B, port: b.port("smtp") }];
    for (const [index, key] of REAL_KEYS.entries()) {
      await (index % 2 === 0 ? old : far).submit(Buffer.from(key, "latin1"));
    }
    await arrival(old, REAL_KEYS);
    await arrival(far, REAL_KEYS);
    await quietFor(300, "an update that came back would be mailed once more");
    expect(far.received).toHaveLength(REAL_KEYS.length / 2);
    expect(old.received).toHaveLength(REAL_KEYS.length / 2);
    expect(new Set(far.received.map(({ trail }) => trail.join(" ")))).toEqual(new Set([SITE_B]));
  });

  it("understands every mail of the corpus", async () => {
    const { far, a, fileA, fileB } = await world();
    const client = await SmtpClient.connect(a.port("smtp"));
    const sent: string[] = [];
    for (const name of MAILS) {
      const reply = await client.deliver(corpusMail(name), ENVELOPE);
      expect([name, reply.code, reply.text]).toEqual([
        name,
        250,
        expect.stringMatching(/^250 2\.0\.0/),
      ]);
      sent.push(corpusMail(name));
    }
    await arrival(far, sent);
    const hashes = (await Promise.all(sent.map(hashesIn))).flat().map(({ hash }) => hash);
    expect((await logOf(fileA)).map(({ hash }) => hash)).toEqual([...new Set(hashes)]);
    expect((await logOf(fileB)).map(({ hash }) => hash).sort()).toEqual(
      [...new Set(hashes)].sort(),
    );
  });

  it.each([
    ["revocation", "onak-revocation-1-key.eml", "onak-revocation-2-no-user-id.eml"],
    ["subkey", "onak-subkey-1-key.eml", "onak-subkey-2-no-user-id.eml"],
  ])("gives onak's %s without a user id one, and keeps its hash", async (_, first, second) => {
    const { far, a, fileB } = await world();
    const client = await SmtpClient.connect(a.port("smtp"));
    expect((await client.deliver(corpusMail(first), ENVELOPE)).code).toBe(250);
    expect((await client.deliver(corpusMail(second), ENVELOPE)).code).toBe(250);
    await until(
      () => far.received.length === 2,
      () => `both mails at ${FAR}`,
    );
    const bare = await openpgpKey(corpusMail(second));
    expect(bare.users).toEqual([]);
    const whole = await openpgpKey(Buffer.from(far.received[1]?.raw ?? []).toString("latin1"));
    expect(whole.getFingerprint()).toBe(bare.getFingerprint());
    expect(whole.users).toHaveLength(1);
    expect(whole.users[0]?.userID?.userID).toMatch(/./);
    expect(whole.users[0]?.selfCertifications).toHaveLength(1);
    expect(whole.revocationSignatures).toHaveLength(bare.revocationSignatures.length);
    expect(whole.subkeys).toHaveLength(bare.subkeys.length);
    expect(bare.revocationSignatures.length + bare.subkeys.length).toBe(1);

    const [asSent] = await hashesIn(corpusMail(second));
    const log = await logOf(fileB);
    expect(log.map(({ hash, transport }) => [hash, transport])[1]).toEqual([asSent?.hash, "kx"]);
    expect(asSent?.hash).toMatch(/^[0-9a-f]{32}$/);
  });
});

async function openpgpKey(text: string) {
  const armoredKey = /-----BEGIN PGP PUBLIC[\s\S]*-----END PGP PUBLIC KEY BLOCK-----/.exec(
    text,
  )?.[0];
  return await readKey({ armoredKey: armoredKey ?? "" });
}

describe("what is known", () => {
  it("moves nothing when it comes by mail again, whole, in part or from elsewhere", async () => {
    const { far, a, b, fileA } = await world();
    const client = await SmtpClient.connect(a.port("smtp"));
    const [one, two] = [made("twice", 1), made("twice", 2)];
    expect((await client.deliver(mailOf(one.armor), ENVELOPE)).text).toContain("1 new, 0 known");
    await arrival(far, [one.armor]);
    const before = { kx: await kxBytes(a), a: a.events.length };

    const again = await client.deliver(mailOf(one.armor), ENVELOPE);
    expect([again.code, again.text]).toEqual([250, "250 2.0.0 Stored 0 new, 1 known."]);
    const atB = await SmtpClient.connect(b.port("smtp"));
    const other = await atB.deliver(mailOf(one.armor), { from: FAR, to: SITE_B });
    expect(other.text).toContain("0 new, 1 known");
    await quietFor(500, "an update that was taken for new would go to B and to the far site");
    expect(await kxBytes(a)).toBe(before.kx);
    expect(far.received).toHaveLength(1);
    expect((await logOf(fileA)).map(({ hash }) => hash)).toEqual([one.hash]);

    // The other way round: the check above would see an update that is new.
    expect((await client.deliver(mailOf(two.armor), ENVELOPE)).text).toContain("1 new");
    await arrival(far, [one.armor, two.armor]);
    expect(await kxBytes(a)).toBeGreaterThan(before.kx);
  });
});
