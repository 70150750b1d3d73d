/**
 * What of an update is appended, at a live gateway over TCP: policy prunes what KX peers announce,
 * an update without an unknown packet is not appended, and the hard revocations of a blocked key
 * get out in whatever company they came in or are stored.
 */
import { readFileSync } from "node:fs";
import { describe, expect, it, onTestFinished } from "vitest";
import { admit, updateOf } from "../../src/admit.js";
import type { Announcement } from "../../src/kx/messages.js";
import { encodeArmor } from "../../src/openpgp/armor.js";
import {
  assembleKey,
  encodeKey,
  keyComponents,
  readKeys,
  type TransferableKey,
} from "../../src/openpgp/key.js";
import { TAG } from "../../src/openpgp/packet.js";
import { KxPeer } from "../support/kx-peer.js";
import { SmtpClient } from "../support/smtp-client.js";
import { until } from "../support/until.js";
import { made as madeKey } from "../torture/material.js";
import { corpusMail, mailOf, OLD, SITE } from "./material.js";
import { base, configFile, kxgw, start } from "./stage.js";

type Given = { readonly armor: string; readonly update: ReturnType<typeof updateOf> };

function given(key: TransferableKey): Given {
  return { update: updateOf(key), armor: encodeArmor(encodeKey(key)) };
}

function keyOf(body: Uint8Array): TransferableKey {
  const [key] = readKeys(body);
  if (key === undefined || key instanceof Error) throw new Error("no key");
  return key;
}

const plain = (n: number) => keyOf(madeKey(41, n).update.body);

/** The key with a photo, or with that many octets of junk under its first user id. */
function withPhoto(key: TransferableKey, octets = 500): TransferableKey {
  const photo = { tag: TAG.userAttribute, body: new Uint8Array(octets).fill(7) };
  const signature = { tag: TAG.signature, body: Uint8Array.of(4, 0x13, 22, 8, 0, 0, 0, 0, 1, 2) };
  return assembleKey([...keyComponents(key), { packet: photo, signatures: [signature] }]);
}

/** A gateway that takes mail and has two KX peers, which it dials. */
async function world(policy = "") {
  const [one, two] = [new KxPeer(), new KxPeer()];
  onTestFinished(() => Promise.all([one.stop(), two.stop()]).then(() => {}));
  const [first, second] = [await one.start(), await two.start()];
  const file = configFile(`${base(SITE)}${policy}
[[peer]]
name = "old"
mail = "${OLD}"
accept_from = ["127.0.0.1"]
[[peer]]
name = "one"
kx = "127.0.0.1:${first}"
dial = true
via = "kx"
[[peer]]
name = "two"
kx = "127.0.0.1:${second}"
dial = true
via = "kx"
`);
  const connected = () =>
    until(
      () => one.connected && two.connected,
      () => "both peers",
    );
  const gateway = await start(file);
  await connected();
  let running = gateway;
  return {
    one,
    two,
    file,
    get gateway() {
      return running;
    },
    async restart() {
      await running.end("SIGKILL");
      await until(
        () => !one.connected && !two.connected,
        () => "no peer",
      );
      running = await start(file);
      await connected();
    },
    /** The SMTP reply to a key. */
    async mail({ armor }: Pick<Given, "armor">): Promise<string> {
      const client = await SmtpClient.connect(running.port("smtp"));
      const { text } = await client.deliver(mailOf(armor), { from: OLD, to: SITE });
      client.close();
      return text;
    },
    /** What the gateway announced to a peer, of this key. */
    async heard(peer: KxPeer, hash: string): Promise<Announcement> {
      await until(
        () => peer.heard.some((line) => line.hash === hash),
        () => `${hash} among ${JSON.stringify(peer.heard)}`,
      );
      const found = peer.heard.find((line) => line.hash === hash);
      if (found === undefined) throw new Error("heard nothing");
      return found;
    },
    /** The keys that a peer gets when it asks for a number. */
    async fetched(peer: KxPeer, number: number) {
      const answer = await peer.fetch(number);
      if (answer?.command !== "UPDATE") throw new Error(`${number}: ${answer?.command}`);
      return admit([answer.armor]).updates;
    },
  };
}

