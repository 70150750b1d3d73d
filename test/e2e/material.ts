/**
 * What the end-to-end tests send: the real keys and mails of the fixtures, and keys made from a
 * number when a test needs many. A made key is well formed and its signature verifies nowhere,
 * which no keyserver of the synchronising network would notice either.
 */
import { readdirSync, readFileSync } from "node:fs";
import { made as madeKey } from "../torture/material.js";

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
  const { armor, update } = madeKey(name, n, filler);
  return { armor, hash: update.hash, fingerprint: update.fingerprint };
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
