/**
 * A revocation comes alone, of a key that the gateway never saw: it leaves with a user id that the
 * keyserver beside us shows. The doors out with their real sockets, a relay, a small Hockeypuck.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { updateOf } from "../../src/admit.js";
import { systemClock } from "../../src/clock.js";
import { parseConfig } from "../../src/config/load.js";
import { KeyCompletion } from "../../src/delivery/completion.js";
import { LocalDoor } from "../../src/delivery/local-door.js";
import { HkpDelivery } from "../../src/delivery/local-hkp.js";
import { ProgramDelivery } from "../../src/delivery/local-program.js";
import { SpoolDelivery } from "../../src/delivery/local-spool.js";
import { MailDoor } from "../../src/delivery/mail-door.js";
import { md5In, wholeKey } from "../../src/hkp-whole.js";
import { UpdateLog } from "../../src/log/update-log.js";
import { readArmor } from "../../src/openpgp/armor.js";
import { readKeys } from "../../src/openpgp/key.js";
import { packetKey, readPackets, TAG } from "../../src/openpgp/packet.js";
import { CARRY_ALL, type Rules } from "../../src/policy.js";
import type { Fingerprint, Seq } from "../../src/update.js";
import { Recorder } from "../ingress/door.js";
import { bytes } from "../mail/fixtures.js";
import { claim } from "../openpgp/material.js";
import { Signer } from "../openpgp/signer.js";
import { hockeypuck } from "./hockeypuck.js";
import { Relay } from "./relay.js";

const PATIENT = { timeout: 10_000 };
const at = 1_700_000_000;
const ann = new Signer(1);
const name = ann.userId("Ann");
const own = ann.over(name, { at });
const revocation = ann.over(ann.primary, { at: at + 1, type: 0x20 });
const WHOLE = ann.key(name, own);
const ALONE = ann.key(revocation);
const sites = ["one", "two", "three"];

/** The doors out over a new log, beside the keyserver at `url`; `first` comes at once. */
async function gateway(
  url: string,
  rules: Rules = CARRY_ALL,
  first: Uint8Array = ALONE,
  type = `type = "hkp"`,
) {
  const directory = mkdtempSync(join(tmpdir(), "kxgw-completion-"));
  const relay = await Relay.start();
  const peers = sites.map((site) => `[[peer]]\nname = "${site}"\nmail = "pgp@${site}.example"\n`);
  const text =
    `[site]\naddress = "pgp-public-keys@kx.example.org"\n[log]\npath = "updates.db"\n` +
    `[outbound]\nrelay = "${relay.url}"\nretry = "30ms"\n` +
    `[local]\n${type}\nurl = "${url}"\nretry = "30ms"\n${peers.join("")}`;
  const config = parseConfig(text, "test.toml", directory, {});
  const { outbound, local } = config;
  if (outbound === undefined || local === undefined) throw new Error("a section is missing");
  const log = UpdateLog.open(config.log.path);
  const told = new Recorder();
  const completion = new KeyCompletion(url, log, systemClock, rules);
  const components = { log, clock: systemClock, diagnostics: told, completion };
  const doors = [
    new LocalDoor(components, { config, local, rules }),
    new MailDoor(components, { config, outbound, rules }),
  ];
  for (const door of doors) door.start();
  onTestFinished(async () => {
    completion.close();
    await Promise.all(doors.map((door) => door.stop(0)));
    log.close();
    rmSync(directory, { recursive: true, force: true });
  });
  /** An update of another gateway. */
  const come = (octets: Uint8Array) => {
    const [key] = readKeys(octets);
    if (key === undefined || key instanceof Error) throw new Error("no key");
    const origin = { neighbour: "new", transport: "kx" } as const;
    log.append([{ update: updateOf(key), origin, trail: [], receivedAt: Date.now() }]);
  };
  come(first);
  /** The packets of each mail that left. */
  const mails = () =>
    relay.taken.map(({ raw }) => {
      const [block] = readArmor(bytes(raw));
      if (block === undefined || block instanceof Error) throw new Error("no armor");
      return readPackets(block.data).map(packetKey);
    });
  return { told, mails, log, come };
}

const all = [ann.primary, revocation, name, own].map(packetKey);

