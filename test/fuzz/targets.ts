/**
 * What must hold for any octets, room by room. A target takes an input, throws when a promise is
 * broken, and returns a short word for what became of it: inputs with a new word are worth keeping.
 * A `Refusal` and `ConfigFaults` are proper answers; every other exception is a bug. The same
 * targets serve `npm test` (fast-check and the corpus) and `npm run fuzz` (hours).
 */
import { deepStrictEqual, ok } from "node:assert/strict";
import { admit } from "../../src/admit.js";
import { parseConfig } from "../../src/config/load.js";
import { ConfigFaults, Refusal } from "../../src/errors.js";
import { decodedParts } from "../../src/intake/mime.js";
import { readHead } from "../../src/mail/head.js";
import { recognise } from "../../src/mail/incremental.js";
import { addressesIn } from "../../src/mail/sent-trail.js";
import { addressKey, addressParts, isAddress, plainAddress } from "../../src/mail-address.js";
import { encodeArmor, readArmor } from "../../src/openpgp/armor.js";
import { encodeKey, readKeys } from "../../src/openpgp/key.js";
import { readPackets, TAG } from "../../src/openpgp/packet.js";
import { updateHash } from "../../src/openpgp/update-hash.js";
import { outmails } from "../../src/outmail.js";
import { readAnswer } from "../../src/recon/hashquery.js";
import { ReconSession, SESSION_LIMITS } from "../../src/recon/session.js";
import { isUnder, ReconFault } from "../../src/recon/wire.js";
import type { Seq } from "../../src/update.js";
import { kx, reconcile, session } from "./kx-targets.js";
import { word } from "./outcomes.js";

export interface Target {
  readonly name: string;
  run(input: Uint8Array): string | Promise<string>;
}

const SECRET_TAGS: readonly number[] = [TAG.secretKey, TAG.secretSubkey];
const MAIL_BYTES = 20_000;

export const targets: readonly Target[] = [
  { name: "armor", run: armor },
  { name: "keys", run: keys },
  { name: "mail", run: mail },
  { name: "kx", run: kx },
  { name: "session", run: session },
  { name: "reconcile", run: reconcile },
  { name: "config", run: config },
  { name: "address", run: address },
  { name: "recon", run: recon },
];

/** Blocks come back the same from our own armor. */
function armor(input: Uint8Array): string {
  const outcomes = readArmor(input).map((block) => {
    if (block instanceof Refusal) return block.reason;
    const again = readArmor(Buffer.from(encodeArmor(block.data)));
    deepStrictEqual(
      again.map((one) => (one instanceof Refusal ? one.message : Buffer.from(one.data))),
      [Buffer.from(block.data)],
    );
    return "block";
  });
  return word(outcomes);
}

/** A key in canonical order stays as it is, holds no secret, and leaves in mails that fit. */
function keys(input: Uint8Array): string {
  const outcomes = readKeys(input).map((key) => {
    if (key instanceof Refusal) return key.reason;
    const { hash, digest } = updateHash(key);
    const body = encodeKey(key);
    const [again, ...more] = readKeys(body);
    ok(again !== undefined && !(again instanceof Refusal) && more.length === 0, "not one key");
    deepStrictEqual(updateHash(again), { hash, digest });
    deepStrictEqual(Buffer.from(encodeKey(again)), Buffer.from(body));
    ok(!readPackets(body).some(({ tag }) => SECRET_TAGS.includes(tag)), "a secret packet");
    const envelope = { to: "a@b.example", from: "c@d.example", site: "e@f.example" };
    const limits = { ...envelope, maxBytes: MAIL_BYTES };
    for (const { raw, oversized } of outmails(
      { seq: 1 as Seq, hash, body },
      undefined,
      [],
      limits,
      0,
    )) {
      ok(oversized || raw.length <= MAIL_BYTES, "a mail above its size");
      assertMailLines(raw);
    }
    return `v${key.version}`;
  });
  return word(outcomes);
}