describe("an announced update of which the policy excludes something", () => {
  it("goes on as an update of its own; the announced one is never asked for again", async () => {
    const policy = '[policy]\nattributes = "refuse"\n[kx]\nlisten = ["127.0.0.1:0"]\n';
    const place = await world(policy);
    const { one, two } = place;
    const [whole, rest] = [given(withPhoto(plain(1))), given(plain(1))];
    one.add(whole);
    const line = await place.heard(two, rest.update.hash);
    expect(two.heard.map(({ hash }) => hash)).not.toContain(whole.update.hash);
    expect((await place.fetched(two, line.number)).map(({ hash }) => hash)).toEqual([
      rest.update.hash,
    ]);
    expect(await place.gateway.event("pruned")).toMatchObject({
      neighbour: "one",
      hash: whole.update.hash,
      reason: "policy-attribute",
    });

    // Another announcer is not asked; nor is anybody after a crash.
    two.add(whole);
    two.add(given(plain(2)));
    await place.heard(one, given(plain(2)).update.hash);
    await place.restart();
    one.add(given(plain(3)));
    await place.heard(two, given(plain(3)).update.hash);
    expect([...one.asked]).toEqual([
      [1, 1],
      [2, 1],
    ]);
    expect([...two.asked]).toEqual([[2, 1]]);
  });

  it("is cut to its revocations over the limit of a whole, and refused without any", async () => {
    const policy = '[policy]\nmax_update = "2kB"\n[kx]\nlisten = ["127.0.0.1:0"]\n';
    const place = await world(policy);
    const { one, two } = place;
    const bundled = given(withPhoto(revoked(), 4000));
    one.add(given(withPhoto(plain(1), 4000)));
    one.add(bundled);
    await place.heard(two, given(bare(revoked())).update.hash);
    expect(two.heard).toHaveLength(1);
    expect(await place.gateway.event("update-refused")).toMatchObject({ reason: "policy-size" });
  });
});

describe("an update without an unknown packet", () => {
  it("is not appended, by mail nor by KX, and is not asked for again", async () => {
    const place = await world('[kx]\nlisten = ["127.0.0.1:0"]\n');
    const { one, two } = place;
    expect(await place.mail(given(withPhoto(plain(1))))).toMatch(/^250 2\.0\.0 Stored 1 new/);
    const part = given(plain(1));
    one.add(part);
    one.add(given(plain(5)));
    await place.heard(two, given(plain(5)).update.hash);
    two.add(part);
    const photo = withPhoto(plain(1));
    const other = given(assembleKey([photo.primary, ...photo.userIds.slice(1)]));
    expect(await place.mail(other)).toMatch(/^250 2\.0\.0 Stored 0 new, 1 known/);
    // What is remembered of a mail is not fetched, either.
    two.add(other);
    await place.restart();
    one.add(given(plain(2)));
    const last = await place.heard(two, given(plain(2)).update.hash);
    expect(last.number).toBe(3);
    expect([...one.asked]).toEqual([
      [1, 1],
      [2, 1],
      [3, 1],
    ]);
    expect([...two.asked]).toEqual([]);
  });
});

describe("a blocked key whose revocations pass", () => {
  const block = (file: string, fingerprint: string) =>
    kxgw(["block", fingerprint, "--reason", "asked", "--allow-revocation", "-c", file]);

  it("gets its revocation out of what was stored before, and out of what comes", async () => {
    const place = await world('[kx]\nlisten = ["127.0.0.1:0"]\n');
    const { one, two, file } = place;
    const whole = withPhoto(revoked());
    const alone = given(bare(revoked())).update.hash;
    expect(await place.mail(given(whole))).toMatch(/^250 /);
    await place.heard(two, given(whole).update.hash);
    expect(await block(file, whole.fingerprint)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("1 revocation of the log is sent alone"),
    });
    const line = await place.heard(two, alone);
    const [update] = await place.fetched(two, line.number);
    expect(keyOf(update?.body ?? Uint8Array.of()).userIds).toEqual([]);
    // Once is enough.
    expect((await block(file, whole.fingerprint)).stdout).not.toContain("sent alone");

    // Another revocation, by KX and in company.
    const again = revoked(2);
    one.add(given(withPhoto(again)));
    await place.heard(two, given(bare(again)).update.hash);
    expect(await place.mail(given(withPhoto(plain(1))))).toMatch(/^250 /);
    expect(await place.mail({ armor: corpusArmor() })).toMatch(/^550 5\.7\.1 /);
    const listed = await two.list(1, 9);
    expect(listed?.command === "IHAVE" && listed.announcements.map(({ number }) => number)).toEqual(
      [2, 3, 4],
    );
  });
});

/** A real key, which is blocked here, and its revocation. */
function corpusArmor(): string {
  return corpusMail("onak-revocation-1-key.eml").replace(/^[\s\S]*?\n\n/, "");
}

/** The whole key with its revocation, or with another one that differs in its last octet. */
function revoked(n = 0): TransferableKey {
  const bytes = (name: string) =>
    readFileSync(new URL(`../fixtures/mails/${name}`, import.meta.url));
  const [key] = admit([bytes("onak-revocation-1-key.eml")]).updates;
  const [revocation] = admit([bytes("onak-revocation-2-no-user-id.eml")]).updates;
  if (key === undefined || revocation === undefined) throw new Error("no keys");
  const { primary } = keyOf(revocation.body);
  const signatures = primary.signatures.map(({ tag, body }) => {
    const other = Uint8Array.from(body);
    other[other.length - 1] = (other.at(-1) ?? 0) ^ n;
    return { tag, body: other };
  });
  const own = { packet: primary.packet, signatures };
  return assembleKey([...keyComponents(keyOf(key.body)), own]);
}

/** The primary key with the revocations under it. */
function bare({ primary }: TransferableKey): TransferableKey {
  return assembleKey([primary]);
}