test("it leaves with the user id for every site, and the keyserver is asked first", async () => {
  const keyserver = await hockeypuck(WHOLE);
  const { told, mails } = await gateway(keyserver.url);
  await expect.poll(() => told.all("sent").length, PATIENT).toBe(sites.length + 1);
  expect(mails()).toEqual(sites.map(() => all));
  expect(told.all("undelivered")).toEqual([]);
  // One question for all lanes, and only then the revocation, which ends what it knows.
  expect(keyserver.asked).toEqual(["/pks/lookup get", "/pks/add"]);
  expect(keyserver.held().map(packetKey)).toEqual([ann.primary, revocation].map(packetKey));
});

test("the keyserver's own lane asks before it posts, whatever other lanes do", async () => {
  const keyserver = await hockeypuck(WHOLE);
  const log = UpdateLog.open(":memory:");
  onTestFinished(() => log.close());
  const completion = new KeyCompletion(keyserver.url, log, systemClock);
  const method = new HkpDelivery(keyserver.url, "a@b.example", undefined, undefined, completion);
  const [key] = readKeys(ALONE);
  if (key === undefined || key instanceof Error) throw new Error("no key");
  const { hash, fingerprint, body } = updateOf(key);
  const outgoing = { seq: 1 as Seq, hash, fingerprint, body, skeleton: undefined, trail: [] };
  const [part] = method.parts(outgoing, Date.now());
  expect((await part?.deliver())?.kind).toBe("delivered");
  expect(keyserver.asked).toEqual(["/pks/lookup get", "/pks/add"]);
  expect(log.skeletons.get(fingerprint)).toBeDefined();
});

// Seen on pksd 0.9.6: it was refused there and at its neighbours, beside a pksd that had the key.
test.each(["command", "pksd"])("a keyserver of type %s is asked as well", async (type) => {
  const keyserver = await hockeypuck(WHOLE);
  const file = join(mkdtempSync(join(tmpdir(), "kxgw-mail-")), "mail");
  onTestFinished(() => rmSync(dirname(file), { recursive: true, force: true }));
  const log = UpdateLog.open(":memory:");
  onTestFinished(() => log.close());
  const completion = new KeyCompletion(keyserver.url, log, systemClock);
  const envelope = { to: "a@b.example", from: "c@d.example", site: "e@f.example" };
  const command = ["/bin/sh", "-c", `cat > ${file}`];
  const place = {
    directory: dirname(file),
    fileName: () => "left",
    notify: ["/bin/sh", "-c", `mv {} ${file}`],
  };
  const limited = { ...envelope, maxBytes: 128_000 };
  const method =
    type === "command"
      ? new ProgramDelivery(command, limited, completion)
      : new SpoolDelivery(place, { ...limited, kind: "pksd" }, { clock: systemClock, completion });
  const [key] = readKeys(ALONE);
  if (key === undefined || key instanceof Error) throw new Error("no key");
  const { hash, fingerprint, body } = updateOf(key);
  const outgoing = { seq: 1 as Seq, hash, fingerprint, body, skeleton: undefined, trail: [] };
  const [part] = method.parts(outgoing, Date.now());
  expect((await part?.deliver())?.kind).toBe("delivered");
  const [block] = readArmor(readFileSync(file));
  if (block === undefined || block instanceof Error) throw new Error("no armor");
  expect(readPackets(block.data).map(packetKey)).toEqual(all);
});

test("of a photo for a pksd the rest is left, and the photo is on record as refused", async () => {
  const photo = { tag: TAG.userAttribute, body: Buffer.from("photo") };
  const theirs = claim(0x10, at + 2, "A1".repeat(8));
  const spool = mkdtempSync(join(tmpdir(), "kxgw-spool-"));
  onTestFinished(() => rmSync(spool, { recursive: true, force: true }));
  const take = `type = "pksd"\ndirectory = "${spool}"\nnotify = ["/bin/sh", "-c", "rm {}"]`;
  const whole = ann.key(name, own, photo, theirs);
  const { log, told } = await gateway("http://127.0.0.1:9", CARRY_ALL, whole, take);
  await expect.poll(() => log.exceptions.counts("[local]").refused, PATIENT).toBe(1);
  expect(log.exceptions.list("[local]", "refused", 9)).toMatchObject([
    { text: 'not sent: a server of kind "pksd" never takes 2 of 5 packets of this update' },
  ]);
  expect(told.all("sent").filter(({ neighbour }) => neighbour === "[local]")).toEqual([]);
});

