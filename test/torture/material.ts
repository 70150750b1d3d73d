/**
 * Keys and mails made from a number, as many as a torture run needs: well-formed public keys that
 * the gate admits, with signatures that verify nowhere. The same seed and number make the same key.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { updateOf } from "../../src/admit.js";
import { encodeArmor } from "../../src/openpgp/armor.js";
import { encodeKey, readKeys } from "../../src/openpgp/key.js";
import { encodePackets, TAG } from "../../src/openpgp/packet.js";
import type { Update } from "../../src/update.js";

const SITE = "pgp-public-keys@kx.example.org";
const ED25519 = [22, 9, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01, 0x01, 0x07, 0x40];
const CREATED = [0x60, 0, 0, 0];

export interface Made {
  readonly update: Update;
  readonly armor: string;
}

/**
 * The n-th key of a seed, which is in its user id if it is a word. Its one signature has `filler`
 * octets.
 */
export function made(seed: number | string, n: number, filler = 100): Made {
  const name =
    typeof seed === "string"
      ? `${seed} ${n} <${n}@made.example>`
      : `Torture ${n} <${n}@torture.example>`;
  const digest = createHash("sha256").update(`${seed}/${n}`).digest();
  const packets = encodePackets([
    { tag: TAG.publicKey, body: Uint8Array.of(4, ...CREATED, ...ED25519, ...digest) },
    { tag: TAG.userId, body: Buffer.from(name) },
    { tag: TAG.signature, body: signature(digest, filler) },
  ]);
  const [key] = readKeys(packets);
  if (key === undefined || key instanceof Error) throw new Error("the key that was made is none");
  return { update: updateOf(key), armor: encodeArmor(encodeKey(key)) };
}

function signature(digest: Buffer, filler: number): Uint8Array {
  const body = Buffer.alloc(10 + filler, digest);
  body.set([4, 0x13, 22, 8, 0, 0, 0, 0, 0, 0]);
  return body;
}

/** An incremental mail with these armored blocks, CRLF, nothing in it to be dot-stuffed. */
export function incremental(armor: readonly string[], messageId: string): string {
  const lines = [
    `To: ${SITE}`,
    "From: PGP Key Server Administrator <pgp-public-keys@old.example.net>",
    "Subject: incremental",
    "X-KeyServer-Sent: pgp-public-keys@old.example.net",
    `Message-ID: <${messageId}@old.example.net>`,
    "MIME-Version: 1.0",
    "Content-type: application/pgp-keys",
    "",
    ...armor,
  ];
  return lines.join("\n").replace(/\r?\n/g, "\r\n");
}

/** The directory of the project, from source and from a build alike. */
export function projectRoot(): string {
  let directory = import.meta.dirname;
  while (!existsSync(join(directory, "package-lock.json"))) {
    if (dirname(directory) === directory) throw new Error("this is not inside the repository");
    directory = dirname(directory);
  }
  return directory;
}

export const SITE_ADDRESS = SITE;
