/**
 * Real keys for the interop cases: those of debian-keyring, one by one, and gpg with a home of its
 * own for what a user does.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Refusal } from "../../src/errors.js";
import { encodeArmor, readArmor } from "../../src/openpgp/armor.js";
import type { TransferableKey } from "../../src/openpgp/key.js";
import { assembleKey, encodeKey, keyPackets, readKeys } from "../../src/openpgp/key.js";
import { type Packet, TAG } from "../../src/openpgp/packet.js";
import { run } from "./daemon.js";

const KEYRING = "/usr/share/keyrings/debian-keyring.gpg";
/** Keys that are not in the other one, of the same package. */
const MORE_KEYS = "/usr/share/keyrings/debian-maintainers.gpg";

export interface RealKey {
  readonly fingerprint: string;
  readonly key: TransferableKey;
  readonly armored: string;
}

/**
 * `count` keys of the keyrings after the first `skip`, in their order. Taken are those that each of
 * the old servers can store whole: version 4, at most `maxBytes`, no user attribute.
 */
export function debianKeys(count: number, skip = 0, maxBytes = 24_000): RealKey[] {
  return [KEYRING, MORE_KEYS]
    .flatMap((path) => readKeys(readFileSync(path)))
    .filter((key): key is TransferableKey => !(key instanceof Refusal))
    .filter(
      ({ version, userIds }) => version === 4 && userIds.every(({ packet }) => isText(packet)),
    )
    .map((key) => ({ key, bytes: encodeKey(key) }))
    .filter(({ bytes }) => bytes.length <= maxBytes)
    .slice(skip, skip + count)
    .map(({ key, bytes }) => {
      return { key, fingerprint: key.fingerprint, armored: encodeArmor(bytes) };
    });
}

/** What a user may have published first of a key: the primary key and one user id. */
export function firstVersion({ key }: RealKey): string {
  return encodeArmor(encodeKey(assembleKey([key.primary, ...key.userIds.slice(0, 1)])));
}

/** The packets of all keys in an armored text. */
export function packetsOf(armored: string): Packet[] {
  return readArmor(Buffer.from(armored, "latin1"))
    .flatMap((block) => (block instanceof Refusal ? [] : readKeys(block.data)))
    .flatMap((key) => (key instanceof Refusal ? [] : keyPackets(key)));
}

/** How many packets all keys in an armored text have. */
export function packetCount(armored: string): number {
  return packetsOf(armored).length;
}

function isText({ tag }: { readonly tag: number }): boolean {
  return tag === TAG.userId;
}

/** A gpg with an empty home of its own. */
export class Gpg {
  readonly #home = mkdtempSync(join(tmpdir(), "kxgw-gpg-"));

  import(armored: string): void {
    this.#run(["--import"], armored);
  }

  /** `gpg --send-keys`, as a user types it. */
  send(fingerprint: string, keyserver: string): void {
    this.#run(["--keyserver", keyserver, "--send-keys", fingerprint]);
  }

  /** Makes a key without a passphrase; returns its fingerprint. */
  make(userId: string): string {
    this.#run(["--passphrase", "", "--quick-gen-key", userId, "ed25519", "sign", "never"]);
    const listed = this.#run(["--with-colons", "--list-keys", userId]);
    return /^fpr:+([0-9A-F]{40}):/m.exec(listed)?.[1] ?? "";
  }

  /** Adds a user id to a key of its own. */
  addUserId(fingerprint: string, userId: string): void {
    this.#run(["--passphrase", "", "--quick-add-uid", fingerprint, userId]);
  }

  /** Takes in the revocation that was made with a key of its own. */
  revoke(fingerprint: string): void {
    const file = join(this.#home, "openpgp-revocs.d", `${fingerprint}.rev`);
    this.import(readFileSync(file, "latin1").replace(/^:-----/m, "-----"));
  }

  close(): void {
    run("gpgconf", ["--homedir", this.#home, "--kill", "all"]);
    rmSync(this.#home, { recursive: true, force: true });
  }

  #run(args: readonly string[], input = ""): string {
    return run("gpg", ["--homedir", this.#home, "--batch", "--no-tty", "-q", ...args], { input });
  }
}
