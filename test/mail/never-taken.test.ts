/**
 * docs/neighbours.md, "What a server never takes": made from the models of the servers, which are
 * given the mails that the gateway writes. `npx vitest run test/mail/never-taken.test.ts -u` writes
 * the list.
 */
import { expect, it } from "vitest";
import { updateOf } from "../../src/admit.js";
import { fragments } from "../../src/openpgp/fragments.js";
import { readKeys } from "../../src/openpgp/key.js";
import { encodePackets, type Packet, readPackets, TAG } from "../../src/openpgp/packet.js";
import { outmails } from "../../src/outmail.js";
import type { Seq } from "../../src/update.js";
import { claim, realKey } from "../openpgp/material.js";
import { Signer } from "../openpgp/signer.js";
import { page } from "../support/page.js";
import { delivered } from "./fixtures.js";
import { hockeypuckStore, nameOf, onakStore, pksdStore, sksStore } from "./oracles/stores.js";

const START = "<!-- What follows is made from the models: test/mail/never-taken.test.ts -u -->\n";
const END = "<!-- The end of what is made from the models. -->\n";
const at = 1_700_000_000;
const NOW = at * 1000 + 1_000_000;

/** An old key that every server reads, with a user id and its signature. */
const packets = readPackets(realKey("CBF8D6FD518E17E1").data);
const [primary, ...rest] = packets as [Packet, ...Packet[]];
const fingerprint = updateOf(onlyKey(packets)).fingerprint;
const eve = new Signer(1);
const eveName = eve.userId("Eve");
const eveOwn = eve.over(eveName, { at });
const v6 = {
  tag: TAG.publicKey,
  body: Buffer.from([6, 0, 0, 0, 0, 27, 0, 0, 0, 32, ...new Uint8Array(32)]),
};
const photo = { tag: TAG.userAttribute, body: Buffer.from("photo") };
const novelty = { tag: 60, body: Buffer.from("novelty") };
const stranger = { tag: TAG.userId, body: Buffer.from("Somebody") };
const odd = eve.subkey(1, 8, 5);
const [one, two] = [eve.subkey(2), eve.subkey(3)];
const binding = claim(0x18, at, fingerprint);
const unsubscribed = claim(0x28, at + 1, fingerprint);

/** What is looked for in the store, among all packets of the update. */
const CASES: readonly (readonly [what: string, wanted: Packet, update: readonly Packet[]])[] = [
  ["a key of version 6", v6, [v6, eveName]],
  ["a key on a newer curve (EdDSA)", eve.primary, [eve.primary, eveName, eveOwn]],
  ["a user attribute", photo, [...packets, photo, claim(0x13, at, fingerprint)]],
  ["a packet of an unknown tag", novelty, [...packets, novelty]],
  ["a subkey of version 5", odd, [...packets, odd, binding]],
  ["a second subkey", two, [primary, ...rest, one, binding, two, claim(0x18, at - 9, fingerprint)]],
  ["the revocation of a subkey", unsubscribed, [primary, ...rest, one, binding, unsubscribed]],
  ["a user id without a self-signature", stranger, [...packets, stranger]],
  ["an update of a key without a user id", primary, [primary, one, binding]],
];

function onlyKey(all: readonly Packet[]) {
  const [key] = readKeys(encodePackets(all));
  if (key === undefined || key instanceof Error) throw new Error("no key");
  return key;
}

/** Servers whose model lacks the packet after the gateway sent the update. */
function without(wanted: Packet, update: readonly Packet[]): string[] {
  const key = onlyKey(update);
  const { hash } = updateOf(key);
  const stored = { seq: 1 as Seq, hash, body: encodePackets(update) };
  const envelope = { to: "a@b.example", from: "c@d.example", site: "e@f.example" };
  const mailed = { pksd: pksdStore(), onak: onakStore(), SKS: sksStore() };
  for (const { raw } of outmails(stored, undefined, [], { ...envelope, maxBytes: 128_000 }, NOW)) {
    for (const store of Object.values(mailed)) store.take(delivered(raw));
  }
  const posted = hockeypuckStore();
  for (const piece of fragments(key, undefined, 3_500_000, NOW)) posted.take(piece.packets);
  return Object.entries({ ...mailed, Hockeypuck: posted }).flatMap(([name, { held }]) => {
    const names = new Set([...held.values()].flatMap((all) => [...all]));
    return names.has(nameOf(wanted)) ? [] : [name];
  });
}

it("docs/neighbours.md lists what each server never takes (vitest -u writes it)", async () => {
  const lines = CASES.map(([what, wanted, update]) => {
    const servers = without(wanted, update);
    return `| ${what} | ${servers.length === 0 ? "none" : servers.join(", ")} |\n`;
  });
  const table = `| what | never taken by |\n|---|---|\n${lines.join("")}`;
  const text = page("neighbours.md");
  const [head = "", more = ""] = text.split(START);
  const [, tail = ""] = more.split(END);
  expect(tail).not.toBe("");
  await expect(`${head}${START}\n${table}\n${END}${tail}`).toMatchFileSnapshot(
    "../../docs/neighbours.md",
  );
});