test("it waits while the keyserver does not answer", async () => {
  const keyserver = await hockeypuck(WHOLE);
  keyserver.down(true);
  const { told, mails } = await gateway(keyserver.url);
  const words =
    "no user id of this key is known, and the local keyserver does not answer: it answered 503";
  const failures = () => told.events.filter(({ fields }) => fields.words === words);
  await expect.poll(() => failures().length, PATIENT).toBeGreaterThan(sites.length);
  expect(mails()).toEqual([]);
  keyserver.down(false);
  await expect.poll(() => told.all("sent").length, PATIENT).toBe(sites.length + 1);
  expect(mails()).toEqual(sites.map(() => all));
});

test("it does not count as delivered when the keyserver knows no user id", async () => {
  const keyserver = await hockeypuck();
  const { told, mails } = await gateway(keyserver.url);
  await expect.poll(() => told.all("undelivered").length, PATIENT).toBe(sites.length);
  expect(mails()).toEqual(sites.map(() => [ann.primary, revocation].map(packetKey)));
  expect(told.all("sent")).toMatchObject([{ neighbour: "[local]" }]);
});

test("a user id that comes later is sent with it, once", async () => {
  const keyserver = await hockeypuck();
  const { told, mails, come } = await gateway(keyserver.url);
  await expect.poll(() => told.all("undelivered").length, PATIENT).toBe(sites.length);
  come(WHOLE);
  // The revocation with the user id, and the user id, for each site.
  const named = () => mails().filter((mail) => mail.includes(packetKey(name)));
  await expect.poll(() => named().length, PATIENT).toBe(2 * sites.length);
  const revoked = named().filter((mail) => mail.includes(packetKey(revocation)));
  expect(revoked).toHaveLength(sites.length);
  expect(told.all("sent").filter(({ seq }) => seq === 1)).toHaveLength(1 + sites.length);
});

// Seen on 2.3.3: a mail of pksd, [6, 13, a signature of somebody else], then the whole key.
test("a signature before the self-signature of its user id reaches a Hockeypuck", async () => {
  const keyserver = await hockeypuck();
  const theirs = claim(0x10, at + 2, "A1".repeat(8));
  const { told, come, log } = await gateway(keyserver.url, CARRY_ALL, ann.key(name, theirs));
  await expect.poll(() => told.all("undelivered").length, PATIENT).toBe(1);
  expect(keyserver.held()).toEqual([]);
  come(WHOLE);
  const held = () => keyserver.held().map(packetKey).sort();
  await expect.poll(held, PATIENT).toEqual([ann.primary, name, own, theirs].map(packetKey).sort());
  await expect.poll(() => log.exceptions.counts("[local]").refused, PATIENT).toBe(0);
});

test("nobody is asked for a key that is blocked", async () => {
  const keyserver = await hockeypuck(WHOLE);
  const block = { reason: "a court", until: undefined, allowRevocation: true };
  const { told, mails } = await gateway(keyserver.url, { ...CARRY_ALL, blockOn: () => block });
  await expect.poll(() => told.all("undelivered").length, PATIENT).toBe(sites.length);
  expect(mails().flat()).not.toContain(packetKey(name));
  expect(keyserver.asked.filter((path) => path.endsWith("get"))).toEqual([]);
});

test("a forged key in its answer teaches nothing", async () => {
  const mallory = new Signer(2);
  const keyserver = await hockeypuck(ann.key(name, ann.over(name, { at }, mallory)));
  const { log, told } = await gateway(keyserver.url);
  await expect
    .poll(() => told.all("undelivered").length + told.all("sent").length, PATIENT)
    .toBe(4);
  const skeleton = log.skeletons.get(ann.fingerprint as Fingerprint);
  const learnt = skeleton === undefined ? [] : readPackets(skeleton).map(({ tag }) => tag);
  expect(learnt).not.toContain(2);
});

test("a hard-revoked key is read by the index and a hashquery", async () => {
  const keyserver = await hockeypuck(ann.key(revocation, name, own));
  const { signal } = new AbortController();
  const found = await wholeKey(keyserver.url, ann.fingerprint as Fingerprint, signal);
  expect(found && Buffer.from(found)).toEqual(Buffer.from(ALONE));
  expect(await wholeKey(keyserver.url, new Signer(2).fingerprint as Fingerprint, signal)).toBe(
    undefined,
  );
});

test.each(["", "{}", "[null, 3]", '[{"fingerprint":"AB"}]', '[{"fingerprint":"AB","md5":"zz"}]'])(
  "an index that says %j names no MD5",
  (text) => expect(md5In(text, "AB" as Fingerprint)).toBe(undefined),
);