/** Lines of at most 998 printable octets that end in CRLF (RFC 5322 section 2.1.1). */
function assertMailLines(raw: Uint8Array): void {
  const text = Buffer.from(raw).toString("latin1");
  ok(/^(?:[\t -~]{0,998}\r\n)*$/.test(text), "a mail that is no mail");
}

/** What is taken from a mail is clean, whatever the mail is. */
async function mail(input: Uint8Array): Promise<string> {
  try {
    const { fields, bodyStart } = readHead(input);
    ok(bodyStart <= input.length);
    for (const { name } of fields) ok(/^[!-9;-~]+$/.test(name), "a field name");
    const parts = await decodedParts(input, fields, bodyStart);
    const found = recognise(fields, parts);
    if (found.command === "reply") return "reply";
    for (const address of found.trail) ok(isAddress(address), "an address in the trail");
    ok(found.from === undefined || isAddress(found.from), "the address in From");
    ok(found.messageId === undefined || /^<[!-~]+>$/.test(found.messageId), "a Message-ID");
    const { updates, refusals } = admit(found.armor);
    return word([found.command, ...updates.map(() => "key"), ...refusals.map((one) => one.reason)]);
  } catch (error) {
    if (error instanceof Refusal) return error.message.replace(/\d+/g, "N");
    throw error;
  }
}

/**
 * A recon session tells of a prefix once, lists only what is under it, and says less than it hears;
 * an answer to hashquery is keys or a fault.
 */
function recon(input: Uint8Array): string {
  const limits = { ...SESSION_LIMITS, nodes: 5000 };
  const it = new ReconSession(() => undefined, 0, limits);
  const outputs = it.received(input, 1);
  const first = outputs.find(({ kind }) => kind === "send");
  const most = input.length + 100;
  const lists = new Set<string>();
  let sent = 0;
  for (const output of outputs) {
    if (output.kind === "send") sent += output.octets.length;
    if (output.kind !== "list") continue;
    ok(!lists.has(output.prefix), "a prefix twice");
    lists.add(output.prefix);
    ok(
      output.md5s.every((md5) => md5.length === 16 && isUnder(output.prefix, md5)),
      "an element elsewhere",
    );
  }
  ok(sent <= most + (first?.kind === "send" ? first.octets.length : 0), `${sent} octets`);
  const end = outputs.find((output) => output.kind === "end");
  if (end !== undefined) ok(it.received(input, 2).length === 0, "more after the end");
  return `${word(outputs.map(({ kind }) => kind))} ${end?.why ?? ""} ${answer(input)}`;
}

function answer(input: Uint8Array): string {
  try {
    return `${readAnswer(input, 100).length > 0 ? "some" : "no"} keys`;
  } catch (error) {
    if (error instanceof ReconFault) return "no answer";
    throw error;
  }
}

/** Every spelling has one key, of which the plain one is a spelling; a list has plain ones only. */
function address(input: Uint8Array): string {
  const text = Buffer.from(input).toString("utf8");
  const key = addressKey(text);
  deepStrictEqual(addressKey(key), key);
  const parts = addressParts(text);
  const plain = plainAddress(text);
  if (parts === undefined) ok(key === text && plain === undefined, "no address has a key");
  if (plain !== undefined) {
    ok(isAddress(plain) && addressKey(plain) === key, "a plain address of another one");
    ok(/^[!-~]+$/.test(plain), "not plain");
  }
  const listed = addressesIn(Buffer.from(input).toString("latin1"));
  ok(listed.every(isAddress), "a list of other things");
  const kind = parts === undefined ? "none" : plain === undefined ? "odd" : "plain";
  return word([kind, ...listed.map(() => "listed")]);
}

function config(input: Uint8Array): string {
  try {
    parseConfig(Buffer.from(input).toString("utf8"), "kxgw.toml", "/etc", {});
    return "ok";
  } catch (error) {
    if (!(error instanceof ConfigFaults)) throw error;
    ok(error.faults.length > 0);
    for (const { key, message } of error.faults)
      ok(/^[ -~]+$/.test(key + message), "a control byte");
    return word(error.faults.map(({ message }) => message.replace(/"[^"]*"|\d+/g, "N")));
  }
}
