/**
 * Debian's keyring as real input: 905 keys with 48,788 signatures, the largest key of 362 kB.
 * Needs: /usr/share/keyrings/debian-keyring.gpg.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { updateOf } from "../src/admit.js";
import { Refusal } from "../src/errors.js";
import { readArmor } from "../src/openpgp/armor.js";
import { assembleKey, keyComponents, readKeys } from "../src/openpgp/key.js";
import { updateHash } from "../src/openpgp/update-hash.js";
import { outmails } from "../src/outmail.js";
import type { Seq } from "../src/update.js";
import { PROGRAM } from "./e2e/stage.js";
import { delivered } from "./mail/fixtures.js";
import * as pksd from "./mail/oracles/pksd.js";

const KEYRING = "/usr/share/keyrings/debian-keyring.gpg";
const ENVELOPE = {
  to: "pgp-public-keys@pks.example.net",
  from: "keymaster@example.org",
  site: "pgp-public-keys@kx.example.org",
  maxBytes: 128_000,
};

function keysIn(bytes: Uint8Array) {
  return readKeys(bytes).flatMap((key) => (key instanceof Refusal ? [] : [key]));
}

it("kxgw hash takes less than 3 s of processor time for it", () => {
  const script = `TIMEFORMAT="%U %S"; time "${process.execPath}" "${PROGRAM}" hash "${KEYRING}"`;
  const options = { encoding: "utf8", maxBuffer: 16 * 1024 * 1024 } as const;
  const { status, stdout, stderr } = spawnSync("bash", ["-c", script], options);
  expect(status).toBe(0);
  const lines = stdout.trimEnd().split("\n");
  expect(lines.length).toBeGreaterThan(800);
  expect(lines.filter((line) => !/^[0-9A-F]{32,64} [0-9a-f]{32}$/.test(line))).toEqual([]);
  const [user, system] = stderr.trim().split(" ").map(Number) as [number, number];
  expect(user + system).toBeGreaterThan(0.1);
  expect(user + system).toBeLessThan(3);
});

it("its largest key goes out in mails that pksd takes and that give the key again", () => {
  const updates = keysIn(readFileSync(KEYRING)).map((key) => updateOf(key));
  const [update] = updates.toSorted((a, b) => b.body.length - a.body.length);
  if (update === undefined) throw new Error("the keyring is empty");
  expect(update.body.length).toBeGreaterThan(300_000);
  const mails = outmails({ seq: 7 as Seq, ...update }, undefined, [], ENVELOPE, 0);
  expect(mails.length).toBeGreaterThan(2);
  for (const { raw } of mails) expect(raw.length).toBeLessThanOrEqual(ENVELOPE.maxBytes);
  const parts = mails
    .flatMap(({ raw }) => readArmor(raw))
    .flatMap((block) => (block instanceof Refusal ? [] : keysIn(block.data)));
  expect(updateHash(assembleKey(parts.flatMap(keyComponents))).hash).toBe(update.hash);
  const taken = mails.filter(({ raw }) => pksd.read(delivered(raw)).accepted.length === 1);
  expect(taken.length).toBeGreaterThan(0);
});
