/**
 * What the end-to-end tests send: the real keys and mails of the fixtures, and keys made from a
 * number when a test needs many. A made key is well formed and its signature verifies nowhere,
 * which no keyserver of the synchronising network would notice either.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { updateOf } from "../../src/admit.js";
import { encodeArmor } from "../../src/openpgp/armor.js";
import { encodeKey, readKeys } from "../../src/openpgp/key.js";
import { encodePackets, TAG } from "../../src/openpgp/packet.js";

const FIXTURES = new URL("../fixtures/", import.meta.url);

export const SITE = "pgp-public-keys@kx.example.org";
export const OLD = "pgp-public-keys@old.example.net";

/** Names of the corpus mails. */
export const MAILS: readonly string[] = readdirSync(new URL("mails/", FIXTURES)).sort();

/** A corpus mail as it was written, latin1. */
export function corpusMail(name: string): string {
  return readFileSync(new URL(`mails/${name}`, FIXTURES), "latin1");
}

/** The armored real keys, latin1. */
export const REAL_KEYS: readonly string[] = readdirSync(new URL("keys/", FIXTURES))
  .sort()
  .map((name) => readFileSync(new URL(`keys/${name}`, FIXTURES), "latin1"));

export interface Made {
  readonly armor: string;
  readonly hash: string;
  readonly fingerprint: string;
}

/** The `n`-th key of a name: one user id, one signature of `filler` octets. */
export function made(name: string, n: number, filler = 100): Made {
  const seed = createHash("sha256").update(`${name} ${n}`).digest();
  const curve = [22, 9, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01, 0x01, 0x07, 0x40];
  const signature = Buffer.alloc(10 + filler, seed);
  signature.set([4, 0x13, 22, 8, 0, 0, 0, 0, 0, 0]);
  return madeOf([
    { tag: TAG.publicKey, body: Uint8Array.of(4, 0x60, 0, 0, 0, ...curve, ...seed) },
    { tag: TAG.userId, body: Buffer.from(`${name} ${n} <${n}@made.example>`) },
    { tag: TAG.signature, body: signature },
  ]);
}

/** One key of these packets, armored by us. */
function madeOf(packets: readonly { readonly tag: number; readonly body: Uint8Array }[]): Made {
  const [key] = readKeys(encodePackets(packets));
  if (key === undefined || key instanceof Error) throw new Error("the packets make no key");
  const { hash, fingerprint } = updateOf(key);
  return { armor: encodeArmor(encodeKey(key)), hash, fingerprint };
}

/** An incremental mail that holds this text, as a legacy site writes it. */
export function mailOf(text: string, subject = "incremental"): string {
  return `To: ${SITE}
From: PGP Key Server Administrator <${OLD}>
Subject: ${subject}
X-KeyServer-Sent: ${OLD}
Precedence: list
MIME-Version: 1.0
Content-type: application/pgp-keys

${text}`;
}
